"""Integer functions of one integer u, in a normal form: linear combinations of u and of nested floors.

A *form* is ``const + sum(coefficient * atom)``; an *atom* is u itself or ``floor(form / 2^k)``. Sums, multiples and
arithmetic shifts of forms are forms again, over unbounded integers, and the normal form takes out of a floor what is
divisible and merges a floor of a floor. That is enough to turn a product computed in 16-bit limbs back into
``floor(u * m / 2^31)`` without multiplying anything symbolic (docs/verifying-c.md derives it).
"""

from __future__ import annotations

from typing import Any

Form = tuple[int, tuple[tuple[int, int], ...]]
"""``(const, ((atom, coefficient), ...))``: atoms by increasing number, no coefficient 0."""

U = 0
"""The atom that stands for the argument."""

IDENTITY: Form = (0, ((U, 1),))


def constant(value: int) -> Form:
    """The form of a number."""
    return (value, ())


def add(f: Form, g: Form, times: int = 1) -> Form:
    """``f + times * g``."""
    if not g[1]:
        return (f[0] + times * g[0], f[1])
    terms = dict(f[1])
    for atom, c in g[1]:
        terms[atom] = terms.get(atom, 0) + times * c
    return (f[0] + times * g[0], tuple(sorted((a, c) for a, c in terms.items() if c)))


def scale(f: Form, k: int) -> Form:
    """``k * f``."""
    return (f[0] * k, tuple((a, c * k) for a, c in f[1])) if k else (0, ())


def _rest(atom: int, c: int, unit: int) -> int:
    """What of ``c * atom`` stays in a floor: nothing if ``unit`` divides it; of a floor, the 1 or -1 that can merge."""
    if c % unit == 0:
        return 0
    if atom != U and abs(c) > unit:
        if c % unit == 1:
            return 1
        if c < 0 and -c % unit == 1:
            return -1
    return c


class Forms:
    """The atoms of one proof: numbered as they appear, so that the argument of a floor has smaller numbers."""

    def __init__(self) -> None:
        self._floors: list[tuple[Form, int]] = [(IDENTITY, 0)]  # entry 0 is never looked up: it stands for u
        self._numbers: dict[tuple[Form, int], int] = {}
        self._rising: list[bool] = [True]

    def shift(self, f: Form, s: int) -> Form:
        """``floor(f / 2^s)`` in normal form."""
        const, terms = f
        if not terms or s == 0:
            return (const >> s, ()) if s else f
        unit = 1 << s
        parts = [(a, c, _rest(a, c, unit)) for a, c in terms]
        outside: Form = (const >> s, tuple((a, (c - r) >> s) for a, c, r in parts if c != r))
        inside: Form = (const % unit, tuple((a, r) for a, _, r in parts if r))
        if not inside[1]:
            return outside
        common = min((c & -c for _, c in inside[1])).bit_length() - 1  # floor((2^j h + c) / 2^s) loses the factor 2^j
        if common:
            inside = (inside[0] >> common, tuple((a, c >> common) for a, c in inside[1]))
            return add(outside, self.shift(inside, s - common))
        for atom, c in inside[1]:
            if atom != U and c in (1, -1):  # floor((floor(g / 2^k) + h) / 2^s) = floor((g + 2^k h) / 2^(s+k)), h whole
                g, k = self._floors[atom]
                rest: Form = (inside[0], tuple(t for t in inside[1] if t[0] != atom))
                if c == -1:  # -floor(g / 2^k) = floor((-g - 1) / 2^k) + 1
                    g, rest = add(constant(-1), g, -1), add(rest, constant(1))
                return add(outside, self.shift(add(g, scale(rest, 1 << k)), s + k))
        if inside[1][0][1] < 0:  # floor(h / 2^s) = -floor((-h - 1) / 2^s) - 1: one sign for what is one function
            return add(add(outside, constant(-1)), self.shift(add(constant(-1), inside, -1), s), -1)
        key = (inside, s)
        if key not in self._numbers:
            self._numbers[key] = len(self._floors)
            self._floors.append(key)
            self._rising.append(self.direction(inside) == 1)
        return add(outside, (0, ((self._numbers[key], 1),)))

    def direction(self, f: Form) -> int:
        """1 if ``f`` is seen to be non-decreasing, -1 if non-increasing, 0 if neither is seen."""
        if not all(self._rising[a] for a, _ in f[1]):
            return 0
        if all(c > 0 for _, c in f[1]):
            return 1
        return -1 if all(c < 0 for _, c in f[1]) else 0

    def evaluate(self, f: Form, u: Any) -> Any:
        """``f(u)``; ``u`` is an int or an array of ints (of dtype object where int64 would not hold the products)."""
        value = f[0]
        for atom, c in f[1]:
            if atom == U:
                value = value + c * u
            else:
                inner, k = self._floors[atom]
                value = value + c * (self.evaluate(inner, u) >> k)
        return value

    def magnitude(self, f: Form, size: int) -> int:
        """A bound on every value that :meth:`evaluate` forms on the way, for |u| <= ``size``."""
        total = largest = abs(f[0])
        for atom, c in f[1]:
            inner, k = self._floors[atom]
            reach = size if atom == U else self.magnitude(inner, size)
            largest = max(largest, reach)
            total += abs(c) * (reach if atom == U else (reach >> k) + 1)
        return max(total, largest)

    def bounds(self, f: Form, low: int, high: int) -> tuple[int, int]:
        """An interval that holds ``f(u)`` for every u in [low, high]; exact where :meth:`direction` is not 0."""
        const, terms = f
        if not terms:
            return const, const
        way = self.direction(f)
        if way:
            ends = self.evaluate(f, low), self.evaluate(f, high)
            return ends if way > 0 else ends[::-1]
        # Replace floors from the outermost in by floor(g / 2^k) = (g - r) / 2^k with r in [0, 2^k - 1]: what two terms
        # have in common cancels. Each step gives an interval; all hold, so their intersection does.
        least, most = self._naive(f, low, high)
        unit, below, above = 1, 0, 0  # now: unit * f = form + something in [below, above]
        while True:
            atom, c = f[1][-1]
            if atom == U:
                return least, most
            g, k = self._floors[atom]
            rest: Form = (f[0], f[1][:-1])
            f = add(scale(rest, 1 << k), g, c)
            unit, below, above = unit << k, below << k, above << k
            spread = -c * ((1 << k) - 1)
            below, above = below + min(spread, 0), above + max(spread, 0)
            way = self.direction(f)
            if way:
                a, b = self.evaluate(f, low), self.evaluate(f, high)
                a, b = min(a, b), max(a, b)
            else:
                a, b = self._naive(f, low, high)
            least, most = max(least, -((-a - below) // unit)), min(most, (b + above) // unit)
            if not f[1]:
                return least, most

    def _naive(self, f: Form, low: int, high: int) -> tuple[int, int]:
        least = most = f[0]
        for atom, c in f[1]:
            if atom == U:
                a, b = low, high
            else:
                inner, k = self._floors[atom]
                a, b = self.bounds(inner, low, high)
                a, b = a >> k, b >> k
            least, most = least + min(c * a, c * b), most + max(c * a, c * b)
        return least, most
