"""Boundary events of a network's neurons: where a slightly wrong implementation first differs from the specification.

Requantization is a non-decreasing step function of the accumulator [overflow.endpoints]. Call the least accumulator
with an output *a step*. Another non-decreasing rule differs from the specified one somewhere if and only if it differs
at a step or just below one, so these are the accumulators that count; the others here are the ends of what can occur.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd
from typing import NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from intnn.bounds import LayerProof, require_valid
from intnn.conform.beats import Beats
from intnn.conform.device import Int64
from intnn.model import Q31, Fixed, Network

Bools: TypeAlias = npt.NDArray[np.bool_]
Points: TypeAlias = npt.NDArray[np.intp]

MOST_LEVELS = 256
"""Steps looked for: all of an output of 8 bits; of a wider one as many, spread evenly."""

_MOST_BITS = 1 << 32  # work on the sets of sums of a layer, in bits times inputs


class Kind(NamedTuple):
    """A kind of event: its permanent ``name`` and the ``family`` that names the group of its inputs."""

    name: str
    family: str


KINDS = (
    Kind("just below a step", "steps"),
    Kind("just at a step", "steps"),
    Kind("rounding constant + 1", "steps"),
    Kind("rounding constant - 1", "steps"),
    Kind("tightest step, below", "steps"),
    Kind("tightest step, at", "steps"),
    Kind("tie above zero, even", "ties"),
    Kind("tie above zero, odd", "ties"),
    Kind("tie below zero, even", "ties"),
    Kind("tie below zero, odd", "ties"),
    Kind("low clamp edge, below", "saturation"),
    Kind("low clamp edge, at", "saturation"),
    Kind("high clamp edge, below", "saturation"),
    Kind("high clamp edge, at", "saturation"),
    Kind("clamped low", "saturation"),
    Kind("clamped high", "saturation"),
    Kind("accumulator -1", "accumulator zero"),
    Kind("accumulator 0", "accumulator zero"),
    Kind("accumulator 32767", "int16"),
    Kind("accumulator 32768", "int16"),
    Kind("accumulator -32768", "int16"),
    Kind("accumulator -32769", "int16"),
    Kind("least accumulator", "extremes"),
    Kind("greatest accumulator", "extremes"),
)
"""All kinds. The first two show a bias off by one, either way; the next two a rounding constant."""

BELOW, AT, ROUND_UP, ROUND_DOWN, TIGHT_BELOW, TIGHT_AT, TIES = range(7)
LOW_BELOW, LOW_AT, HIGH_BELOW, HIGH_AT, CLAMPED_LOW, CLAMPED_HIGH = range(10, 16)
_VALUES = {16: (-1, 1), 17: (0, -1), 18: (32767, -1), 19: (32768, -1), 20: (-32768, 1), 21: (-32769, 1)}
LEAST, GREATEST = 22, 23


class Hits(NamedTuple):
    """Events of one ``kind``: the ``rows`` and ``neurons`` where they are, and whether the fault they are for moves the
    neuron's output by ``change`` 1 or -1; all (n,)."""

    kind: int
    rows: Points
    neurons: Points
    change: npt.NDArray[np.int8]

    @classmethod
    def of(cls, kind: int, rows: Points, neurons: Points, change: int) -> Hits:
        """All with the same ``change``."""
        return cls(kind, rows, neurons, np.full(len(rows), change, np.int8))

    @classmethod
    def where(cls, kind: int, holds: Bools, change: int) -> Hits:
        """Where ``holds`` (batch, outputs)."""
        rows, neurons = np.nonzero(holds)
        return cls.of(kind, rows, neurons, change)

    def some(self, chosen: Bools) -> Hits:
        """Those ``chosen``, (n,)."""
        return Hits(self.kind, self.rows[chosen], self.neurons[chosen], self.change[chosen])


@dataclass(frozen=True, eq=False)
class Constants:
    """A rule's constants, int64 (outputs,) each: ``multiplier``, last ``shift``, and those of a ``fixed`` rule."""

    multiplier: Int64
    shift: Int64
    round: Int64
    pre_shift: Int64
    pre_round: Int64


