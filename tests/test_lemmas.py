"""Lemmas on int32 primitives, proved by z3 for all operands; each beside a broken variant that z3 refutes.

What is proved: the identities between a way to compute and its defining formula, and that no step of the way leaves
int32. Shifts and clamps are bit vectors, wide enough for every value. The limb products are about integers: the four
partial products are free variables within the ranges that the limbs give them. Proved is that the split of x is exact
and in range and that the partial products are put together right, not that ``*`` multiplies; that the last sum fits,
which depends on how the partial products hang together, is proved for some multipliers only.
"""

from __future__ import annotations

from typing import Any

import pytest

z3: Any = pytest.importorskip("z3", reason="needs pip install -e '.[lemmas]'")

pytestmark = pytest.mark.lemmas

WIDE = 50
"""Bits in which nothing here overflows: a zero point shifted by 31 takes 47."""

MULTIPLIERS = [0, 1 << 30, 1518500250, (1 << 31) - 1]
SHIFTS = [1, 2, 7, 15, 30, 31]


def check(claim: Any, given: list[Any]) -> Any:
    solver = z3.Solver()
    solver.set(timeout=60_000)
    solver.add(*given)
    assert solver.check() == z3.sat  # what is given does not contradict itself
    solver.add(z3.Not(claim))
    return solver.check()


def proved(claim: Any, *given: Any) -> bool:
    return bool(check(claim, list(given)) == z3.unsat)


def refuted(claim: Any, *given: Any) -> bool:
    return bool(check(claim, list(given)) == z3.sat)


def wide(x: Any) -> Any:
    return z3.SignExt(WIDE - x.size(), x)


def number(value: int) -> Any:
    return z3.BitVecVal(value, WIDE)


def fits(x: Any) -> Any:
    """A wide value within int32."""
    return z3.And(x >= -(1 << 31), x < 1 << 31)


def within(x: Any, low: int, high: int) -> Any:
    return z3.And(x >= low, x <= high)


X = z3.BitVec("x", 32)


def c_shift(x: Any, s: Any) -> Any:
    """``x < 0 ? ~(~x >> s) : x >> s``: only values that are not negative are shifted, which C99 defines."""
    return z3.If(x < 0, ~z3.LShR(~x, s), z3.LShR(x, s))


def test_arithmetic_shift() -> None:
    s = z3.BitVec("s", 32)
    in_range = within(s, 0, 31)
    assert proved(c_shift(X, s) == X >> s, in_range)
    assert refuted(z3.If(X < 0, -z3.LShR(-X, s), z3.LShR(X, s)) == X >> s, in_range)  # toward zero
    assert refuted(~z3.LShR(~X, s) == X >> s, in_range)
    assert refuted(z3.If(X <= 0, ~z3.LShR(~X, s), z3.LShR(X - 1, s)) == X >> s, in_range)


@pytest.mark.parametrize("s", range(32))
def test_arithmetic_shift_is_floor(s: int) -> None:
    """q = x >> s is the integer with q * 2^s <= x < (q + 1) * 2^s, for every s in [0, 31]."""
    q = wide(c_shift(X, z3.BitVecVal(s, 32)))
    unit = number(1 << s)
    assert proved(z3.And(q * unit <= wide(X), wide(X) < (q + 1) * unit))
    if s:
        assert refuted(z3.And((q + 1) * unit <= wide(X), wide(X) < (q + 2) * unit))


def half_up(x: Any, s: int) -> Any:
    """[shift.half-up]: (x >> (s - 1)) - (x >> s)."""
    return (x >> (s - 1)) - (x >> s)


@pytest.mark.parametrize("s", SHIFTS)
def test_half_up(s: int) -> None:
    """It is floor(x / 2^s + 1/2), no step overflows, and adding half first is the same where the sum fits."""
    defined = (wide(X) + (1 << (s - 1))) >> s
    assert proved(wide(half_up(X, s)) == defined)
    assert proved(fits((wide(X) >> (s - 1)) - (wide(X) >> s)))
    half = 1 << (s - 1)
    fitting = (1 << 31) - 1 - half >= X
    assert proved(wide((X + half) >> s) == defined, fitting)
    assert refuted(wide((X + half) >> s) == defined)
    assert refuted(wide((X + half - 1) >> s) == defined, fitting)
    assert refuted(wide((X >> (s - 1)) - ((X - 1) >> s)) == defined)


