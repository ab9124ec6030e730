"""Quantization after training: a network of floats and samples of its input become a network of integers.

Layer by layer, from the input on, so that each layer sees the integers that the layers before really give it:

1. the range of the float outputs on the samples gives the output's scale and zero point (:mod:`calibrate`);
2. the weights of each neuron, or of all, give the grid they are rounded to (:mod:`numbers`);
3. the bias is rounded at accumulator scale, after the mean error of the accumulator on the samples was taken off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from intnn import interpreter
from intnn.bounds import require_valid
from intnn.errors import InputError, IntnnError, ModelError, UsageError
from intnn.floats import calibrate, rounding
from intnn.floats.meaning import round_to
from intnn.floats.network import FloatDense, FloatNetwork, Floats, rows
from intnn.floats.numbers import Numbers, dense, layer_numbers
from intnn.floats.scheme import Scheme
from intnn.formats.report import Line
from intnn.model import Activation, Dense, Network


@dataclass(frozen=True, eq=False)
class Quantized:
    """A quantized network and what it was made from.

    ``network`` is valid and proved; ``floats`` and ``samples`` (batch, inputs) are as given; ``wishes`` (outputs,) for
    each layer is the weight grid before the multiplier was absorbed, ``numbers`` the layer's integers; ``report`` says
    of every field how it came about.
    """

    network: Network
    floats: FloatNetwork
    scheme: Scheme
    samples: npt.NDArray[np.generic]
    wishes: tuple[Floats, ...]
    numbers: tuple[Numbers, ...]
    report: tuple[Line, ...]

    def __repr__(self) -> str:
        return f"Quantized({'-'.join(map(str, self.network.sizes))}, {self.scheme})"


def quantize(
    source: FloatNetwork,
    calib: npt.ArrayLike,
    *,
    scheme: Scheme = Scheme(),  # noqa: B008  # frozen
    input_range: tuple[int, int] | None = None,
) -> Quantized:
    """``source`` in integers by ``scheme``; ``calib`` (batch, inputs) are samples of its input.

    Samples that are integers, such as counts of an ADC, are taken as they are, within ``input_range`` (low, high) or
    else the whole bits that hold them; floats are quantized to the scheme's input type. Raises :class:`InputError`
    ``input.type``, ``input.shape``, ``input.value`` or ``quantize.range``, :class:`ModelError` ``quantize.overflow``.
    """
    if not isinstance(scheme, Scheme):
        raise UsageError("usage.scheme", f"a scheme of type {type(scheme).__name__}", expected="intnn.Scheme(...)")
    if input_range is not None and not (len(input_range) == 2 and all(isinstance(v, int) for v in input_range)):
        raise UsageError("usage.option", f"input_range is {input_range!r}", expected="two integers, (low, high)")
    x = rows(calib, source.sizes[0], "calib")
    samples = np.asarray(calib)
    activation, scale = input_activation(samples, x, scheme, input_range)
    input, report = activation, [Line("input", "re-derived", _meaning(activation, scale) + " from the samples")]
    if samples.dtype.kind == "f" and (x == np.rint(x)).all():
        found = "every sample is a whole number, yet given as a float: integers would be taken as they are"
        report.append(Line("input", "note", found))
    never = np.flatnonzero((x == x[0]).all(axis=0)).tolist()
    if never:
        found = f"{_places('value', never)}: constant on the samples, so nothing is known of the weights there"
        report.append(Line("input", "note", found))
    q = round_to(activation, scale, x)
    layers: list[Dense] = []
    kept: list[tuple[Floats, Numbers]] = []
    for i, layer in enumerate(source.layers):
        place, last = f"layer {i}", i == len(source.layers) - 1
        require_size(layer, place)
        exact = x @ layer.weights.T + layer.bias
        after = np.clip(exact, layer.min, layer.max)
        require_clamp(layer, place)
        kind = scheme.output if last else scheme.activations
        real = scale * (q - activation.zero_point)
        moment = rounding.moment(real, centred=scheme.bias_correction)
        wish = weight_scale(layer.weights, moment, scheme)
        output, output_scale = calibrate.activation(
            kind, after, scheme.calibration, relu=layer.relu, top=layer.max, place=place, finest=scale * wish
        )
        try:
            numbers = layer_numbers(layer.weights, layer.bias, wish, scale, output_scale, activation, output, scheme)
            weights = rounded(layer.weights, numbers.weight_scale, moment, scheme)
            bias = layer.bias
            if scheme.bias_correction:
                bias = bias + mean_error(layer, exact, real @ weights.T + layer.bias)
            numbers = layer_numbers(
                weights, bias, numbers.weight_scale, scale, output_scale, activation, output, scheme
            )
            made = dense(numbers, output, (scale, output_scale), scheme)
        except IntnnError as error:
            raise error.within(place) from None
        report += _lines(place, layer, made, numbers, scale, scheme)
        layers.append(made)
        kept.append((wish, numbers))
        # float64 holds these sums exactly: the numbers keep them within int32.
        acc = ((q - activation.zero_point) @ numbers.weights.T + numbers.bias).astype(np.int32)
        q = np.asarray(interpreter.requantize(acc, made), np.float64)
        report += _still(place, q, after)
        x, activation, scale = after, output, output_scale
    net = Network(input, tuple(layers), source.name)
    require_valid(net)
    wishes, all_numbers = zip(*kept, strict=True)
    return Quantized(net, source, scheme, samples, wishes, all_numbers, tuple(report))


def input_activation(
    samples: npt.NDArray[np.generic], x: Floats, scheme: Scheme, declared: tuple[int, int] | None
) -> tuple[Activation, float]:
    """The network's input and the worth of one step; ``x`` are the ``samples`` as floats. Raises as
    :func:`quantize`."""
    if (x == x[0]).all():
        raise InputError(
            "quantize.range",
            f"all {len(x)} samples are equal" if len(x) > 1 else "there is one sample only",
            where="input",
            expected="samples of the input as it varies in use",
        )
    if samples.dtype.kind in "biu":
        return calibrate.integer_samples(samples, declared), 1.0
    if declared:
        raise InputError(
            "quantize.range",
            f"--input-range {declared[0]},{declared[1]} with samples of type {samples.dtype}",
            where="input",
            expected="integer samples, which are taken as they are",
            repair="save the samples as integers, or leave the range out",
        )
    type = scheme.activations if scheme.input == "as activations" else scheme.input
    return calibrate.activation(type, x, scheme.calibration, relu=bool(x.min() >= 0), top=np.inf, place="input")


def require_size(layer: FloatDense, place: str) -> None:
    """Raises :class:`InputError` ``quantize.range`` for weights or biases too large to compute with."""
    largest = max(float(np.abs(layer.weights).max()), float(np.abs(layer.bias).max()))
    if largest > 2.0**60:
        raise InputError(
            "quantize.range",
            f"weights or biases up to {largest:.3g}",
            where=place,
            expected="at most 2^60",
            repair="another unit for the network's input or output",
        )


def require_clamp(layer: FloatDense, place: str) -> None:
    """Raises :class:`ModelError` ``model.value`` for a clamp that integers cannot keep at their zero point."""
    if layer.min not in (0, -np.inf) or layer.max <= 0 or (layer.min != 0 and layer.max != np.inf):
        found, expected = f"clamp [{layer.min}, {layer.max}]", "none, ReLU (0, infinity) or a ReLU with an upper end"
        raise ModelError("model.value", found, where=place, expected=expected)


def rounded(weights: Floats, grid: Floats, moment: Floats, scheme: Scheme) -> Floats:
    """``weights`` on ``grid`` (outputs,) as the scheme rounds them, as real values; ``moment`` is
    :func:`intnn.floats.rounding.moment` of the layer's input."""
    largest = scheme.largest_weight
    if scheme.weight_rounding == "nearest":
        steps = rounding.nearest(weights, grid, largest)
    else:
        steps = rounding.fitted(weights, grid, moment, largest)
    real: Floats = steps * grid[:, None]
    return real


