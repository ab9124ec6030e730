"""Faults, each as an oracle that has it: what a flag of a golden case means, made executable.

A case carries the flag of every fault that changes its result. A fault is attached to the clauses where it makes a
difference at all; tests/test_golden.py demands that some case of each such clause exposes it. The names are those a
firmware author would use for the bug.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from oracle import (
    FLOAT32,
    FLOAT64,
    HIGH,
    LOW,
    TYPES,
    Oracle,
    Rounding,
    floor,
    from_hex,
    half_away,
    half_down,
    half_even,
    half_up,
    outcome,
    per_channel,
    to_float,
    to_hex,
    toward_zero,
)

MUTANTS: dict[str, dict[str, Oracle]] = {}
"""clause -> flag -> the oracle with that fault."""

Step = Callable[..., Any]


def flags(op: str, args: dict[str, Any]) -> list[str]:
    """The faults that change the result of ``op`` on ``args``."""
    right = outcome(op, args)
    return sorted(flag for flag, mutant in MUTANTS.get(op, {}).items() if _result(op, args, mutant) != right)


def _result(op: str, args: dict[str, Any], mutant: Oracle) -> Any:
    try:
        return outcome(op, args, mutant)
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ):  # what follows a check that the mutant lacks
        return "crash"


def fault(flag: str, clauses: str, **steps: Step) -> None:
    """``flag`` is an oracle in which these ``steps`` (methods of Oracle) are other ones; for ``clauses``."""
    mutant = type("Faulty", (Oracle,), steps)()
    for clause in clauses.split():
        assert flag not in MUTANTS.setdefault(clause, {}), (flag, clause)
        MUTANTS[clause][flag] = mutant


def wrap(value: int, bits: int = 32) -> int:
    return (value + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))


def without(check: str) -> Step:
    def require(self: Oracle, name: str, holds: bool, code: str = "contract.operand") -> None:
        if name != check:
            Oracle.require(self, name, holds, code)

    return require


# --- checks that are missing

UNCHECKED = {
    "operand": "arithmetic.multiply arithmetic.add arithmetic.shift shift.floor shift.half-up shift.half-away"
    " shift.half-even shift.toward-zero arithmetic.max arithmetic.min arithmetic.clamp arithmetic.high-multiply"
    " requantize.single requantize.double requantize.upup dense.accumulate overflow.order",
    "shift": "arithmetic.shift shift.floor shift.half-up shift.half-away shift.half-even shift.toward-zero"
    " requantize.fixed model.fixed",
    "least": "shift.half-away shift.half-even",
    "negatable": "arithmetic.max arithmetic.min",
    "difference": "arithmetic.max arithmetic.min arithmetic.clamp arithmetic.saturate dense.output",
    "order": "arithmetic.clamp dense.output model.activation overflow.endpoints",
    "type": "model.activation arithmetic.saturate",
    "multiplier": "arithmetic.high-multiply requantize.fixed requantize.single requantize.double requantize.upup"
    " model.fixed model.q31",
    "nudge": "arithmetic.high-multiply",
    "round": "requantize.fixed model.fixed",
    "exponent": "requantize.single requantize.double requantize.upup model.q31",
    "rounding": "model.q31",
    "input": "dense.accumulate",
    "weights": "dense.accumulate model.dense",
    "length": "dense.accumulate model.dense network.input",
    "activation": "dense.output",
    "integers": "network.input",
    "declared-range": "network.input",
    "zero-point": "model.activation",
    "bounds": "model.activation",
    "shape": "model.dense",
    "bias": "model.dense",
    "channels": "model.dense",
    "scales": "model.dense foreign.f64away foreign.fp32even foreign.rndnu foreign.trunc0 foreign.microflow",
    "domain": "foreign.f64away foreign.fp32even foreign.rndnu foreign.trunc0 foreign.microflow",
    "positive": "foreign.quantize-multiplier",
    "large": "foreign.quantize-multiplier",
    "layers": "model.network",
    "chain": "model.network",
    "any-order": "model.network overflow.valid",
    "format": "file.model",
    "missing": "file.model file.golden",
    "unknown": "file.model",
    "kind": "file.model",
    "rows": "file.model",
    "spelling": "file.model",
    "name": "file.model",
    "hash": "file.model",
    "twice": "file.model",
    "floats": "file.model",
    "digits": "file.model",
    "object": "file.model",
    "outcome": "file.golden",
}
for _check, _clauses in UNCHECKED.items():
    fault(f"unchecked-{_check}", _clauses, require=without(_check))

# --- leaving int32

fault(
    "wraps",
    "conventions.contract arithmetic.multiply arithmetic.add requantize.fixed requantize.single requantize.double"
    " requantize.upup dense.accumulate dense.output overflow.endpoints",
    int32=lambda self, value: wrap(value),
)
fault(
    "saturates",
    "conventions.contract arithmetic.multiply arithmetic.add requantize.fixed requantize.single requantize.double"
    " requantize.upup dense.accumulate dense.output overflow.endpoints",
    int32=lambda self, value: min(max(value, -(2**31)), 2**31 - 1),
)
fault(
    "float32",
    "arithmetic.multiply arithmetic.add dense.accumulate",
    int32=lambda self, value: int(to_float(Fraction(Oracle.int32(self, value)), FLOAT32)),
)

# --- arithmetic

fault("product-16-bits", "arithmetic.multiply", arithmetic_multiply=lambda self, x, y: wrap(x, 16) * wrap(y, 16))
fault("difference", "arithmetic.add", arithmetic_add=lambda self, x, y: self.int32(x - y))

SHIFTS = "arithmetic.shift shift.floor shift.half-up shift.half-away shift.half-even shift.toward-zero"
ROUNDINGS: dict[str, Rounding] = {
    "floor": floor,
    "half-up": half_up,
    "half-down": half_down,
    "half-away": half_away,
    "half-even": half_even,
    "toward-zero": toward_zero,
}
for _name, _rounding in ROUNDINGS.items():
    _others = [c for c in SHIFTS.split() if c != f"shift.{_name}" and (c, _name) != ("arithmetic.shift", "floor")]
    fault(_name, " ".join(_others), shifted=lambda self, x, s, _, r=_rounding: r(Fraction(x, 2**s)))

fault("logical-shift", SHIFTS, shifted=lambda self, x, s, rounding: wrap(rounding(Fraction(x % 2**32, 2**s))))
fault("shift-one-more", SHIFTS, shifted=lambda self, x, s, rounding: rounding(Fraction(x, 2 ** (s + 1))))
fault("shift-one-less", SHIFTS, shifted=lambda self, x, s, rounding: rounding(Fraction(2 * x, 2**s)))
fault("shift-mod-16", SHIFTS, shifted=lambda self, x, s, rounding: rounding(Fraction(x, 2 ** (s % 16))))


def _add_first(constant: Callable[[int], int]) -> Step:
    """Half up and away as usually written: a constant added before the shift, wrapping."""

    def shifted(self: Oracle, x: int, s: int, rounding: Rounding) -> int:
        return floor(Fraction(wrap(x + constant(s) - (rounding is half_away and x < 0 and s > 0)), 2**s))

    return shifted


fault("add-first-wraps", "shift.half-up shift.half-away", shifted=_add_first(lambda s: 2**s // 2))
fault("constant-16-bits", "shift.half-up shift.half-away", shifted=_add_first(lambda s: wrap(2**s // 2, 16)))
fault("rounds-at-shift-0", "shift.half-up shift.half-away", shifted=_add_first(lambda s: 2 ** ((s - 1) % 32)))

fault("unsigned-compare", "arithmetic.max", larger=lambda self, v, a: v if v % 2**32 > a % 2**32 else a)
fault("unsigned-compare", "arithmetic.min", smaller=lambda self, v, a: v if v % 2**32 < a % 2**32 else a)
fault("swapped", "arithmetic.max", larger=lambda self, v, a: min(v, a))
fault("swapped", "arithmetic.min", smaller=lambda self, v, a: max(v, a))
fault("bound-0", "arithmetic.max", larger=lambda self, v, a: max(v, 0))
fault("bound-0", "arithmetic.min", smaller=lambda self, v, a: min(v, 0))


def clamp(low: Callable[[int, int], int], high: Callable[[int, int], int]) -> Step:
    """A clamp to other bounds."""
    return lambda self, v, a, b: min(max(v, low(a, b)), high(a, b))


CLAMPS = "arithmetic.clamp dense.output overflow.endpoints"
fault("low-ignored", CLAMPS, clamped=lambda self, v, low, high: min(v, high))
fault("high-ignored", CLAMPS, clamped=lambda self, v, low, high: max(v, low))
fault("low-one-more", CLAMPS, clamped=clamp(lambda a, b: a + 1, lambda a, b: b))
fault("high-one-less", CLAMPS, clamped=clamp(lambda a, b: a, lambda a, b: b - 1))
fault("symmetric-low", "arithmetic.clamp dense.output", clamped=clamp(lambda a, b: -b, lambda a, b: b))
fault("low-0", "arithmetic.clamp", clamped=clamp(lambda a, b: 0, lambda a, b: b))


def _wrapped(v: int, type: str) -> int:
    low, high = TYPES[type]
    return (v - low) % (high - low + 1) + low


def _symmetric(self: Oracle, v: int, type: str) -> int:
    high = TYPES[type][1]
    return min(max(v, -high if type != "uint8" else 0), high)


fault("wraps", "arithmetic.saturate", saturated=lambda self, v, type: _wrapped(v, type))
fault("symmetric-low", "arithmetic.saturate", saturated=_symmetric)
fault("int8-always", "arithmetic.saturate", saturated=lambda self, v, type: min(max(v, -128), 127))

fault("nudge-ignored", "arithmetic.high-multiply", high=lambda self, x, m, n: floor(Fraction(x * m, 2**31)))
fault("half-up", "arithmetic.high-multiply", high=lambda self, x, m, n: half_up(Fraction(x * m, 2**31)))
fault(
    "toward-zero",
    "arithmetic.high-multiply",
    high=lambda self, x, m, n: toward_zero(Fraction(x * m + (n << 16), 2**31)),
)
fault("nudge-not-scaled", "arithmetic.high-multiply", high=lambda self, x, m, n: (x * m + n) >> 31)
fault("product-32-bits", "arithmetic.high-multiply", high=lambda self, x, m, n: wrap(x * m + (n << 16)) >> 31)
fault(
    "product-float64",
    "arithmetic.high-multiply",
    high=lambda self, x, m, n: floor(to_float(Fraction(x * m + (n << 16)), FLOAT64) / 2**31),
)
fault(
    "multiplier-16-bits", "arithmetic.high-multiply", high=lambda self, x, m, n: Oracle.high(self, x, m >> 16 << 16, n)
)
fault("x-16-bits", "arithmetic.high-multiply", high=lambda self, x, m, n: Oracle.high(self, wrap(x, 16), m, n))


def limbs(step: Callable[..., int]) -> Step:
    """The derivation by limbs with a fault in it: ``step`` gets the limbs of x and m, and n."""

    def high(self: Oracle, x: int, m: int, n: int) -> int:
        xl = wrap(x, 16)
        return step((x - xl) >> 16, xl, m >> 16, m % 2**16, n)

    return high


def _high(xh: int, xl: int, mh: int, ml: int, low: int) -> int:
    return 2 * xh * mh + ((xh * ml + xl * mh + low) >> 15)


fault("low-product-dropped", "arithmetic.high-multiply", high=limbs(lambda xh, xl, mh, ml, n: _high(xh, xl, mh, ml, n)))
fault(
    "limb-carry-dropped",
    "arithmetic.high-multiply",
    high=limbs(lambda xh, xl, mh, ml, n: _high(xh - (xl < 0), xl, mh, ml, ((xl * ml) >> 16) + n)),
)
fault(
    "middle-carry-dropped",
    "arithmetic.high-multiply",
    high=limbs(
        lambda xh, xl, mh, ml, n: 2 * xh * mh + ((xh * ml) >> 15) + ((xl * mh) >> 15) + ((((xl * ml) >> 16) + n) >> 15)
    ),
)
fault(
    "middle-sum-wraps",
    "arithmetic.high-multiply",
    high=limbs(lambda xh, xl, mh, ml, n: 2 * xh * mh + (wrap(xh * ml + xl * mh + ((xl * ml) >> 16) + n) >> 15)),
)
fault(
    "limb-signed",
    "arithmetic.high-multiply",
    high=limbs(lambda xh, xl, mh, ml, n: _high(xh, xl, mh, wrap(ml, 16), ((xl * wrap(ml, 16)) >> 16) + n)),
)

# --- requantization, family fixed

FIXED = "requantize.fixed network.run"


def fixed(change: Callable[..., tuple[int, int, int, int, int]]) -> Step:
    """The rule with other constants."""
    return lambda self, acc, *constants: Oracle.fixed(self, acc, *change(*constants))


def fixed_rounding(rounding: Rounding) -> Step:
    """Both divisions rounded alike, whatever the constants say."""

    def step(self: Oracle, acc: int, rp: int, p: int, m: int, rs: int, s: int) -> int:
        return rounding(Fraction(self.int32(rounding(Fraction(acc, 2**p)) * m), 2**s))

    return step


def _one_rounding(self: Oracle, acc: int, rp: int, p: int, m: int, rs: int, s: int) -> int:
    Oracle.fixed(self, acc, rp, p, m, rs, s)
    return floor(Fraction(((acc + rp) * m) + rs * 2**p, 2 ** (p + s)))


def _logical(self: Oracle, acc: int, rp: int, p: int, m: int, rs: int, s: int) -> int:
    first = wrap(self.int32(acc + rp) % 2**32 >> p)
    return wrap((first * m + rs) % 2**32 >> s)


fault("round-dropped", FIXED, fixed=fixed(lambda rp, p, m, rs, s: (rp, p, m, 0, s)))
fault("round-one-less", "requantize.fixed", fixed=fixed(lambda rp, p, m, rs, s: (rp, p, m, max(rs - 1, 0), s)))
fault("pre-round-dropped", FIXED, fixed=fixed(lambda rp, p, m, rs, s: (0, p, m, rs, s)))
fault("pre-shift-ignored", FIXED, fixed=fixed(lambda rp, p, m, rs, s: (0, 0, m, rs, s)))
fault("shift-one-less", FIXED, fixed=fixed(lambda rp, p, m, rs, s: (rp, p, m, rs, max(s - 1, 0))))
fault("shift-one-more", FIXED, fixed=fixed(lambda rp, p, m, rs, s: (rp, p, m, rs, s + 1)))
fault("shifts-swapped", "requantize.fixed", fixed=fixed(lambda rp, p, m, rs, s: (rs, s, m, rp, p)))
fault("multiplier-ignored", FIXED, fixed=fixed(lambda rp, p, m, rs, s: (rp, p, 1, rs, s)))
fault("multiplier-8-bits", "requantize.fixed", fixed=fixed(lambda rp, p, m, rs, s: (rp, p, m % 256, rs, s)))
fault("multiplier-16-bits", "requantize.fixed", fixed=fixed(lambda rp, p, m, rs, s: (rp, p, m % 2**16, rs, s)))
fault("toward-zero", "requantize.fixed", fixed=fixed_rounding(toward_zero))
fault("floor", "requantize.fixed", fixed=fixed_rounding(floor))
fault("half-up", "requantize.fixed", fixed=fixed_rounding(half_up))
fault("half-away", "requantize.fixed", fixed=fixed_rounding(half_away))
fault("half-even", "requantize.fixed", fixed=fixed_rounding(half_even))
fault("one-rounding", FIXED, fixed=_one_rounding)
fault("logical-shift", "requantize.fixed", fixed=_logical)
fault("acc-16-bits", "requantize.fixed", fixed=lambda self, acc, *rest: Oracle.fixed(self, wrap(acc, 16), *rest))
fault(
    "product-16-bits",
    "requantize.fixed",
    fixed=lambda self, acc, rp, p, m, rs, s: (wrap(((acc + rp) >> p) * m, 16) + rs) >> s,
)

# --- requantization, family q31

Q31 = "requantize.single requantize.double requantize.upup"


def once(rounding: Rounding) -> Step:
    """One rounding of the exact product."""
    return lambda self, x, m, r: rounding(Fraction(x * m, 2 ** (31 + r)))


def twice(first: Rounding, second: Rounding) -> Step:
    """A rounded high product, then a rounded shift."""
    return lambda self, x, m, r: second(Fraction(first(Fraction(x * m, 2**31)), 2**r))


def rule(flag: str, clauses: str, step: Step) -> None:
    """All roundings of the family replaced by ``step``."""
    fault(flag, clauses, single=step, double=step, upup=step)


rule("single", "requantize.double requantize.upup network.run", Oracle.single)
rule("double", "requantize.single requantize.upup network.run", Oracle.double)
rule("upup", "requantize.single requantize.double network.run", Oracle.upup)
rule("floor", f"{Q31} network.run", once(floor))
rule("toward-zero", f"{Q31} network.run", once(toward_zero))
rule("half-away", f"{Q31} network.run", once(half_away))
rule("half-even", f"{Q31} network.run", once(half_even))
rule("floor-then-half-up", "requantize.double requantize.upup", twice(floor, half_up))
rule("floor-then-half-away", Q31, twice(floor, half_away))
rule("half-up-then-floor", Q31, twice(half_up, floor))
rule("half-away-twice", Q31, twice(half_away, half_away))
rule("half-even-twice", Q31, twice(half_even, half_even))


def _float32(self: Oracle, x: int, m: int, r: int) -> int:
    scale = to_float(Fraction(m, 2 ** (31 + r)), FLOAT32)
    return half_even(to_float(to_float(Fraction(x), FLOAT32) * scale, FLOAT32))


rule("float32", Q31, _float32)


def scaled(change: Callable[[int, int], tuple[int, int]]) -> Step:
    """The rule with another multiplier and exponent."""
    return lambda self, acc, m, e, steps: Oracle.scaled(self, acc, *change(m, e), steps)


def _reduced15(m: int) -> int:
    return min((m + 2**15) >> 16, 2**15 - 1) << 16


fault("multiplier-16-bits", Q31, scaled=scaled(lambda m, e: (m >> 16 << 16, e)))
fault("multiplier-15-bits", Q31, scaled=scaled(lambda m, e: (_reduced15(m), e)))
fault("multiplier-one-less", Q31, scaled=scaled(lambda m, e: (max(m - 1, 0), e)))
fault("exponent-sign", f"{Q31} network.run", scaled=scaled(lambda m, e: (m, -e)))
fault("exponent-one-more", Q31, scaled=scaled(lambda m, e: (m, e + 1)))
fault("exponent-one-less", Q31, scaled=scaled(lambda m, e: (m, e - 1)))
fault("left-shift-ignored", Q31, scaled=scaled(lambda m, e: (m, min(e, 0))))
fault("right-shift-ignored", Q31, scaled=scaled(lambda m, e: (m, max(e, 0))))
fault(
    "left-shift-last",
    Q31,
    scaled=lambda self, acc, m, e, steps: Oracle.scaled(self, acc, m, min(e, 0), steps) << max(e, 0),
)
fault("acc-16-bits", Q31, scaled=lambda self, acc, m, e, steps: Oracle.scaled(self, wrap(acc, 16), m, e, steps))
fault("product-32-bits", Q31, scaled=lambda self, acc, m, e, steps: wrap(acc * m) >> (31 - e))
fault(
    "product-float64",
    Q31,
    scaled=lambda self, acc, m, e, steps: half_even(to_float(Fraction(acc * m), FLOAT64) * Fraction(2) ** (e - 31)),
)

# --- layers

ACCUMULATE = "dense.accumulate network.run"


def sums(term: Callable[[int, int, int], int]) -> Step:
    """An accumulation with other summands: ``term(x, zero_point, w)``."""
    return lambda self, x, zero_point, weights, bias: (
        bias + sum(term(a, zero_point, w) for a, w in zip(x, weights, strict=True))
    )


def _narrow(self: Oracle, x: list[int], zero_point: int, weights: list[int], bias: int) -> int:
    return wrap(Oracle.accumulate(self, x, zero_point, weights, bias), 16)


def _saturating_pairs(self: Oracle, x: list[int], zero_point: int, weights: list[int], bias: int) -> int:
    terms = [(a - zero_point) * w for a, w in zip(x, weights, strict=True)]
    return bias + sum(min(max(sum(terms[i : i + 2]), -32768), 32767) for i in range(0, len(terms), 2))


fault("bias-dropped", ACCUMULATE, accumulate=lambda self, x, z, w, bias: Oracle.accumulate(self, x, z, w, 0))
fault(
    "bias-16-bits",
    "dense.accumulate",
    accumulate=lambda self, x, z, w, bias: Oracle.accumulate(self, x, z, w, wrap(bias, 16)),
)
fault("zero-point-missing", ACCUMULATE, accumulate=sums(lambda a, z, w: a * w))
fault("zero-point-sign", ACCUMULATE, accumulate=sums(lambda a, z, w: (a + z) * w))
fault(
    "zero-point-once",
    "dense.accumulate",
    accumulate=lambda self, x, z, w, bias: bias - z + sum(a * b for a, b in zip(x, w, strict=True)),
)
fault("unsigned-weights", ACCUMULATE, accumulate=sums(lambda a, z, w: (a - z) * (w % 256)))
fault("unsigned-input", "dense.accumulate", accumulate=sums(lambda a, z, w: (a % 256 - z) * w))
fault("signed-input", "dense.accumulate", accumulate=sums(lambda a, z, w: (wrap(a, 8) - z) * w))
fault("centred-8-bits", "dense.accumulate", accumulate=sums(lambda a, z, w: wrap(a - z, 8) * w))
fault("centred-16-bits", "dense.accumulate", accumulate=sums(lambda a, z, w: wrap(a - z, 16) * w))
fault("product-16-bits", "dense.accumulate", accumulate=sums(lambda a, z, w: wrap((a - z) * w, 16)))
fault("product-8-bits", ACCUMULATE, accumulate=sums(lambda a, z, w: wrap((a - z) * w, 8)))
fault("saturating-pairs", "dense.accumulate", accumulate=_saturating_pairs)
fault("acc-16-bits", ACCUMULATE, accumulate=_narrow)
fault(
    "last-input-skipped",
    ACCUMULATE,
    accumulate=lambda self, x, z, w, bias: Oracle.accumulate(self, x[:-1], z, w[:-1], bias),
)
fault(
    "first-input-skipped",
    "dense.accumulate",
    accumulate=lambda self, x, z, w, bias: Oracle.accumulate(self, x[1:], z, w[1:], bias),
)
fault(
    "leftover-inputs-skipped",
    ACCUMULATE,
    accumulate=lambda self, x, z, w, b: Oracle.accumulate(self, x[: len(x) // 4 * 4], z, w[: len(x) // 4 * 4], b),
)
fault(
    "weights-reversed",
    "dense.accumulate",
    accumulate=lambda self, x, z, w, bias: Oracle.accumulate(self, x, z, w[::-1], bias),
)

OUTPUT = "dense.output network.run overflow.endpoints"


def out(change: Callable[[int, int, int, int], tuple[int, int, int, int]]) -> Step:
    """The last steps with other operands."""
    return lambda self, *operands: Oracle.output(self, *change(*operands))


fault("output-zero-point-missing", OUTPUT, output=out(lambda v, z, low, high: (v, 0, low, high)))
fault("output-zero-point-sign", OUTPUT, output=out(lambda v, z, low, high: (v, -z, low, high)))
fault("clamp-before-zero-point", OUTPUT, output=lambda self, v, z, low, high: min(max(v, low), high) + z)
fault("relu-at-0", OUTPUT, output=out(lambda v, z, low, high: (v, z, 0 if low == z else low, high)))
fault("relu-missing", OUTPUT, output=out(lambda v, z, low, high: (v, z, -32768 if low == z else low, high)))
fault("output-wraps", OUTPUT, output=lambda self, v, z, low, high: (self.int32(v + z) - low) % (high - low + 1) + low)
fault(
    "saturates-before-zero-point",
    OUTPUT,
    output=lambda self, v, z, low, high: min(max(min(max(v, -128), 127) + z, low), high),
)

# --- networks


def _neuron(pick: Callable[[dict[str, Any], int, int], tuple[list[int], int]]) -> Step:
    return lambda self, layer, j: pick(layer, j, len(layer["bias"]))


def _transposed(layer: dict[str, Any], j: int, n: int) -> tuple[list[int], int]:
    flat = [w for row in layer["weights"] for w in row]
    return flat[j::n], layer["bias"][j]


def _swap(values: list[int]) -> list[int]:
    return [*values[1::-1], *values[2:]]


def _stale(self: Oracle, layer: dict[str, Any], source: dict[str, Any], x: list[int]) -> tuple[list[int], list[int]]:
    acc, _ = Oracle.layer(self, layer, source, x)
    biases = [bias + sum(acc[:j]) for j, bias in enumerate(layer["bias"])]
    return Oracle.layer(self, {**layer, "bias": biases}, source, x)


fault("weights-transposed", "network.run", neuron=_neuron(_transposed))
fault(
    "neurons-swapped",
    "network.run",
    layer=lambda self, layer, source, x: tuple(map(_swap, Oracle.layer(self, layer, source, x))),
)
fault(
    "last-neuron-skipped",
    "network.run",
    layer=lambda self, layer, source, x: tuple([*v[:-1], 0] for v in Oracle.layer(self, layer, source, x)),
)
fault(
    "bias-of-the-neuron-before",
    "network.run",
    neuron=_neuron(lambda layer, j, n: (layer["weights"][j], layer["bias"][max(j - 1, 0)])),
)
fault(
    "leftover-neurons-wrong-bias",
    "network.run",
    neuron=_neuron(lambda layer, j, n: (layer["weights"][j], layer["bias"][j % (n // 4 * 4 or n)])),
)
fault("channel-one-less", "network.run", constant=lambda self, value, j: per_channel(value, max(j - 1, 0)))
fault("channel-0-for-all", "network.run", constant=lambda self, value, j: per_channel(value, 0))
fault(
    "hidden-zero-point-missing",
    "network.run",
    network_run=lambda self, model, x: _run(self, model, x, hidden=lambda source: {**source, "zero_point": 0}),
)
fault(
    "hidden-zero-point-of-input",
    "network.run",
    network_run=lambda self, model, x: _run(self, model, x, hidden=lambda source: model["input"]),
)
fault(
    "hidden-8-bits-signed",
    "network.run",
    network_run=lambda self, model, x: _run(self, model, x, read=lambda v: wrap(v, 8)),
)
fault("acc-not-reset", "network.run", layer=_stale)


def _run(
    self: Oracle,
    model: dict[str, Any],
    x: list[int],
    hidden: Callable[[dict[str, Any]], dict[str, Any]] = lambda source: source,
    read: Callable[[int], int] = lambda v: v,
) -> Any:
    """Layers in order, but each hidden vector is described by ``hidden`` and read through ``read``."""
    acc: list[list[int]] = []
    y: list[list[int]] = []
    source = model["input"]
    for layer in model["layers"]:
        sums_, x = self.layer(layer, source, x)
        acc, y, source = [*acc, sums_], [*y, x], hidden(layer["output"])
        x = [read(v) for v in x]
    return {"acc": acc, "y": y}


# --- overflow

fault(
    "bias-not-counted",
    "overflow.order overflow.valid",
    partial_sums=lambda self, bias, terms: Oracle.partial_sums(self, 0, terms),
)
fault("total-only", "overflow.order overflow.valid", partial_sums=lambda self, bias, terms: [bias + sum(terms)] * 2)
fault("declared-range-ignored", "overflow.valid", input_range=lambda self, source: TYPES[source["type"]])
fault("requantize-not-proved", "overflow.valid", ends=lambda self, layer, j, acc: acc)
fault("low-end-only", "overflow.valid", ends=lambda self, layer, j, acc: Oracle.ends(self, layer, j, acc[:1]))
fault("high-end-only", "overflow.valid", ends=lambda self, layer, j, acc: Oracle.ends(self, layer, j, acc[1:]))


def _running(self: Oracle, bias: int, terms: list[int]) -> list[int]:
    sums_ = [bias + sum(terms[:i]) for i in range(len(terms) + 1)]
    return [min(sums_), max(sums_)]


fault("one-order-only", "overflow.order overflow.valid", partial_sums=_running)
fault("ends-swapped", "overflow.endpoints", ends=lambda self, layer, j, acc: Oracle.ends(self, layer, j, acc)[::-1])

# --- files and conformance


def _text(change: Callable[[str], str]) -> Step:
    def canonical(self: Oracle, document: Any) -> str:
        return change(Oracle().file_canonical(document))

    return canonical


def _unsorted(self: Oracle, document: Any) -> str:
    if isinstance(document, dict):
        pairs = (
            f"{_unsorted(self, name)}:{_unsorted(self, value)}"
            for name, value in sorted(document.items(), reverse=True)
        )
        return "{" + ",".join(pairs) + "}"
    return Oracle().file_canonical(document)


fault("members-unsorted", "file.canonical file.hash", file_canonical=_unsorted)
fault("white-space", "file.canonical file.hash", file_canonical=_text(lambda text: text.replace(",", ", ")))
fault("newline", "file.canonical file.hash", file_canonical=_text(lambda text: text + "\n"))
fault("slash-escaped", "file.canonical", file_canonical=_text(lambda text: text.replace("/", "\\/")))
fault(
    "hash-over-itself",
    "file.hash",
    file_hash=lambda self, document: hashlib.sha256(self.file_canonical(document).encode()).hexdigest(),
)
fault("upper-case", "file.hash", file_hash=lambda self, document: Oracle.file_hash(self, document).upper())


def _full_codes(self: Oracle, case: dict[str, Any]) -> Any:
    return Oracle.file_golden(self, {**case, "error": case["error"] + ".int16"} if "error" in case else case)


fault("code-family-ignored", "file.golden", file_golden=_full_codes)

fault(
    "level-one-lower",
    "conform.levels",
    conform_levels=lambda self, level: Oracle.conform_levels(self, "layer" if level == "network" else "requantize"),
)
fault(
    "tolerance-1",
    "conform.verdict file.golden",
    conform_verdict=lambda self, expected, got: _tolerant(self, expected, got),
)
fault(
    "shape-ignored",
    "conform.verdict",
    conform_verdict=lambda self, expected, got: Oracle.conform_verdict(self, _flat(expected), _flat(got)),
)
fault(
    "sums-compared",
    "conform.verdict",
    conform_verdict=lambda self, expected, got: Oracle.conform_verdict(self, sum(_flat(expected)), sum(_flat(got))),
)
fault("last-difference", "conform.verdict", conform_verdict=lambda self, expected, got: _last(self, expected, got))


def _flat(value: Any) -> list[int]:
    return [leaf for item in value for leaf in _flat(item)] if isinstance(value, list) else [value]


def _tolerant(self: Oracle, expected: Any, got: Any) -> Any:
    verdict = Oracle.conform_verdict(self, expected, got)
    if isinstance(verdict, dict) and all(type(verdict[k]) is int for k in ("expected", "got")):
        return "pass" if abs(verdict["expected"] - verdict["got"]) <= 1 else verdict
    return verdict


def _last(self: Oracle, expected: Any, got: Any) -> Any:
    if not isinstance(expected, list):
        return Oracle.conform_verdict(self, expected, got)
    verdict = Oracle.conform_verdict(self, expected[::-1], got[::-1])
    if isinstance(verdict, dict) and verdict["index"]:
        verdict["index"][0] = len(expected) - 1 - verdict["index"][0]
    return verdict


# --- protocol

fault("id-not-wrapped", "protocol.line", request_id=lambda self, first, k: first + k)
fault("id-not-counted", "protocol.line", request_id=lambda self, first, k: first)
fault("line-longer", "protocol.line", fits=lambda self, text, line: len(text) <= line + 1)
fault("newline-counted", "protocol.line", fits=lambda self, text, line: len(text) < line)
fault("values-last", "protocol.line", protocol_line=lambda self, **args: Oracle.protocol_line(self, **args)[-1:])
fault("carriage-return-kept", "protocol.reply", stripped=lambda self, text: text.rstrip(" "))
fault("space-kept", "protocol.reply", stripped=lambda self, text: text.replace("\r", ""))
fault("id-unbounded", "protocol.reply protocol.device", reply_id=lambda self, word: self.decimal(word, LOW, HIGH))
fault("values-unbounded", "protocol.reply", value=lambda self, word: self.decimal(word, LOW * 9, HIGH * 9))
fault("values-unsigned", "protocol.reply", value=lambda self, word: self.decimal(word, 0, HIGH))
fault("line-unbounded", "protocol.reply", longest=lambda self, word: self.decimal(word, 0, HIGH))
fault(
    "word-is-zero",  # as C's atoi reads it
    "protocol.reply protocol.device",
    value=lambda self, word: self.decimal(word, LOW, HIGH) or 0,
)
fault(
    "error-is-answer",
    "protocol.reply",
    reply=lambda self, id, kind, words: Oracle.reply(self, id, "ok" if kind == "error" else kind, words),
)
fault("vector-kept", "protocol.device", kept=lambda self, command, answer: self.vector)
fault(
    "vector-kept-after-error",
    "protocol.device",
    kept=lambda self, command, answer: self.vector if answer == "error" else Oracle.kept(self, command, answer),
)
fault("vector-replaced", "protocol.device", before=lambda self, command: [] if command == "x" else self.vector)
fault("hello-keeps-vector", "protocol.device", before=lambda self, command: self.vector)
fault("answers-noise", "protocol.device", silence=lambda self: ["0 error"])
fault("id-zero", "protocol.device", echo=lambda self, id: 0)
fault("unknown-is-error", "protocol.device", unknown=lambda self: "error")
fault("never-more", "protocol.device", answered=lambda self, id, values: [self.line_of(id, "ok", *values)])
fault(
    "too-many-accepted",
    "protocol.device",
    complete=lambda self, given, needed: given >= needed,
)
fault(
    "layers-from-1",
    "protocol.device",
    inferred=lambda self, model, command, layer=0, *rest: Oracle.inferred(self, model, command, layer - 1, *rest),
)
fault(
    "dense-is-layer",
    "protocol.device",
    inferred=lambda self, model, command, *rest: Oracle.inferred(
        self, model, "layer" if command == "dense" else command, *rest
    ),
)

# --- foreign profiles

SCALED = {
    "foreign.f64away": half_away,
    "foreign.fp32even": half_even,
    "foreign.rndnu": half_up,
    "foreign.trunc0": toward_zero,
    "foreign.microflow": half_away,
}
for _name in ("floor", "half-up", "half-away", "half-even", "toward-zero"):
    _others = [clause for clause, right in SCALED.items() if right is not ROUNDINGS[_name]]
    fault(_name, " ".join(_others), rounded=lambda self, value, _, r=ROUNDINGS[_name]: r(value))

fault("float32", "foreign.f64away", chain=lambda self, acc, a, b, c: self.scaled32(acc, self.scale(a, b, c)))
fault(
    "left-to-right",
    "foreign.f64away",
    chain=lambda self, acc, a, b, c: to_float(to_float(to_float(acc * a, FLOAT64) * b, FLOAT64) / c, FLOAT64),
)
fault(
    "scale-float64",
    "foreign.fp32even foreign.trunc0 foreign.rndnu foreign.microflow",
    scale=lambda self, a, b, c: to_float(to_float(a * b, FLOAT64) / c, FLOAT64),
)
fault(
    "scale-other-order",
    "foreign.fp32even foreign.trunc0 foreign.rndnu foreign.microflow",
    scale=lambda self, a, b, c: to_float(a * to_float(b / c, FLOAT32), FLOAT32),
)
fault(
    "float64",
    "foreign.fp32even foreign.trunc0 foreign.microflow",
    scaled32=lambda self, acc, scale: to_float(acc * scale, FLOAT64),
)
fault("float32", "foreign.rndnu", exact=lambda self, acc, scale: self.scaled32(acc, scale))
fault(
    "zero-point-after-rounding",
    "foreign.microflow",
    microflow=lambda self, zero, bias, products: half_away(to_float(bias + products, FLOAT32)),
)
fault(
    "bias-dropped",
    "foreign.microflow",
    microflow=lambda self, zero, bias, products: Oracle.microflow(self, zero, Fraction(0), products),
)
fault(
    "bias-in-accumulator",
    "foreign.microflow",
    foreign_microflow=lambda self, acc, input, weights, output, bias, zero_point: self.microflow(
        Fraction(zero_point), Fraction(0), self.product32(acc, input, weights, output)
    ),
)
fault(
    "bias-scaled-first",
    "foreign.microflow",
    bias_term=lambda self, bias, s_in, s_w, s_out: to_float(
        to_float(to_float(s_in * s_w, FLOAT32) * bias, FLOAT32) / s_out, FLOAT32
    ),
)
fault(
    "not-saturated",
    "foreign.f64away foreign.fp32even foreign.trunc0 foreign.rndnu foreign.microflow",
    far=lambda self, v: v,
)
fault("floor", "foreign.quantize-multiplier", rounded=lambda self, value, _: floor(value))
fault("half-even", "foreign.quantize-multiplier", rounded=lambda self, value, _: half_even(value))
fault("not-normalized", "foreign.quantize-multiplier", normalized=lambda self, m, e: [m, e] if e >= -31 else [0, 0])
fault(
    "small-kept", "foreign.quantize-multiplier", normalized=lambda self, m, e: [m, e] if m < 2**31 else [2**30, e + 1]
)


def _real(first: tuple[int, int], second: tuple[int, int]) -> Step:
    def real(self: Oracle, input: str, weights: str, output: str, float32_product: bool) -> str:
        product = to_float(from_hex(input) * from_hex(weights), first)
        return to_hex(to_float(product / from_hex(output), second))

    return real


fault("product-float64", "foreign.real-multiplier", foreign_real_multiplier=_real(FLOAT64, FLOAT64))
fault("product-float32", "foreign.real-multiplier", foreign_real_multiplier=_real(FLOAT32, FLOAT64))
fault("all-float32", "foreign.real-multiplier", foreign_real_multiplier=_real(FLOAT32, FLOAT32))
fault("truncated", "foreign.reduced15", reduced=lambda self, m: m >> 16 << 16)
fault("not-saturated", "foreign.reduced15", reduced=lambda self, m: half_up(Fraction(m, 2**16)) << 16)


def _bounds(change: Callable[[dict[str, Any], list[int]], list[int]]) -> Step:
    return lambda self, **args: change(args, Oracle.foreign_activation_bounds(self, **args))


fault(
    "relu-at-0",
    "foreign.activation-bounds",
    foreign_activation_bounds=_bounds(lambda a, b: b if a["activation"] == "NONE" else [0, b[1]]),
)
fault(
    "relu6-as-relu",
    "foreign.activation-bounds",
    foreign_activation_bounds=_bounds(lambda a, b: [b[0], TYPES[a["type"]][1]]),
)
fault(
    "six-not-shifted",
    "foreign.activation-bounds",
    foreign_activation_bounds=_bounds(lambda a, b: [b[0], b[1] - a["zero_point"]] if a["activation"] == "RELU6" else b),
)
fault(
    "zero-point-after-rounding",
    "foreign.activation-bounds",
    foreign_activation_bounds=lambda self, zero_point, **args: [
        zero_point + bound for bound in Oracle.foreign_activation_bounds(self, zero_point=0, **args)
    ],
)
fault("half-even", "foreign.activation-bounds", rounded=lambda self, value, _: half_even(value))
fault("half-away", "foreign.activation-bounds", rounded=lambda self, value, _: half_away(value))
fault("floor", "foreign.activation-bounds", rounded=lambda self, value, _: math.floor(value))
