"""Inputs that make boundary events: read off a pool of rows, solved for in the first layer, searched for below it.

Everything is decided in integers and by a stream of random bits that NumPy promises to keep, so that a network and a
seed give the same rows everywhere.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from intnn.conform.device import Int64
from intnn.conform.reach import KINDS, Bools, Hits, Points, Stage

_BLOCK = 1 << 20  # activations of the widest layer in a block of rows
_BASE = 4000  # rows from which the search starts
_EVENTS, _PARENTS, _CHILDREN = 256, 6, 96  # the events of a round of the search, and the rows of each of them
_INSISTENCE = 32  # how many times as many where the search insists
_MOST_STARTS = 8  # of such a search
_MOST_IDLE = 12  # rounds without success after which an event is given up
_NEURON = 60  # what a neuron costs, in multiply-accumulates: its requantization and the search for its events
_TRIES = 8  # solutions looked for, for each event of the first layer


class Draw:
    """Random integers; the bit generator's stream, unlike the distributions', is the same in every NumPy."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def below(self, limit: Any, *shape: int) -> Int64:
        """Integers in [0, ``limit``), of ``shape``; ``limit`` is an int below 2^63 or an array of them."""
        count = int(np.prod(shape, dtype=np.int64))
        raw = (self._bits.random_raw(count) >> np.uint64(1)).astype(np.int64).reshape(shape)
        return np.asarray(raw % limit)


