"""Piecewise forms: functions of one bounded integer u, as conditions and clamps make them.

A :class:`Curve` is a list of pieces ``(low, high, form)`` that do not overlap, in order; neighbours that touch have
different forms. It may leave gaps, where the value was never computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from intnn.ccheck import forms
from intnn.ccheck.forms import Form, Forms

Span = tuple[int, int]
Piece = tuple[int, int, Form]

TABLE = 1 << 23
"""The longest piece that is examined point by point where its form is not seen to rise or fall."""

SHORT = 1 << 12
"""The longest piece that is split wherever a condition changes its mind."""

EDGES = 1 << 10
"""How often it may change it."""

TRIES = 100
"""How many pieces are looked at for that."""


class Curve(NamedTuple):
    """The value ``form(u)`` on each piece."""

    pieces: tuple[Piece, ...]

    @property
    def spans(self) -> tuple[Span, ...]:
        """Where the curve has a value: intervals of u that do not touch."""
        return joined((low, high) for low, high, _ in self.pieces)


def joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Intervals in order, those that touch made one."""
    result: list[Span] = []
    for low, high in sorted(spans):
        if result and low <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(high, result[-1][1]))
        else:
            result.append((low, high))
    return tuple(result)


def curve(pieces: Iterable[Piece]) -> Curve:
    """A curve from pieces in any order."""
    result: list[Piece] = []
    for low, high, form in sorted(pieces, key=lambda piece: piece[0]):
        if result and result[-1][2] == form and result[-1][1] + 1 == low:
            result[-1] = (result[-1][0], high, form)
        else:
            result.append((low, high, form))
    return Curve(tuple(result))


def restricted(c: Curve, spans: Iterable[Span]) -> Curve:
    """``c`` on ``spans`` only; these are in order and do not overlap."""
    mask = Curve(tuple((low, high, forms.constant(0)) for low, high in spans))
    return curve((low, high, form) for low, high, form, _ in together(c, mask))


def together(a: Curve, b: Curve) -> Iterator[tuple[int, int, Form, Form]]:
    """The intervals on which both curves have one form each, with the forms."""
    i = j = 0
    while i < len(a.pieces) and j < len(b.pieces):
        low, high = max(a.pieces[i][0], b.pieces[j][0]), min(a.pieces[i][1], b.pieces[j][1])
        if low <= high:
            yield low, high, a.pieces[i][2], b.pieces[j][2]
        if a.pieces[i][1] == high:
            i += 1
        else:
            j += 1


class Undecided(Exception):  # noqa: N818  # not an error of its own: the caller says what could not be proved
    """A question about a form that this algebra cannot answer."""


