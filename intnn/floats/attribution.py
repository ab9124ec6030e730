"""What each step of a quantization costs, measured on data.

Between the network of floats and that of integers lie four steps, taken here one after the other, all in floats:

1. weights rounded: to the grid wished for, nothing else; 2. activations rounded: every vector, the input first, to
its scale and type; 3. multiplier approximated: the factor from accumulator to output is the one integers can carry
out. Where its error is absorbed this rounds the weights anew, to another grid; where it is not, each neuron is off by
a factor; 4. integer network: biases are integers, shifts round one after the other, as specified. This is
``intnn.run``.

Biases are corrected in every step if the scheme says so, on the samples the network was quantized with, so that a
step is charged with what remains.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from intnn import engines
from intnn.floats import rounding
from intnn.floats.meaning import decode, encode, error, metric, round_to
from intnn.floats.network import Floats, rows
from intnn.floats.quantize import Quantized, mean_error, rounded

STEPS = ("float", "weights rounded", "activations rounded", "multiplier approximated", "integer network")


class Step(NamedTuple):
    """A network on the way from floats to integers, and its ``error`` on the data."""

    name: str
    error: float


class Attribution(NamedTuple):
    """``metric`` is ``RMSE`` or ``error rate``, against ``reference``: ``target`` or ``float network``."""

    metric: str
    reference: str
    steps: tuple[Step, ...]


def attribute(q: Quantized, x: npt.ArrayLike, target: npt.ArrayLike | None = None) -> Attribution:
    """The error after each step, on inputs ``x`` (batch, inputs), of the kind the network was quantized with.

    ``target`` is (batch, outputs), or (batch,) labels; without it the float network's outputs are the reference.
    Raises as :func:`intnn.floats.meaning.encode` and :func:`intnn.floats.meaning.error`.
    """
    data = np.asarray(x)
    y = q.floats.run(data)
    reference = y if target is None else target
    integer = decode(q.network, engines.run(q.network, encode(q.network, data), engine="fast"))
    outputs = [
        y,
        _simulate(q, data, round_activations=False, actual=False),
        _simulate(q, data, round_activations=True, actual=False),
        _simulate(q, data, round_activations=True, actual=True),
        integer,
    ]
    steps = tuple(Step(name, error(each, reference)) for name, each in zip(STEPS, outputs, strict=True))
    return Attribution(metric(target, y.shape[1]), "float network" if target is None else "target", steps)


def _simulate(q: Quantized, data: npt.NDArray[np.generic], *, round_activations: bool, actual: bool) -> Floats:
    """The outputs for ``data`` with weights rounded: to the grid wished for, or with the ``actual`` multipliers."""
    net = q.network
    samples = rows(q.samples, net.sizes[0])
    both = [samples, rows(data, net.sizes[0])]
    exact = samples
    for i, layer in enumerate(q.floats.layers):
        numbers, wish, made, source = q.numbers[i], q.wishes[i], net.layers[i], net.inputs[i]
        assert made.scales is not None
        if round_activations:
            step = made.scales.input
            both = [step * (round_to(source, step, v) - source.zero_point) for v in both]
        if actual:
            weights = numbers.weights * numbers.weight_scale[:, None]
            gain = numbers.factor * made.scales.output / (made.scales.input * numbers.weight_scale)
        else:
            moment = rounding.moment(both[0], centred=q.scheme.bias_correction)
            weights = rounded(layer.weights, wish, moment, q.scheme)
            gain = np.ones(len(weights))
        before = [v @ weights.T for v in both]
        wanted = exact @ layer.weights.T
        bias = layer.bias
        if q.scheme.bias_correction:
            bias = bias + mean_error(layer, wanted + layer.bias, before[0] + layer.bias)
        both = [np.clip((v + bias) * gain, layer.min, layer.max) for v in before]
        exact = np.clip(wanted + layer.bias, layer.min, layer.max)
    if round_activations:
        made = net.layers[-1]
        assert made.scales is not None
        step = made.scales.output
        both = [step * (round_to(made.output, step, v) - made.output.zero_point) for v in both]
    return both[1]
