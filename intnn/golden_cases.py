"""The inputs of the golden vectors: constructed, never random, because random inputs miss ties and edges.

Inputs only. What is right for them is decided by the oracle in tests/, so this module shares no arithmetic with
either side. :func:`cases` yields pairs of a group, which says how the input was found, and the arguments.
"""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from intnn import golden_models as models
from intnn import golden_protocol
from intnn.arithmetic import INT32_MAX as HIGH
from intnn.arithmetic import INT32_MIN as LOW
from intnn.golden_models import FIXED, OUTSIDE, Case
from intnn.model import TYPES

EXTREMES = (LOW, LOW + 1, -1, 0, 1, HIGH - 1, HIGH)

TABLE = (  # accumulator, multiplier, exponent: each row separates rounding rules that look alike
    (1, 2**30, -1),
    (1, 2**30, 0),
    (-1, 2**30, 0),
    (-3, 2**30, 0),
    (-3, 2**30, -1),
    (-6, 2**30, -1),
    (-13, 2**30, -2),
    (7984, 1583594044, -9),
    (-17241, 1289204782, -2),
    (-3159, 1914719981, -1),
    (50331647, 2**30, -24),
)
ISSUE = ("0x1.73a5bp-5", "0x1.9e813p-10", "0x1.4c19e2p-12")
"""Scales with which acc = 585 is a tie for float32 (132, with zero point -126 an output of 6) and lies just above
it for the 31-bit multiplier 1945583513 (133, output 7): the shape of TensorFlow issue 102943."""


def cases(clause: str) -> Iterator[Case]:
    """The cases of ``clause``, without repetition, in an order that is stable."""
    seen = set()
    for group, args in CASES[clause]():
        key = json.dumps(args, sort_keys=True)
        if key not in seen:
            seen.add(key)
            yield group, args


def _int32(values: Iterable[int]) -> list[int]:
    return sorted({v for v in values if LOW <= v <= HIGH})


def _walking() -> list[int]:
    return _int32(sign * (1 << k) for k in range(32) for sign in (1, -1))


def _pairs(a: str, b: str, values: Iterable[tuple[int, int]], group: str) -> Iterator[Case]:
    return ((group, {a: x, b: y}) for x, y in values)


# --- arithmetic


def _contract() -> Iterator[Case]:
    for value in (*EXTREMES, *OUTSIDE, 2**32, -(2**32), 2**33 + 5):
        yield "edge", {"value": value}


def _multiply() -> Iterator[Case]:
    yield from _pairs("x", "y", itertools.product(EXTREMES, EXTREMES), "extreme")
    for k in range(32):
        yield from _pairs("x", "y", ((1 << k, 1 << (30 - min(k, 30))), (-1 << k, 1 << (31 - k))), "walking bit")
    yield from _pairs("x", "y", ((46340, 46341), (46341, 46341), (-46341, 46340), (65535, 32769), (181, -40)), "edge")
    yield from _pairs("x", "y", ((OUTSIDE[0], 0), (1, OUTSIDE[1]), (2**32, 0)), "contract")


def _add() -> Iterator[Case]:
    yield from _pairs("x", "y", itertools.product(EXTREMES, EXTREMES), "extreme")
    yield from _pairs("x", "y", (((1 << k) - 1, 1) for k in range(32)), "walking bit")
    yield from _pairs("x", "y", ((-(1 << k), -1) for k in range(32)), "walking bit")
    yield from _pairs("x", "y", ((OUTSIDE[0], 1), (-1, OUTSIDE[1])), "contract")


def _shift() -> Iterator[Case]:
    for s in (1, 2, 3, 8, 16, 17, 30, 31):
        ties = _int32(q * (1 << s) + (1 << s >> 1) for q in (-3, -2, -1, 0, 1, 2))
        yield from _pairs("x", "s", ((x, s) for x in ties), "tie")
        yield from _pairs("x", "s", ((x + d, s) for x in ties for d in (-1, 1)), "beside a tie")
    yield from _pairs("x", "s", itertools.product(EXTREMES, (0, 1, 15, 31)), "extreme")
    yield from _pairs("x", "s", ((x, 7) for x in _walking()), "walking bit")
    yield from _pairs("x", "s", ((1, -1), (1, 32), (-1, 47), (5, 1000), (OUTSIDE[0], 1), (OUTSIDE[1], 1)), "contract")