class Curves(Forms):
    """Operations on curves, over unbounded integers."""

    def add(self, a: Curve, b: Curve, times: int = 1) -> Curve:
        """``a + times * b``."""
        return curve((low, high, forms.add(f, g, times)) for low, high, f, g in together(a, b))

    def offset(self, a: Curve, value: int) -> Curve:
        """``a + value``."""
        return Curve(tuple((low, high, forms.add(f, forms.constant(value))) for low, high, f in a.pieces))

    def scale(self, a: Curve, k: int) -> Curve:
        """``k * a``."""
        return curve((low, high, forms.scale(f, k)) for low, high, f in a.pieces)

    def down(self, a: Curve, s: int) -> Curve:
        """``floor(a / 2^s)``; where that takes two values, as a sign does, one piece for each."""
        pieces: list[Piece] = []
        for low, high, f in a.pieces:
            g = self.shift(f, s)
            if g[1] and self.direction(g) and self._width(g, low, high) <= 1:
                pieces += [(x, y, forms.constant(v)) for x, y, v in self._steps(g, low, high)]
            else:
                pieces.append((low, high, g))
        return curve(pieces)

    def smoothed(self, a: Curve) -> Curve:
        """``a`` with single points joined to the piece before or after that goes through them."""
        pieces = list(a.pieces)
        for i, (low, high, f) in enumerate(pieces):
            for j in (i - 1, i + 1) if low == high else ():
                if 0 <= j < len(pieces) and self.evaluate(pieces[j][2], low) == self.evaluate(f, low):
                    pieces[i] = (low, high, pieces[j][2])
                    break
        return curve(pieces)

    def modulo(self, a: Curve, bits: int) -> Curve:
        """``a`` modulo 2^bits; where few multiples are taken off, one piece for each."""
        pieces: list[Piece] = []
        for low, high, f in a.pieces:
            times = self.shift(f, bits)
            if self._width(times, low, high) > 4 or not self.direction(times):
                pieces.append((low, high, forms.add(f, times, -(1 << bits))))
            else:
                for x, y, n in self._steps(times, low, high):
                    pieces.append((x, y, forms.add(f, forms.constant(-n << bits))))
        return curve(pieces)

    def multiply(self, a: Curve, b: Curve) -> Curve:
        """``a * b`` where on each piece one of them is, or by splitting becomes, constant; else :class:`Undecided`."""
        pieces: list[Piece] = []
        for low, high, f, g in together(a, b):
            if f[1] and g[1]:
                small = min(f, g, key=lambda h: self._width(h, low, high))
                other = g if small is f else f
                pieces += [(x, y, forms.scale(other, v)) for x, y, v in self._steps(small, low, high)]
            elif g[1]:
                pieces.append((low, high, forms.scale(g, f[0])))
            else:
                pieces.append((low, high, forms.scale(f, g[0])))
        return curve(pieces)

    def range(self, a: Curve) -> Span:
        """An interval that holds every value of ``a``."""
        ends = [self.bounds(f, low, high) for low, high, f in a.pieces]
        return min(end[0] for end in ends), max(end[1] for end in ends)

    def value(self, a: Curve, u: int) -> int | None:
        """``a(u)``, ``None`` in a gap."""
        for low, high, f in a.pieces:
            if low <= u <= high:
                return int(self.evaluate(f, u))
        return None

    def positive(self, a: Curve) -> Curve:
        """1 where ``a > 0``, else 0."""
        pieces: list[Piece] = []
        for low, high, f in a.pieces:
            least, most = self.bounds(f, low, high)
            if least > 0 or most <= 0:
                pieces.append((low, high, forms.constant(int(least > 0))))
                continue
            for x, y, truth in self._crossings(f, low, high):
                pieces.append((x, y, forms.constant(int(truth))))
        return curve(pieces)

    def outside(self, a: Curve, least: int, most: int, facts: tuple[Curve, ...] = ()) -> int | None:
        """Some u with ``a(u)`` outside [least, most], ``None`` if there is none; :class:`Undecided` if not known.

        Only u at which each of ``facts`` is at least 0 count.
        """
        for low, high, f in a.pieces:
            lowest, highest = self.bounds(f, low, high)
            for fact in facts:
                lowest = max(lowest, self._above(f, 1, fact, low, high, lowest))
                highest = min(highest, -self._above(f, -1, fact, low, high, -highest))
            if least <= lowest and highest <= most:
                continue
            if self.direction(f) or low == high:
                ends = sorted((low, high), key=lambda u: int(self.evaluate(f, u)))
                return ends[0] if lowest < least else ends[1]
            values = self._table(f, low, high)
            wrong = np.flatnonzero((values < least) | (values > most))
            if len(wrong):
                return low + int(wrong[0])
        return None

    @staticmethod
    def _above(f: Form, sign: int, fact: Curve, low: int, high: int, default: int) -> int:
        """The bound below ``sign * f`` that follows from ``fact >= 0`` where the two differ by a constant."""
        bounds = [
            forms.add(forms.scale(f, sign), g, -1) for start, end, g in fact.pieces if start <= high and low <= end
        ]
        if bounds and all(not terms for _, terms in bounds):
            return min(const for const, _ in bounds)
        return default

    def differs(self, a: Curve, b: Curve) -> int | None:
        """Some u on which both have values, and other ones; ``None`` if there is none."""
        for low, high, f, g in together(a, b):
            if f != g and (u := self._differs(f, g, low, high)) is not None:
                return u
        return None

    def _differs(self, f: Form, g: Form, low: int, high: int) -> int | None:
        if not forms.add(f, g, -1)[1]:
            return low  # they differ by a constant
        if self.direction(f) and self.direction(f) == self.direction(g):
            # Two monotone functions that agree at the ends of an interval and are constant on it agree on it.
            ends: npt.NDArray[Any] = np.array([[low, high]], dtype=_dtype(self, (f, g), low, high))
            while len(ends):
                ours, theirs = self._values(f, ends), self._values(g, ends)
                wrong = np.flatnonzero(ours != theirs)
                if len(wrong):
                    return int(ends.flat[wrong[0]])
                open_ = ends[(ours[:, 0] != ours[:, 1]) & (ends[:, 0] + 1 < ends[:, 1])]
                middle = (open_[:, 0] + open_[:, 1]) >> 1
                ends = np.concatenate([np.stack([open_[:, 0], middle], 1), np.stack([middle, open_[:, 1]], 1)])
            return None
        wrong = np.flatnonzero(self._table(f, low, high) != self._table(g, low, high))
        return low + int(wrong[0]) if len(wrong) else None

    def _width(self, f: Form, low: int, high: int) -> int:
        least, most = self.bounds(f, low, high)
        return most - least

    def _steps(self, f: Form, low: int, high: int) -> Iterator[tuple[int, int, int]]:
        """The intervals on which ``f`` is constant, if few."""
        way = self.direction(f)
        if self._width(f, low, high) > 4 or not way:
            raise Undecided("a product of two values that both vary")
        while low <= high:
            value = int(self.evaluate(f, low))
            end = self._until(forms.add(forms.constant(-way * value), f, way), low, high)
            yield low, end, value
            low = end + 1

    def _crossings(self, f: Form, low: int, high: int) -> Iterator[tuple[int, int, bool]]:
        """The intervals on which ``f > 0`` holds or not."""
        if self.direction(f):
            first = bool(self.evaluate(f, low) > 0)
            end = self._until(f, low, high)
            yield low, end, first
            if end < high:
                yield end + 1, high, not first
            return
        # Halve until the bounds decide: where f strays little from a line, that leaves little to look at.
        todo, tries, edges = [(low, high)], TRIES, 0
        while todo:
            low, high = todo.pop()
            least, most = self.bounds(f, low, high)
            tries -= 1
            if least > 0 or most <= 0:
                yield low, high, least > 0
            elif high - low <= SHORT:
                truth = self._table(f, low, high) > 0
                starts = [0, *(np.flatnonzero(truth[1:] != truth[:-1]) + 1).tolist(), len(truth)]
                edges += len(starts)
                if edges > EDGES:
                    raise Undecided("a condition that changes its mind too often")
                for a, b in pairwise(starts):
                    yield low + a, low + b - 1, bool(truth[a])
            elif tries <= 0:
                raise Undecided("a condition that changes its mind too often")
            else:
                middle = (low + high) >> 1
                todo += [(middle + 1, high), (low, middle)]

    def _until(self, f: Form, low: int, high: int) -> int:
        """The last u in [low, high] up to which ``f > 0`` is what it is at ``low``, for a monotone ``f``."""
        g = f
        while len(g[1]) == 1:  # solved, not searched: c * floor(h / 2^k) + const > 0 is a condition on h alone
            const, ((atom, c),) = g
            turn = -const // c if c > 0 else -(-const // -c) - 1  # the last value before the truth changes
            if atom == forms.U:
                return high if turn < low else min(turn, high)
            h, k = self._floors[atom]
            edge = forms.constant((turn + 1) << k)
            g = forms.add(forms.add(h, forms.constant(1)), edge, -1) if c > 0 else forms.add(edge, h, -1)
        first = self.evaluate(f, low) > 0
        while low < high:
            middle = (low + high + 1) >> 1
            if (self.evaluate(f, middle) > 0) == first:
                low = middle
            else:
                high = middle - 1
        return low

    def _table(self, f: Form, low: int, high: int) -> npt.NDArray[Any]:
        """``f`` at every point of [low, high]."""
        if high - low >= TABLE:
            raise Undecided(f"a value neither rising nor falling in u on {high - low + 1} points")
        return self._values(f, np.arange(low, high + 1).astype(_dtype(self, (f,), low, high)))

    def _values(self, f: Form, u: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """``f`` at every entry of ``u``, also where it is constant."""
        values: npt.NDArray[Any] = np.broadcast_to(self.evaluate(f, u), u.shape)
        return values


def _dtype(algebra: Forms, parts: Iterable[Form], low: int, high: int) -> type:
    """int64 where every product in ``parts`` fits it, else Python's own integers."""
    return np.int64 if all(algebra.magnitude(f, max(abs(low), abs(high))) < 1 << 62 for f in parts) else object