def weight_scale(weights: Floats, moment: Floats, scheme: Scheme) -> Floats:
    """The grid (outputs,) wished for ``weights`` (outputs, inputs): positive; one value for a scheme per tensor.

    ``moment`` is :func:`intnn.floats.rounding.moment` of the layer's input.
    """
    reach = np.abs(weights).max(axis=1)
    # A neuron without weights is a constant: any grid does, and one like its neighbours' is no exception in the tables.
    reach[reach == 0] = reach.max() or 1.0
    grid: Floats = (reach if scheme.per_channel else np.full_like(reach, reach.max())) / scheme.largest_weight
    if scheme.weight_calibration == "min-max":
        return grid
    return rounding.best_grid(weights, grid, moment, scheme.largest_weight, per_channel=scheme.per_channel)


def mean_error(layer: FloatDense, exact: Floats, found: Floats) -> Floats:
    """By how much the sums ``found`` (batch, outputs) are below those of the floats, ``exact``, on average, (outputs,).

    Samples on which the clamp of ``layer`` decides do not count: there nothing depends on the sum.
    """
    counts = (exact > layer.min) & (exact < layer.max)
    mean: Floats = ((exact - found) * counts).sum(axis=0) / np.maximum(counts.sum(axis=0), 1)
    return mean


def _still(place: str, q: Floats, after: Floats) -> list[Line]:
    """What the report says of outputs ``q`` that are constant on the samples where those of the floats are not."""
    still = np.flatnonzero((q == q[0]).all(axis=0) & (np.ptp(after, axis=0) > 0)).tolist()
    text = "constant on the samples, where as floats it varies: more bits, or other samples, may tell its values apart"
    return [Line(place, "note", f"{_places('output', still)}: {text}")] if still else []