class Stage:
    """A layer and what can occur in it.

    ``input_low`` and ``input_high`` (inputs,) bound its input as proved of the layer before; ``low`` and ``high``
    (outputs,) its accumulators that follow from those. ``steps`` (levels, outputs) are steps, where ``real``;
    ``complete`` says whether these are all. ``proof`` is the overflow proof's.
    """

    def __init__(self, beats: Beats, proof: LayerProof, input_low: Int64, input_high: Int64) -> None:
        self.beats, self.proof = beats, proof
        self.input_low, self.input_high = input_low, input_high
        positive, negative = np.maximum(beats.weights, 0), np.minimum(beats.weights, 0)
        low, high = input_low - beats.zero_in, input_high - beats.zero_in
        self.low = np.asarray(beats.bias + positive @ low + negative @ high, np.int64)
        self.high = np.asarray(beats.bias + positive @ high + negative @ low, np.int64)
        self.output_low, self.output_high = self.finish(self.low[None])[1][0], self.finish(self.high[None])[1][0]
        self.rule = beats.layer.requantize
        self.constants = _constants(beats)
        self._sets: dict[int, int] = {}
        self._find_steps()

    @property
    def outputs(self) -> int:
        """The number of neurons."""
        return len(self.low)

    def finish(self, acc: Int64) -> tuple[Int64, Int64]:
        """The rescaled accumulators with the zero point, and the outputs: (batch, outputs) each [dense.output]."""
        v = self.beats.rescale.apply(acc) + self.beats.zero_out
        return v, np.clip(v, self.beats.low, self.beats.high)

    def events(self, acc: Int64, v: Int64, y: Int64) -> Iterator[Hits]:
        """The events among accumulators ``acc`` with rescaled values ``v`` and outputs ``y``: all (batch, outputs)."""
        for change in (1, -1):
            inside = acc < self.proof.acc_high if change > 0 else acc > self.proof.acc_low
            beyond = self.finish(acc + change)[1]
            rows, neurons = np.nonzero((beyond != y) & inside)
            at = rows, neurons
            for kind, chosen in self._sides(acc[at], neurons, v[at], y[at], beyond[at], change):
                yield Hits.of(kind, rows[chosen], neurons[chosen], change)
        for kind, (value, change) in _VALUES.items():
            yield Hits.where(kind, acc == value, change)
        yield Hits.where(CLAMPED_LOW, v < self.beats.low, 1)
        yield Hits.where(CLAMPED_HIGH, v > self.beats.high, -1)
        yield Hits.where(LEAST, acc == self.proof.acc_low, 1)
        yield Hits.where(GREATEST, acc == self.proof.acc_high, -1)

    def targets(self, kind: int, neuron: int) -> Int64:
        """Accumulators of ``neuron``, ascending, that make an event of the kind and are not proved unreachable by their
        interval. For ranges, their far end; all of them where :meth:`exhaustive`."""
        found = self._targets(kind, neuron)
        inside: Int64 = found[(found >= self.low[neuron]) & (found <= self.high[neuron])]
        return inside

    def exhaustive(self, kind: int) -> bool:
        """Whether :meth:`targets` leaves none out (for ranges: none that matters to whether one is reachable)."""
        return self.complete or kind >= LOW_BELOW  # the steps next to the clamp's bounds are always looked for

    def exists(self, kind: int) -> bool:
        """Whether the event has a meaning in this layer."""
        if kind in (ROUND_UP, ROUND_DOWN):
            return isinstance(self.rule, Fixed) and bool(np.any(np.asarray(self.rule.shift) > 0))
        if kind in (TIGHT_BELOW, TIGHT_AT):
            return isinstance(self.rule, Fixed | Q31)
        return not TIES <= kind < LOW_BELOW or bool(self._nearest().any())

    def reachable(self, neuron: int, values: Int64) -> Bools:
        """For which accumulators ``values`` (n,) it is not proved that no input gives them: (n,).

        Exact for the first layer if it is small, for then all sums are enumerated; below it the outputs of the layer
        before are taken for independent. Else what interval and residues exclude.
        """
        offsets = values - self.low[neuron]
        inside = (offsets >= 0) & (offsets <= self.high[neuron] - self.low[neuron])
        sums = self._sums(neuron)
        return np.array([bool(ok and sums >> k & 1) for ok, k in zip(inside, offsets.tolist(), strict=True)], np.bool_)

    def _sums(self, neuron: int) -> int:
        """A set of accumulators that contains all reachable ones, as bits: bit k stands for ``low + k``."""
        if neuron not in self._sets:
            weights = np.abs(self.beats.weights[neuron]).tolist()
            counts = (self.input_high - self.input_low).tolist()
            span = int(self.high[neuron] - self.low[neuron])
            used = [(w, count) for w, count in zip(weights, counts, strict=True) if w and count]
            if int((self.high - self.low).sum()) * len(weights) > _MOST_BITS:
                used = [(gcd(*(w for w, _ in used)), span)] if used else []  # multiples of the divisor
            sums = 1
            for w, count in used:
                have = 1  # how many multiples of w, from 0, can be added
                while have <= count and w * have <= span:
                    more = min(have, count + 1 - have)
                    sums |= sums << (w * more)
                    have += more
            self._sets[neuron] = sums
        return self._sets[neuron]

    def _find_steps(self) -> None:
        """By bisection: below ``steps`` the output is less than the level, at it not. Of a step between an accumulator
        that can occur and one just beyond, the one side is an event still."""
        least, most = np.maximum(self.low - 1, self.proof.acc_low), np.minimum(self.high + 1, self.proof.acc_high)
        output_low, output_high = self.finish(least[None])[1][0], self.finish(most[None])[1][0]
        first, last = int(output_low.min()) + 1, int(output_high.max())
        self.complete = last - first < MOST_LEVELS
        count = min(MOST_LEVELS, last - first + 1)
        spread = first + np.arange(count, dtype=np.int64) * (last - first) // max(1, count - 1)
        edges = [level for level in (self.beats.low + 1, self.beats.high) if first <= level <= last]
        levels = np.unique(np.concatenate([spread, np.array(edges, np.int64)]))[:, None]
        shape = (len(levels), self.outputs)
        below, steps = np.broadcast_to(least, shape), np.broadcast_to(most, shape)
        while np.any(steps - below > 1):
            middle = (below + steps) >> 1
            enough = self.finish(middle)[1] >= levels
            steps, below = np.where(enough, middle, steps), np.where(enough, below, middle)
        self.real: Bools = (levels > output_low) & (levels <= output_high)
        self.steps: Int64 = steps
        self.tightest = np.full((2, self.outputs), np.iinfo(np.int64).min)
        sides: dict[int, list[tuple[Int64, Points]]] = {}
        for side, change in ((0, 1), (1, -1)):  # just below, and at
            acc = self.steps - 1 + side
            if self.constants is not None and len(levels):
                inside = self.real & (acc >= self.low) & (acc <= self.high)
                slack = np.where(inside, np.abs(self._residue(acc)), np.iinfo(np.int64).max)
                best = acc[slack.argmin(axis=0), np.arange(self.outputs)]
                self.tightest[side] = np.where(inside.any(axis=0), best, self.tightest[side])
            v, y = self.finish(acc)
            beyond = self.finish(acc + change)[1]
            at = np.nonzero(self.real & (beyond != y))
            for kind, chosen in self._sides(acc[at], at[1], v[at], y[at], beyond[at], change):
                sides.setdefault(kind, []).append((acc[at][chosen], at[1][chosen]))
        self._by_kind = {
            kind: (np.concatenate([a for a, _ in parts]), np.concatenate([j for _, j in parts]))
            for kind, parts in sides.items()
        }

    def _targets(self, kind: int, neuron: int) -> Int64:
        proof = self.proof
        if kind in _VALUES:
            return np.array([_VALUES[kind][0]], np.int64)
        if kind in (LEAST, GREATEST):
            return (proof.acc_low if kind == LEAST else proof.acc_high)[[neuron]]
        if kind in (CLAMPED_LOW, CLAMPED_HIGH):
            end = self.low if kind == CLAMPED_LOW else self.high
            v = self.finish(end[None])[0][0, neuron]
            clamped = v < self.beats.low if kind == CLAMPED_LOW else v > self.beats.high
            return end[[neuron]][: int(clamped)]
        acc, neurons = self._by_kind.get(kind, (np.zeros(0, np.int64), np.zeros(0, np.intp)))
        return np.unique(acc[neurons == neuron])

    def _sides(
        self, acc: Int64, j: Points, v: Int64, y: Int64, beyond: Int64, change: int
    ) -> Iterator[tuple[int, Bools]]:
        """Which accumulators of neurons ``j`` just below a step (``change`` 1; above: -1) make an event: pairs of kind
        and (n,). ``beyond`` are the outputs on the other side."""
        up = change > 0
        yield (BELOW if up else AT), np.ones(len(acc), np.bool_)
        low, high = self.beats.low, self.beats.high
        yield (LOW_BELOW if up else LOW_AT), (y if up else beyond) == low
        yield (HIGH_BELOW if up else HIGH_AT), (beyond if up else y) == high
        constants = self.constants
        if constants is None:
            return
        yield (TIGHT_BELOW if up else TIGHT_AT), acc == self.tightest[0 if up else 1, j]
        matters = np.clip(v + change, low, high) != y  # a rescaled value that is wrong by one
        shift = constants.shift[j]
        full = np.left_shift(np.int64(1), shift)
        if isinstance(self.rule, Fixed):
            product = ((acc + constants.pre_round[j]) >> constants.pre_shift[j]) * constants.multiplier[j]
            rest = (product + constants.round[j]) & (full - 1)
            on_edge = rest == (full - 1 if up else 0)
            yield (ROUND_UP if up else ROUND_DOWN), on_edge & matters & (shift > 0)
            last = product
        else:
            last = self._last(acc, j)
        tie = (last & (full - 1)) * 2 == full
        floor = last >> shift
        rounded_down = v - self.beats.zero_out == floor
        tie &= self._nearest()[j] & matters & (rounded_down == up)
        for sign in (0, 1):
            for odd in (0, 1):
                yield TIES + 2 * sign + odd, tie & ((acc < 0) == bool(sign)) & (floor & 1 == odd)

    def _nearest(self) -> Bools:
        """Which neurons round their last shift to the nearest."""
        constants = self.constants
        if constants is None:
            return np.zeros(self.outputs, np.bool_)
        if isinstance(self.rule, Fixed):
            return np.asarray((constants.shift > 0) & (constants.round * 2 == np.left_shift(1, constants.shift)))
        return np.asarray(constants.multiplier > 0)

    def _last(self, acc: Int64, j: Points) -> Int64:
        """What a q31 rule shifts right last: the exact product if it rounds once, else the high product."""
        assert self.constants is not None
        assert isinstance(self.rule, Q31)
        x = acc << np.maximum(31 - self._q31_shift[j], 0)
        product = x * self.constants.multiplier[j]
        twice = (self._q31_shift[j] > 31) & (self.rule.rounding != "single")
        return np.where(twice, (product + (1 << 30)) >> 31, product)

    @property
    def _q31_shift(self) -> Int64:
        return np.broadcast_to(self.beats.rescale.shift, self.low.shape)

    def _residue(self, acc: Int64) -> Int64:
        """How far the real value of accumulators (batch, outputs) is from where rounding would give another integer,
        in the last place of the exact product; negative where a rounding before the last has moved it across."""
        constants, rescale = self.constants, self.beats.rescale
        assert constants is not None
        if isinstance(self.rule, Fixed):
            shift = constants.shift
            product = ((acc + constants.pre_round) >> constants.pre_shift) * constants.multiplier + constants.round
        else:
            shift = np.maximum(rescale.shift, 31)
            product = (acc << np.maximum(31 - rescale.shift, 0)) * constants.multiplier
            product = product + (np.left_shift(np.int64(1), shift) >> 1)
        half = np.left_shift(np.int64(1), shift) >> 1
        residue: Int64 = ((product + half) & (np.left_shift(np.int64(1), shift) - 1)) - half
        return residue


