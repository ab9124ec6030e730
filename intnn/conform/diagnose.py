"""Which mistake explains what a device answered: hypotheses are tried, ranked, and told apart by asking more.

A hypothesis is a set of faults; none is the specification itself. First come single faults, then those of one neuron,
then pairs, each only if nothing before explains every answer. Hypotheses that explain as much are separated on inputs
made for it. Nothing depends on time or chance: the work is bounded by counts, and random numbers have a fixed seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from intnn.conform.device import Int64
from intnn.conform.faults import Fault, Mutants, catalogue, mutant, neuron_faults
from intnn.conform.pairs import agreement, best_pairs
from intnn.conform.separate import candidates, deciding
from intnn.conform.steps import same_function
from intnn.conform.verdict import Diagnosis, Explanation
from intnn.model import Network

Ask = Callable[[Int64], tuple[Int64, npt.NDArray[np.bool_]]]
Hypothesis = tuple[Fault, ...]

_SCREEN = 24  # failing rows, and as many passing ones, on which hypotheses are tried first
_KEPT = 12  # hypotheses that miss some of them, yet are tried on all rows
_REPORTED = 5
_AT_ONCE = 16  # questions asked in one go


def diagnose(
    net: Network,
    x: npt.ArrayLike,
    got: npt.ArrayLike,
    ask: Ask,
    *,
    most_questions: int = 256,
    pool: npt.ArrayLike | None = None,
    pairs: bool = True,
) -> Diagnosis:
    """The faults that explain best why ``net`` on ``x`` gave ``got``.

    ``x`` int64 (batch, inputs) within the declared range and ``got`` int64 (batch, outputs) are rows that were
    answered. ``ask(rows)`` asks the device more, at most ``most_questions`` rows in all, and gives its answers (k,
    outputs) and which of them it gave (k,). ``pool`` (n, inputs) holds further inputs worth asking. Without
    ``pairs`` only single faults are tried. ``matched`` and ``of`` of each explanation count all rows, those asked
    included. Raises :class:`ModelError` ``model.overflow``.
    """
    search = _Search(net, np.asarray(x, np.int64), np.asarray(got, np.int64), ask, most_questions)
    if pool is not None:
        search.pool = np.asarray(pool, np.int64).reshape(-1, net.sizes[0])
    for stage in (search.singles, search.biases, search.weights, *([search.pairs] if pairs else [])):
        if search.consider(stage()):
            break
    return search.conclude()


@dataclass
class _Search:
    net: Network
    x: Int64
    got: Int64
    ask: Ask
    most_questions: int
    pool: Int64 | None = None
    tried: int = 0
    asked: int = 0
    order: dict[Hypothesis, int] = field(default_factory=dict)
    scores: dict[Hypothesis, tuple[int, int]] = field(default_factory=dict)
    """Rows and elements matched, on all rows, of the hypotheses that are worth it."""

    def __post_init__(self) -> None:
        self.all_rows = Mutants(self.net, self.x)

    # --- the hypotheses, in stages

    def singles(self) -> Iterable[Hypothesis]:
        """The specification, and every single fault."""
        return [(), *((fault,) for fault in catalogue(self.net))]

    def biases(self) -> Iterable[Hypothesis]:
        """One neuron's bias off by one."""
        return [(fault,) for fault in neuron_faults(self.net) if fault.id.startswith("bias.")]

    def weights(self) -> Iterable[Hypothesis]:
        """One weight wrong."""
        return [(fault,) for fault in neuron_faults(self.net) if not fault.id.startswith("bias.")]

    def pairs(self) -> Iterable[Hypothesis]:
        """Two faults: the most promising single ones with all others, and those pairs that do well on a few rows."""
        singles = [h[0] for h in (*self.singles(), *self.biases()) if h]
        rows = self._screen(8)
        pairs, count = best_pairs(self.net, singles, self.x[rows], self.got[rows])
        self.tried += count - len(pairs)
        return pairs

    # --- evidence

    def _screen(self, each: int = _SCREEN) -> npt.NDArray[np.intp]:
        """Numbers of rows, half of them wrong ones where there are as many, spread evenly."""
        wrong = (self.got != self.all_rows.expected).any(axis=1)
        return np.concatenate([_spread(np.flatnonzero(w), each) for w in (wrong, ~wrong)])

    def consider(self, hypotheses: Iterable[Hypothesis]) -> list[Hypothesis]:
        """Try them; those that explain everything, after separating them as far as possible."""
        hypotheses = list(hypotheses)
        for h in hypotheses:
            self.order.setdefault(h, len(self.order))
        self.tried += len(hypotheses)
        rows = self._screen()
        screened = Mutants(self.net, self.x[rows])
        tally = {h: agreement(screened.outputs(h), self.got[rows]) for h in hypotheses}
        ranked = sorted(hypotheses, key=lambda h: (*(-n for n in tally[h]), self.order[h]))
        survivors = [h for h in ranked if tally[h][0] == len(rows)]
        for h in (*survivors, *ranked[len(survivors) :][:_KEPT]):
            self.scores[h] = agreement(self.all_rows.outputs(h), self.got)
        return self.separate([h for h in survivors if self.complete(h)])

    def complete(self, h: Hypothesis) -> bool:
        """Whether it explains all rows."""
        return self.scores[h][0] == len(self.x)

    def separate(self, complete: list[Hypothesis]) -> list[Hypothesis]:
        """Ask the device for what tells them apart until nothing does; those that are left."""
        for batch in candidates(self.net, self.pool, complete):
            while len(complete) > 1 and self.asked < self.most_questions:
                rows = deciding(self.net, complete, batch, min(_AT_ONCE, self.most_questions - self.asked))
                if not len(rows):
                    break
                got, answered = self.ask(rows)
                self.asked += len(rows)
                rows, got = rows[answered], np.asarray(got, np.int64)[answered]
                if not len(rows):  # it does not answer what would tell
                    break
                self.x, self.got = np.concatenate([self.x, rows]), np.concatenate([self.got, got])
                self.all_rows = Mutants(self.net, self.x)
                fresh = Mutants(self.net, rows)
                for h, (matched, elements) in list(self.scores.items()):
                    more = agreement(fresh.outputs(h), got)
                    self.scores[h] = matched + more[0], elements + more[1]
                complete[:] = [h for h in complete if self.complete(h)]
            if len(complete) < 2:
                break
        return complete

    # --- the outcome

    def conclude(self) -> Diagnosis:
        """The best, those that are tied all of them."""
        self.scores.setdefault((), agreement(self.all_rows.expected, self.got))
        ranked = sorted(self.scores, key=lambda h: (-self.scores[h][0], len(h), -self.scores[h][1], self.order[h]))
        tied = sum(map(self.complete, ranked))
        kept = ranked[:tied]
        for h in ranked[tied:]:  # of the rest those that say more than the specification, or a part of them, does
            if len(kept) < _REPORTED and (not h or all(self.scores[h] > self.scores.get(p, (0, 0)) for p in _parts(h))):
                kept.append(h)
        told = [self._explanation(h, kept[0] if 0 < n < tied else None) for n, h in enumerate(kept)]
        return Diagnosis(tuple(told), tied, self.asked, self.tried)

    def _explanation(self, h: Hypothesis, first: Hypothesis | None) -> Explanation:
        text = " and ".join(fault.text for fault in h) or "the specification" + self._differences()
        same = first is not None and same_function(self.net, first, h)
        where = min(h, key=lambda fault: fault.first) if h else None
        layer, stage = (where.layer, where.stage) if where else (None, "unknown")
        return Explanation(tuple(f.id for f in h), text, self.scores[h][0], len(self.x), layer, stage, same)

    def _differences(self) -> str:
        """Which outputs differ from the specification's."""
        wrong = self.got != self.all_rows.expected
        if not wrong.any():
            return ""
        neurons = np.flatnonzero(wrong.any(axis=0)).tolist()
        if len(neurons) == wrong.shape[1] > 1:
            return " (every output differs somewhere)"
        names = ", ".join(map(str, neurons[:8])) + (", ..." if len(neurons) > 8 else "")
        return f" (only output{'s' * (len(neurons) > 1)} {names} differ{'s' * (len(neurons) == 1)} from it)"


