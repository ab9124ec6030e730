"""The proof domain: exact symbolic values for all inputs at once.

A value that depends on the input is one of two things. A :class:`Sum` is an affine form of *variables*, each with its
range: the network's inputs and, above the first layer, the activations below. A :class:`Bent` value is a curve over
one such sum, its *root*: what shifts, conditions and clamps make of an accumulator. When a bent value meets other
variables it has to be an activation: the specification is asked which, and it becomes a variable of its own (a cut).
"""

from __future__ import annotations

from collections.abc import Callable
from math import gcd
from typing import Any

from intnn.ccheck import forms
from intnn.ccheck.curves import Curve, Curves, Span, Undecided, curve, restricted
from intnn.ccheck.curves import joined as union_of
from intnn.ccheck.source import NotInSubset
from intnn.ccheck.values import UNSET, Domain, Pointer, Value


class Variable:
    """An input or an activation: an integer within [low, high], and the name it has in messages."""

    __slots__ = ("high", "low", "name", "number")

    def __init__(self, number: int, name: str, low: int, high: int) -> None:
        self.number = number
        self.name = name
        self.low = low
        self.high = high


class Sum:
    """``const + sum(coefficient * variable)`` with an interval [low, high] that holds it.

    The terms are the first ``count`` of ``log``, which sums share: adding a term to a long sum appends to its log and
    leaves the shorter sum as it is, so that an accumulator of n inputs takes n steps. A variable may occur repeatedly.
    """

    __slots__ = ("const", "count", "high", "log", "low")

    def __init__(self, log: list[tuple[int, Variable]], count: int, const: int, low: int, high: int) -> None:
        self.log = log
        self.count = count
        self.const = const
        self.low = low
        self.high = high

    def collected(self) -> dict[Variable, int]:
        """The coefficient of each variable, without zeros."""
        total: dict[Variable, int] = {}
        for c, v in self.log[: self.count]:
            total[v] = total.get(v, 0) + c
        return {v: c for v, c in total.items() if c}


class Root:
    """A sum without constant, coefficients without common factor, the first positive: u of the curves over it."""

    __slots__ = ("high", "low", "number", "terms")

    def __init__(self, number: int, terms: tuple[tuple[Variable, int], ...]) -> None:
        self.number = number
        self.terms = terms
        self.low = sum(min(c * v.low, c * v.high) for v, c in terms)
        self.high = sum(max(c * v.low, c * v.high) for v, c in terms)


class Bent:
    """A curve over a root."""

    __slots__ = ("curve", "root")

    def __init__(self, root: Root, curve: Curve) -> None:
        self.root = root
        self.curve = curve


class Sign:
    """1 where ``curve > 0``, else 0, or the reverse: a condition that changes its mind too often to be split at."""

    __slots__ = ("curve", "reverse", "root")

    def __init__(self, root: Root, curve: Curve, reverse: bool = False) -> None:
        self.root = root
        self.curve = curve
        self.reverse = reverse


class Path:
    """The inputs on which ``root`` lies in one of ``spans`` and each of ``facts`` is at least 0."""

    __slots__ = ("facts", "root", "spans")

    def __init__(self, root: Root, spans: tuple[Span, ...], facts: tuple[Curve, ...] = ()) -> None:
        self.root = root
        self.spans = spans
        self.facts = facts


