"""The list of fault models: what each is called, what it says, and how it changes a layer's :class:`Beats`.

A model is a function of a layer's beats that gives other beats, or ``None`` where it has no meaning; beats that are
equal to those given mean the same. Models of one neuron take its number too, or those of a neuron and an input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from intnn.bounds import LayerProof
from intnn.conform.beats import Q31_ROUNDINGS, REAL_ROUNDINGS, SHIFTS, Beats, Rescale, wrap
from intnn.conform.device import Int64
from intnn.errors import ModelError
from intnn.model import Q31, TYPES
from intnn.profiles import INT32_PROFILES, requantization

INT32_MAX = (1 << 31) - 1


@dataclass(frozen=True)
class FaultModel:
    """A kind of fault: ``change`` makes the beats; ``verb`` continues "layer 1 ...", ``all_verb`` "every layer ..."."""

    name: str
    stage: str
    verb: str
    change: Callable[[Beats], Beats | None]


@dataclass(frozen=True)
class NeuronModel:
    """A kind of fault in one neuron ``[o]``, or in its weight of one input ``[o,i]`` if ``inputs``."""

    name: str
    verb: str
    inputs: bool
    change: Callable[[Beats, int, int], Beats | None]


def _tail(n: int) -> int:
    """How many rows code that goes by fours leaves over; 1 where it leaves none."""
    return n % 4 or 1


def _last_rows(v: Int64) -> Int64:
    count = _tail(len(v))
    return np.concatenate([v[: len(v) - count], v[:count]])


# --- input


def _reads(b: Beats, how: str) -> Beats | None:
    unsigned = b.source.type == "uint8"
    return replace(b, read=how) if unsigned == (how == "signed") else None


def _skips(b: Beats, input: int) -> Beats:
    return replace(b, skipped=(*b.skipped, input % b.weights.shape[1]))


# --- requantize


def _rescale(b: Beats, **changes: object) -> Beats:
    return replace(b, rescale=replace(b.rescale, **changes))  # type: ignore[arg-type]  # the callers name fields


def _rounds(b: Beats, rounding: str) -> Beats | None:
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


def _constant(b: Beats, step: int) -> Beats | None:
    r = b.rescale
    if r.rounding != "constants":
        return None
    there = (r.shift > 0) & (r.round + step >= 0)
    return _rescale(b, round=np.where(there, r.round + step, r.round))


def _pre_missing(b: Beats) -> Beats | None:
    return _rescale(b, pre_round=np.zeros_like(b.rescale.pre_round)) if b.rescale.rounding == "constants" else None


def _shifts(b: Beats, step: int) -> Beats | None:
    r = b.rescale
    if r.family == "real":
        return None
    most = 31 if r.family == "fixed" else 62
    return _rescale(b, shift=np.clip(r.shift + step, 0 if r.family == "fixed" else 1, most))


def _logical(b: Beats) -> Beats | None:
    r = b.rescale
    last = r.shift if r.family == "fixed" else r.shift - 31
    return _rescale(b, logical=True) if r.family != "real" and np.any(last > 0) else None


def _multiplies(b: Beats, change: Callable[[Int64], Int64]) -> Beats | None:
    r = b.rescale
    if r.family == "real" or (r.family == "fixed" and np.all(r.multiplier == 1)):  # 1: there is no multiplier
        return None
    return _rescale(b, multiplier=np.clip(change(r.multiplier), 0, INT32_MAX))


def _truncated(b: Beats) -> Beats | None:
    bits = 1 if b.rescale.family == "fixed" else 16
    return _multiplies(b, lambda m: m >> bits << bits)


def _first_channel(b: Beats) -> Beats:
    r = b.rescale
    names = ("multiplier", "shift", "pre_shift", "round", "pre_round")
    scales = r.scales
    if scales is not None and isinstance(scales.weights, np.ndarray):
        scales = replace(scales, weights=np.broadcast_to(scales.weights[:1], scales.weights.shape))
    constants = {n: np.full_like(v, v.flat[0]) for n in names if (v := getattr(r, n)).ndim}
    return _rescale(b, scales=scales, **constants)


# --- clamp


def _limit(b: Beats, side: str, step: int) -> Beats | None:
    if b.clamp != "bounds":
        return None
    low, high = b.low + (side == "low") * step, b.high + (side == "high") * step
    return replace(b, low=low, high=high) if low <= high else None


def _at_zero(b: Beats) -> Beats | None:
    relu = b.clamp == "bounds" and b.low == b.layer.output.zero_point
    return replace(b, low=0) if relu else None


def _extra_relu(b: Beats) -> Beats | None:
    none = b.clamp == "bounds" and b.low == TYPES[b.layer.output.type][0]
    return replace(b, low=b.layer.output.zero_point) if none else None


def _type_only(b: Beats) -> Beats:
    low, high = TYPES[b.layer.output.type]
    return replace(b, low=low, high=high)


def _symmetric(b: Beats) -> Beats | None:
    int8 = b.clamp == "bounds" and b.layer.output.type == "int8" and b.low == -128 < b.high
    return replace(b, low=-127) if int8 else None


def _clamped_before(b: Beats) -> Beats | None:
    return replace(b, clamp="before") if b.zero_out else None


ROUNDING_WORDS = {
    "floor": "rounds down",
    "half-up": "rounds half up",
    "half-down": "rounds half down",
    "half-away": "rounds half away from zero",
    "half-to-zero": "rounds half toward zero",
    "half-even": "rounds half to even",
    "toward-zero": "rounds toward zero (drops the fraction)",
    "ceil": "rounds up",
    "single": "rounds once, half up (profile single)",
    "double": "rounds half up, then half away from zero (profile double)",
    "upup": "rounds half up twice (profile upup)",
    "reduced15": "keeps 15 bits of the multiplier and rounds once (profile reduced15)",
    "f64away": "multiplies in float64 and rounds half away from zero (profile f64away)",
    "fp32even": "multiplies in float32 and rounds half to even (profile fp32even)",
    "trunc0": "multiplies in float32 and drops the fraction (profile trunc0)",
    "rndnu": "multiplies by a 24-bit mantissa and rounds half up (profile rndnu)",
}

_F = FaultModel

MODELS: tuple[FaultModel, ...] = (
    *(
        _F(f"rounding.{name}", "requantize", ROUNDING_WORDS[name], partial(_rounds, rounding=name))
        for name in (*SHIFTS, *Q31_ROUNDINGS, *REAL_ROUNDINGS)
    ),
    _F(
        "rounding.constant-plus-one",
        "requantize",
        "has its rounding constant one too large",
        partial(_constant, step=1),
    ),
    _F(
        "rounding.constant-minus-one",
        "requantize",
        "has its rounding constant one too small",
        partial(_constant, step=-1),
    ),
    _F("rounding.pre-missing", "requantize", "does not round its first shift", _pre_missing),
    _F("shift.plus-one", "requantize", "shifts right by one too much", partial(_shifts, step=1)),
    _F("shift.minus-one", "requantize", "shifts right by one too little", partial(_shifts, step=-1)),
    _F("shift.logical", "requantize", "shifts right as unsigned (logical, not arithmetic)", _logical),
    _F("multiplier.truncated", "requantize", "cuts low bits off its multiplier", _truncated),
    _F(
        "multiplier.plus-one",
        "requantize",
        "has its multiplier one too large",
        partial(_multiplies, change=lambda m: m + 1),
    ),
    _F(
        "multiplier.minus-one",
        "requantize",
        "has its multiplier one too small",
        partial(_multiplies, change=lambda m: m - 1),
    ),
    _F("multiplier.of-first-channel", "requantize", "rescales every neuron as the first", _first_channel),
    _F("bias.missing", "accumulate", "adds no bias", lambda b: replace(b, bias=np.zeros_like(b.bias))),
    _F("bias.shifted", "accumulate", "adds the next neuron's bias", lambda b: replace(b, bias=np.roll(b.bias, -1))),
    _F(
        "bias.last-rows",
        "accumulate",
        "adds the first neurons' biases to its last",
        lambda b: replace(b, bias=_last_rows(b.bias)),
    ),
    _F("bias.int16", "accumulate", "has its biases wrapped to int16", lambda b: replace(b, bias=wrap(b.bias, 16))),
    _F("bias.int8", "accumulate", "has its biases wrapped to int8", lambda b: replace(b, bias=wrap(b.bias, 8))),
    _F("bias.negated", "accumulate", "subtracts its biases", lambda b: replace(b, bias=-b.bias)),
    _F("bias.doubled", "accumulate", "adds its biases twice", lambda b: replace(b, bias=b.bias * 2)),
    _F("zero-point.missing", "clamp", "does not add its output's zero point", lambda b: replace(b, zero_out=0)),
    _F("zero-point.sign", "clamp", "subtracts its output's zero point", lambda b: replace(b, zero_out=-b.zero_out)),
    _F(
        "zero-point.of-input",
        "clamp",
        "adds its input's zero point to its output",
        lambda b: replace(b, zero_out=b.source.zero_point),
    ),
    _F(
        "input.zero-point-missing", "input", "does not subtract its input's zero point", lambda b: replace(b, zero_in=0)
    ),
    _F("input.zero-point-sign", "input", "adds its input's zero point", lambda b: replace(b, zero_in=-b.zero_in)),
    _F(
        "input.zero-point-of-output",
        "input",
        "subtracts its output's zero point from its input",
        lambda b: replace(b, zero_in=b.layer.output.zero_point),
    ),
    _F("clamp.wrap", "clamp", "wraps instead of saturating", lambda b: replace(b, clamp="wrap")),
    _F("clamp.type-only", "clamp", "clamps to its type's range only", _type_only),
    _F("clamp.before-zero-point", "clamp", "saturates before it adds the zero point", _clamped_before),
    _F("relu.at-zero", "clamp", "has its ReLU at 0 instead of at the zero point", _at_zero),
    _F("relu.extra", "clamp", "has a ReLU where none belongs", _extra_relu),
    _F("clamp.symmetric", "clamp", "clamps to -127 instead of -128", _symmetric),
    _F("clamp.max-minus-one", "clamp", "has its upper bound one too small", partial(_limit, side="high", step=-1)),
    _F("clamp.max-plus-one", "clamp", "has its upper bound one too large", partial(_limit, side="high", step=1)),
    _F("clamp.min-plus-one", "clamp", "has its lower bound one too large", partial(_limit, side="low", step=1)),
    _F("clamp.min-minus-one", "clamp", "has its lower bound one too small", partial(_limit, side="low", step=-1)),
    _F("acc.int16-wrap", "accumulate", "accumulates in 16 bits", lambda b: replace(b, hold="int16-wrap")),
    _F(
        "acc.int16-saturate",
        "accumulate",
        "saturates its accumulator to 16 bits",
        lambda b: replace(b, hold="int16-saturate"),
    ),
    _F("input.unsigned", "input", "reads its signed input as unsigned", partial(_reads, how="unsigned")),
    _F("input.signed", "input", "reads its unsigned input as signed", partial(_reads, how="signed")),
    _F("input.last-missing", "input", "leaves out its last input", partial(_skips, input=-1)),
    _F("input.first-missing", "input", "leaves out its first input", partial(_skips, input=0)),
    _F(
        "input.reversed",
        "input",
        "reads its inputs in reverse order",
        lambda b: replace(b, read_backwards=not b.read_backwards),
    ),
    _F(
        "weights.transposed",
        "accumulate",
        "reads its weights as if transposed",
        lambda b: replace(b, weights=b.weights.reshape(b.weights.shape[::-1]).T),
    ),
    _F(
        "weights.unsigned",
        "accumulate",
        "reads its weights as uint8",
        lambda b: replace(b, weights=wrap(b.weights, 8, False)),
    ),
    _F(
        "weights.symmetric",
        "accumulate",
        "has weights of -127 instead of -128",
        lambda b: replace(b, weights=np.maximum(b.weights, -127)),
    ),
    _F(
        "weights.row-shifted",
        "accumulate",
        "uses the next neuron's weights",
        lambda b: replace(b, weights=np.roll(b.weights, -1, axis=0)),
    ),
    _F(
        "weights.last-rows",
        "accumulate",
        "uses the first neurons' weights for its last",
        lambda b: replace(b, weights=_last_rows(b.weights)),
    ),
    _F("weights.negated", "accumulate", "subtracts its products", lambda b: replace(b, weights=-b.weights)),
    _F(
        "output.reversed",
        "output",
        "writes its outputs in reverse order",
        lambda b: replace(b, write_backwards=not b.write_backwards),
    ),
    _F("output.last-missing", "output", "leaves its last output at 0", lambda b: replace(b, last_missing=True)),
)
"""All models of whole layers, the likelier first: in this order hypotheses that explain as much are reported."""


def _bias_by(b: Beats, o: int, i: int, step: int) -> Beats:
    bias = b.bias.copy()
    bias[o] += step
    return replace(b, bias=bias)


def _weight(b: Beats, o: int, i: int, change: Callable[[int], int]) -> Beats:
    weights = b.weights.copy()
    weights[o, i] = change(int(weights[o, i]))
    return replace(b, weights=weights)


NEURON_MODELS = (
    NeuronModel("bias.plus-one", "has the bias of neuron {o} one too large", False, partial(_bias_by, step=1)),
    NeuronModel("bias.minus-one", "has the bias of neuron {o} one too small", False, partial(_bias_by, step=-1)),
    NeuronModel("weights.plus-one", "has weight {o},{i} one too large", True, partial(_weight, change=lambda w: w + 1)),
    NeuronModel(
        "weights.minus-one", "has weight {o},{i} one too small", True, partial(_weight, change=lambda w: w - 1)
    ),
    NeuronModel("weights.negated", "has weight {o},{i} of the wrong sign", True, partial(_weight, change=lambda w: -w)),
    NeuronModel("weights.zero", "has weight {o},{i} missing", True, partial(_weight, change=lambda w: 0)),
)


def meaningful(before: Beats, after: Beats | None, proof: LayerProof) -> bool:
    """Whether ``after`` is a change that can matter: a 16-bit accumulator does not where sums are proved to fit it."""
    if after is None:
        return False
    fits = bool(proof.acc_low.min() >= -(1 << 15) and proof.acc_high.max() < 1 << 15)
    return before.hold == after.hold or not fits
