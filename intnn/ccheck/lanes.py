"""The batch domain: values that depend on the input are NumPy lanes, one lane an input row, and lanes trap apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from intnn.ccheck.source import NotInSubset
from intnn.ccheck.values import UNSET, Domain, Trap, Value

Int64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class Lanes:
    """One int64 a lane, all within [low, high]; ``defined`` says in which lanes there is a value, ``None`` in all."""

    __slots__ = ("defined", "high", "low", "values")

    def __init__(self, values: Int64, low: int, high: int, defined: Mask | None = None) -> None:
        self.values = values
        self.low = low
        self.high = high
        self.defined = defined


def lanes(values: Int64) -> Lanes:
    """Lanes with the bounds that the values have."""
    return Lanes(values, int(values.min()), int(values.max()))


class Batch(Domain):
    """Arithmetic on lanes. ``path`` is a mask of lanes; ``traps`` maps a lane to what it did first.

    Bounds follow each value, so that most checks look at two ints instead of at every lane.
    """

    path: Mask | None

    def __init__(self, count: int) -> None:
        self.path = None
        self.count = count
        self.traps: dict[int, Trap] = {}

    def trap(self, wrong: Mask, kind: str, where: str) -> None:
        """Lanes in ``wrong`` trap, but for those that trapped before."""
        for lane in np.flatnonzero(wrong).tolist():
            self.traps.setdefault(lane, Trap(kind, where))

    def read(self, value: Value, where: str) -> Value:
        if value.defined is not None:
            missing = ~value.defined if self.path is None else self.path & ~value.defined
            if missing.any():
                self.trap(missing, "read of a value that is uninitialised", where)
        return value

    def add(self, a: Value, b: Value, times: int = 1) -> Value:
        if type(b) is int:
            b *= times
            if type(a) is int:
                return a + b
            return Lanes(a.values + b, a.low + b, a.high + b)
        low, high = (b.low, b.high) if times > 0 else (b.high, b.low)
        low, high = low * times, high * times
        values = b.values if times == 1 else b.values * times
        if type(a) is int:
            return Lanes(values + a, low + a, high + a)
        return Lanes(a.values + values, a.low + low, a.high + high)

    def multiply(self, a: Value, b: Value) -> Value:
        if type(a) is int:
            a, b = b, a
        if type(b) is int:
            low, high = a.low * b, a.high * b
            return Lanes(a.values * b, min(low, high), max(low, high))
        ends = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
        return Lanes(a.values * b.values, min(ends), max(ends))

    def down(self, a: Value, s: int) -> Value:
        return Lanes(a.values >> s, a.low >> s, a.high >> s)

    def modulo(self, a: Value, bits: int) -> Value:
        return Lanes(a.values & ((1 << bits) - 1), 0, (1 << bits) - 1)

    def positive(self, a: Value) -> Value:
        if a.low > 0 or a.high <= 0:
            return int(a.low > 0)
        return Lanes((a.values > 0).astype(np.int64), 0, 1)

    def fit(self, a: Value, low: int, high: int, kind: str, where: str) -> Value:
        if low <= a.low and a.high <= high:
            return a
        least, most = int(a.values.min()), int(a.values.max())
        if low <= least and most <= high:
            return Lanes(a.values, least, most)
        outside = (a.values < low) | (a.values > high)
        wrong = outside if self.path is None else outside & self.path
        if wrong.any():
            self.trap(wrong, kind, where)
        return Lanes(np.clip(a.values, low, high), max(low, least), min(high, most))  # lanes that do not count any more

    def split(self, a: Value) -> tuple[Any, Any]:
        truth: Mask = a.values != 0
        yes, no = (truth, ~truth) if self.path is None else (self.path & truth, self.path & ~truth)
        return (yes if yes.any() else None), (no if no.any() else None)

    def union(self, p: Any, q: Any) -> Any:
        return p | q

    def overlay(self, new: Value, old: Value) -> Value:
        path = self.path
        if path is None or (type(new) is int and type(old) is int and new == old):
            return new
        if type(new) not in (int, Lanes) or type(old) not in (int, Lanes, type(UNSET)):
            raise NotInSubset("a pointer that depends on the input")
        a = Lanes(np.full(self.count, new), new, new) if type(new) is int else new
        if old is UNSET:
            return Lanes(a.values, a.low, a.high, path)
        b = Lanes(np.full(self.count, old), old, old) if type(old) is int else old
        defined = None if b.defined is None else b.defined | path
        return Lanes(np.where(path, a.values, b.values), min(a.low, b.low), max(a.high, b.high), defined)