def _places(noun: str, places: list[int]) -> str:
    shown = ", ".join(map(str, places[:8])) + (f" and {len(places) - 8} more" if len(places) > 8 else "")
    return f"{noun}{'s' if len(places) > 1 else ''} {shown}"


def _lines(place: str, layer: FloatDense, made: Dense, n: Numbers, input_scale: float, scheme: Scheme) -> list[Line]:
    """What the report says of one layer."""
    steps = layer.weights / n.weight_scale[:, None]
    off = np.abs(steps - n.weights)
    clipped = int((np.abs(steps) > scheme.largest_weight + 0.5).sum())
    how = f"{scheme.weights} {list(layer.weights.shape)}, {_range_of('scale', n.weight_scale)}"
    how += f", off by at most {off.max():.2f} steps" + (f", {clipped} clipped" if clipped else "")
    corrected = np.abs(n.bias * (input_scale * n.weight_scale) - layer.bias)
    scales = made.scales
    assert scales is not None
    real = n.factor / (input_scale * n.weight_scale / scales.output)
    error = float(np.abs(real - 1).max())
    name = "power of two" if scheme.requantize == "power-of-two" else f"{scheme.requantize} multiplier"
    if scheme.absorb:
        multiplier = Line(f"{place} multiplier, shift", "exact", f"{name}, its error absorbed by the weights' grid")
    else:
        multiplier = Line(
            f"{place} multiplier, shift", "approximated", f"{name}, off by at most {error:.2g} of its value"
        )
    return [
        Line(f"{place} weights", "approximated", how),
        Line(
            f"{place} bias",
            "approximated",
            f"int32 [{len(n.bias)}], "
            + (
                f"corrected by at most {corrected.max():.3g}"
                if scheme.bias_correction
                else f"off by at most {corrected.max():.3g}"
            ),
        ),
        multiplier,
        Line(
            f"{place} output",
            "re-derived",
            f"{_meaning(made.output, scales.output)} from the samples, {scheme.calibration}",
        ),
    ]


def _range_of(name: str, values: Floats) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{name} {low:.6g}" if low == high else f"{name}s {low:.3g} to {high:.3g}"


def _meaning(activation: Activation, scale: float) -> str:
    a = activation
    return f"{a.type}, zero point {a.zero_point}, range [{a.min}, {a.max}], scale {scale:.6g}"
