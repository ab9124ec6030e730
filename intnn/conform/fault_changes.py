"""How a device's mistakes change the beats of a layer: what :mod:`intnn.conform.fault_models` lists.

Each function gives the :class:`Beats` of a layer with the mistake, or ``None`` where it has no meaning; beats that are
equal to those given mean the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from intnn.bounds import LayerProof
from intnn.conform.beats import Q31_ROUNDINGS, Beats, Rescale
from intnn.conform.device import Int64
from intnn.errors import ModelError
from intnn.model import Q31, TYPES
from intnn.profiles import INT32_PROFILES, requantization

INT32_MAX = (1 << 31) - 1


def _tail(n: int) -> int:
    """How many rows code that goes by fours leaves over; 1 where it leaves none."""
    return n % 4 or 1


def last_rows(v: Int64) -> Int64:
    """The rows ``v`` with the last of them, those that code going by fours leaves over, replaced by the first."""
    count = _tail(len(v))
    return np.concatenate([v[: len(v) - count], v[:count]])


# --- input


def reads(b: Beats, how: str) -> Beats | None:
    """``signed`` for an unsigned input, ``unsigned`` for a signed one."""
    unsigned = b.source.type == "uint8"
    return replace(b, read=how) if unsigned == (how == "signed") else None


def skips(b: Beats, input: int) -> Beats:
    """The loop over the inputs leaves out that of number ``input``, counted from the end if negative."""
    return replace(b, skipped=(*b.skipped, input % b.weights.shape[1]))


# --- requantize


def _rescale(b: Beats, **changes: object) -> Beats:
    return replace(b, rescale=replace(b.rescale, **changes))  # type: ignore[arg-type]  # the callers name fields


def rounds(b: Beats, rounding: str) -> Beats | None:
    """Another rounding of the same real multiplier: one of those a :class:`Rescale` has."""
    r = b.rescale
    if rounding in Q31_ROUNDINGS:
        return _rounds_q31(b, rounding)
    if rounding == "rndnu" and r.scales is None:
        inside = (r.real == 0) | (r.real >= 2.0**-32) & (r.real < 256)
        return _rescale(b, rounding=rounding) if inside.all() else None
    named = (r.round, r.pre_round, r.shift, r.pre_shift)
    if r.rounding == "constants" and rounding in ("floor", "half-up"):  # a name for constants that may be right
        halves = (np.left_shift(1, r.shift) >> 1, np.left_shift(1, r.pre_shift) >> 1)
        right = halves if rounding == "half-up" else (0, 0)
        if np.all(named[0] == right[0]) and np.all(named[1] == right[1]):
            return None
    return _rescale(b, rounding=rounding)


def _rounds_q31(b: Beats, rounding: str) -> Beats | None:
    """Another rounding of a q31 rule's constants; of a foreign rule those that its scales give."""
    r = b.rescale
    if r.family == "fixed":
        return None
    if r.family == "q31":
        return _rescale(b, rounding=rounding)
    assert r.scales is not None, "a foreign rule has scales"
    assert rounding in INT32_PROFILES, rounding
    try:
        rule = requantization(rounding, r.scales)
    except ModelError:  # scales that the profile cannot express
        return None
    assert isinstance(rule, Q31), "a profile of int32 only"
    return replace(b, rescale=Rescale.of(replace(r.layer, requantize=rule)))


def constant(b: Beats, step: int) -> Beats | None:
    """The second constant of a ``fixed`` rule off by ``step``, where that shift has one."""
    r = b.rescale
    if r.rounding != "constants":
        return None
    there = (r.shift > 0) & (r.round + step >= 0)
    return _rescale(b, round=np.where(there, r.round + step, r.round))


def pre_missing(b: Beats) -> Beats | None:
    """The first constant of a ``fixed`` rule is 0."""
    return _rescale(b, pre_round=np.zeros_like(b.rescale.pre_round)) if b.rescale.rounding == "constants" else None


def once(b: Beats) -> Beats | None:
    """A ``fixed`` rule that shifts twice shifts by the sum, and rounds the exact product half up."""
    r = b.rescale
    if r.rounding != "constants" or not np.any(r.pre_shift):
        return None
    none = np.zeros_like(r.pre_shift)
    return _rescale(b, family="q31", rounding="half-up", shift=r.shift + r.pre_shift, pre_shift=none)


def shifts(b: Beats, step: int) -> Beats | None:
    """The total right shift off by ``step``."""
    r = b.rescale
    if r.family == "real":
        return None
    most = 31 if r.family == "fixed" else 62
    return _rescale(b, shift=np.clip(r.shift + step, 0 if r.family == "fixed" else 1, most))