def _constants(beats: Beats) -> Constants | None:
    """``None`` for a foreign rule."""
    rule, rescale = beats.layer.requantize, beats.rescale
    shape = beats.bias.shape
    if not isinstance(rule, Fixed | Q31):
        return None
    shift = rescale.shift
    if isinstance(rule, Q31):  # of one rounding all, else what the high product leaves
        shift = np.maximum(shift, 31) if rule.rounding == "single" else np.where(shift > 31, shift - 31, 31)
    parts = (rescale.multiplier, shift, rescale.round, rescale.pre_shift, rescale.pre_round)
    return Constants(*(np.broadcast_to(np.asarray(v, np.int64), shape) for v in parts))


_stages: WeakKeyDictionary[Network, tuple[Stage, ...]] = WeakKeyDictionary()


def stages(net: Network) -> tuple[Stage, ...]:
    """The layers of ``net``, each with its input bounded by what is proved of the one before; kept while ``net`` lives.

    Raises :class:`ModelError` ``model.overflow``.
    """
    if net not in _stages:
        proofs = require_valid(net).layers
        low, high = (np.full(net.sizes[0], bound, np.int64) for bound in (net.input.min, net.input.max))
        found: list[Stage] = []
        for layer, source, proof in zip(net.layers, net.inputs, proofs, strict=True):
            found.append(Stage(Beats.of(layer, source), proof, low, high))
            low, high = found[-1].output_low, found[-1].output_high
        _stages[net] = tuple(found)
    return _stages[net]