@pytest.mark.parametrize("s", SHIFTS)
def test_half_away(s: int) -> None:
    """[shift.half-away] by half-up of x + (x >> 31): to the nearest, halves away from zero; -2^31 is excluded."""
    valid = X != -(1 << 31)
    size = z3.If(wide(X) < 0, -wide(X), wide(X))
    nearest = (size + (1 << (s - 1))) >> s
    defined = z3.If(X < 0, -nearest, nearest)
    assert proved(wide(half_up(X + (X >> 31), s)) == defined, valid)
    assert proved(within(defined, -(1 << 30), 1 << 30), valid)
    assert proved(fits(wide(X) + (wide(X) >> 31)), valid)
    assert refuted(fits(wide(X) + (wide(X) >> 31)))
    assert refuted(wide(half_up(X, s)) == defined, valid)


@pytest.mark.parametrize("s", SHIFTS)
def test_half_even(s: int) -> None:
    """[shift.half-even]: to the nearest, of two equally near the even one."""
    valid = X != -(1 << 31)
    q, rest = wide(X) >> s, wide(X) & ((1 << s) - 1)
    half = number(1 << (s - 1))
    defined = z3.If(z3.Or(rest > half, z3.And(rest == half, q & 1 == 1)), q + 1, q)
    p = X >> s
    assert proved(wide(half_up(X + (p - 2 * (p >> 1) - 1), s)) == defined, valid)
    assert refuted(wide(half_up(X + (p - 2 * (p >> 1)), s)) == defined, valid)


@pytest.mark.parametrize("s", SHIFTS)
def test_toward_zero(s: int) -> None:
    """[shift.toward-zero]: what C's division by 2^s gives, for s up to 30 also as bit vectors divide."""
    mask = z3.BitVecVal((1 << 31) - 1, 32) >> (31 - s)
    ours = (X + ((X >> 31) & mask)) >> s
    size = z3.If(wide(X) < 0, -wide(X), wide(X)) >> s
    assert proved(wide(ours) == z3.If(X < 0, -size, size))
    assert refuted(wide((X + ((X >> 31) & (mask >> 1))) >> s) == z3.If(X < 0, -size, size))


V, Z, LOW, HIGH = z3.BitVecs("v z low high", 32)
INT16 = [within(b, -32768, 32767) for b in (Z, LOW, HIGH)]


def clamp(v: Any, low: Any, high: Any) -> Any:
    return z3.If(v < low, low, z3.If(v > high, high, v))


def test_clamp() -> None:
    """[arithmetic.max] and [arithmetic.min] without a comparison; ``d * (d >> 31)`` is written ``-(d & (d >> 31))``."""
    d = V - LOW
    valid = [within(wide(V) - wide(LOW), 1 - (1 << 31), (1 << 31) - 1), *INT16]
    assert proved(V - (d & (d >> 31)) == z3.If(V > LOW, V, LOW), *valid)
    assert proved(LOW + (d & (d >> 31)) == z3.If(V < LOW, V, LOW), *valid)
    assert refuted(V - (d & (d >> 31)) == z3.If(V > LOW, V, LOW), *INT16)  # where d overflows
    assert refuted(LOW - (d & (d >> 31)) == z3.If(V < LOW, V, LOW), *valid)
    ordered = [*INT16, LOW <= HIGH]
    low_first, high_first = z3.If(V > LOW, V, LOW), z3.If(V < HIGH, V, HIGH)
    assert proved(z3.If(low_first < HIGH, low_first, HIGH) == z3.If(high_first > LOW, high_first, LOW), *ordered)
    assert proved(z3.If(low_first < HIGH, low_first, HIGH) == clamp(V, LOW, HIGH), *ordered)
    assert refuted(z3.If(low_first < HIGH, low_first, HIGH) == clamp(V, LOW, HIGH), *INT16)


