"""What identifying an engine comes to, as data, as text and as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from intnn.conform.verdict import Diagnosis, Row

FORMAT = "intnn-identification/1"
_SHOWN = 16  # integers of a vector in text


@dataclass(frozen=True)
class Candidate:
    """A rounding that was tried: ``name`` is a profile, the id of a fault, or ``as specified``; with it the model gives
    ``rows`` of the recorded rows and ``elements`` of the recorded integers."""

    name: str
    text: str
    rows: int
    elements: int


@dataclass(frozen=True)
class Deciding:
    """An input that tells candidates apart: what each of them answers to ``x``."""

    x: Row
    answers: tuple[tuple[str, Row], ...]


@dataclass(frozen=True)
class Identification:
    """What recorded outputs say of the rounding of the engine they come from.

    ``candidates`` are sorted, the best first; the first ``fitting`` of them give all of ``rows`` rows, of ``elements``
    integers. ``refuting`` is on how many rows the best candidate that does not fit is wrong, ``None`` if all fit. Where
    several fit, ``deciding`` holds inputs that tell them apart, found among ``searched`` ones, and ``same`` groups of
    names proved to be one function of this model. Where none does, ``diagnoses`` says of the closest what further
    faults explain. ``unavailable`` are profiles that this model cannot have, and why.
    """

    model: str
    rows: int
    elements: int
    candidates: tuple[Candidate, ...]
    fitting: int
    refuting: int | None
    deciding: tuple[Deciding, ...]
    searched: int
    same: tuple[tuple[str, ...], ...]
    unavailable: tuple[tuple[str, str], ...]
    diagnoses: tuple[tuple[str, Diagnosis], ...]

    @property
    def winners(self) -> tuple[str, ...]:
        """The names of those that fit."""
        return tuple(c.name for c in self.candidates[: self.fitting])

    def document(self) -> dict[str, Any]:
        """This as JSON values."""
        return {
            "format": FORMAT,
            "model": self.model,
            "rows": self.rows,
            "elements": self.elements,
            "fitting": list(self.winners),
            "refuting": self.refuting,
            "candidates": [vars(c) for c in self.candidates],
            "deciding": [{"x": list(d.x), "answers": {n: list(y) for n, y in d.answers}} for d in self.deciding],
            "searched": self.searched,
            "same": [list(names) for names in self.same],
            "unavailable": dict(self.unavailable),
            "diagnoses": {
                name: {
                    "tied": d.tied,
                    "explanations": [
                        {"faults": list(e.faults), "text": e.text, "matched": e.matched, "of": e.of}
                        for e in d.explanations
                    ],
                }
                for name, d in self.diagnoses
            },
        }

    def text(self) -> str:
        """This in lines of plain text, the verdict first."""
        return "\n".join([*self._verdict(), *self._table(), *self._how_to_decide(), *self._beyond()])

    def _verdict(self) -> list[str]:
        best, count = self.candidates[0], f"{self.rows:,} row{'s' * (self.rows != 1)}"
        if not self.fitting:
            return [f"none of {len(self.candidates)} candidates fits; {best.name} comes closest: {self._share(best)}"]
        lines = [f"{_listed(self.winners)} {'fits' if self.fitting == 1 else 'fit'} all {count}"]
        if self.fitting == 1:
            lines[0] = f"{best.name}: {best.text}; fits all {count}"
        if self.refuting is not None:
            after = self.candidates[self.fitting]
            lines.append(f"the runner-up, {after.name}, is refuted by {_rows(self.refuting)}")
        else:
            lines.append("nothing is refuted: these rows do not tell any of the candidates apart")
        return lines

    def _share(self, c: Candidate) -> str:
        integers = f"{c.elements:,} of {self.elements:,} integers"
        return f"{c.rows:,} of {self.rows:,} rows, {integers}"

    def _table(self) -> list[str]:
        width = max(len(name) for name in [c.name for c in self.candidates] + [n for n, _ in self.unavailable])
        lines = [f"  {c.name:<{width}}  {self._share(c)}" for c in self.candidates]
        for n, c in enumerate(self.candidates[: self.fitting]):
            lines[n] += f"  {c.text}"
        return lines + [f"  {name:<{width}}  not possible: {why}" for name, why in self.unavailable]

    def _how_to_decide(self) -> list[str]:
        if self.fitting < 2:
            return []
        lines = [f"{_listed(names)} are proved to be the same function of the input" for names in self.same]
        if self.deciding:
            lines.append("ask the engine to decide:")
        for d in self.deciding:
            lines.append(f"  input {_brief(d.x)}")
            answers = dict.fromkeys(y for _, y in d.answers)
            for y in answers:
                names = [name for name, other in d.answers if other == y]
                lines.append(f"    {_telling(y, list(answers))}  if {_listed(names, 'or')}")
        apart = {tuple(dict(d.answers)[name] for d in self.deciding) for name in self.winners}
        proved = sum(len(names) - 1 for names in self.same)
        if len(apart) + proved < self.fitting:
            lines.append(
                f"no input that tells {'the rest' if self.deciding else 'them'} apart in {self.searched:,} tried"
            )
        return lines

    def _beyond(self) -> list[str]:
        lines = []
        for name, d in self.diagnoses:
            best = [e for e in d.explanations[: d.tied or 1] if e.faults]
            lines += [f"with {name}, {e.matched:,} of {e.of:,} rows are explained if {e.text}" for e in best]
        return lines


def _listed(names: Sequence[str], word: str = "and") -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"


def _rows(count: int) -> str:
    return f"{count:,} row{'s' * (count != 1)}"


def _telling(y: Row, answers: Sequence[Row]) -> str:
    """An answer, or if it is long what sets it off from the other ``answers``."""
    if len(y) <= _SHOWN:
        return _brief(y)
    apart = [o for o in range(len(y)) if len({other[o] for other in answers}) > 1]
    told = ", ".join(f"output {o} is {y[o]}" for o in apart[:4])
    return told + (f" and {len(apart) - 4} more" if len(apart) > 4 else "")


def _brief(row: Row) -> str:
    return " ".join(map(str, row[:_SHOWN])) + (f" ... ({len(row)} in all)" if len(row) > _SHOWN else "")