def _bound() -> Iterator[Case]:
    yield from _pairs("v", "a", itertools.product(EXTREMES, EXTREMES), "extreme")
    for a in (0, 1, -1, -128, 127, 255, -32768, 32767):
        yield from _pairs("v", "a", ((a + d, a) for d in (-1, 0, 1)), "edge")
        yield from _pairs("v", "a", ((v, a) for v in (-1000000, 1000000)), "far")
    yield from _pairs("v", "a", ((LOW + d, d) for d in range(3)), "contract")
    yield from _pairs("v", "a", ((OUTSIDE[0], -5), (5, OUTSIDE[1])), "contract")


def _clamp() -> Iterator[Case]:
    for low, high in ((-128, 127), (0, 255), (-32768, 32767), (-5, 127), (3, 3), (LOW + 1, HIGH), (-100, 20)):
        for v in _int32((low - 1, low, low + 1, high - 1, high, high + 1, -low, -high, 0, *EXTREMES, 40000, -40000)):
            yield "edge", {"v": v, "low": low, "high": high}
    for v, low, high in ((0, 1, 0), (5, 127, -128), (0, OUTSIDE[0], 5), (OUTSIDE[1], 0, 5), (LOW + 1, LOW + 1, 1)):
        yield "contract", {"v": v, "low": low, "high": high}


def _saturate() -> Iterator[Case]:
    for name, (low, high) in TYPES.items():
        near = (low - 1, low, low + 1, high - 1, high, high + 1, -high, -high - 1)
        for v in _int32((*near, 0, high + 257, low - 257, 65536 + 3, -65536 - 3, *EXTREMES)):
            yield "edge", {"v": v, "type": name}
    for v, name in ((0, "int4"), (1, "int32"), (OUTSIDE[1], "int8")):
        yield "contract", {"v": v, "type": name}


def _high_multiply() -> Iterator[Case]:
    limbs = (0x00007FFF, 0x00008000, 0x0000FFFF, 0x7FFF8000, 0x7FFF7FFF, 0x12348765, 0x0000C000)
    factors = (1, 0xFFFF, 0x10000, 0x7FFF8000, 0x5A827999, 2**30 + 1, HIGH)
    for x, m, n in itertools.product((*limbs, *(-x for x in limbs)), factors, (0, 2**14)):
        yield "limbs", {"x": x, "m": m, "n": n}
    for x, m, n in itertools.product(EXTREMES, (0, 1, 2**30, HIGH), (0, 2**14)):
        yield "extreme", {"x": x, "m": m, "n": n}
    for x, n in itertools.product((-7, -5, -3, -2, 2, 3, 5, 7), (0, 2**14)):
        yield "tie", {"x": x, "m": 2**30, "n": n}
    for x in _walking():
        yield "walking bit", {"x": x, "m": 0x55555555, "n": 2**14}
    for x, m, n in ((1, -1, 0), (1, HIGH + 1, 0), (1, 1, -1), (1, 1, 2**14 + 1), *((x, 1, 0) for x in OUTSIDE)):
        yield "contract", {"x": x, "m": m, "n": n}
    for n in (1, 8191, 16383):
        yield "nudge", {"x": HIGH, "m": 3, "n": n}
        yield "nudge", {"x": -5, "m": 2**30 - n, "n": n}


# --- requantization

PRESETS = (  # pre_round, pre_shift, multiplier, round, shift
    (0, 0, 1, 8, 4),
    (0, 0, 1, 1, 1),
    (0, 0, 1, 0, 4),
    (0, 0, 1, 0, 0),
    (0, 0, 3, 2, 2),
    (2, 2, 181, 4096, 13),
    (0, 2, 181, 0, 13),
    (1, 1, 1, 1, 2),
    (0, 0, 23170, 16384, 15),
    (32768, 16, 32767, 8192, 14),
    (0, 0, HIGH, 2**30, 31),
    (2**30, 31, HIGH, HIGH, 31),
    (5, 3, 77777, 100, 20),
)