def logical(b: Beats) -> Beats | None:
    """The last right shift of an int32 takes it for a uint32."""
    r = b.rescale
    last = r.shift if r.family == "fixed" else r.shift - 31
    return _rescale(b, logical=True) if r.family != "real" and np.any(last > 0) else None


def multiplies(b: Beats, change: Callable[[Int64], Int64]) -> Beats | None:
    """Another multiplier, kept within [0, 2^31 - 1]."""
    r = b.rescale
    if r.family == "real" or (r.family == "fixed" and np.all(r.multiplier == 1)):  # 1: there is no multiplier
        return None
    return _rescale(b, multiplier=np.clip(change(r.multiplier), 0, INT32_MAX))


def truncated(b: Beats) -> Beats | None:
    """The low 16 bits of a 31-bit multiplier cleared; of a ``fixed`` rule's the lowest."""
    bits = 1 if b.rescale.family == "fixed" else 16
    return multiplies(b, lambda m: m >> bits << bits)


def first_channel(b: Beats) -> Beats:
    """The constants of the first neuron for all."""
    r = b.rescale
    names = ("multiplier", "shift", "pre_shift", "round", "pre_round")
    scales = r.scales
    if scales is not None and isinstance(scales.weights, np.ndarray):
        scales = replace(scales, weights=np.broadcast_to(scales.weights[:1], scales.weights.shape))
    constants = {n: np.full_like(v, v.flat[0]) for n in names if (v := getattr(r, n)).ndim}
    return _rescale(b, scales=scales, **constants)


# --- clamp


def limit(b: Beats, side: str, step: int) -> Beats | None:
    """The ``low`` or ``high`` bound of the clamp off by ``step``."""
    if b.clamp != "bounds":
        return None
    low, high = b.low + (side == "low") * step, b.high + (side == "high") * step
    return replace(b, low=low, high=high) if low <= high else None


def at_zero(b: Beats) -> Beats | None:
    """The lower bound 0 where there is a ReLU."""
    relu = b.clamp == "bounds" and b.low == b.layer.output.zero_point
    return replace(b, low=0) if relu else None


def extra_relu(b: Beats) -> Beats | None:
    """A ReLU where the lower bound is the type's."""
    none = b.clamp == "bounds" and b.low == TYPES[b.layer.output.type][0]
    return replace(b, low=b.layer.output.zero_point) if none else None


def type_only(b: Beats) -> Beats:
    """The bounds of the type."""
    low, high = TYPES[b.layer.output.type]
    return replace(b, low=low, high=high)


def unbounded(b: Beats, side: str) -> Beats | None:
    """No bound on one side: what leaves the type there wraps."""
    if b.clamp != "bounds":
        return None
    return replace(b, low=-INT32_MAX - 1) if side == "low" else replace(b, high=INT32_MAX)


def short_stride(b: Beats) -> Beats:
    """Rows of weights that begin one place too early, each against the one before."""
    outputs, inputs = b.weights.shape
    places = np.arange(outputs)[:, None] * (inputs - 1) + np.arange(inputs)
    return replace(b, weights=b.weights.ravel()[places])


def symmetric(b: Beats) -> Beats | None:
    """-127 as the lower bound of int8."""
    int8 = b.clamp == "bounds" and b.layer.output.type == "int8" and b.low == -128 < b.high
    return replace(b, low=-127) if int8 else None


def clamped_before(b: Beats) -> Beats | None:
    """The clamp, to the type's range, before the zero point."""
    return replace(b, clamp="before") if b.zero_out else None


def bias_by(b: Beats, o: int, i: int, step: int) -> Beats:
    """The bias of neuron ``o`` off by ``step``."""
    bias = b.bias.copy()
    bias[o] += step
    return replace(b, bias=bias)


def weight(b: Beats, o: int, i: int, change: Callable[[int], int]) -> Beats:
    """The weight of neuron ``o`` for input ``i`` changed."""
    weights = b.weights.copy()
    weights[o, i] = change(int(weights[o, i]))
    return replace(b, weights=weights)


def meaningful(before: Beats, after: Beats | None, proof: LayerProof) -> bool:
    """Whether ``after`` is a change that can matter: a 16-bit accumulator does not where sums are proved to fit it."""
    if after is None:
        return False
    fits = bool(proof.acc_low.min() >= -(1 << 15) and proof.acc_high.max() < 1 << 15)
    return before.hold == after.hold or not fits