def _parts(h: Hypothesis) -> list[Hypothesis]:
    """The specification and, of several faults, each alone."""
    return [(), *((fault,) for fault in h if len(h) > 1)]


def _spread(rows: npt.NDArray[np.intp], most: int) -> npt.NDArray[np.intp]:
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.intp)]


def diagnose_requantization(net: Network, layer: int, asked: Sequence[tuple[int, Int64, Int64]]) -> Diagnosis:
    """The single faults of ``layer`` that explain best how a device requantizes accumulators alone.

    ``asked`` holds, for neurons, the accumulators and the device's outputs, both int64 (n,) [dense.output]. Nothing
    more is asked of the device.
    """
    hypotheses = [(), *((f,) for f in catalogue(net) if f.layer == layer and f.stage in ("requantize", "clamp"))]
    scores = {}
    for h in hypotheses:
        beats = mutant(net, h)[layer]
        tables = ((np.repeat(accs[:, None], len(beats.bias), axis=1), neuron, got) for neuron, accs, got in asked)
        scores[h] = sum(int((beats.finish(accs)[:, neuron] == got).sum()) for accs, neuron, got in tables)
    of = sum(len(got) for _, _, got in asked)
    ranked = sorted(hypotheses, key=lambda h: -scores[h])  # stable: the likelier first
    tied = sum(scores[h] == of for h in ranked)
    told = [
        Explanation(
            tuple(f.id for f in h),
            " and ".join(f.text for f in h) or "the specification",
            scores[h],
            of,
            layer,
            h[0].stage if h else "unknown",
            0 < n < tied and same_function(net, ranked[0], h),
        )
        for n, h in enumerate(ranked[: max(_REPORTED, tied)])
    ]
    return Diagnosis(tuple(told), tied, 0, len(hypotheses))
