"""The three operations and everything derived from them: spec/10-arithmetic.md made executable.

Data flows through ``*``, ``+`` and ``>>`` and nothing else (a test reads this file's syntax tree).
The functions are written once and run on Python ints, on NumPy int32 arrays (element by element,
with broadcasting) and on :class:`intnn.checked.Int32`. Nothing is verified here: the ranges in the
docstrings are contracts, and :mod:`intnn.bounds` proves that a valid network keeps them.
"""

from __future__ import annotations

from typing import Any, TypeAlias

Word: TypeAlias = Any
"""An int32 value or array of them: int, numpy.ndarray, Int32. Whatever has ``*``, ``+`` and ``>>``."""

INT32_MIN = -2147483648
INT32_MAX = 2147483647


def if_positive(n: Word) -> Word:
    """-1 where ``n > 0``, else 0; ``n`` in [0, 2^31-1]. A mask made without a comparison."""
    return (n * -1) >> 31


def shift_floor(x: Word, s: Word) -> Word:
    """[shift.floor] ``floor(x / 2^s)``; any int32 ``x``, ``s`` in [0, 31]."""
    return x >> s


def shift_half_up(x: Word, s: Word) -> Word:
    """[shift.half-up] ``floor(x / 2^s + 1/2)``; any int32 ``x``, ``s`` in [0, 31].

    With ``q = x >> s`` and ``b`` the highest bit shifted out, ``x >> (s-1)`` is ``2q + b``, and taking
    ``q`` away leaves the result ``q + b``: nothing is added before the shift, so nothing can overflow.
    """
    on = if_positive(s)
    return (x >> (s + on)) + (x >> s) * on


def shift_half_away(x: Word, s: Word) -> Word:
    """[shift.half-away] nearest, ties away from zero; ``x`` in [-(2^31-1), 2^31-1], ``s`` in [0, 31]."""
    return shift_half_up(x + (x >> 31) * (if_positive(s) * -1), s)


def shift_half_even(x: Word, s: Word) -> Word:
    """[shift.half-even] nearest, ties to even; ``x`` in [-(2^31-1), 2^31-1], ``s`` in [0, 31]."""
    quotient = x >> s
    half = quotient >> 1
    odd = quotient + half * -1 + half * -1  # in two steps: for s = 0, twice the half may be -2^31
    return shift_half_up(x + (odd + -1) * (if_positive(s) * -1), s)


def shift_toward_zero(x: Word, s: Word) -> Word:
    """[shift.toward-zero] ``x / 2^s`` without its fraction; any int32 ``x``, ``s`` in [0, 31]."""
    low_bits = INT32_MAX >> (31 + s * -1)  # 2^s - 1, added to negative x only
    return (x + (x >> 31) * -1 * low_bits) >> s


SHIFTS = {
    "floor": shift_floor,
    "half-up": shift_half_up,
    "half-away": shift_half_away,
    "half-even": shift_half_even,
    "toward-zero": shift_toward_zero,
}


def maximum(v: Word, a: Word) -> Word:
    """[arithmetic.max] the larger; ``v - a`` in [-(2^31-1), 2^31-1]."""
    d = v + a * -1
    return v + d * (d >> 31)


def minimum(v: Word, a: Word) -> Word:
    """[arithmetic.min] the smaller; ``v - a`` in [-(2^31-1), 2^31-1]."""
    d = v + a * -1
    return a + d * ((d >> 31) * -1)


def clamp(v: Word, low: Word, high: Word) -> Word:
    """[arithmetic.clamp] ``v`` moved into [low, high]; ``low <= high``, differences as for max and min."""
    return minimum(maximum(v, low), high)


def high_multiply(x: Word, m: Word, n: Word) -> Word:
    """[arithmetic.high-multiply] ``floor((x * m + n * 2^16) / 2^31)`` from products of 16-bit limbs.

    Any int32 ``x``, ``m`` in [0, 2^31-1], ``n`` in [0, 2^14]: ``n = 0`` rounds down, ``n = 2^14`` half up.
    With ``xl`` in [-2^15, 2^15), ``xh`` in [-2^15, 2^15], ``mh`` in [0, 2^15) and ``ml`` in [0, 2^16) all four
    products lie within int32; the two middle ones are added in halves of 15 bits, for their sum would not.
    """
    floor = x >> 16
    low = x + floor * -32768 + floor * -32768  # in two steps, for -2^15 * -2^16 does not fit
    carry = low >> 15
    xl = low + carry * -65536
    xh = floor + carry
    mh = m >> 16
    ml = m + mh * -65536
    a = xh * ml
    b = xl * mh
    high = (a >> 15) + (b >> 15)
    rest = (a + (a >> 15) * -32768) + (b + (b >> 15) * -32768) + ((xl * ml) >> 16) + n
    return xh * mh * 2 + (high + (rest >> 15))


def fixed(acc: Word, pre_round: Word, pre_shift: Word, multiplier: Word, round: Word, shift: Word) -> Word:
    """[requantize.fixed] ``((((acc + rp) >> p) * m + rs) >> s)``; the model keeps every step in int32."""
    return (((acc + pre_round) >> pre_shift) * multiplier + round) >> shift


def q31(acc: Word, multiplier: Word, exponent: Word, rounding: str) -> Word:
    """``acc * multiplier * 2^(exponent-31)`` in one of three roundings.

    ``multiplier`` is 0 or in [2^30, 2^31), ``exponent`` in [-31, 30], ``acc * 2^max(exponent, 0)`` in int32.
    [requantize.single] rounds once, half up; [requantize.double] half up, then half away from zero;
    [requantize.upup] half up twice.
    """
    left = maximum(exponent, 0)
    right = left + exponent * -1
    x = acc * ((INT32_MAX >> (31 + left * -1)) + 1)
    if rounding == "single":  # the only rounding is the last step that exists: the shift, else the multiply
        return shift_half_up(high_multiply(x, multiplier, (if_positive(right) + 1) * 16384), right)
    h = high_multiply(x, multiplier, 16384)
    return shift_half_away(h, right) if rounding == "double" else shift_half_up(h, right)
