"""The smallest input on which a device fails, by asking it about smaller ones.

Small means: few inputs differ from the zero point (clipped to the declared range), then the sum of the distances to it
is small, then the row comes first in lexicographic order. Nothing is assumed of the device: whatever is returned was
seen to fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np
import numpy.typing as npt

from intnn.conform.device import Int64
from intnn.model import Activation

Row = tuple[int, ...]

_BATCH = 64
"""Candidates asked at once. The smallest that fails is taken, so large batches ask in vain, small ones too often."""

_MOST_CANDIDATES = 4096
"""Candidates looked at for a move: there are as many pairs as inputs squared."""


def smallness(row: Int64, zero: int) -> tuple[int, int, Row]:
    """What the smallest row has least of; ``zero`` is the zero point, clipped to the declared range."""
    distance = np.abs(row - zero)
    return int(np.count_nonzero(distance)), int(distance.sum()), tuple(row.tolist())


def shrink(
    source: Activation, x: Int64, fails: Callable[[Int64], npt.NDArray[np.bool_]], most: int = 400
) -> tuple[Int64, int]:
    """A small input on which the device fails, and how many rows were asked to find it.

    ``x``, int64 (inputs,), is one on which it does; ``source`` is the activation whose range and zero point count
    [model.activation]. ``fails`` is given rows, int64 (k, inputs), within that range, and says of each whether the
    device fails: (k,). At most ``most`` rows are asked, none twice, and the same ones every time.
    """
    search = _Search(source, x, fails, most)
    while search.drop() or search.approach() or search.transfer():
        pass
    return search.best, search.asked


class _Search:
    """The smallest failing row so far, ``best``, and the moves that may make it smaller; each says whether one did."""

    def __init__(
        self, source: Activation, x: Int64, fails: Callable[[Int64], npt.NDArray[np.bool_]], most: int
    ) -> None:
        self.low, self.high = source.min, source.max
        self.zero = min(max(source.zero_point, source.min), source.max)
        self.best = np.array(x, np.int64)
        self.fails, self.most, self.asked = fails, most, 0
        self.known: set[Row] = {tuple(self.best.tolist())}

    def drop(self) -> bool:
        """Inputs set to the zero point: all, halves, quarters, ... single ones."""
        before = self.best
        size = max(1, len(self._moved()))
        while size:
            moved = self._moved()
            parts = [moved[at : at + size] for at in range(0, len(moved), size)]
            others = [np.setdiff1d(moved, part) for part in parts] if 1 < len(parts) <= _BATCH else []
            if not self._ask(self._with((part, self.zero) for part in (*others, *parts))):
                size //= 2
        return self.best is not before

    def approach(self) -> bool:
        """Single values closer to the zero point, by a binary search of each; then the successes all at once."""
        before = self.best
        moves: list[tuple[npt.NDArray[np.intp], int]] = []
        for i in self._moved():
            d = int(self.best[i]) - self.zero
            left = abs(d)
            distances = {left - (left >> k) for k in range(1, left.bit_length() + 1)} | {1, left - 1}
            sign = 1 if d > 0 else -1
            moves += [(np.array([i]), self.zero + sign * k) for k in sorted(distances) if 0 < k < left]
            moves.append((np.array([i]), self.zero - left))
        failing = self._ask(self._with(moves))
        if len(failing) > 1:
            together, origin = self.best.copy(), before
            for row in sorted(failing, key=lambda row: smallness(row, self.zero), reverse=True):
                together = np.where(row != origin, row, together)
            self._ask([together])
        return self.best is not before

    def transfer(self) -> bool:
        """Two values that depend on each other: what one gives up is given to the other, whole or in part."""
        return bool(self._ask(self._transfers()))

    def _transfers(self) -> Iterator[Int64]:
        moved = self._moved()
        for whole in (True, False):
            for i in moved:
                d = int(self.best[i]) - self.zero
                for amount in (d,) if whole else dict.fromkeys((d // 2, 1 if d > 0 else -1)):
                    for k in moved:
                        for given in (amount, -amount):
                            if k != i:
                                row = self.best.copy()
                                row[i] -= amount
                                row[k] += given
                                yield row

    def _moved(self) -> npt.NDArray[np.intp]:
        """The inputs that are not at the zero point."""
        return np.flatnonzero(self.best != self.zero)

    def _with(self, moves: Iterable[tuple[npt.NDArray[np.intp], int]]) -> Iterator[Int64]:
        """The best row with the inputs of each move set to a value."""
        for inputs, value in moves:
            row = self.best.copy()
            row[inputs] = value
            yield row

    def _ask(self, candidates: Iterable[Int64]) -> list[Int64]:
        """The candidates that are smaller than the best, and fail; the smallest of them is the best from now on.

        Batches are asked until one has such a candidate or the rows to be asked are used up.
        """
        limit = smallness(self.best, self.zero)
        fresh: dict[Row, Int64] = {}
        for row in islice(candidates, _MOST_CANDIDATES if self.asked < self.most else 0):
            key = tuple(row.tolist())
            inside = self.low <= row.min() and row.max() <= self.high
            if inside and key not in self.known and smallness(row, self.zero) < limit:
                fresh.setdefault(key, row)
        ordered = sorted(fresh.values(), key=lambda row: smallness(row, self.zero))
        for at in range(0, len(ordered), _BATCH):
            rows = ordered[at : at + min(_BATCH, self.most - self.asked)]
            if not rows:
                break
            self.known.update(tuple(row.tolist()) for row in rows)
            self.asked += len(rows)
            wrong = self.fails(np.array(rows))
            failing = [row for row, bad in zip(rows, wrong, strict=True) if bad]
            if failing:
                self.best = failing[0]
                return failing
        return []
