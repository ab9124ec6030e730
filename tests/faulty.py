"""Networks in C as the author of a firmware writes them by hand, with one fault where the fault really is made.

A fault is a wrong expression, a wrong constant, a line that is missing or a wrong table. Nothing here knows the fault
models of :mod:`intnn.conform`: the ids are the same, the code is not. :mod:`faulty_code` is the C without a fault.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from faulty_code import Code, layer_code, program

from intnn.model import Q31, TYPES, Fixed, Network

Edit = Callable[[Code], bool]
"""Writes a fault into a layer; says whether it has a meaning there."""

FAULTS: dict[str, Edit] = {}
"""Ids without their layer; those of one neuron end in ``[o]``, which stands for a number."""

ROUNDINGS = ("floor", "half-up", "half-down", "half-away", "half-to-zero", "half-even", "toward-zero", "ceil")


def faulty_c(net: Network, fault: str, layer: int | None, name: str = "net") -> str | None:
    """C that computes ``net`` with ``fault`` in ``layer``, or wherever it has a meaning; ``None`` where it has none.

    ``fault`` is a key of :data:`FAULTS` (with a number for ``o``), or empty for the network as it should be. In every
    layer a fault has a meaning if it has one in two of them. The function is ``void NAME_run(const T x[], T y[])``.
    """
    codes = [layer_code(net, k) for k in range(len(net.layers))]
    if fault:
        kind, _, neuron = fault.partition("[")
        edit = FAULTS[kind + "[o]" * bool(neuron)]
        for code in codes:
            code.neuron = int(neuron[:-1]) if neuron else -1
        chosen = codes if layer is None else [codes[layer]]
        if sum([edit(code) for code in chosen]) < (2 if layer is None else 1):
            return None
    return program(net, codes, name)


def true_id(fault: str, layer: int | None) -> str:
    """The id with its layer: ``bias.plus-one[5]`` at 1 is ``bias.plus-one@1[5]``."""
    kind, bracket, neuron = fault.partition("[")
    return f"{kind}@{'*' if layer is None else layer}{bracket}{neuron}"


def variants(net: Network) -> list[tuple[str, int | None]]:
    """Every fault that has a meaning for the network: at each layer, and in every layer; of one neuron at three."""
    found = []
    for fault in FAULTS:
        places: list[int | None] = [*range(len(net.layers))]
        if "[o]" not in fault:
            places.append(None)
        for layer in places:
            names = [fault]
            if "[o]" in fault and layer is not None:
                n = len(net.layers[layer].weights)
                names = [fault.replace("[o]", f"[{o}]") for o in sorted({0, n // 2, n - 1})]
            found += [(name, layer) for name in names if faulty_c(net, name, layer) is not None]
    return found


def fault(name: str) -> Callable[[Edit], Edit]:
    """Register a fault."""

    def register(edit: Edit) -> Edit:
        FAULTS[name] = edit
        return edit

    return register


def _replace(name: str, when: Callable[[Code], bool] = lambda c: True, **changes: Any) -> None:
    """A fault that puts other text or another value in the place of what is right; text may name ``n`` inputs, ``k``
    outputs, and what it replaces."""

    def edit(c: Code) -> bool:
        if not when(c):
            return False
        for field, change in changes.items():
            before = getattr(c, field)
            after = change(c) if callable(change) else change
            if isinstance(after, str):
                after = after.replace("INPUTS", str(c.inputs)).replace("OUTPUTS", str(c.outputs))
            setattr(c, field, after)
            if not callable(change) and isinstance(change, str):
                assert before != after, f"{name} changes nothing"
        return True

    FAULTS[name] = edit


# The input: how a layer reads what comes in.
_replace("input.unsigned", lambda c: c.source.type == "int8", x="(uint8_t)x[i]")
_replace("input.signed", lambda c: c.source.type == "uint8", x="(int8_t)x[i]")
_replace("input.reversed", lambda c: c.inputs > 1, x="x[INPUTS - 1 - i]")
_replace("input.last-missing", lambda c: c.inputs > 1, last="INPUTS - 1")
_replace("input.first-missing", lambda c: c.inputs > 1, first="1")
_replace("input.zero-point-missing", lambda c: c.source.zero_point != 0, zero=lambda c: 0)
_replace("input.zero-point-sign", lambda c: c.source.zero_point != 0, zero=lambda c: -c.zero)
_replace(
    "input.zero-point-of-output",
    lambda c: c.source.zero_point != c.output.zero_point,
    zero=lambda c: c.output.zero_point,
)

# The sum: weights, bias, accumulator.
_replace("weights.transposed", lambda c: min(c.inputs, c.outputs) > 1, w="i * OUTPUTS + o")
_replace("weights.unsigned", weight="(uint8_t)")
_replace("weights.symmetric", lambda c: bool((c.weights == -128).any()), weights=lambda c: np.maximum(c.weights, -127))
_replace("weights.row-shifted", lambda c: c.outputs > 1, w="(o + 1) % OUTPUTS * INPUTS + i")
_replace("weights.negated", weights_sign="-")
_replace("bias.missing", b="0")
_replace("bias.shifted", lambda c: c.outputs > 1, b="BIAS[(o + 1) % OUTPUTS]")
_replace("bias.negated", b="-BIAS[o]")
_replace("bias.doubled", hold="acc += BIAS[o];")
_replace("bias.plus-one[o]", lambda c: c.neuron < c.outputs, bias=lambda c: _nudged(c, 1))
_replace("bias.minus-one[o]", lambda c: c.neuron < c.outputs, bias=lambda c: _nudged(c, -1))
_replace("acc.int16-wrap", acc_type="int16_t")
_replace(
    "acc.int16-saturate", hold="if (acc > INT16_MAX) acc = INT16_MAX;\n        if (acc < INT16_MIN) acc = INT16_MIN;"
)


def _nudged(c: Code, by: int) -> Any:
    bias = c.bias.copy()
    bias[c.neuron] += by
    return bias


def _narrow(bits: int) -> Edit:
    """A table of biases of a type that is too small."""

    def edit(c: Code) -> bool:
        narrow = c.bias.astype(f"int{bits}").astype(np.int64)
        if np.array_equal(narrow, c.bias):
            return False
        c.bias, c.bias_type = narrow, f"int{bits}_t"
        return True

    return edit


FAULTS["bias.int16"] = _narrow(16)
FAULTS["bias.int8"] = _narrow(8)


def _tail(c: Code) -> str | None:
    """The row that a loop unrolled by four reads in its tail, if it forgets where it was."""
    tail = c.outputs % 4 or 1
    whole = c.outputs - tail
    return f"(o < {whole} ? o : o - {whole})" if whole else None


@fault("weights.last-rows")
def _(c: Code) -> bool:
    if row := _tail(c):
        c.w = f"{row} * INPUTS + i"
    return bool(row)


@fault("bias.last-rows")
def _(c: Code) -> bool:
    if row := _tail(c):
        c.b = f"BIAS[{row}]"
    return bool(row)


# Requantization.
def _rounds(rule: str) -> Edit:
    def edit(c: Code) -> bool:
        right = _as_given(c) == rule
        c.rounding = c.rounding if right else rule
        return not right

    return edit


def _as_given(c: Code) -> str:
    """Another name of the right rounding, if it has one."""
    halves = {"floor": (0, 0), "half-up": ((1 << c.shift) >> 1, (1 << c.pre_shift) >> 1)}
    if isinstance(c.rule, Q31):
        return "half-up" if c.rule.rounding == "single" else ""
    return next((n for n, (r, q) in halves.items() if np.all(c.round == r) and np.all(c.pre_round == q)), "")


for _rule in ROUNDINGS:
    FAULTS[f"rounding.{_rule}"] = _rounds(_rule)
for _rule in ("f64away", "fp32even", "trunc0", "rndnu"):
    FAULTS[f"rounding.{_rule}"] = _rounds(_rule)
for _rule in ("single", "double", "upup"):
    _replace(
        f"rounding.{_rule}",
        lambda c, rule=_rule: isinstance(c.rule, Q31) and c.rule.rounding != rule,  # type: ignore[misc]  # binds the name
        rounding=lambda c, rule=_rule: rule,
    )


@fault("rounding.reduced15")
def _(c: Code) -> bool:
    if not isinstance(c.rule, Q31):
        return False
    c.rounding = "single"
    c.multiplier = np.minimum((c.multiplier + 0x8000) >> 16, 0x7FFF) << 16
    return True


_replace(
    "rounding.constant-plus-one",
    lambda c: isinstance(c.rule, Fixed) and bool((c.round < (1 << c.shift) - 1).all()),
    round=lambda c: c.round + 1,
)
_replace(
    "rounding.constant-minus-one",
    lambda c: isinstance(c.rule, Fixed) and bool((c.round > 0).all()),
    round=lambda c: c.round - 1,
)
_replace(
    "rounding.pre-missing",
    lambda c: isinstance(c.rule, Fixed) and bool((c.pre_round > 0).any()),
    pre_round=lambda c: c.pre_round * 0,
)
_replace(
    "shift.plus-one",
    lambda c: bool((c.shift < (31 if isinstance(c.rule, Fixed) else 62)).all()),
    shift=lambda c: c.shift + 1,
)
_replace("shift.minus-one", lambda c: bool((c.shift > 0).all()), shift=lambda c: c.shift - 1)
_replace(
    "shift.logical",
    lambda c: bool((c.shift > (0 if isinstance(c.rule, Fixed) else 31)).all()),
    logical=lambda c: True,
)


def _real_multiplier(c: Code) -> bool:
    return isinstance(c.rule, Q31) or bool((c.multiplier > 1).any())


@fault("multiplier.truncated")
def _(c: Code) -> bool:
    kept = c.multiplier & (~0xFFFF if isinstance(c.rule, Q31) else ~1)
    if np.array_equal(kept, c.multiplier) or not kept.all():
        return False
    c.multiplier = kept
    return True


_replace("multiplier.plus-one", _real_multiplier, multiplier=lambda c: c.multiplier + 1)
_replace("multiplier.minus-one", _real_multiplier, multiplier=lambda c: c.multiplier - 1)
_replace("multiplier.of-first-channel", lambda c: c.per_channel, channel="0")

# Zero point, saturation, ReLU; and where the output goes.
_replace("zero-point.missing", lambda c: c.output.zero_point != 0, add=lambda c: 0)
_replace("zero-point.sign", lambda c: c.output.zero_point != 0, add=lambda c: -c.add)
_replace("zero-point.of-input", lambda c: c.source.zero_point != c.output.zero_point, add=lambda c: c.source.zero_point)
_replace("clamp.wrap", clamps=lambda c: False)


def _own_range(c: Code) -> tuple[int, int]:
    return TYPES[c.output.type]


_replace(
    "clamp.type-only",
    lambda c: (c.low, c.high) != _own_range(c),
    low=lambda c: _own_range(c)[0],
    high=lambda c: _own_range(c)[1],
)
_replace(
    "clamp.before-zero-point",
    lambda c: c.add != 0,
    low=lambda c: _own_range(c)[0],
    high=lambda c: _own_range(c)[1],
    clamp_first=lambda c: True,
)


def _relu(c: Code) -> bool:
    return c.output.min == c.output.zero_point


_replace("relu.at-zero", lambda c: _relu(c) and c.output.zero_point != 0, low=lambda c: 0)
_replace("relu.extra", lambda c: c.output.min < c.output.zero_point, low=lambda c: c.output.zero_point)
_replace("clamp.max-minus-one", lambda c: c.low < c.high, high=lambda c: c.high - 1)
_replace("clamp.max-plus-one", high=lambda c: c.high + 1)
_replace("clamp.min-plus-one", lambda c: c.low < c.high, low=lambda c: c.low + 1)
_replace("clamp.min-minus-one", low=lambda c: c.low - 1)
_replace("clamp.symmetric", lambda c: c.output.type == "int8" and c.output.min == -128, low=lambda c: -127)
_replace("output.reversed", lambda c: c.outputs > 1, y="OUTPUTS - 1 - o")
_replace("output.last-missing", lambda c: c.outputs > 1, rows="OUTPUTS - 1", after="y[OUTPUTS - 1] = 0;")

PATTERN = re.compile(r"[a-z0-9.-]+(\[o\])?")
assert all(PATTERN.fullmatch(name) for name in FAULTS)