def test_tail() -> None:
    """Zero point, then clamp [dense.output], and the zero point taken off the bounds and added last.

    For every rounded value: what a rounding shift by s >= 1 leaves (test_half_up, test_half_away) is within 2^30.
    """
    valid = [within(V, -(1 << 30), 1 << 30), *INT16, LOW <= HIGH]
    defined = clamp(wide(V) + wide(Z), wide(LOW), wide(HIGH))
    assert proved(z3.And(fits(wide(V) + wide(Z)), wide(clamp(V + Z, LOW, HIGH)) == defined), *valid)
    assert proved(wide(clamp(V, LOW - Z, HIGH - Z) + Z) == defined, *valid)
    assert proved(z3.If(V + Z < LOW, LOW, z3.If(V + Z >= HIGH, HIGH, V + Z)) == clamp(V + Z, LOW, HIGH), *valid)
    assert refuted(wide(clamp(V, LOW, HIGH) + Z) == defined, *valid)
    assert refuted(wide(clamp(V, LOW - Z, HIGH - Z + 1) + Z) == defined, *valid)
    assert refuted(z3.If(V + Z < LOW, Z, z3.If(V + Z > HIGH, HIGH, V + Z)) == clamp(V + Z, LOW, HIGH), *valid)


@pytest.mark.parametrize("s", SHIFTS)
def test_zero_point_within_the_shift(s: int) -> None:
    """The zero point times 2^s may be added before the shift."""
    rounded = (wide(X) + (1 << (s - 1))) >> s
    assert proved(within(rounded, -(1 << 30), 1 << 30))
    assert proved((wide(X) + (1 << (s - 1)) + wide(Z) * (1 << s)) >> s == rounded + wide(Z), *INT16)
    assert refuted((wide(X) + (1 << (s - 1)) + wide(Z) * (1 << (s - 1))) >> s == rounded + wide(Z), *INT16)


def down(t: Any, bits: int) -> Any:
    """floor(t / 2^bits) of an integer: z3 divides by positive numbers so."""
    return t / (1 << bits)


def split(x: Any) -> tuple[Any, Any, list[Any]]:
    """[arithmetic.high-multiply]: xh and xl of an integer x, and every value on the way."""
    h = down(x, 16)
    once = x - h * (1 << 15)
    rest = once - h * (1 << 15)
    c = down(rest, 15)
    xh, xl = h + c, rest - c * (1 << 15) - c * (1 << 15)
    return xh, xl, [h, h * (1 << 15), once, rest, c, xh, c * (1 << 15), rest - c * (1 << 15), xl]


INTEGER = z3.Int("x")
INT32 = fits(INTEGER)


def test_split_in_signed_limbs() -> None:
    """x = xh * 2^16 + xl with xl in [-2^15, 2^15) and xh in [-2^15, 2^15], by steps that fit."""
    xh, xl, steps = split(INTEGER)
    limbs = z3.And(within(xh, -(1 << 15), 1 << 15), within(xl, -(1 << 15), (1 << 15) - 1))
    assert proved(z3.And(xh * (1 << 16) + xl == INTEGER, limbs, *map(fits, steps)), INT32)
    assert refuted(within(xh, -(1 << 15), (1 << 15) - 1), INT32)  # the upper end is reached
    assert refuted(within(INTEGER - down(INTEGER, 16) * (1 << 16), -(1 << 15), (1 << 15) - 1), INT32)  # why c is needed
    assert refuted(fits(-(down(INTEGER, 16) * (1 << 16))), INT32)  # why it is taken away in two halves


def partial(name: str, low: int, high: int) -> tuple[Any, Any]:
    """A partial product: any integer in [low, high]."""
    p = z3.Int(name)
    return p, within(p, low, high)


def low_bits(t: Any) -> Any:
    return t - down(t, 15) * (1 << 15)