class Doubt(Exception):  # noqa: N818  # a verdict rather than an error
    """What could not be proved, where in the C, and if known a value ``u`` of ``root`` that shows it."""

    def __init__(self, what: str, where: str = "", root: Root | None = None, u: int | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.root = root
        self.u = u


class Symbols(Domain):
    """Arithmetic on sums and bent values. ``cut`` turns a bent value into the sum it is by the specification."""

    path: Path | None

    def __init__(self) -> None:
        self.path = None
        self.curves = Curves()
        self.cut: Callable[[Bent], Sum | int] | None = None
        self._roots: dict[tuple[tuple[int, int], ...], Root] = {}
        self._variables = 0
        self._suspects: dict[Root, Doubt] = {}

    def variable(self, name: str, low: int, high: int) -> Sum | int:
        """A fresh variable; an int where the range leaves no choice."""
        if low == high:
            return low
        self._variables += 1
        return Sum([(1, Variable(self._variables, name, low, high))], 1, 0, low, high)

    # Sums and roots

    def root(self, total: dict[Variable, int]) -> tuple[Root, int]:
        """The root that ``total`` is a multiple of, and the factor."""
        terms = sorted(total.items(), key=lambda term: term[0].number)
        factor = gcd(*total.values())
        factor = -factor if terms[0][1] < 0 else factor
        key = tuple((v.number, c // factor) for v, c in terms)
        if key not in self._roots:
            self._roots[key] = Root(len(self._roots), tuple((v, c // factor) for v, c in terms))
        return self._roots[key], factor

    def _bent(self, value: Value) -> Value:
        """A sum as a :class:`Bent` over its root, or as an int; a value that is no sum as it is."""
        if type(value) is Sign:
            raise Doubt("a condition that changes its mind too often, used as a number")
        if type(value) is not Sum:
            return value
        total = value.collected()
        if not total:
            return value.const
        root, factor = self.root(total)
        return Bent(root, Curve(((root.low, root.high, (value.const, ((forms.U, factor),))),)))

    def bend(self, value: Value) -> Value:
        """A value as a :class:`Bent` over its root, on the present path; or as an int."""
        value = self._bent(value)
        if type(value) is Bent and self.path is not None and self.path.root is value.root:
            return Bent(value.root, restricted(value.curve, self.path.spans))
        return value

    def straight(self, value: Bent) -> Sum | int | None:
        """A bent value as a sum, where it is one: the same linear form on all of its root's range."""
        root, pieces = value.root, value.curve.pieces
        if len(pieces) != 1 or pieces[0][:2] != (root.low, root.high):
            return None
        const, terms = pieces[0][2]
        if not terms:
            return const
        if terms[0][0] != forms.U or len(terms) > 1:
            return None
        factor = terms[0][1]
        ends = factor * root.low + const, factor * root.high + const
        return Sum([(c * factor, v) for v, c in root.terms], len(root.terms), const, min(ends), max(ends))

    def total(self, value: Value) -> Sum | int:
        """A value as a sum: as it is, straightened, or cut."""
        if type(value) is not Bent:
            return self._bent(value) if type(value) is Sign else value  # type: ignore[no-any-return]  # an int or a Sum
        straight = self.straight(value)
        if straight is not None:
            return straight
        assert self.cut is not None
        try:
            return self.cut(value)
        except Doubt:
            if value.root in self._suspects:  # it was no activation when it was stored
                raise self._suspects[value.root] from None
            raise

    # The operations

    def read(self, value: Value, where: str) -> Value:
        if type(value) is Bent:
            here = self.path is not None and self.path.root is value.root
            need = self.path.spans if here and self.path is not None else ((value.root.low, value.root.high),)
            if _points(restricted(value.curve, need).spans) < _points(need):
                raise Doubt("read of a value that may be uninitialised", where)
        return value

    def stored(self, value: Value) -> Value:
        if type(value) is Bent and self.path is None and self.cut is not None:
            try:
                return self.total(value)
            except Doubt as doubt:  # not an activation, or not yet: what reads it will tell
                self._suspects.setdefault(value.root, doubt)
        return value

    def add(self, a: Value, b: Value, times: int = 1) -> Value:
        if type(b) is Sign and a == 1 and times == -1:
            return Sign(b.root, b.curve, not b.reverse)
        if type(a) is Sign or type(b) is Sign:
            raise Doubt("a condition that changes its mind too often, used as a number")
        if type(a) is Bent or type(b) is Bent:
            return self._add_bent(a, b, times)
        if type(b) is int:
            b *= times
            if type(a) is int:
                return a + b
            return Sum(a.log, a.count, a.const + b, a.low + b, a.high + b)
        if times != 1:
            b = self._scaled(b, times)
        if type(a) is int:
            return Sum(b.log, b.count, b.const + a, b.low + a, b.high + a)
        if a.count < b.count:
            a, b = b, a
        if a.count > 4 * self._variables + 1024:  # the same variables over and over
            terms = [(c, v) for v, c in a.collected().items()]
            a = Sum(terms, len(terms), a.const, a.low, a.high)
        log = a.log if len(a.log) == a.count else a.log[: a.count]
        log.extend(b.log[: b.count])
        return Sum(log, a.count + b.count, a.const + b.const, a.low + b.low, a.high + b.high)

    def _add_bent(self, a: Value, b: Value, times: int) -> Value:
        if type(b) is int:
            return Bent(a.root, self.curves.offset(a.curve, b * times))
        if type(a) is int:
            return Bent(b.root, self.curves.offset(self.curves.scale(b.curve, times), a))
        x, y = self.bend(a), self.bend(b)
        if type(x) is Bent and type(y) is Bent and x.root is y.root:
            return Bent(x.root, self.curves.add(x.curve, y.curve, times))
        if type(x) is int or type(y) is int:
            return self.add(x, y, times)
        return self.add(self.total(a), self.total(b), times)

    @staticmethod
    def _scaled(a: Sum, k: int) -> Sum:
        low, high = a.low * k, a.high * k
        return Sum([(c * k, v) for c, v in a.log[: a.count]], a.count, a.const * k, min(low, high), max(low, high))

    def multiply(self, a: Value, b: Value) -> Value:
        if type(a) is int:
            a, b = b, a
        if type(b) is int:
            if b == 0:
                return 0
            return self._scaled(a, b) if type(a) is Sum else Bent(a.root, self.curves.scale(self._bent(a).curve, b))
        x, y = self.bend(a), self.bend(b)
        if type(x) is int and type(y) is int:
            return x * y
        if type(x) is int or type(y) is int:
            return self.multiply(x, y)
        if x.root is not y.root:
            raise Doubt("a product of two values that depend on the input in different ways")
        try:
            return Bent(x.root, self.curves.multiply(x.curve, y.curve))
        except Undecided as error:
            raise Doubt(str(error)) from None

    def down(self, a: Value, s: int) -> Value:
        x = self.bend(a)
        return x >> s if type(x) is int else Bent(x.root, self.curves.down(x.curve, s))

    def modulo(self, a: Value, bits: int) -> Value:
        if type(a) is Sum and a.low >= 0 and a.high < 1 << bits:
            return a
        x = self.bend(a)
        return x % (1 << bits) if type(x) is int else Bent(x.root, self.curves.modulo(x.curve, bits))

    def positive(self, a: Value) -> Value:
        if type(a) is Sum and (a.low > 0 or a.high <= 0):
            return int(a.low > 0)
        x = self.bend(a)
        if type(x) is int:
            return int(x > 0)
        try:
            return Bent(x.root, self.curves.positive(x.curve))
        except Undecided:
            return Sign(x.root, x.curve)

    def fit(self, a: Value, low: int, high: int, kind: str, where: str) -> Value:
        if type(a) is Sum and low <= a.low and a.high <= high:
            return a
        x = self.bend(a)
        if type(x) is int:
            if not low <= x <= high:
                raise Doubt(kind, where)
            return x
        try:
            facts = self.path.facts if self.path is not None and self.path.root is x.root else ()
            u = self.curves.outside(x.curve, low, high, facts)
        except Undecided as error:
            raise Doubt(f"{kind}: {error}", where, x.root) from None
        if u is not None:
            raise Doubt(f"{kind}: the value is {self.curves.value(x.curve, u)}", where, x.root, u)
        if type(a) is Sum and self.path is None:
            least, most = self.curves.range(x.curve)
            return Sum(a.log, a.count, a.const, least, most)
        return a

    def split(self, a: Value) -> tuple[Any, Any]:
        if type(a) is Sign:
            return self._assume(a)
        x = self.bend(a)
        if type(x) is int:
            return (True, None) if x else (None, True)  # nothing to restrict the path to
        if self.path is not None and self.path.root is not x.root:
            raise Doubt("a condition on one accumulator within a condition on another")
        nonzero = x.curve
        if any(f[1] for _, _, f in nonzero.pieces):  # not a truth value yet
            try:
                above, below = self.curves.positive(nonzero), self.curves.positive(self.curves.scale(nonzero, -1))
            except Undecided as error:
                raise Doubt(str(error)) from None
            nonzero = self.curves.add(above, below)
        yes = union_of((low, high) for low, high, f in nonzero.pieces if f[0])
        no = union_of((low, high) for low, high, f in nonzero.pieces if not f[0])
        facts = self.path.facts if self.path is not None else ()
        return (Path(x.root, yes, facts) if yes else None), (Path(x.root, no, facts) if no else None)

    def _assume(self, a: Sign) -> tuple[Path, Path]:
        """Both outcomes on the same spans, each with the fact that it stands for."""
        if self.path is not None and self.path.root is not a.root:
            raise Doubt("a condition on one accumulator within a condition on another")
        facts, spans = (self.path.facts, self.path.spans) if self.path is not None else ((), a.curve.spans)
        above = Path(a.root, spans, (*facts, self.curves.offset(a.curve, -1)))
        below = Path(a.root, spans, (*facts, self.curves.scale(a.curve, -1)))
        return (below, above) if a.reverse else (above, below)

    def union(self, p: Any, q: Any) -> Any:
        if p.root is not q.root or p.facts or q.facts:
            raise Doubt("a return for some inputs, by a condition that changes its mind too often")
        return Path(p.root, union_of([*p.spans, *q.spans]))

    def overlay(self, new: Value, old: Value) -> Value:
        path = self.path
        if path is None or (type(new) is int and type(old) is int and new == old) or new is old:
            return new
        if path.facts:  # the outcomes share their spans: what they give has to be the same
            values = [restricted(self._over(v, path.root), path.spans) for v in (new, old) if v is not UNSET]
            if len(values) < 2 or values[0] != values[1]:
                raise Doubt("a condition that changes its mind too often, between different values")
            return old
        outside = _complement(path)
        try:
            parts = [(self._over(new, path.root), path.spans)]
            if old is not UNSET:
                parts.append((self._over(old, path.root), outside))
        except Doubt:
            if old is UNSET:
                raise
            return self._changed(self.total(new), self.total(old), path)
        pieces = curve(p for c, spans in parts for p in restricted(c, spans).pieces)
        return Bent(path.root, self.curves.smoothed(pieces))

    def _changed(self, new: Sum | int, old: Sum | int, path: Path) -> Value:
        """``old`` plus, on ``path``, what ``new`` is more: a sum of many variables may change by a condition on one."""
        change = self._over(self.add(new, old, -1), path.root)
        nothing = Curve(((path.root.low, path.root.high, forms.constant(0)),))
        pieces = [*restricted(change, path.spans).pieces, *restricted(nothing, _complement(path)).pieces]
        straight = self.straight(Bent(path.root, self.curves.smoothed(curve(pieces))))
        if straight is None:
            raise Doubt("a sum that changes, by a condition on one of its terms, in another way than that term")
        return self.add(old, straight)

    def _over(self, value: Value, root: Root) -> Curve:
        """``value`` as a curve over ``root``."""
        value = self._bent(value)
        if type(value) is int:
            return Curve(((root.low, root.high, forms.constant(value)),))
        if type(value) is Bent and value.root is root:
            return value.curve
        if isinstance(value, Pointer):
            raise NotInSubset("a pointer that depends on the input")
        raise Doubt("a value of one accumulator, chosen by a condition on another")


def _complement(path: Path) -> tuple[Span, ...]:
    """The rest of the root's range."""
    result, start = [], path.root.low
    for low, high in path.spans:
        if start < low:
            result.append((start, low - 1))
        start = high + 1
    if start <= path.root.high:
        result.append((start, path.root.high))
    return tuple(result)


def _points(spans: tuple[Span, ...]) -> int:
    return sum(high - low + 1 for low, high in spans)