class Ledger:
    """Which of the rows looked at make which event, and show it.

    Events are numbered: :attr:`first` of the layer, then by kind, then by neuron. ``reached`` counts the rows that make
    an event. Some of them, at most ``tests`` of a block of rows, are tried for whether they *show* it, that is, whether
    the network's output changes if the neuron's moves by one; ``tried`` and ``shown`` count these and those that do.
    ``wanted`` of the latter are collected, or one that does not show it while there are none that do. ``rows`` holds
    what is collected; ``events``, ``at`` and ``shows`` say for what: the number of an event, an index of ``rows``, and
    whether the row shows it.
    """

    def __init__(self, stages: Sequence[Stage], wanted: int, tests: int) -> None:
        self.stages, self.wanted, self.tests = stages, wanted, tests
        sizes = [len(KINDS) * stage.outputs for stage in stages]
        self.first = [sum(sizes[:k]) for k in range(len(sizes) + 1)]
        self.reached, self.tried, self.shown = (np.zeros(self.first[-1], np.int64) for _ in range(3))
        self.rows: list[Int64] = []
        self.events: list[int] = []
        self.at: list[int] = []
        self.shows: list[bool] = []

    @property
    def work(self) -> int:
        """About what it takes to look for all events of a row, in multiply-accumulates."""
        return sum(stage.beats.weights.size + _NEURON * stage.outputs for stage in self.stages)

    def number(self, layer: int, kind: int, neuron: int) -> int:
        """The number of an event."""
        return self.first[layer] + kind * self.stages[layer].outputs + neuron

    def event(self, number: int) -> tuple[int, int, int]:
        """Layer, kind and neuron of an event."""
        layer = bisect_right(self.first, number) - 1
        return (layer, *divmod(number - self.first[layer], self.stages[layer].outputs))

    def scan(self, x: Int64) -> list[npt.NDArray[np.int32]]:
        """Run the rows ``x`` (n, inputs), collect their events, and return every layer's accumulators (n, outputs)."""
        widest = max(stage.outputs for stage in self.stages)
        size = max(1, _BLOCK // widest)
        blocks = [self._block(x[at : at + size]) for at in range(0, len(x), size)]
        return [np.concatenate(parts) for parts in zip(*blocks, strict=True)]

    def _block(self, x: Int64) -> list[npt.NDArray[np.int32]]:
        accs: list[Int64] = []
        outputs: list[Int64] = []
        found: list[tuple[Int64, Hits, int]] = []
        y = x
        for layer, stage in enumerate(self.stages):
            acc = stage.beats.accumulate(y)
            v, y = stage.finish(acc)
            for hits in stage.events(acc, v, y):
                if not len(hits.rows):
                    continue
                numbers = self.first[layer] + hits.kind * stage.outputs + hits.neurons
                self.reached += np.bincount(numbers, minlength=len(self.reached))
                open_ = self.shown[numbers] < self.wanted
                if open_.any():
                    chosen = open_ & (_rank(numbers) < self.tests)
                    found.append((numbers[chosen], hits.some(chosen), layer))
            accs.append(acc)
            outputs.append(y)
        index: dict[int, int] = {}
        for numbers, hits, layer in found:
            shows = shown(self.stages, accs, outputs, layer, hits)
            keep = shows & (_rank_of(numbers, shows) < self.wanted - self.shown[numbers])
            keep |= ~shows & (self.shown[numbers] + self.tried[numbers] == 0) & (_rank(numbers) == 0)
            np.add.at(self.tried, numbers, 1)
            np.add.at(self.shown, numbers[shows], 1)
            self._collect(x, index, numbers[keep], hits.rows[keep], shows[keep])
        return [acc.astype(np.int32) for acc in accs]

    def _collect(self, x: Int64, index: dict[int, int], numbers: Int64, rows: Points, shows: Bools) -> None:
        for number, row, show in zip(numbers.tolist(), rows.tolist(), shows.tolist(), strict=True):
            if row not in index:
                index[row] = len(self.rows)
                self.rows.append(x[row])
            self.events.append(number)
            self.at.append(index[row])
            self.shows.append(show)


def _rank(numbers: Int64) -> Int64:
    """How many times each number occurs before its place."""
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    rank = np.empty(len(numbers), np.int64)
    lengths = np.diff(np.append(starts, len(numbers)))
    rank[order] = np.arange(len(numbers)) - np.repeat(starts, lengths)
    return rank


def _rank_of(numbers: Int64, chosen: Bools) -> Int64:
    """The rank among the chosen; others get 0."""
    rank = np.zeros(len(numbers), np.int64)
    rank[chosen] = _rank(numbers[chosen])
    return rank


def shown(stages: Sequence[Stage], accs: Sequence[Int64], outputs: Sequence[Int64], layer: int, hits: Hits) -> Bools:
    """For which hits the network's output changes if the neuron's output moves by ``change``: (n,).

    ``accs`` and ``outputs`` are every layer's, (batch, outputs), for the rows that the hits refer to.
    """
    shows = np.ones(len(hits.rows), np.bool_)
    if layer + 1 == len(stages):
        return shows
    size = max(1, _BLOCK // max(stage.outputs for stage in stages))
    for at in range(0, len(shows), size):
        alive = np.arange(at, min(at + size, len(shows)))
        rows = hits.rows[alive]
        columns = stages[layer + 1].beats.weights.T[hits.neurons[alive]]
        y = np.zeros((0, 0), np.int64)
        for k in range(layer + 1, len(stages)):
            if k == layer + 1:
                acc = accs[k][rows] + columns * hits.change[alive, None]
            else:
                acc = stages[k].beats.accumulate(y)
            y = stages[k].finish(acc)[1]
            moved = (y != outputs[k][rows]).any(axis=1)
            shows[alive[~moved]] = False
            alive, rows, y = alive[moved], rows[moved], y[moved]
            if not len(alive):
                break
    return shows


def solve(
    weights: Int64, r: Int64, x: Int64, low: Int64, high: Int64, draw: Draw, pairs: int = 6
) -> tuple[Int64, Bools]:
    """Rows near ``x`` whose sums are greater by ``r``: rows and which of them are, (n, inputs) and (n,).

    ``weights`` (n, inputs) are each row's, ``r`` (n,), and values stay in [``low``, ``high``] (inputs,). Input after
    input, in random order, takes what it can of the rest; then two inputs are moved together so that nothing is left.
    """
    n, inputs = x.shape
    x, r, each = x.copy(), r.copy(), np.arange(n)
    order = np.argsort(draw.below(1 << 40, n, inputs), axis=1, kind="stable")
    for i in order.T:
        w = weights[each, i]
        step = np.where(w != 0, np.abs(r) // np.maximum(np.abs(w), 1) * np.sign(r) * np.sign(w), 0)
        step = np.clip(step, low[i] - x[each, i], high[i] - x[each, i])
        x[each, i] += step
        r -= step * w
    reach = np.arange(1, 129)
    moves = np.concatenate([[0], np.stack([reach, -reach], axis=1).ravel()])  # the smaller first
    for _ in range(pairs if inputs > 1 else 0):
        left = np.flatnonzero(r)
        if not len(left):
            break
        i = draw.below(inputs, len(left))
        k = (i + 1 + draw.below(inputs - 1, len(left))) % inputs
        w_i, w_k = weights[left, i][:, None], weights[left, k][:, None]
        rest = r[left][:, None] - w_i * moves
        other = np.where(w_k != 0, rest // np.where(w_k != 0, w_k, 1), 0)
        a, b = x[left, i][:, None] + moves, x[left, k][:, None] + other
        fits = (other * w_k == rest) & (a >= low[i][:, None]) & (a <= high[i][:, None])
        fits &= (b >= low[k][:, None]) & (b <= high[k][:, None])
        found = fits.any(axis=1)
        best = fits.argmax(axis=1)
        rows = left[found]
        x[rows, i[found]] = a[found, best[found]]
        x[rows, k[found]] = b[found, best[found]]
        r[rows] = 0
    return x, r == 0


class Search:
    """The hunt for events that no row of ``base`` (n, inputs), whose accumulators are ``accs``, shows."""

    def __init__(self, ledger: Ledger, base: Int64, accs: list[npt.NDArray[np.int32]], draw: Draw) -> None:
        self.ledger, self.stages, self.draw = ledger, ledger.stages, draw
        self.base, self.accs = base[:_BASE], [acc[:_BASE] for acc in accs]
        self._targets: dict[int, Int64] = {}
        self._nearest: dict[int, tuple[Int64, Int64]] = {}  # an event's nearest rows, and how near they are
        self._idle: dict[int, int] = {}  # rounds in which it came no nearer
        first = self.stages[0]
        self.low, self.high = first.input_low, first.input_high
        self._bits = np.array([int(w).bit_length() for w in self.high - self.low])

    def targets(self, number: int) -> Int64:
        """The accumulators that make an event, ascending; none if it is proved unreachable by its interval."""
        if number not in self._targets:
            layer, kind, neuron = self.ledger.event(number)
            self._targets[number] = self.stages[layer].targets(kind, neuron)
        return self._targets[number]

    def missing(self, layer: int | None = None, enough: int = 1) -> list[int]:
        """Events with fewer than ``enough`` rows that show them and not proved unreachable, kinds in order."""
        found = []
        for kind in range(len(KINDS)):
            for k, stage in enumerate(self.stages):
                if layer in (None, k) and stage.exists(kind):
                    start = self.ledger.number(k, kind, 0)
                    few = np.flatnonzero(self.ledger.shown[start : start + stage.outputs] < enough) + start
                    found += [number for number in few.tolist() if len(self.targets(number))]
        return found

    def solve_first(self, most: int) -> None:
        """Solve for rows that make the missing events of the first layer, ``most`` rows at a time and six times at
        most."""
        stage = self.stages[0]
        tried: dict[int, int] = {}
        for _ in range(6):
            missing = sorted(self.missing(0, 2), key=lambda number: tried.get(number, 0))[: max(1, most // _TRIES)]
            if not missing:
                break
            tried.update({number: tried.get(number, 0) + 1 for number in missing})
            numbers = [number for number in missing for _ in range(_TRIES)]
            neurons = np.array([self.ledger.event(number)[2] for number in numbers])
            lists = [self.targets(number) for number in numbers]
            picks = self.draw.below(1 << 40, len(numbers)).tolist()
            wanted = np.array([t[pick % len(t)] for t, pick in zip(lists, picks, strict=True)], np.int64)
            rows = self.draw.below(len(self.base), len(numbers))
            r = wanted - self.accs[0][rows, neurons]
            x, solved = solve(stage.beats.weights[neurons], r, self.base[rows], self.low, self.high, self.draw)
            if solved.any():
                self.ledger.scan(x[solved])

    def hunt(self, budget: int) -> None:
        """Search on until every event is shown, or none comes nearer, or the work done exceeds ``budget``, about in
        multiply-accumulates.

        Round after round, from the rows nearest to each missing event others are made by moving few inputs, and the
        nearest are kept. Events that come nearer go first.
        """
        while budget > 0:
            waiting = [number for number in self.missing() if self._idle.get(number, 0) < _MOST_IDLE]
            chosen = sorted(waiting, key=lambda number: self._idle.get(number, 0))[:_EVENTS]
            if not chosen:
                break
            for layer in range(len(self.stages)):
                numbers = [number for number in chosen if self.ledger.event(number)[0] == layer]
                if numbers:
                    budget -= self._improve(layer, numbers)

    def insist(self, groups: Sequence[Sequence[int]], budget: int) -> None:
        """Search longer for at least one event of each group, from the member that is nearest, as long as that brings
        any hits; ``budget`` is for all."""
        reachable = ([number for number in group if len(self.targets(number))] for group in groups)
        hidden = [members for members in reachable if members and not self.ledger.shown[members].any()]
        for k, members in enumerate(hidden):
            share, idle, starts = budget // (len(hidden) - k), 0, 0
            for number in members:
                self._parents(number)  # from the start, if it was not searched for before
            while share > 0 and starts < _MOST_STARTS and not self.ledger.shown[members].any():
                chosen = min(members, key=lambda number: int(self._nearest[number][1][0]))
                before = self.ledger.reached[chosen], self._nearest[chosen][1][0]
                work = self._improve(self.ledger.event(chosen)[0], [chosen] * _INSISTENCE)
                share, budget = share - work, budget - work
                nearer = self.ledger.reached[chosen] > before[0] or self._nearest[chosen][1][0] < before[1]
                idle = 0 if nearer else idle + 1
                if idle == _MOST_IDLE:  # stuck: again, from other rows
                    idle, starts = 0, starts + 1
                    self._start(chosen, self.draw.below(len(self.base), 1 + len(self.base) // 8))

    def _improve(self, layer: int, numbers: list[int]) -> int:
        """One step for events of a layer; returns the work done."""
        parents = np.stack([self._parents(number) for number in numbers])
        children = self._mutate(np.repeat(parents, _CHILDREN // _PARENTS, axis=1).reshape(-1, self.base.shape[1]))
        neurons = [self.ledger.event(number)[2] for number in numbers]
        accs = self._accumulators(layer, neurons, children).reshape(len(numbers), _CHILDREN)
        rows = children.reshape(len(numbers), _CHILDREN, -1)
        hits = []
        for number, acc, mine in zip(numbers, accs, rows, strict=True):
            distance = self._distance(number, acc)
            hits.append(mine[distance == 0][:_TRIES])
            before = self._nearest[number]
            self._keep(number, np.concatenate([mine, before[0]]), np.concatenate([distance, before[1]]))
            nearer = len(hits[-1]) or self._nearest[number][1][0] < before[1][0]
            self._idle[number] = 0 if nearer else self._idle.get(number, 0) + 1
        found = np.concatenate(hits)
        if len(found):
            self.ledger.scan(found)
        below = self.stages[:layer]
        work = sum(stage.beats.weights.size + 20 * stage.outputs for stage in below) + 30 * self.base.shape[1] + 600
        return int(work) * len(children) + 50_000 * len(numbers) + 2 * self.ledger.work * len(found)

    def _keep(self, number: int, rows: Int64, distance: Int64) -> None:
        """Remember the nearest rows, the first of each distance."""
        distance, first = np.unique(distance, return_index=True)
        self._nearest[number] = rows[first[:_PARENTS]], distance[:_PARENTS]

    def _accumulators(self, layer: int, neurons: list[int], x: Int64) -> Int64:
        """Those of one neuron for each run of ``len(x) / len(neurons)`` rows: (n,)."""
        y = x
        for stage in self.stages[:layer]:
            y = stage.finish(stage.beats.accumulate(y))[1]
        beats = self.stages[layer].beats
        centred = (y - beats.zero_in).astype(np.float64).reshape(len(neurons), -1, y.shape[1])
        dots = centred @ beats.weights[neurons].astype(np.float64)[:, :, None]  # integers far below 2^53
        return (dots[:, :, 0].astype(np.int64) + beats.bias[neurons][:, None]).ravel()

    def _parents(self, number: int) -> Int64:
        if number not in self._nearest:
            self._start(number, np.arange(len(self.base)))
        rows, _ = self._nearest[number]
        return rows[np.arange(_PARENTS) % len(rows)]

    def _start(self, number: int, rows: Int64) -> None:
        """Forget what was found for an event, and take the nearest of these rows of the base."""
        layer, _, neuron = self.ledger.event(number)
        self._keep(number, self.base[rows], self._distance(number, self.accs[layer][rows, neuron].astype(np.int64)))

    def _distance(self, number: int, acc: Int64) -> Int64:
        """How far accumulators are from the nearest that makes the event."""
        targets = self.targets(number)
        place = np.searchsorted(targets, acc)
        above = np.abs(targets[np.minimum(place, len(targets) - 1)] - acc)
        below = np.abs(targets[np.maximum(place - 1, 0)] - acc)
        nearest: Int64 = np.minimum(above, below)
        return nearest

    def _mutate(self, x: Int64) -> Int64:
        """Two or three inputs of each row moved, mostly by little."""
        x = x.copy()
        n, inputs = x.shape
        each = np.arange(n)
        for chance in (1, 1, 2):
            i = self.draw.below(inputs, n)
            bits = np.maximum(self._bits[i], 1)
            size = np.left_shift(1, self.draw.below(bits, 3, n).min(axis=0))
            move = (1 + self.draw.below(size, n)) * (1 - 2 * self.draw.below(2, n))
            move *= self.draw.below(chance, n) == 0
            x[each, i] = np.clip(x[each, i] + move, self.low[i], self.high[i])
        return x
