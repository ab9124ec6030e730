"""The integers of one layer, from its floats and scales: the step that quantization and training share.

An accumulator is a sum of input * weight, so one step of it is worth ``input scale * weight scale``, and one step of
the output ``output scale``. The factor between them, ``M = input scale * weight scale / output scale``, has to be one
that integers can carry out: ``multiplier / 2^total``. Absorbing turns the equation round: of the factors that can be
carried out the next larger one is taken, and the weights are rounded to the grid on which it is exact, ``weight scale
= M * output scale / input scale``. Then the multiplier has no error left.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from intnn.arithmetic import INT32_MAX, INT32_MIN
from intnn.errors import ModelError
from intnn.floats.network import Floats
from intnn.floats.scheme import MULTIPLIER_BITS, Scheme
from intnn.model import Q31, Activation, Dense, Fixed, Scales

Int64Array = npt.NDArray[np.int64]

FINEST = 1 / 8
"""A grid is no finer than that by which all roundings of a neuron's weights together can move its output by half this
part of a step: a finer one shows nowhere, and the accumulator of a neuron with tiny weights would leave int32."""


class Numbers(NamedTuple):
    """The integers of one layer: the output is ``(((acc + pre_round) >> pre_shift) * multiplier + round) >> shift``.

    ``weights`` int64 (outputs, inputs); ``bias``, ``multiplier``, ``shift`` and ``round`` int64 (outputs,);
    ``weight_scale`` float64 (outputs,) is what one step of a weight is worth. For the rule q31 ``shift`` is the total
    right shift of the 31-bit ``multiplier``, and the other three are 0.
    """

    weights: Int64Array
    bias: Int64Array
    multiplier: Int64Array
    shift: Int64Array
    round: Int64Array
    pre_shift: int
    pre_round: int
    weight_scale: Floats

    @property
    def factor(self) -> Floats:
        """What the accumulator is multiplied by, (outputs,)."""
        scaled: Floats = self.multiplier.astype(np.float64) * np.exp2(-1.0 * (self.shift + self.pre_shift))
        return scaled


def layer_numbers(
    weights: Floats,
    bias: Floats,
    weight_scale: Floats,
    input_scale: float,
    output_scale: float,
    source: Activation,
    output: Activation,
    scheme: Scheme,
    limit: int | None = None,
) -> Numbers:
    """The integers of a layer with float ``weights`` (outputs, inputs) and ``bias`` (outputs,).

    ``weight_scale`` (outputs,), positive, is the grid wished for; all equal for a scheme per tensor. Rows whose sums or
    products would leave int32 for some input in ``source``'s range get a coarser grid, and so do rows with
    ``sum|w| * max|x - zero_point|`` above ``limit``. ``pre_shift`` is the least with which every product fits.
    A row that moves its output by less than half a step may come to weights of 0. Raises :class:`ModelError`
    ``quantize.overflow`` where another row fits with no weight but 0.
    """
    ends = source.min - source.zero_point, source.max - source.zero_point
    span = max(1, *map(abs, ends))
    step = output_scale / input_scale  # what a weight moves the output by: one step for each step of its input
    wish: Floats = np.maximum(weight_scale, FINEST * step / (span * weights.shape[1]))
    shows = np.abs(weights).sum(axis=1) * span > step / 2
    first: Floats | None = None
    coarsened = np.zeros(len(wish), np.bool_)
    while True:
        multiplier, total = factor(wish * (input_scale / output_scale), scheme)
        exact: Floats = np.ldexp(multiplier.astype(np.float64), -total) * (output_scale / input_scale)
        grid = exact if scheme.absorb else wish
        w = np.clip(np.rint(weights / grid[:, None]), -scheme.largest_weight, scheme.largest_weight)
        b = np.rint(bias / (input_scale * grid))
        reach = np.abs(w).sum(axis=1) * span
        excess = (reach + np.abs(b)) / INT32_MAX
        if limit is not None:
            excess = np.maximum(excess, reach / limit)
        first = excess if first is None else first
        vanished = coarsened & ~w.any(axis=1) & shows
        if vanished.any():
            break
        if excess.max() <= 1:
            fitted = _fit(w.astype(np.int64), b.astype(np.int64), multiplier, total, ends, scheme)
            if fitted.too_large is None:
                return Numbers(w.astype(np.int64), b.astype(np.int64), *fitted[:5], grid)
            excess = np.where(fitted.too_large, 2.0, excess)
        # The next grid of a power of two is twice as coarse, whatever the excess.
        coarser = np.where(
            excess > 1,
            np.maximum(np.minimum(excess, 1e9) * 1.01, 2.0 if scheme.requantize == "power-of-two" else 1.01),
            1.0,
        )
        wish = wish * (coarser if scheme.per_channel else coarser.max())
        coarsened |= excess > 1
    neuron = int(np.argmax(vanished))
    raise ModelError(
        "quantize.overflow",
        f"neuron {neuron} needs {first[neuron]:.3g} times what there is, and weights so coarse that it fits are all 0",
        expected="sum|w| * max|x - zero_point| + |bias| within int32, and the product by the multiplier too",
        repair="a narrower --input-range, narrower --activations, or a shorter --requantize",
    )


def factor(real: Floats, scheme: Scheme) -> tuple[Int64Array, Int64Array]:
    """``multiplier`` and ``total`` with ``real`` (outputs,) about ``multiplier / 2^total``.

    The multiplier has at most the scheme's bits; the next larger one where weights absorb the difference, else the
    nearest.
    """
    fraction, exponent = np.frexp(real)
    bits = np.full(len(real), MULTIPLIER_BITS[scheme.requantize])
    if scheme.requantize != "q31":  # as few as one shift takes: the row with the least factor is not to decide for all
        bits = np.clip(31 + exponent, 1, bits)
    scaled = np.ldexp(fraction, bits)
    # Less a hair: a factor that is exact but for the last bits of a float is not to become the next larger one.
    multiplier = (np.ceil(scaled * (1 - 2.0**-45)) if scheme.absorb else np.rint(scaled)).astype(np.int64)
    full = multiplier >> bits  # 1 where rounding up has reached the next power of two
    multiplier, total = multiplier >> full, bits - exponent.astype(np.int64) - full
    if scheme.requantize == "q31":
        return multiplier, total
    return multiplier << np.maximum(-total, 0), np.maximum(total, 0)


class _Fitted(NamedTuple):
    multiplier: Int64Array
    shift: Int64Array
    round: Int64Array
    pre_shift: int
    pre_round: int
    too_large: npt.NDArray[np.bool_] | None


def _fit(
    w: Int64Array, b: Int64Array, multiplier: Int64Array, total: Int64Array, ends: tuple[int, int], scheme: Scheme
) -> _Fitted:
    """The shifts with which every step fits int32, or the rows for which there are none."""
    zeros = np.zeros_like(b)
    if scheme.requantize == "q31":
        left = np.maximum(31 - total, 0)
        reach = (np.abs(w).sum(axis=1) * max(map(abs, ends)) + np.abs(b)).astype(np.float64)
        wide = reach * np.exp2(left.astype(np.float64)) > INT32_MAX
        return _Fitted(multiplier, total, zeros, 0, 0, wide if wide.any() else None)
    low = b + np.minimum(w * ends[0], w * ends[1]).sum(axis=1)
    high = b + np.maximum(w * ends[0], w * ends[1]).sum(axis=1)
    too_large = np.ones(len(b), np.bool_)
    for pre_shift in range(max(0, int(total.max()) - 31), min(31, int(total.min())) + 1):
        shift = total - pre_shift
        pre_round, half = (1 << pre_shift) >> 1, (1 << shift) >> 1
        # int64 holds the product: sums below 2^31 times a multiplier below 2^31.
        largest = ((high + pre_round) >> pre_shift) * multiplier + half
        smallest = ((low + pre_round) >> pre_shift) * multiplier
        too_large = (high + pre_round > INT32_MAX) | (largest > INT32_MAX) | (smallest < INT32_MIN)
        if not too_large.any():
            return _Fitted(multiplier, shift, half, pre_shift, pre_round, None)
    return _Fitted(multiplier, total, zeros, 0, 0, too_large)


def dense(numbers: Numbers, output: Activation, scales: tuple[float, float], scheme: Scheme) -> Dense:
    """The layer of ``numbers``, whose input and output have ``scales``."""
    n, m, s = numbers, numbers.multiplier, numbers.shift
    if not scheme.per_channel:
        m, s = m[0], s[0]
    rule: Fixed | Q31
    if scheme.requantize == "q31":
        rule = Q31(m, 31 - s, "single")
    else:
        rule = Fixed(s, n.round if scheme.per_channel else n.round[0], m, n.pre_shift, n.pre_round)
    weight_scale = n.weight_scale.astype(np.float32).astype(np.float64)
    weights = weight_scale if scheme.per_channel else float(weight_scale[0])
    return Dense(n.weights, n.bias, rule, output, Scales(scales[0], weights, scales[1]))
