"""The list of fault models: what each is called, in which stage of a layer it is made, and what it says in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from intnn.conform import fault_changes as changes
from intnn.conform.beats import Q31_ROUNDINGS, REAL_ROUNDINGS, SHIFTS, Beats, wrap


@dataclass(frozen=True)
class FaultModel:
    """A kind of fault: ``change`` makes the beats, and ``verb`` continues "layer 1 ..." or "every layer ..."."""

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
        _F(f"rounding.{name}", "requantize", ROUNDING_WORDS[name], partial(changes.rounds, rounding=name))
        for name in (*SHIFTS, *Q31_ROUNDINGS, *REAL_ROUNDINGS)
    ),
    _F(
        "rounding.constant-plus-one",
        "requantize",
        "has its rounding constant one too large",
        partial(changes.constant, step=1),
    ),
    _F(
        "rounding.constant-minus-one",
        "requantize",
        "has its rounding constant one too small",
        partial(changes.constant, step=-1),
    ),
    _F("rounding.once", "requantize", "shifts and rounds once where it should twice", changes.once),
    _F("rounding.pre-missing", "requantize", "does not round its first shift", changes.pre_missing),
    _F("shift.plus-one", "requantize", "shifts right by one too much", partial(changes.shifts, step=1)),
    _F("shift.minus-one", "requantize", "shifts right by one too little", partial(changes.shifts, step=-1)),
    _F("shift.logical", "requantize", "shifts right as unsigned (logical, not arithmetic)", changes.logical),
    _F("multiplier.truncated", "requantize", "cuts low bits off its multiplier", changes.truncated),
    _F(
        "multiplier.plus-one",
        "requantize",
        "has its multiplier one too large",
        partial(changes.multiplies, change=lambda m: m + 1),
    ),
    _F(
        "multiplier.minus-one",
        "requantize",
        "has its multiplier one too small",
        partial(changes.multiplies, change=lambda m: m - 1),
    ),
    _F("multiplier.of-first-channel", "requantize", "rescales every neuron as the first", changes.first_channel),
    _F("bias.missing", "accumulate", "adds no bias", lambda b: replace(b, bias=np.zeros_like(b.bias))),
    _F("bias.shifted", "accumulate", "adds the next neuron's bias", lambda b: replace(b, bias=np.roll(b.bias, -1))),
    _F(
        "bias.last-rows",
        "accumulate",
        "adds the first neurons' biases to its last",
        lambda b: replace(b, bias=changes.last_rows(b.bias)),
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
    _F("clamp.min-missing", "clamp", "has no lower bound", partial(changes.unbounded, side="low")),
    _F("clamp.max-missing", "clamp", "has no upper bound", partial(changes.unbounded, side="high")),
    _F("clamp.type-only", "clamp", "clamps to its type's range only", changes.type_only),
    _F("clamp.before-zero-point", "clamp", "saturates before it adds the zero point", changes.clamped_before),
    _F("relu.at-zero", "clamp", "has its ReLU at 0 instead of at the zero point", changes.at_zero),
    _F("relu.extra", "clamp", "has a ReLU where none belongs", changes.extra_relu),
    _F("clamp.symmetric", "clamp", "clamps to -127 instead of -128", changes.symmetric),
    _F(
        "clamp.max-minus-one",
        "clamp",
        "has its upper bound one too small",
        partial(changes.limit, side="high", step=-1),
    ),
    _F("clamp.max-plus-one", "clamp", "has its upper bound one too large", partial(changes.limit, side="high", step=1)),
    _F("clamp.min-plus-one", "clamp", "has its lower bound one too large", partial(changes.limit, side="low", step=1)),
    _F(
        "clamp.min-minus-one", "clamp", "has its lower bound one too small", partial(changes.limit, side="low", step=-1)
    ),
    _F("acc.int16-wrap", "accumulate", "accumulates in 16 bits", lambda b: replace(b, hold="int16-wrap")),
    _F(
        "acc.int16-saturate",
        "accumulate",
        "saturates its accumulator to 16 bits",
        lambda b: replace(b, hold="int16-saturate"),
    ),
    _F("input.unsigned", "input", "reads its signed input as unsigned", partial(changes.reads, how="unsigned")),
    _F("input.signed", "input", "reads its unsigned input as signed", partial(changes.reads, how="signed")),
    _F("input.last-missing", "input", "leaves out its last input", partial(changes.skips, input=-1)),
    _F("input.first-missing", "input", "leaves out its first input", partial(changes.skips, input=0)),
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
        "weights.short-stride",
        "accumulate",
        "steps from row to row of its weights by one too little",
        changes.short_stride,
    ),
    _F(
        "weights.last-rows",
        "accumulate",
        "uses the first neurons' weights for its last",
        lambda b: replace(b, weights=changes.last_rows(b.weights)),
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


NEURON_MODELS = (
    NeuronModel("bias.plus-one", "has the bias of neuron {o} one too large", False, partial(changes.bias_by, step=1)),
    NeuronModel("bias.minus-one", "has the bias of neuron {o} one too small", False, partial(changes.bias_by, step=-1)),
    NeuronModel(
        "weights.plus-one", "has weight {o},{i} one too large", True, partial(changes.weight, change=lambda w: w + 1)
    ),
    NeuronModel(
        "weights.minus-one", "has weight {o},{i} one too small", True, partial(changes.weight, change=lambda w: w - 1)
    ),
    NeuronModel(
        "weights.negated", "has weight {o},{i} of the wrong sign", True, partial(changes.weight, change=lambda w: -w)
    ),
    NeuronModel("weights.zero", "has weight {o},{i} missing", True, partial(changes.weight, change=lambda w: 0)),
)