def _fixed() -> Iterator[Case]:
    for constants in PRESETS:
        rp, p, m, rs, s = constants
        step = 1 << p
        top = ((((HIGH - rs) // m) + 1) << p) - rp - 1  # the largest accumulator whose product fits
        bottom = (-(-LOW // m) << p) - rp
        scale = max((1 << (p + s)) // m, 2)  # about one output step
        ties = (q * scale + scale // 2 for q in (-3, -2, -1, 0, 1, 2))
        for acc in _int32(tie + d for tie in ties for d in (-1, 0, 1)):
            yield "tie", {"acc": acc, **dict(zip(FIXED, constants, strict=True))}
        for acc in _int32((top, top + 1, bottom, bottom - 1, bottom + step, 40000, -40000, LOW, HIGH)):
            yield "int32 edge", {"acc": acc, **dict(zip(FIXED, constants, strict=True))}
    wrong = ((-1, 0, 1, 0, 0), (0, 32, 1, 0, 0), (0, 0, 0, 0, 0), (0, 0, -3, 0, 1), (0, 0, 1, 1, 0), (0, 0, 1, 16, 4))
    for constants in (*wrong, (0, 0, 1, 0, -1), (0, 0, 1, 0, 32), (4, 2, 1, 0, 0), (0, 0, HIGH + 1, 0, 0)):
        yield "contract", {"acc": 5, **dict(zip(FIXED, constants, strict=True))}


def _q31() -> Iterator[Case]:
    def case(group: str, acc: int, m: int, e: int) -> Case:
        return group, {"acc": acc, "multiplier": m, "exponent": e}

    for row in TABLE:
        yield case("separating table", *row)
    yield case("float32 tie", 585, 1945583513, -2)
    for e in (0, -1, -2, -3, -7):
        step = 1 << -e + 1
        for q in (-3, -2, -1, 0, 1, 2):  # with m = 2^30 a tie, what doubly rounds to a tie, and the neighbours
            for acc in sorted({q * step + step // 2 + d for d in (-2, -1, 0, 1)}):
                yield case("tie", acc, 2**30, e)
    for m, e in itertools.product((1289204782, 1583594044, 2**30 + 1, HIGH), (-1, -5, -9, -16)):
        for q in (-100, -2, 1, 31):  # the accumulators on both sides of a tie
            above = -(-((2 * q + 1) << 30 - e) // m)
            yield case("near a tie", above - 1, m, e)
            yield case("near a tie", above, m, e)
    for acc, m, e in itertools.product((LOW, LOW + 1, HIGH), (2**30, HIGH), (0, -1, -30, -31)):
        yield case("extreme", acc, m, e)
    for e in (1, 2, 7, 16, 30):
        top = HIGH >> e
        for acc in (1, -3, 5, top, top + 1, -top - 1, -top - 2):
            yield case("left shift", acc, 1518500250, e)
    for acc in _walking():
        yield case("walking bit", acc, 0x5A827999, -6)
    for acc, e in itertools.product((0, 100, -100, HIGH), (0, -3)):
        yield case("multiplier 0", acc, 0, e)
    for m, e in ((2**30 - 1, 0), (1, 0), (-(2**30), 0), (HIGH + 1, 0), (2**30, 31), (2**30, -32)):
        yield case("contract", 1, m, e)
    for acc in OUTSIDE:
        yield case("contract", acc, 2**30, -1)


# --- one neuron


def _accumulate() -> Iterator[Case]:
    def case(group: str, x: list[Any], zero_point: int, weights: list[Any], bias: int) -> Case:
        return group, {"x": x, "zero_point": zero_point, "weights": weights, "bias": bias}

    for zero_point in (-128, -1, 0, 1, 127, 255, -32768, 32767):
        for w in (-128, 127):
            for x in (-128, 127, 255, -32768, 32767):
                yield case("extreme", [x], zero_point, [w], 0)
        yield case("vector", [3, -1, 100, -100, 7], zero_point, [2, 5, -128, 127, 1], -70000)
    for n in range(1, 10):
        yield case("length", list(range(1, n + 1)), 3, [(-1) ** i * (10 + i) for i in range(n)], 1000)
    for bias in (LOW, HIGH, LOW + 127 * 255, HIGH - 127 * 255, 2**24 + 1, -32769, 65536):
        yield case("bias", [127], -128, [127], bias)
        yield case("bias", [-128], 127, [127], bias)
        yield case("bias", [5], 5, [127], bias)
    yield case("any order", [1, -1], 0, [1, 1], HIGH)
    yield case("any order", [1, -1], 0, [1, 1], HIGH - 1)
    yield case("any order", [1, -1], 0, [1, 1], LOW)
    yield case("many", [-128] * 64, 127, [-128] * 64, 0)
    yield case("many", [32767] * 64, -32768, [127] * 64, 2**30)
    for inputs in ([1, 2], []):
        yield case("contract", inputs, 0, [3], 0)
    for value, w in ((1, 128), (1, -129), (32768, 1), (-32769, 1), (65536, 0)):
        yield case("contract", [value], 0, [w], 0)
    for zero_point, bias in ((40000, 0), (-32769, 0), (0, OUTSIDE[0]), (0, OUTSIDE[1])):
        yield case("contract", [0], zero_point, [0], bias)


def _output() -> Iterator[Case]:
    for zero_point, low, high in (
        (-128, -128, 127), (-128, -128, 20), (3, -128, 127), (3, 3, 127), (-1, -1, 5), (127, -128, 127), (0, 0, 127),
        (0, 0, 255), (128, 0, 255), (128, 128, 255), (0, -32768, 32767), (-32768, -32768, 32767), (7, 9, 9),
    ):  # fmt: skip
        edges = (bound - zero_point + d for bound in (low, high) for d in (-1, 0, 1))
        for v in sorted({*edges, -1, 0, 1, 300, -300, 70000, -70000}):
            yield "edge", {"v": v, "zero_point": zero_point, "min": low, "max": high}
    for v, zero_point, low, high in itertools.product((LOW, HIGH), (-1, 0, 1), (-128, 0, 5), (5, 127)):
        yield "int32 edge", {"v": v, "zero_point": zero_point, "min": low, "max": high}
    for zero_point, low, high in ((0, 1, 0), (40000, 0, 1), (-32769, 0, 1), (0, -32769, 0), (0, 0, 32768)):
        yield "contract", {"v": 0, "zero_point": zero_point, "min": low, "max": high}
    yield "contract", {"v": OUTSIDE[0], "zero_point": 0, "min": 0, "max": 1}


# --- foreign profiles


def float32(value: float) -> str:
    """The float32 nearest to ``value``, as a C hexadecimal float without trailing zeros."""
    mantissa, exponent = struct.unpack("<f", struct.pack("<f", value))[0].hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.')}p{exponent}"


CHAINS = tuple(
    tuple(map(float32, chain))
    for chain in ((0.1, 0.2, 0.3), (0.0235, 0.0041, 0.0517), (0.00784, 0.0123, 0.9), (1.7, 0.9, 0.11))
)


def _scaled() -> Iterator[Case]:
    def case(group: str, acc: int, input: str, weights: str, output: str) -> Case:
        return group, {"acc": acc, "input": input, "weights": weights, "output": output}

    one = "0x1p+0"
    for acc, m, e in TABLE:
        yield case("separating table", acc, float32(m * 2.0 ** (e - 31)), one, one)
    yield case("float32 tie", 585, *ISSUE)
    for acc in range(-9, 10):
        yield case("tie", acc, "0x1p-1", one, one)
    for acc in (2**24 + 1, 2**24 + 3, -(2**24) - 1, 2**25 + 2, 3 * 2**24 + 6, 2**30 + 2**6 + 1, LOW, HIGH):
        yield case("beyond 24 bits", acc, "0x1p-4", "0x1p-3", one)
        yield case("beyond 24 bits", acc, "0x1p-10", one, "0x1.8p+0")
    for chain in CHAINS:
        real = float.fromhex(chain[0]) * float.fromhex(chain[1]) / float.fromhex(chain[2])
        for q in (-5001, -300, -4, 0, 7, 126, 4000, 99999, 4000000):
            for d in (-1, 0, 1):
                yield case("near a tie", round((q + 0.5) / real) + d, *chain)
    for n in (41, 47, 49, 55, 61, 82, 83, 93, 98, 103, 107, 161, 163):  # n * (1/n) is not 1 in some float format
        for acc, divisor in ((n, 2 * n), (-3 * n, 2 * n), (n, n)):
            yield case("inexact tie", acc, one, one, float32(divisor))
        yield case("inexact scale", 3, float32(n), one, float32(n))
    for scale in ("0x1p-32", "0x1.fffffep+7", "0x1p-33", "0x1.fffffep-33", "0x1p+8"):
        yield case("domain", 3, scale, one, one)
    for wrong in ("0x1.0000000001p-3", "-0x1p-3", "0x0p+0"):
        yield case("not float32", 3, one, wrong, one)
    for acc in (LOW, -(2**18) - 1, -(2**18), 2**18, 2**18 + 1, HIGH):
        yield case("saturated", acc, "0x1p+6", one, one)
    yield case("contract", OUTSIDE[1], "0x1p-8", one, one)


def _microflow() -> Iterator[Case]:
    offsets = itertools.cycle(((0, 0), (-7, 3), (1001, -128), (0, 5)))
    for group, args in _scaled():
        if abs(args["acc"]) < 2**30:
            bias, zero_point = next(offsets)
            yield group, {**args, "bias": bias, "zero_point": zero_point}
    scales = {"input": "0x1.361edap-1", "weights": "0x1.4efdccp-1", "output": "0x1.7d99e4p-6"}
    yield "order of operations", {**scales, "acc": 1490, "bias": 1490, "zero_point": 0}


def _reals() -> Iterator[Case]:
    for value in ("0x1p+0", "0x1p-1", "0x1.8p-7", "0x1.fffffffep-1", "0x1.ffffffffp-1", "0x1.fffffffdp-3"):
        yield "fraction", {"real": value}
    for value in ("0x1.00000002p-3", "0x1.00000006p-3", "0x1.0000000ap+4", "0x1.0000000200001p+4", "0x1.00000001fp+4"):
        yield "tie", {"real": value}
    for value in ("0x1p-32", "0x1p-33", "0x1.fffffep-33", "0x1.fffffffffp-33", "0x1p-40", "0x1.fffffffep-32"):
        yield "small", {"real": value}
    for value in ("0x1p+29", "0x1.fffffffcp+29", "0x1.ffffffffffp+29", "0x1p+30", "0x1p+100", "0x0p+0", "-0x1p-1"):
        yield "range", {"real": value}


def _real_multipliers() -> Iterator[Case]:
    for chain in (*CHAINS, ISSUE, ("0x1p-3", "0x1p-4", "0x1p-5"), ("0x1p-70", "0x1.8p-79", "0x1p-60"), CHAINS[0][::-1]):
        for product in (False, True):
            yield "chain", {**dict(zip(("input", "weights", "output"), chain, strict=True)), "float32_product": product}


def _reduced() -> Iterator[Case]:
    near = (2**30 + rest for rest in (0, 0x7FFF, 0x8000, 0xFFFF, 0x18000))
    for m in (0, *near, 1518500250, 0x7FFEFFFF, 0x7FFF0000, 0x7FFF7FFF, 0x7FFF8000, HIGH):
        yield "edge", {"multiplier": m}


def _bounds() -> Iterator[Case]:
    def case(group: str, *values: Any) -> Case:
        return group, dict(zip(("activation", "type", "zero_point", "scale", "profile"), values, strict=True))

    for name, type, zero_point in itertools.product(("NONE", "RELU", "RELU6"), TYPES, (0, 100)):
        for scale in ("0x1.8p-5", "0x1p-1", "0x1.8p+3", "0x1p-16"):
            yield case("clamp", name, type, zero_point, scale, "double")
    for profile, zero_point in itertools.product(("single", "f64away", "rndnu", "fp32even"), (-21, -20)):
        for real in (12.0, 4.0, 2.4, 0.0235, 0.75):
            yield case("tie", "RELU6", "int8", zero_point, float32(real), profile)


CASES: dict[str, Callable[[], Iterator[Case]]] = {
    "arithmetic.add": _add,
    "arithmetic.clamp": _clamp,
    "arithmetic.high-multiply": _high_multiply,
    "arithmetic.max": _bound,
    "arithmetic.min": _bound,
    "arithmetic.multiply": _multiply,
    "arithmetic.saturate": _saturate,
    "arithmetic.shift": _shift,
    "conform.levels": models.levels,
    "conform.verdict": models.verdicts,
    "conventions.contract": _contract,
    "dense.accumulate": _accumulate,
    "dense.output": _output,
    "file.canonical": models.documents,
    "file.golden": models.golden,
    "file.hash": models.documents,
    "file.model": models.model_files,
    "foreign.activation-bounds": _bounds,
    "foreign.f64away": _scaled,
    "foreign.fp32even": _scaled,
    "foreign.microflow": _microflow,
    "foreign.quantize-multiplier": _reals,
    "foreign.real-multiplier": _real_multipliers,
    "foreign.reduced15": _reduced,
    "foreign.rndnu": _scaled,
    "foreign.trunc0": _scaled,
    "model.activation": models.activations,
    "model.dense": models.layers,
    "model.fixed": models.rules_fixed,
    "model.network": models.network_documents,
    "model.q31": models.rules_q31,
    "network.input": models.network_input,
    "network.run": models.run,
    "overflow.endpoints": models.endpoints,
    "overflow.order": models.order,
    "overflow.valid": models.valid,
    "protocol.device": golden_protocol.devices,
    "protocol.line": golden_protocol.lines,
    "protocol.reply": golden_protocol.replies,
    "requantize.double": _q31,
    "requantize.fixed": _fixed,
    "requantize.single": _q31,
    "requantize.upup": _q31,
    "shift.floor": _shift,
    "shift.half-away": _shift,
    "shift.half-even": _shift,
    "shift.half-up": _shift,
    "shift.toward-zero": _shift,
}
