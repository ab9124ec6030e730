"""The arithmetic of one neuron on one input, step by step, as lines that can be checked with a calculator.

A step reads ``expression = value``, in exact integers or in floats of a stated width. The notation is Python's: ``**``
is a power, ``>>`` the arithmetic shift [arithmetic.shift], whatever the size of its operand; ``int8(v)`` and the like
are the low bits of v, ``float32(v)`` is v rounded to float32 (float64 otherwise), ``rint`` rounds to nearest even,
``away`` to nearest with ties away from zero, ``trunc`` towards zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from intnn.arithmetic import INT32_MAX, INT32_MIN
from intnn.conform.beats import Beats, Rescale, addend
from intnn.foreign import FOREIGN
from intnn.model import TYPES

MOST = 16
"""Products that are listed; where there are more, the largest are, and the rest is added up."""

_FAR = 1 << 24  # where results of float rules are saturated


class Step(NamedTuple):
    """``label``: ``expression = value``; the expression is empty where the value is a sum of what is not listed."""

    label: str
    expression: str
    value: int | float

    def __str__(self) -> str:
        return f"{self.label:<19} {self.expression + ' = ' if self.expression else ''}{self.value}"


def derive(beats: Beats, x: Sequence[int], neuron: int) -> list[Step]:
    """How ``beats`` make the output at place ``neuron`` from the layer's input ``x``; the last step's value is it."""
    o = len(beats.bias) - 1 - neuron if beats.write_backwards else neuron
    steps = list(_accumulate(beats, x, o))
    return steps + finish(beats, int(steps[-1].value), neuron)


def finish(beats: Beats, acc: int, neuron: int) -> list[Step]:
    """How ``beats`` make the output at place ``neuron`` from its accumulator [dense.output]."""
    o = len(beats.bias) - 1 - neuron if beats.write_backwards else neuron
    steps = list(_rescale(beats.rescale, acc, o))
    v = int(steps[-1].value) if steps else acc
    steps += _clamp(beats, v)
    if beats.last_missing and o == len(beats.bias) - 1:
        steps.append(Step("never computed", "0", 0))
    return steps


# --- accumulate ----------------------------------------------------------------------------------------------------


def _accumulate(b: Beats, x: Sequence[int], o: int) -> Iterator[Step]:
    """[dense.accumulate] the products that are not 0, the sum, and how it is held."""
    size, n = len(x), 16 if b.source.type == "int16" else 8
    skipped = {i % size for i in b.skipped}
    products = []
    for i in range(size):
        place = size - 1 - i if b.read_backwards else i
        read, v = str(x[place]), int(x[place])
        if b.read == "unsigned":
            read, v = f"uint{n}({v})", v & ((1 << n) - 1)
        elif b.read == "signed":
            read, v = f"int{n}({v})", _wrap(v, n)
        w = int(b.weights[o, i])
        value = (v - b.zero_in) * w
        if value and i not in skipped:
            taken = f"({read} - {b.zero_in})" if b.zero_in else read
            products.append(Step(f"x[{place}] * w[{i}]", f"{taken} * {w}", value))
    largest = sorted(products, key=lambda step: -abs(int(step.value)))[:MOST]
    listed = [step for step in products if step in largest][:MOST]
    rest = sum(int(step.value) for step in products) - sum(int(step.value) for step in listed)
    yield from listed
    if len(products) > len(listed):
        listed.append(Step(f"{len(products) - len(listed)} other products", "", rest))
        yield listed[-1]
    summands = [int(b.bias[o]), *(int(step.value) for step in listed)]
    total = sum(summands)
    yield Step("acc, with bias", " + ".join(map(str, summands)), total)
    yield from _int32("acc wraps", total)
    total = _wrap(total, 32)
    if b.hold == "int16-wrap":
        yield Step("held in int16", f"int16({total})", _wrap(total, 16))
    elif b.hold == "int16-saturate":
        yield Step("held in int16", f"min(max({total}, -32768), 32767)", min(max(total, -32768), 32767))


# --- requantize ----------------------------------------------------------------------------------------------------


def _rescale(r: Rescale, acc: int, o: int) -> Iterator[Step]:
    """The steps from the accumulator to the value that the zero point is added to."""
    m, s, p = (_at(v, o) for v in (r.multiplier, r.shift, r.pre_shift))
    if r.rounding in FOREIGN:
        yield from _foreign(r, acc, o)
    elif r.family == "fixed":
        yield from _fixed(r, acc, m, s, p, o)
    elif r.rounding in ("single", "double", "upup", "reduced15"):
        yield from _q31(r, acc, m, s)
    else:
        yield Step("product", f"{acc} * {m}", acc * m)
        yield from _shift(r.rounding, acc * m, s)


def exactly(r: Rescale, acc: int, o: int) -> Fraction:
    """What the rule approximates: ``acc * multiplier / 2^shift`` without any rounding."""
    m, s, p = (_at(v, o) for v in (r.multiplier, r.shift, r.pre_shift))
    return Fraction(acc * m, 1) / (1 << (s + p))


def _fixed(r: Rescale, acc: int, m: int, s: int, p: int, o: int) -> Iterator[Step]:
    """[requantize.fixed], each step in int32."""
    constants = r.rounding == "constants"
    v = acc
    if p or (constants and _at(r.pre_round, o)):
        pre = _at(r.pre_round, o) if constants else _constant(r.rounding, v, p)
        yield Step("pre_round", f"{v} + {pre}", v + pre)
        yield from _int32("wraps", v + pre)
        v = _wrap(v + pre, 32)
        yield Step("pre_shift", f"{v} >> {p}", v >> p)
        v >>= p
    yield Step("multiplier", f"{v} * {m}", v * m)
    yield from _int32("wraps", v * m)
    v = _wrap(v * m, 32)
    constant = _at(r.round, o) if constants else _constant(r.rounding, v, s)
    yield Step("round" if constants else f"round {r.rounding}", f"{v} + {constant}", v + constant)
    if constants:
        yield from _int32("wraps", v + constant)
    v = _wrap(v + constant, 32) if constants else v + constant
    yield _last(r, v, s)


def _q31(r: Rescale, acc: int, m: int, s: int) -> Iterator[Step]:
    """[requantize.single], [requantize.double], [requantize.upup] on the exact product."""
    left, right = max(31 - s, 0), max(s - 31, 0)
    x = acc
    if left:
        yield Step("left shift", f"{acc} * 2**{left}", acc << left)
        yield from _int32("wraps", acc << left)
        x = _wrap(acc << left, 32)
    if r.rounding == "reduced15":
        reduced = min((m + (1 << 15)) >> 16, 32767) << 16
        yield Step("15-bit multiplier", f"min(({m} + 2**15) >> 16, 32767) * 2**16", reduced)
        m = reduced
    product = x * m
    yield Step("product", f"{x} * {m}", product)
    if r.rounding in ("single", "reduced15") and not (r.logical and right):
        v = (product + (1 << (30 + right))) >> (31 + right)
        yield Step("rounded half up", f"({product} + 2**{30 + right}) >> {31 + right}", v)
        if r.logical:
            yield _last(r, v, 0)
        return
    if r.rounding in ("single", "reduced15"):  # in two steps, as code that shifts an int32 has it
        high = product >> 31
        yield Step("high part", f"{product} >> 31", high)
    else:
        high = (product + (1 << 30)) >> 31
        yield Step("rounded half up", f"({product} + 2**30) >> 31", high)
    if r.rounding == "double":
        if right and not r.logical:
            yield from _shift("half-away", high, right)
        elif r.logical:
            carry = ((high + _constant("half-away", high, right)) >> right) - (high >> right)
            quotient = (high & 0xFFFFFFFF) >> right
            yield Step("logical shift", f"int32((uint32({high}) >> {right}) + {carry})", _wrap(quotient + carry, 32))
    elif right or r.logical:
        half = _constant("half-up", high, right)
        if r.logical:
            yield Step("half", f"{high} + {half}", high + half)
            yield _last(r, high + half, right)
        else:
            yield from _shift("half-up", high, right)


def _shift(rounding: str, v: int, s: int) -> Iterator[Step]:
    """A right shift that rounds."""
    constant = _constant(rounding, v, s)
    inside = f"({v} + {constant})" if constant else str(v)
    yield Step(f"shift, {rounding}", f"{inside} >> {s}", (v + constant) >> s)


def _constant(rounding: str, v: int, s: int) -> int:
    """What is added to ``v`` before it is shifted right by ``s``."""
    return int(addend(rounding, np.asarray(v, np.int64), np.asarray(s, np.int64)))


def _last(r: Rescale, v: int, s: int) -> Step:
    if not r.logical:
        return Step("shift", f"{v} >> {s}", v >> s)
    return Step("logical shift", f"int32(uint32({v}) >> {s})", _wrap((v & 0xFFFFFFFF) >> s, 32))


def _foreign(r: Rescale, acc: int, o: int) -> Iterator[Step]:
    """The rules of the annex, each operation in the width that it states."""
    given = (1.0, _at(r.real, o), 1.0)
    if r.scales is not None:
        given = (float(r.scales.input), _at(r.scales.weights, o), float(r.scales.output))
    a, w, y = map(float, given)
    if r.rounding == "f64away":
        value: float = acc * (a * w / y)
        yield Step("in float64", f"{acc} * ({a!r} * {w!r} / {y!r})", value)
        yield from _saturate(Step("ties away", f"away({value!r})", _away(value)))
        return
    f = np.float32
    scale = float(f(a) * f(w) / f(y))
    yield Step("scale in float32", f"float32({a!r}) * float32({w!r}) / float32({y!r})", scale)
    if r.rounding == "rndnu":
        fraction, exponent = np.frexp(f(scale))
        mantissa, shift = int(np.ldexp(float(fraction), 24)), 24 - int(exponent)
        yield Step("which is exactly", f"{mantissa} / 2**{shift}", scale)
        v = (acc * mantissa + (1 << (shift - 1))) >> shift
        yield from _saturate(Step("rounded half up", f"({acc} * {mantissa} + 2**{shift - 1}) >> {shift}", v))
    elif r.rounding == "microflow":
        bias, zero = int(r.layer.bias[o]), r.layer.output.zero_point
        first = float(f(scale) * f(bias))
        second = float(f(scale) * f(acc - bias))
        total = float(f(zero) + f(first) + f(second))
        yield Step("bias, scaled", f"float32({scale!r}) * float32({bias})", first)
        yield Step("products, scaled", f"float32({scale!r}) * float32({acc} - {bias})", second)
        yield Step("sum in float32", f"float32({zero}) + float32({first!r}) + float32({second!r})", total)
        yield from _saturate(Step("ties away", f"away({total!r}) - {zero}", _away(total) - zero))
    else:
        value = float(f(acc) * f(scale))
        yield Step("in float32", f"float32({acc}) * float32({scale!r})", value)
        name, v = ("rint", round(value)) if r.rounding == "fp32even" else ("trunc", int(value))
        yield from _saturate(Step("ties to even" if name == "rint" else "fraction dropped", f"{name}({value!r})", v))


def _saturate(step: Step) -> Iterator[Step]:
    """The step, and where it leaves [-2^24, 2^24] the saturation that the annex has."""
    yield step
    if abs(step.value) > _FAR:
        v = int(step.value)
        yield Step("saturated", f"min(max({v}, -2**24), 2**24)", min(max(v, -_FAR), _FAR))


# --- clamp ---------------------------------------------------------------------------------------------------------


def _clamp(b: Beats, v: int) -> Iterator[Step]:
    """[dense.output] zero point and bounds, in the order that ``b`` has them, and the output's type."""
    kind = b.layer.output.type
    least, most = TYPES[kind]
    bits = 16 if kind == "int16" else 8
    if b.clamp == "before":
        yield Step("saturated", f"min(max({v}, {least}), {most})", min(max(v, least), most))
        v = min(max(v, least), most)
    if b.zero_out:
        yield Step("zero point", f"{v} + {b.zero_out}", v + b.zero_out)
        v += b.zero_out
    if b.clamp == "bounds":
        yield Step("clamp", f"min(max({v}, {b.low}), {b.high})", min(max(v, b.low), b.high))
        v = min(max(v, b.low), b.high)
    if not least <= v <= most or b.clamp != "bounds":
        yield Step("stored", f"{kind}({v})", _wrap(v, bits, signed=kind != "uint8"))


def _int32(label: str, v: int) -> Iterator[Step]:
    """A step only if ``v`` leaves int32, which a fault can bring about."""
    if not INT32_MIN <= v <= INT32_MAX:
        yield Step(label, f"int32({v})", _wrap(v, 32))


def _wrap(v: int, bits: int, signed: bool = True) -> int:
    low = v & ((1 << bits) - 1)
    return low - (1 << bits) if signed and low >> (bits - 1) else low


def _away(v: float) -> int:
    return int(v) + (0 if abs(v - int(v)) < 0.5 else 1 if v > 0 else -1)


def _at(v: object, o: int) -> int:
    """The entry of neuron ``o`` of what is one number, or one for each neuron; a Python number."""
    array = np.asarray(v)
    return array[o].item() if array.ndim else array.item()  # type: ignore[no-any-return]  # int or float, as the array
