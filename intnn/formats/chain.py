"""A chain of dense layers, as frameworks write it: step by step, put together to a network of floats and its report.

Whatever the source, it is first told as steps: products with weights, activations, scalings such as batch
normalization, and what has no effect. Scalings go into the weights beside them; everything else is copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from intnn.errors import ForeignModelError, ModelError, UsageError
from intnn.floats.network import FloatDense, FloatNetwork, Floats
from intnn.formats.report import Import, Line
from intnn.formats.steps import HOW_TO_NAME, Affine, Clip, Linear, Member, Skipped, Step, unsupported

ACTIVATIONS = {"relu": (0.0, np.inf), "relu6": (0.0, 6.0), "none": (-np.inf, np.inf)}
"""The activations by name, each a clip to [min, max]."""


def assemble(
    steps: Sequence[Step],
    *,
    name: str = "",
    stated: bool = True,
    activations: Sequence[str] | None = None,
    report: Sequence[Line] = (),
) -> Import[FloatNetwork]:
    """The network that ``steps`` are, and the report, after the lines ``report``.

    ``stated``: the source says which activations it has; otherwise ReLU is taken after every layer but the last.
    ``activations``: names of :data:`ACTIVATIONS`, one a layer, instead of the source's. Raises
    :class:`ForeignModelError` ``weights.file`` or ``weights.layer``, :class:`ModelError` ``model.chain`` or
    ``model.value``, :class:`UsageError` ``usage.option``.
    """
    linears = [step for step in steps if isinstance(step, Linear)]
    if not linears:
        raise ForeignModelError("weights.file", "no weights", expected="a chain of dense layers")
    if activations is not None:
        _check_activations(activations, len(linears))
    layers = _layers(steps, _outputs_first(linears))
    lines = list(report)
    for i, layer in enumerate(layers):
        lines += layer.lines
        low, high, how, text = layer.min, layer.max, "exact", _activation(layer.min, layer.max)
        if activations is not None:
            low, high = ACTIVATIONS[activations[i]]
            how, text = "note", f"{_activation(low, high)}, as asked for" + (f", not {text}" if stated else "")
        elif not stated:
            kind, place = ("relu", "hidden layers") if i < len(layers) - 1 else ("none", "the last layer")
            low, high = ACTIVATIONS[kind]
            how, text = "note", f"{kind}, taken for {place}: the source does not say"
        layer.min, layer.max = low, high
        lines += [Line(f"layer {i} activation", how, text), *layer.skipped]
    return Import(FloatNetwork(tuple(layer.dense(i) for i, layer in enumerate(layers)), name), tuple(lines))


@dataclass
class _Layer:
    """A layer in the making."""

    name: str
    weights: Floats
    bias: Floats
    lines: list[Line]
    min: float = -np.inf
    max: float = np.inf
    skipped: list[Line] = field(default_factory=list)

    @property
    def clipped(self) -> bool:
        return (self.min, self.max) != (-np.inf, np.inf)

    def dense(self, index: int) -> FloatDense:
        try:
            return FloatDense(self.weights, self.bias, self.min, self.max)
        except ModelError as error:
            raise error.within(f"layer {index} ({self.name})") from None


def _layers(steps: Sequence[Step], outputs_first: Sequence[bool]) -> list[_Layer]:
    layers: list[_Layer] = []
    begun: list[Line] = []  # of what stands before the first layer
    before: list[Affine] = []  # scalings that go into the next layer
    for step in steps:
        match step:
            case Linear():
                i = len(layers)
                _require_finite(step, f"layer {i}")
                layer = _layer(step, i, outputs_first[i])
                for scaling in reversed(before):
                    _fold_before(layer, scaling, i)
                before = []
                layers.append(layer)
            case Affine() if layers and not layers[-1].clipped and not before:
                _fold_after(layers[-1], step, len(layers) - 1)
            case Affine():
                before.append(step)
            case Clip() if not layers or before:
                place = "comes before any layer" if not layers else f"comes after {before[-1].name}, not after a layer"
                raise unsupported(step.name, place, "an activation right after a dense layer")
            case Clip():
                layer = layers[-1]
                layer.min, layer.max = max(layer.min, step.min), min(layer.max, step.max)
            case Skipped():
                how = "note" if step.last else "passed over"
                (layers[-1].skipped if layers else begun).append(Line(step.name, how, step.text))
    if before:
        raise unsupported(
            before[-1].name, "comes after the last activation", "a layer after it, whose weights take it up"
        )
    layers[0].lines[:0] = begun
    _require_last(steps)
    return layers


def _require_last(steps: Sequence[Step]) -> None:
    """What can be left off only at the end stands there."""
    ended: Skipped | None = None
    for step in steps:
        if ended and not isinstance(step, Skipped):
            raise unsupported(ended.name, ended.text.partition(" ")[0] + " within the network", "relu, relu6 or none")
        if isinstance(step, Skipped) and step.last:
            ended = step


def _layer(step: Linear, index: int, outputs_first: bool) -> _Layer:
    (name, values), bias = step.weights, step.bias
    weights = values.astype(np.float64) if outputs_first else values.astype(np.float64).T
    text = _text(step.weights) + ("" if outputs_first else ", transposed")
    zero = Line(f"layer {index} bias", "exact", "absent, so zero")
    lines = [
        Line(f"layer {index} weights", "exact", text),
        Line(f"layer {index} bias", "exact", _text(bias)) if bias else zero,
    ]
    return _Layer(name, weights, bias.values.astype(np.float64) if bias else np.zeros(len(weights)), lines)


def _text(value: Member) -> str:
    return f"{value.values.dtype} {list(value.values.shape)} of {value.name}"


def _fold_before(layer: _Layer, scaling: Affine, index: int) -> None:
    """weights @ (x * factor + offset) + bias."""
    _require_channels(scaling, layer.weights.shape[1], f"layer {index} takes")
    with np.errstate(all="ignore"):  # what is not finite afterwards is refused by name
        layer.bias = layer.bias + layer.weights @ scaling.offset
        layer.weights = layer.weights * scaling.factor
    _derived(layer, scaling)


def _fold_after(layer: _Layer, scaling: Affine, index: int) -> None:
    """(weights @ x + bias) * factor + offset."""
    _require_channels(scaling, len(layer.weights), f"layer {index} gives")
    with np.errstate(all="ignore"):
        layer.weights = layer.weights * scaling.factor[:, np.newaxis]
        layer.bias = layer.bias * scaling.factor + scaling.offset
    _derived(layer, scaling)


def _require_channels(scaling: Affine, size: int, what: str) -> None:
    if len(scaling.factor) != size:
        raise ModelError("model.chain", f"{len(scaling.factor)} channels; {what} {size}", where=scaling.name)


def _derived(layer: _Layer, scaling: Affine) -> None:
    layer.lines = [
        replace(line, how="re-derived", text=f"{line.text}, with {scaling.name} folded in") for line in layer.lines
    ]


def _activation(low: float, high: float) -> str:
    names = [name for name, bounds in ACTIVATIONS.items() if bounds == (low, high)]
    return names[0] if names else f"min {low:g}, max {high:g}"


def _check_activations(activations: Sequence[str], layers: int) -> None:
    known = ", ".join(ACTIVATIONS)
    for given in activations:
        if given not in ACTIVATIONS:
            raise UsageError("usage.option", f"activation {given!r}", expected="one of " + known)
    if isinstance(activations, str) or len(activations) != layers:
        raise UsageError(
            "usage.option", f"{len(activations)} activations", expected=f"{layers}, one a layer, of {known}"
        )


def _require_finite(step: Linear, place: str) -> None:
    """Named as the source does, before anything is transposed."""
    for name, values in (step.weights, step.bias or step.weights):
        finite = np.isfinite(values)
        if not finite.all():
            at = tuple(int(i) for i in np.argwhere(~finite)[0])
            index = ", ".join(str(i) for i in at)
            raise ModelError("model.value", f"{name}[{index}] is {values[at]}", where=place, expected="finite values")


# --- which axis is which -------------------------------------------------------------------------------------------


def ways(linears: Sequence[Linear]) -> list[list[bool]]:
    """The readings under which the layers chain: for each layer, whether its weights are (outputs, inputs). It is one
    answer for all layers whose source does not say."""
    return [way for way in _readings(linears) if _break(linears, way) is None]


def _readings(linears: Sequence[Linear]) -> list[list[bool]]:
    both = [[way if step.outputs_first is None else step.outputs_first for step in linears] for way in (True, False)]
    return both if both[0] != both[1] else both[:1]


def _outputs_first(linears: Sequence[Linear]) -> list[bool]:
    """For each layer whether its weights are (outputs, inputs): as stated, else as the chain decides."""
    fitting = ways(linears)
    if len(fitting) == 2:
        shapes = ", ".join(str(list(step.weights.values.shape)) for step in linears)
        found = f"weights of shape {shapes} chain both as (inputs, outputs) and as (outputs, inputs)"
        raise ForeignModelError("weights.file", found, expected="names that say which", repair=HOW_TO_NAME)
    if not fitting:
        readings = _readings(linears)
        turned = [not way for way in readings[0]]
        repair = HOW_TO_NAME if len(readings) == 1 and _break(linears, turned) is None else ""
        found = _break(linears, readings[-1]) or ""
        raise ModelError("model.chain", found, expected="layers that chain, inputs to outputs", repair=repair)
    return fitting[0]


def _break(linears: Sequence[Linear], outputs_first: Sequence[bool]) -> str | None:
    """Where the layers do not chain, if anywhere."""
    given = None
    for i, (step, first) in enumerate(zip(linears, outputs_first, strict=True)):
        shape = step.weights.values.shape
        outputs, inputs = shape if first else shape[::-1]
        if given is not None and inputs != given:
            return f"layer {i} ({step.weights.name}, {list(shape)}) takes {inputs} inputs, layer {i - 1} gives {given}"
        if step.bias is not None and step.bias.values.shape != (outputs,):
            size = list(step.bias.values.shape)
            return f"layer {i} ({step.bias.name}, {size}) has not one bias for each of {outputs} outputs"
        given = outputs
    return None
