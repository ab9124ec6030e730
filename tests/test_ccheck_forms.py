"""The verifier's algebra of floors against brute force: every operation at every point of small ranges, and at many
points of large ones, beside the same in plain Python integers."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intnn.ccheck import forms
from intnn.ccheck.curves import Curve, Curves, Undecided, curve, joined, restricted
from intnn.ccheck.forms import IDENTITY, Form, Forms

INT32 = (-(1 << 31), (1 << 31) - 1)
LARGE = st.sampled_from([0, 1, -1, 3, 181, 1000, -77, 65536, -65536, 1 << 30, (1 << 31) - 1]) | st.integers(*INT32)
SMALL = st.sampled_from([0, 1, -1, 2, -3]) | st.integers(-40, 40)
SHIFTS = st.integers(0, 4) | st.integers(0, 31)

Function = Callable[[int], int]


@dataclass
class Pair:
    """A curve and the function that it stands for."""

    curve: Curve
    plain: Function


@dataclass
class Pool:
    """Curves over [low, high], each made of ones before it."""

    algebra: Curves
    low: int
    high: int
    pairs: list[Pair]

    def points(self) -> list[int]:
        """All of a small range; of a large one ends of pieces and random points."""
        if self.high - self.low <= 400:
            return list(range(self.low, self.high + 1))
        rng = random.Random(self.low ^ self.high)
        ends = [u for pair in self.pairs[-3:] for low, high, _ in pair.curve.pieces[:40] for u in (low, high)]
        near = [u + d for u in ends for d in (-1, 1) if self.low <= u + d <= self.high]
        return ends + near + [rng.randint(self.low, self.high) for _ in range(150)]


def constant(low: int, high: int, value: int) -> Curve:
    return Curve(((low, high, forms.constant(value)),))


@st.composite
def pools(draw: st.DrawFn, *, steps: int = 7, large: bool = False) -> Pool:
    """A few operations on u and on one another; what the algebra declines is left out."""
    low = draw(LARGE if large else st.integers(-150, 50) | LARGE)
    high = min(low + draw(st.integers(0, 1 << 32 if large else 300)), INT32[1])
    numbers, shifts = (LARGE, SHIFTS) if draw(st.booleans()) else (SMALL, st.integers(0, 5))
    algebra = Curves()
    pool = Pool(algebra, low, high, [Pair(Curve(((low, high, IDENTITY),)), lambda u: u)])
    for _ in range(draw(st.integers(1, steps))):
        a, b = (pool.pairs[draw(st.integers(0, len(pool.pairs) - 1))] for _ in range(2))
        kind = draw(
            st.sampled_from(
                ["add", "offset", "scale", "down", "nest", "nest", "modulo", "positive", "choose", "multiply"]
            )
        )
        number, s = draw(numbers), draw(shifts)
        try:
            pool.pairs.append(step(pool, kind, a, b, number, s))
        except Undecided:
            continue
    return pool


def step(pool: Pool, kind: str, a: Pair, b: Pair, number: int, s: int) -> Pair:
    """One operation on both sides of the pairs."""
    algebra, f, g = pool.algebra, a.plain, b.plain
    match kind:
        case "add":
            return Pair(algebra.add(a.curve, b.curve, number), lambda u: f(u) + number * g(u))
        case "offset":
            return Pair(algebra.offset(a.curve, number), lambda u: f(u) + number)
        case "scale":
            return Pair(algebra.scale(a.curve, number), lambda u: f(u) * number)
        case "down":
            return Pair(algebra.down(a.curve, s), lambda u: f(u) >> s)
        case "modulo":
            return Pair(algebra.modulo(a.curve, s), lambda u: f(u) % (1 << s))
        case "multiply":
            return Pair(algebra.multiply(a.curve, b.curve), lambda u: f(u) * g(u))
        case "nest":
            nested = algebra.down(algebra.add(algebra.down(a.curve, s), b.curve, number), s // 2 + 1)
            return Pair(nested, lambda u: ((f(u) >> s) + number * g(u)) >> (s // 2 + 1))
        case "positive":
            return Pair(algebra.positive(a.curve), lambda u: int(f(u) > 0))
    # a > number ? b : number, as a clamp is
    truth = algebra.positive(algebra.offset(a.curve, -number))
    yes = restricted(b.curve, [(low, high) for low, high, f in truth.pieces if f[0]])
    no = restricted(constant(pool.low, pool.high, number), [(low, high) for low, high, f in truth.pieces if not f[0]])
    return Pair(curve([*yes.pieces, *no.pieces]), lambda u: g(u) if f(u) > number else number)


@given(pools() | pools(large=True))
@settings(max_examples=300)
def test_values(pool: Pool) -> None:
    """Operations compute what they say, everywhere: no point is lost or doubled."""
    for pair in pool.pairs:
        assert joined((low, high) for low, high, _ in pair.curve.pieces) == ((pool.low, pool.high),)
        assert sum(high - low + 1 for low, high, _ in pair.curve.pieces) == pool.high - pool.low + 1
    for u in pool.points():
        for pair in pool.pairs:
            assert pool.algebra.value(pair.curve, u) == pair.plain(u)
            assert pool.algebra.value(pool.algebra.smoothed(pair.curve), u) == pair.plain(u)


@given(pools() | pools(large=True))
@settings(max_examples=300)
def test_bounds(pool: Pool) -> None:
    """Bounds hold every value; where a direction is known they are exact, and it is the direction."""
    algebra, points = pool.algebra, pool.points()
    for pair in pool.pairs:
        low, high = algebra.range(pair.curve)
        assert all(low <= pair.plain(u) <= high for u in points)
        for start, end, f in pair.curve.pieces[:50]:
            inside = sorted(u for u in points if start <= u <= end)
            values = [pair.plain(u) for u in inside]
            least, most = algebra.bounds(f, start, end)
            assert all(least <= value <= most for value in values)
            assert all(abs(v) <= algebra.magnitude(f, max(abs(start), abs(end))) for v in values)
            way = algebra.direction(f)
            if way:
                assert (least, most) == tuple(sorted((pair.plain(start), pair.plain(end))))
                assert values == sorted(values, reverse=way < 0)


@given(pools(), SMALL, st.integers(0, 50))
@settings(max_examples=300)
def test_questions(pool: Pool, least: int, width: int) -> None:
    """``differs``, ``outside`` and ``multiply`` against all points."""
    algebra, points = pool.algebra, pool.points()
    if pool.high - pool.low > 400:
        return
    for a, b in zip(pool.pairs, pool.pairs[1:] + pool.pairs[:1], strict=True):
        u = algebra.differs(a.curve, b.curve)
        assert (u is None) == all(a.plain(v) == b.plain(v) for v in points)
        assert u is None or a.plain(u) != b.plain(u)
        for low, high in ((least, least + width), algebra.range(b.curve), (a.plain(pool.low), a.plain(pool.high))):
            u = algebra.outside(a.curve, low, high)
            assert (u is None) == all(low <= a.plain(v) <= high for v in points)
            assert u is None or not low <= a.plain(u) <= high
        # With facts: no point at which they hold is overlooked.
        u = algebra.outside(a.curve, least, least + width, (b.curve,))
        assert u is not None or all(least <= a.plain(v) <= least + width for v in points if b.plain(v) >= 0)


@given(pools(large=True))
@settings(max_examples=200)
def test_differs_on_large_ranges(pool: Pool) -> None:
    """One off at a single point of a range of up to 2^32 points is found; nothing is found where all are equal."""
    algebra, rng = pool.algebra, random.Random(pool.high)
    for pair in pool.pairs:
        if not all(algebra.direction(f) for _, _, f in pair.curve.pieces):
            continue
        assert algebra.differs(pair.curve, algebra.offset(algebra.offset(pair.curve, 5), -5)) is None
        at = rng.randint(pool.low, pool.high)
        other = [(low, high) for low, high in ((pool.low, at - 1), (at + 1, pool.high)) if low <= high]
        moved = algebra.offset(restricted(pair.curve, [(at, at)]), 1)
        assert algebra.differs(pair.curve, curve([*restricted(pair.curve, other).pieces, *moved.pieces])) == at


@given(st.integers(-9, 9), st.integers(1, 6), SMALL, SMALL, st.integers(0, 6), st.integers(0, 200), LARGE)
@settings(max_examples=300)
def test_differs_of_steps(k: int, s: int, c: int, d: int, teeth: int, width: int, low: int) -> None:
    """Staircases that are the same but for their edges, or but for a tooth on a step."""
    algebra, points = Curves(), range(low, low + width + 1)
    u = Curve(((low, low + width, IDENTITY),))
    first = algebra.down(algebra.offset(algebra.scale(u, k), c), s)
    second = algebra.down(algebra.offset(algebra.scale(u, k), d), s)
    plain, other = [(k * v + c) >> s for v in points], [(k * v + d) >> s for v in points]
    if teeth:
        tooth = algebra.down(algebra.modulo(algebra.offset(u, d), teeth), teeth - 1)
        second = algebra.add(second, tooth)
        other = [w + ((v + d) % (1 << teeth) >> (teeth - 1)) for v, w in zip(points, other, strict=True)]
    for a, b in ((first, second), (second, first)):
        at = algebra.differs(a, b)
        assert (at is None) == (plain == other)
        assert at is None or plain[at - low] != other[at - low]


@given(st.integers(13, 18), st.integers(-(1 << 31), 1 << 31), st.integers(0, 1 << 11), st.integers(0, 3))
def test_differs_at_one_point(s: int, low: int, before: int, t: int) -> None:
    """floor(u / 2^s) and floor((u + 1) / 2^s) differ where u + 1 is a multiple of 2^s; both are on finer stairs."""
    algebra = Curves()
    edge = (-(-low >> s) << s) - 1
    stairs, next_ = algebra.shift(IDENTITY, t), forms.add(IDENTITY, forms.constant(1))
    first, second = (
        Curve(((edge - before, edge - before + (1 << s) - 1, forms.add(stairs, algebra.shift(f, s))),))
        for f in (IDENTITY, next_)
    )
    assert algebra.differs(first, second) == edge


@given(st.integers(-9, 9), st.integers(0, 6), SMALL, st.integers(-3, 3), SMALL, st.integers(0, 5), st.integers(0, 9000))
@settings(max_examples=300)
def test_conditions(k: int, s: int, c: int, m: int, d: int, teeth: int, width: int) -> None:
    """``positive`` of stairs that rise or fall, and of stairs with teeth, at every point of short and long ranges."""
    algebra, low = Curves(), -width // 2
    points = range(low, low + width + 1)
    u = Curve(((low, low + width, IDENTITY),))
    value = algebra.offset(algebra.scale(algebra.down(algebra.offset(algebra.scale(u, k), c), s), m), d)
    plain = [((k * v + c) >> s) * m + d for v in points]
    if teeth:
        value = algebra.add(value, algebra.modulo(u, teeth), k)
        plain = [w + k * (v % (1 << teeth)) for v, w in zip(points, plain, strict=True)]
    try:
        truth = algebra.positive(value)
    except Undecided:
        assert teeth
        return
    found = [f[0] for start, end, f in truth.pieces for _ in range(start, end + 1)]
    assert found == [int(w > 0) for w in plain]
    assert joined((start, end) for start, end, _ in truth.pieces) == ((low, low + width),)


@given(LARGE, st.integers(0, 31), LARGE, st.integers(0, 31), LARGE, st.integers(-3, 3))
def test_normal_form(k: int, s: int, c: int, t: int, d: int, n: int) -> None:
    """Equal functions of these shapes are equal forms, also with signs turned and whole parts taken out."""
    algebra = Forms()
    inner = (c, ((forms.U, k),)) if k else forms.constant(c)
    once = algebra.shift(inner, s)
    assert algebra.shift(once, t) == algebra.shift(inner, s + t)
    assert algebra.shift(forms.add(forms.scale(inner, 1 << s), forms.constant(d % (1 << s))), s) == inner
    moved = algebra.shift(forms.add(inner, forms.constant(n << s)), s)
    assert moved == forms.add(once, forms.constant(n))
    turned = algebra.shift(forms.add(forms.constant(-1), inner, -1), s)  # floor((-x - 1) / 2^s) = -floor(x / 2^s) - 1
    assert turned == forms.add(forms.constant(-1), once, -1)
    nested = algebra.shift(forms.add(once, forms.constant(d)), t)
    assert nested == algebra.shift(forms.add(inner, forms.constant(d << s)), s + t)


def low_bits(algebra: Forms, f: Form, bits: int) -> Form:
    return forms.add(f, algebra.shift(f, bits), -(1 << bits))


def signed_limbs(algebra: Forms, x: Form, m: int, n: int) -> Form:
    """[arithmetic.high-multiply], with its limbs."""
    h = algebra.shift(x, 16)
    c = algebra.shift(forms.add(x, h, -(1 << 16)), 15)
    xh, xl = forms.add(h, c), forms.add(forms.add(x, h, -(1 << 16)), c, -(1 << 16))
    mh, ml = m >> 16, m & 65535
    a, b = forms.scale(xh, ml), forms.scale(xl, mh)
    rest = forms.add(low_bits(algebra, a, 15), low_bits(algebra, b, 15))
    rest = forms.add(forms.add(rest, algebra.shift(forms.scale(xl, ml), 16)), forms.constant(n))
    middle = forms.add(algebra.shift(a, 15), algebra.shift(b, 15))
    return forms.add(forms.add(forms.scale(xh, 2 * mh), middle), algebra.shift(rest, 15))


def unsigned_limbs(algebra: Forms, x: Form, m: int, n: int) -> Form:
    """The same with x = xh * 2^15 + xl, and all of it in three nested shifts."""
    xh = algebra.shift(x, 15)
    xl = forms.add(x, xh, -(1 << 15))
    mh, ml = m >> 16, m & 65535
    low = algebra.shift(forms.scale(xl, ml), 15)
    low = algebra.shift(forms.add(forms.add(forms.scale(xh, ml), low), forms.constant(2 * n)), 1)
    low = algebra.shift(forms.add(forms.scale(xl, mh), low), 15)
    return forms.add(forms.scale(xh, mh), low)


MULTIPLIERS = st.sampled_from([0, 1, 65535, 65536, 65538, 1 << 30, (1 << 31) - 1, 1518500250]) | st.integers(
    0, (1 << 31) - 1
)


@pytest.mark.parametrize("limbs", [signed_limbs, unsigned_limbs])
@given(MULTIPLIERS, st.sampled_from([0, 1 << 14]) | st.integers(0, 1 << 14), SMALL, LARGE, st.integers(*INT32))
def test_limb_products(limbs: Callable[..., Form], m: int, n: int, k: int, c: int, u: int) -> None:
    """A product in limbs is, as a form, floor((x * m + n * 2^16) / 2^31), whatever affine form x is.

    But for multiples of 65538, where ml = 2 * mh: there two floors stay apart, of the same value.
    """
    algebra = Forms()
    x: Form = (c, ((forms.U, k),)) if k else forms.constant(c)
    product = limbs(algebra, x, m, n)
    if m == 0 or m % 65538:
        assert product == algebra.shift(forms.add(forms.scale(x, m), forms.constant(n << 16)), 31)
    assert algebra.evaluate(product, u) == ((k * u + c) * m + (n << 16)) >> 31


@pytest.mark.parametrize("limbs", [signed_limbs, unsigned_limbs])
def test_wrong_limb_products(limbs: Callable[..., Form]) -> None:
    """A product that is one off for some x is another form."""
    algebra = Forms()
    for m, n in ((1518500250, 1 << 14), ((1 << 31) - 1, 0), (65537, 5)):
        right = algebra.shift(forms.add(forms.scale(IDENTITY, m), forms.constant(n << 16)), 31)
        for wrong in ((m + 1, n), (m, n + 1), (m - 65536, n)):
            assert limbs(algebra, IDENTITY, *wrong) != right


def test_undecided() -> None:
    """Questions that would take a table of billions of points are declined, not guessed."""
    algebra = Curves()
    u = Curve(((*INT32, IDENTITY),))
    saw = algebra.add(u, algebra.down(u, 1), -2)
    with pytest.raises(Undecided):
        algebra.positive(algebra.multiply(saw, constant(*INT32, 5)))
    with pytest.raises(Undecided):
        algebra.multiply(u, u)
    with pytest.raises(Undecided):
        algebra.differs(saw, algebra.add(u, algebra.down(u, 2), -4))