def test_signed_limb_product() -> None:
    """[arithmetic.high-multiply]: the partial products put together, and each of them and of the sums in int32."""
    top, in_top = partial("xh_mh", -(1 << 15) * ((1 << 15) - 1), (1 << 15) * ((1 << 15) - 1))
    a, in_a = partial("xh_ml", -(1 << 15) * 65535, (1 << 15) * 65535)
    b, in_b = partial("xl_mh", -(1 << 15) * ((1 << 15) - 1), ((1 << 15) - 1) ** 2)
    low, in_low = partial("xl_ml", -(1 << 15) * 65535, ((1 << 15) - 1) * 65535)
    n, in_n = partial("n", 0, 1 << 14)
    given = [in_top, in_a, in_b, in_low, in_n]
    whole = top * (1 << 32) + (a + b) * (1 << 16) + low
    defined = down(whole + n * (1 << 16), 31)
    carry = down(low_bits(a) + low_bits(b) + down(low, 16) + n, 15)
    middle = down(a, 15) + down(b, 15)
    assert proved(2 * top + middle + carry == defined, *given)
    steps = [
        top,
        a,
        b,
        low,
        low_bits(a) + low_bits(b),
        low_bits(a) + low_bits(b) + down(low, 16) + n,
        2 * top,
        middle + carry,
    ]
    assert proved(z3.And(*map(fits, steps)), *given)
    assert refuted(fits(a + b), *given)  # why the middle products are added in two halves
    assert refuted(2 * top + middle + down(low_bits(a) + low_bits(b) + n, 15) == defined, *given)
    assert refuted(2 * top + middle + down(low_bits(a) + low_bits(b) + down(low, 16) + 2 * n, 15) == defined, *given)
    assert refuted(2 * top + down(a + b, 15) + down(down(low, 16) + n, 15) == defined, *given)


def test_unsigned_limb_product() -> None:
    """The same for x = xh * 2^15 + xl in nested shifts; what fits int32 depends on the multiplier there."""
    top, in_top = partial("xh_mh", -(1 << 16) * ((1 << 15) - 1), ((1 << 16) - 1) * ((1 << 15) - 1))
    a, in_a = partial("xh_ml", -(1 << 16) * 65535, ((1 << 16) - 1) * 65535)
    b, in_b = partial("xl_mh", 0, ((1 << 15) - 1) ** 2)
    low, in_low = partial("xl_ml", 0, ((1 << 15) - 1) * 65535)
    n, in_n = partial("n", 0, 1 << 14)
    given = [in_top, in_a, in_b, in_low, in_n]
    whole = top * (1 << 31) + a * (1 << 15) + b * (1 << 16) + low
    defined = down(whole + n * (1 << 16), 31)
    assert proved(top + down(b + down(a + down(low, 15) + 2 * n, 1), 15) == defined, *given)
    assert refuted(top + down(b + down(a + down(low, 15) + n, 1), 15) == defined, *given)
    assert refuted(top + down(b + down(a + 2 * n, 1), 15) == defined, *given)
    assert refuted(fits(a), *given)


@pytest.mark.parametrize("m", MULTIPLIERS)
def test_signed_limb_product_fits(m: int) -> None:
    """For this multiplier, every x and n = 0 and 2^14: right, and in size below 2^31."""
    xh, xl, _ = split(INTEGER)
    mh, ml = m >> 16, m & 65535
    a, b = xh * ml, xl * mh
    for n in (0, 1 << 14):
        carry = down(low_bits(a) + low_bits(b) + down(xl * ml, 16) + n, 15)
        result = 2 * (xh * mh) + (down(a, 15) + down(b, 15) + carry)
        assert proved(result == down(INTEGER * m + n * (1 << 16), 31), INT32)
        assert proved(within(down(INTEGER * m + n * (1 << 16), 31), 1 - (1 << 31), (1 << 31) - 1), INT32)
        assert refuted(result == down(INTEGER * (m + 1) + n * (1 << 16), 31), INT32)
