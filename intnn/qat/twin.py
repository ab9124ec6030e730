"""The network in training: the interpreter's integers forward, gradients of floats backward.

At every step the integers of each layer are derived from the trained floats by
:func:`intnn.floats.numbers.layer_numbers`, as quantization derives them, and go into the compiled step as data. There
they flow through the interpreter's own arithmetic, in int32. Beside them flows what they mean, ``scale * (q -
zero_point)``, whose gradient is not that of the integers (which is 0 almost everywhere) but that of a float expression
of about the same value:

- rounding counts as the identity (straight-through estimator); a clip, the ReLU among them, as what it is;
- a step size has the gradient of Esser et al., "Learned step size quantization" (2020): ``q - v / scale`` inside the
  clip, the bound outside.

The loss is therefore that of the network that will run, and never that of an approximation to it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from intnn import arithmetic
from intnn.arithmetic import INT32_MAX
from intnn.errors import IntnnError
from intnn.floats import calibrate
from intnn.floats.network import Floats
from intnn.floats.numbers import Numbers, dense, layer_numbers
from intnn.floats.quantize import Quantized
from intnn.model import Network
from intnn.qat.options import diverged
from intnn.qat.state import Array
from intnn.qat.units import Units

NEARLY_HALF = 0.49
"""How far a weight may lie from the integer it is rounded to, so that float32 does not round it to another."""

FARTHEST = 8.0
"""The most octaves a step size is followed from where it began: beyond, a training has gone astray."""


@jax.custom_jvp  # type: ignore[untyped-decorator]  # JAX is not read by mypy
def straight(value: Any, expression: Any) -> Any:
    """``value``, with the gradient of ``expression``."""
    return value


@straight.defjvp  # type: ignore[untyped-decorator]  # as above
def _(primals: Any, tangents: Any) -> Any:
    return primals[0], tangents[1]


def stepped(v: Any, q: Any, step: Any, low: Any, high: Any) -> Any:
    """What rounding ``v`` to ``q`` steps within [``low``, ``high``] gave, ``step * q``, with the gradients said
    above."""
    inside = (v > low * step) & (v < high * step)
    off = jax.lax.stop_gradient(jnp.where(inside, q - v / step, 0.0))
    return straight(step * q, jnp.clip(v, low * step, high * step) + step * off)


class Integers(NamedTuple):
    """What a compiled step takes: the integers of every layer in one int32 vector; ``grids``, float32, the weight steps
    of every neuron, layer after layer; ``scales``, float32 (layers + 1,), of the input and of every output."""

    words: Array
    grids: Array
    scales: Array


class Twin:
    """A quantized network ``start`` in training; its parameters are one float32 vector."""

    def __init__(self, start: Quantized, units: tuple[Units, ...], limit: int | None) -> None:
        self.start, self.units, self.limit, self.scheme = start, units, limit, start.scheme
        self.net = start.network
        scales = [layer.scales for layer in self.net.layers]
        self.input_scale = scales[0].input if scales[0] else 1.0
        self.output_scales = [s.output for s in scales if s]
        # The upper end of a ReLU6 is a real value; the scale that puts it at an integer stays.
        self.learned = [bool(np.isinf(layer.max)) for layer in start.floats.layers]
        self.wishes = [w if self.scheme.per_channel else w[:1] for w in start.wishes]
        self.shapes = [layer.weights.shape for layer in self.net.layers]

    def initial(self) -> Array:
        """The parameters whose integers are those of ``start``, which may have rounded a weight to another than the
        nearest."""
        parts: list[Floats] = []
        layers = zip(
            self.units, self.start.floats.layers, self.start.numbers, self.wishes, self.net.layers, strict=True
        )
        largest = self.scheme.largest_weight
        for unit, layer, n, wish, made in layers:
            grid = n.weight_scale[:, None]
            least = np.where(n.weights == -largest, -np.inf, n.weights - NEARLY_HALF)
            most = np.where(n.weights == largest, np.inf, n.weights + NEARLY_HALF)
            weights, rounded = np.clip(layer.weights, least * grid, most * grid), n.weights * grid
            assert made.scales is not None
            bias = n.bias * (made.scales.input * n.weight_scale)
            parts += [*unit.parameters(weights, rounded, bias), np.zeros(len(wish)), np.zeros(1)]
        return np.concatenate([part.ravel() for part in parts]).astype(np.float32)

    def rates(self, grid_rate: float, scale_rate: float) -> Array:
        """How fast each parameter is learnt, beside weights and biases: ``grid_rate`` for the steps of weights,
        ``scale_rate`` for those of outputs."""
        parts: list[Floats] = []
        for (o, i), wish, learned in zip(self.shapes, self.wishes, self.learned, strict=True):
            parts += [np.ones(o * i + o), np.full(len(wish), grid_rate), np.full(1, scale_rate * learned)]
        return np.concatenate(parts).astype(np.float32)

    def split(self, params: Any) -> list[tuple[Any, Any, Any, Any]]:
        """For each layer w (outputs, inputs), b (outputs,), and binary logarithms of the step sizes, relative to those
        of ``start``: of the weights (outputs,) or (1,), and of the output (1,)."""
        found, at = [], 0
        for (o, i), wish in zip(self.shapes, self.wishes, strict=True):
            ends = np.cumsum([at, o * i, o, len(wish), 1])
            w, b, grid, scale = (params[a:z] for a, z in pairwise(ends))
            found.append((w.reshape(o, i), b, grid, scale))
            at = ends[-1]
        return found

    def numbers(self, params: Array) -> tuple[list[Numbers], list[float]]:
        """The integers of every layer, and the scales of the input and of every output.

        Raises :class:`ModelError` ``quantize.overflow``, or ``train.diverged`` where a parameter is not finite.
        """
        if not np.isfinite(params).all():
            raise diverged("a parameter is no longer finite")
        found: list[Numbers] = []
        scales = [self.input_scale]
        layers = zip(self.split(params.astype(np.float64)), self.units, self.net.layers, self.net.inputs, strict=True)
        for i, ((w, b, grid, scale), unit, layer, source) in enumerate(layers):
            weights, bias = unit.dense(w, b)
            wish = np.broadcast_to(self.wishes[i] * np.exp2(np.clip(grid, -FARTHEST, FARTHEST)), len(b))
            output_scale = self.output_scales[i]
            if self.learned[i]:
                output_scale = calibrate.round_up(output_scale * 2.0 ** float(np.clip(scale[0], -FARTHEST, FARTHEST)))
                output_scale = calibrate.no_finer(layer.output.type, output_scale, scales[-1] * wish)
            ends = (scales[-1], output_scale, source, layer.output, self.scheme, self.limit)
            try:
                n = layer_numbers(weights, bias, wish, *ends)
                if unit.mean.any():
                    # The bias makes up for what rounding the weights did at the mean input.
                    rounded = n.weights * n.weight_scale[:, None]
                    bias = b * unit.row + unit.offset - rounded @ unit.mean
                    n = layer_numbers(weights, bias, n.weight_scale, *ends)
            except IntnnError as error:
                raise error.within(f"layer {i}") from None
            found.append(n)
            scales.append(output_scale)
        return found, scales

    def integers(self, params: Array) -> Integers:
        """The same, packed for a compiled step."""
        numbers, scales = self.numbers(params)
        words = [
            np.concatenate([n.weights.ravel(), n.bias, n.multiplier, n.shift, n.round, [n.pre_shift, n.pre_round]])
            for n in numbers
        ]
        grids = np.concatenate([n.weight_scale for n in numbers])
        return Integers(np.concatenate(words).astype(np.int32), grids.astype(np.float32), np.array(scales, np.float32))

    def network(self, params: Array) -> Network:
        """The network that :meth:`outputs` computes."""
        numbers, scales = self.numbers(params)
        pairs = pairwise(scales)
        layers = [
            dense(n, layer.output, pair, self.scheme)
            for n, layer, pair in zip(numbers, self.net.layers, pairs, strict=True)
        ]
        return Network(self.net.input, tuple(layers), self.net.name)

    def outputs(self, params: Any, given: Integers, x: Any) -> tuple[Any, Any, Any]:
        """For ``x`` int32 (batch, inputs) of the network's input: its output, int32 (batch, outputs); what that means,
        float32, with gradients in ``params``; and by how much rows exceed their budget, 0 if none does."""
        q, at, row, excess = x, 0, 0, 0.0
        value = given.scales[0] * (x - self.net.input.zero_point).astype(jnp.float32)
        layers = zip(self.split(params), self.units, self.net.layers, self.net.inputs, strict=True)
        for i, ((w, b, grid, scale), unit, layer, source) in enumerate(layers):
            o, n = layer.weights.shape
            ends = np.cumsum([at, o * n, o, o, o, o, 1, 1])
            words = [given.words[a:z] for a, z in pairwise(ends)]
            weights, (bias, multiplier, shift, round, pre_shift, pre_round) = words[0].reshape(o, n), words[1:]
            at, row, step = ends[-1], row + o, given.grids[row : row + o]
            # The integers.
            acc = jax.lax.dot_general(q - source.zero_point, weights, (((1,), (1,)), ((), ()))) + bias
            if self.scheme.requantize == "q31":
                v = arithmetic.q31(acc, multiplier, 31 - shift, "single")
            else:
                v = arithmetic.fixed(acc, pre_round, pre_shift, multiplier, round, shift)
            out = layer.output
            q = arithmetic.clamp(v + out.zero_point, out.min, out.max)
            # What they mean.
            wish = self.wishes[i].astype(np.float32) * jnp.exp2(grid)
            wished = w * (unit.row[:, None] / unit.column).astype(np.float32)
            excess = excess + self._excess(wished, wish, source)
            worth = straight(step, jnp.broadcast_to(wish, (o,)) * jax.lax.stop_gradient(step / wish))[:, None]
            # What rounds to the largest weight is not clipped; the largest of each row is to be learnt as the others.
            reach = self.scheme.largest_weight + 0.5
            rounded = stepped(wished, weights.astype(jnp.float32), worth, -reach, reach)
            centred = value - unit.mean.astype(np.float32)
            sums = centred @ rounded.T + b * unit.row.astype(np.float32) + unit.offset.astype(np.float32)
            sums = straight(acc.astype(jnp.float32) * (given.scales[i] * step), sums)
            learned = jnp.float32(self.output_scales[i]) * jnp.exp2(scale[0])
            size = straight(given.scales[i + 1], learned) if self.learned[i] else given.scales[i + 1]
            steps = (q - out.zero_point).astype(jnp.float32)
            value = stepped(sums, steps, size, float(out.min - out.zero_point), float(out.max - out.zero_point))
        return q, value, excess

    def _excess(self, weights: Any, wish: Any, source: Any) -> Any:
        """The squares of the parts by which rows exceed their budget on the grid wished for."""
        span = max(source.max - source.zero_point, source.zero_point - source.min)
        reach = jnp.abs(weights).sum(axis=1) / wish * (span / (self.limit or INT32_MAX))
        return jnp.sum(jnp.maximum(reach - 1.0, 0.0) ** 2)
