"""Vectors in the memory of code under test, with guard bytes around them that tell when it writes where it may not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from intnn.conform.device import Answers, Failure, Int64

Bytes = npt.NDArray[np.uint8]

POISON = (0xA5, 0x5A)
"""What fills memory before a call, and before a second call where an output seems not to have been written."""


@dataclass(frozen=True)
class Frame:
    """Rows of a vector in memory: each of ``length`` elements of ``kind`` with ``guard`` bytes before and behind it.

    Elements of one byte begin at an odd address, as a caller may have them.
    """

    kind: np.dtype[Any]
    length: int

    @property
    def size(self) -> int:
        """Bytes of a vector."""
        return self.kind.itemsize * self.length

    @property
    def guard(self) -> int:
        """Guard bytes on each side: a function may well take the elements for eight times as large."""
        return 64 + min(8 * self.size, 4096) // 16 * 16

    @property
    def start(self) -> int:
        """Where in its row a vector begins."""
        return self.guard + self.kind.itemsize % 2

    @property
    def stride(self) -> int:
        """Bytes of a row."""
        return -(-(self.start + self.size + self.guard) // 64) * 64

    def vectors(self, area: Bytes) -> npt.NDArray[Any]:
        """The vectors in ``area`` (rows, stride), as a view (rows, length)."""
        return area[:, self.start : self.start + self.size].view(self.kind)

    def put(self, area: Bytes, rows: Int64) -> None:
        """Write ``rows`` (rows, length) into ``area``, guard bytes included."""
        area[:] = POISON[0]
        self.vectors(area)[:] = rows

    def unwritten(self, area: Bytes, poison: int) -> npt.NDArray[np.bool_]:
        """Which elements (rows, length) hold what they were filled with."""
        cells = area[:, self.start : self.start + self.size] == poison
        return np.asarray(cells.reshape(len(area), self.length, self.kind.itemsize).all(axis=2))

    def strays(self, area: Bytes, poison: int) -> dict[int, str]:
        """What was written around the vectors, by row."""
        damaged = area != poison
        damaged[:, self.start : self.start + self.size] = False
        found = {}
        for row in np.flatnonzero(damaged.any(axis=1)).tolist():
            at = np.flatnonzero(damaged[row])
            before, behind = int((at < self.start).sum()), int((at >= self.start + self.size).sum())
            said = [_bytes(before, "before", bool(at[0] == 0))] if before else []
            said += [_bytes(behind, "beyond", bool(at[-1] == self.stride - 1))] if behind else []
            found[row] = " and ".join(said)
        return found


def _bytes(count: int, where: str, to_the_end: bool) -> str:
    return f"{'at least ' * to_the_end}{count} byte{'s' * (count > 1)} {where}"


Execute = Callable[[int], dict[int, Failure]]


def answers(rows: Int64, x: Frame, y: Frame, x_area: Bytes, y_area: Bytes, execute: Execute) -> Answers:
    """The answers to ``rows``, as many at a time as the areas (rows, stride) have room for.

    ``execute(n)`` runs the first n inputs in ``x_area``, writes the outputs into ``y_area`` and returns the failures
    by row. What it wrote around an output, over its input or not at all is a failure too. Memory that is as it was may
    also be an output equal to the poison, so such rows are run twice.
    """
    result = Answers(np.zeros((len(rows), y.length), np.int64))
    for first in range(0, len(rows), len(x_area)):
        part = _answers(rows[first : first + len(x_area)], x, y, x_area, y_area, execute)
        result.outputs[first : first + len(x_area)] = part.outputs
        result.failures |= {first + row: failure for row, failure in part.failures.items()}
    return result


def _answers(rows: Int64, x: Frame, y: Frame, x_area: Bytes, y_area: Bytes, execute: Execute) -> Answers:
    failures: dict[int, Failure] = {}

    def attempt(numbers: list[int], poison: int) -> tuple[Int64, npt.NDArray[np.bool_], dict[int, str]]:
        """The outputs, which of their elements seem unwritten, and what was written elsewhere, by row."""
        xs, ys = x_area[: len(numbers)], y_area[: len(numbers)]
        x.put(xs, rows[numbers])
        ys[:] = poison
        before = xs.copy()
        for place, failure in execute(len(numbers)).items():
            failures.setdefault(numbers[place], failure)
        said = {place: f"it wrote {stray} its output" for place, stray in y.strays(ys, poison).items()}
        for place in np.flatnonzero((xs != before).any(axis=1)).tolist():
            said.setdefault(place, "it wrote over its input, or around it")
        damage = {numbers[place]: text for place, text in said.items() if numbers[place] not in failures}
        return y.vectors(ys).astype(np.int64), y.unwritten(ys, poison), damage

    outputs, unwritten, damage = attempt(list(range(len(rows))), POISON[0])
    for number in damage:  # perhaps by a neighbour: what does it do alone?
        [outputs[number]], [unwritten[number]], alone = attempt([number], POISON[0])
        for said in alone.values():
            failures.setdefault(number, Failure("trap", said))
    suspects = [number for number in np.flatnonzero(unwritten.any(axis=1)).tolist() if number not in failures]
    if suspects:
        _, still, _ = attempt(suspects, POISON[1])
        for place, number in enumerate(suspects):
            for output in np.flatnonzero(unwritten[number] & still[place]).tolist():
                failures.setdefault(number, Failure("trap", f"it did not write output {output}"))
    outputs[list(failures)] = 0
    return Answers(outputs, dict(sorted(failures.items())))
