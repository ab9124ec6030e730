"""The inputs of a campaign, constructed for the network: those that show a fault best come first.

Random inputs find neither a rounding constant nor a bias that is off by one: the accumulator must be just at a step
of the output, and the change must survive the layers above (see :mod:`intnn.conform.reach`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from intnn.conform import faults
from intnn.conform.device import Int64
from intnn.conform.reach import AT, BELOW, KINDS, ROUND_DOWN, ROUND_UP, Stage, stages
from intnn.conform.search import Draw, Ledger, Search
from intnn.conform.steps import same_function
from intnn.conform.verdict import Event
from intnn.model import Network

_WANTED = 8  # rows that show an event, collected for the cover
_HUNT = 2_000_000_000  # work of the search for events in a large network, about in multiply-accumulates
_FULL = 1024  # inputs asked for from which the whole of it is spent
_SHOWN = 64  # rows of an event that are tried for whether they show it, for the report
_CHANCE = 5_000_000_000  # work of a last try by chance, in multiply-accumulates
_CHASED, _CHASES = 2048, 8  # rows changed at once to show a fault, and how often
_FAULTS = 50_000_000_000  # work of trying the catalogue of faults, in multiply-accumulates


@dataclass(frozen=True, eq=False)
class Plan:
    """Inputs of a campaign: ``x`` int64 (n, inputs) within the declared range, no two alike, the best first; the name
    of each row's group in ``groups``; and what the rows reach of the network's boundary events in ``events``.

    Of an event's rows the first 64 (of each block of rows, in networks with wide layers) are tried for whether they
    show it: ``shown`` is at most that.
    """

    x: Int64
    groups: tuple[str, ...]
    events: tuple[Event, ...]


def plan(net: Network, count: int = 4096, seed: int = 0) -> Plan:
    """``count`` inputs for ``net``, or all there are if these are fewer; the same everywhere for the same ``seed``.

    First come corners; then as few rows as possible that show every bias and every rounding constant off by one,
    every fault of :func:`intnn.conform.faults.catalogue` and every boundary event, as far as rows were found that do;
    then impulses and walking bits, more rows for each event, and random ones. Of fewer than 1,024 inputs, the search
    for them is shorter in proportion. A plan is remembered for as long as ``net`` lives.

    Raises :class:`ModelError` ``model.overflow``.
    """
    plans = _plans.setdefault(net, {})
    if (count, seed) not in plans:
        plans[count, seed] = _plan(net, count, seed)
    return plans[count, seed]


_plans: WeakKeyDictionary[Network, dict[tuple[int, int], Plan]] = WeakKeyDictionary()


def _plan(net: Network, count: int, seed: int) -> Plan:
    layers = stages(net)
    draw = Draw(seed)
    ledger = Ledger(layers, _WANTED, 6 * _WANTED)
    pool = int(np.clip(1_500_000_000 // ledger.work, 1000, 20_000))
    ends = _first_extremes(layers[0])[: pool // 4]
    base = _unique([*_structured(net, pool // 4), ends, _random(net, pool, draw)], pool)
    search = Search(ledger, base, ledger.scan(base), draw)
    search.solve_first(pool)
    budget = (min(_HUNT, 300_000 * ledger.work) + 50_000 * ledger.work) * min(count, _FULL) // _FULL
    search.hunt(budget)
    search.insist(_required(net, ledger), budget)
    rows, names = _order(net, ledger, count, draw)
    return Plan(rows, names, _coverage(net, search, rows))


def accumulators(net: Network, layer: int, neuron: int) -> Int64:
    """Accumulators to ask of one neuron's requantization, ascending, int64 (n,), at most about 800.

    Both sides of each step, the ends of what the overflow proof allows and their neighbours, zero, and powers of two,
    each with its neighbours. Raises :class:`ModelError` ``model.overflow``.
    """
    stage = stages(net)[layer]
    low, high = int(stage.proof.acc_low[neuron]), int(stage.proof.acc_high[neuron])
    powers = [sign * (1 << k) + near for k in range(31) for sign in (1, -1) for near in (-1, 0, 1)]
    ends = [end + near for end in (low, high, 0) for near in (-1, 0, 1)]
    sides = [stage.targets(kind, neuron) for kind in range(len(KINDS))]
    found = np.unique(np.concatenate([np.array(powers + ends, np.int64), *sides]))
    return found[(found >= low) & (found <= high)]


def layer_inputs(net: Network, layer: int, count: int = 1024, seed: int = 0) -> Int64:
    """Inputs of one layer by itself, int64 (n, inputs), constructed as :func:`plan` does for a network."""
    return plan(Network(net.inputs[layer], (net.layers[layer],)), count, seed).x


def _structured(net: Network, most: int) -> tuple[Int64, Int64, Int64]:
    """Corners, impulses and walking bits: each (n, inputs), of the latter two at most ``most`` rows."""
    source, inputs = net.input, net.sizes[0]
    low, high = source.min, source.max
    zero = min(max(source.zero_point, low), high)
    even = np.arange(inputs) % 2 == 0
    ends = [np.full(inputs, v, np.int64) for v in (zero, low, high, zero + 1, zero - 1, 0, -1, 1, low + 1, high - 1)]
    mixed = [np.where(even, a, b) for a, b in ((low, high), (high, low))]
    ramp = low + np.arange(inputs) * (high - low) // max(1, inputs - 1)
    corners = np.stack([*ends, *mixed, ramp, ramp[::-1]])
    impulses = [_impulse(inputs, i, v, zero) for v in (high, low, zero + 1, zero - 1) for i in range(inputs)]
    bits = 16 if source.type == "int16" else 8
    patterns = np.left_shift(1, np.arange(bits)).astype(source.type).astype(np.int64)  # the highest may be the sign
    walking = [_impulse(inputs, i, int(patterns[(i + b) % bits]), zero) for b in range(bits) for i in range(inputs)]
    return (
        _inside(net, corners),
        _inside(net, np.stack(impulses[:most])),
        _inside(net, np.stack(walking[:most])),
    )


def _first_extremes(stage: Stage) -> Int64:
    """The inputs that give each neuron of the first layer its least and its greatest accumulator: (n, inputs)."""
    rising = stage.beats.weights >= 0
    low, high = stage.input_low, stage.input_high
    return np.concatenate([np.where(rising, low, high), np.where(rising, high, low)])


def _impulse(inputs: int, i: int, value: int, zero: int) -> Int64:
    row = np.full(inputs, zero, np.int64)
    row[i] = value
    return row


def _inside(net: Network, rows: Int64) -> Int64:
    """Those of the rows that lie within the declared range."""
    return rows[((rows >= net.input.min) & (rows <= net.input.max)).all(axis=1)]


def _random(net: Network, count: int, draw: Draw) -> Int64:
    """A half uniform; the rest of ends and zero points mostly, or close around one value."""
    low, high, inputs = net.input.min, net.input.max, net.sizes[0]
    zero = min(max(net.input.zero_point, low), high)
    uniform = low + draw.below(high - low + 1, count, inputs)
    ends = np.array([low, high, zero])[draw.below(3, count, inputs)]
    width = np.left_shift(2, draw.below(max(1, (high - low).bit_length()), count, 1))
    near = uniform[:, :1] * draw.below(2, count, 1) + draw.below(width, count, inputs) - width // 2
    kind = np.arange(count)[:, None] % 8
    rows = np.where(kind < 4, uniform, np.where(kind < 5, ends, np.where(draw.below(2, count, inputs), near, zero)))
    rows = np.where((kind == 5) & (draw.below(2, count, inputs) == 1), uniform, rows)
    return np.clip(rows, low, high)


def _unique(parts: Iterable[Int64], most: int) -> Int64:
    """The first ``most`` different rows."""
    rows = np.concatenate([*parts])
    seen: dict[bytes, int] = {}
    for i, row in enumerate(rows):
        seen.setdefault(row.tobytes(), i)
        if len(seen) == most:
            break
    return rows[list(seen.values())]


class _Cover:
    """Greedy choice of rows: each time the one that covers most of what is not yet covered."""

    def __init__(self, rows: int) -> None:
        self.chosen: dict[int, str] = {}
        self._rows = rows

    def take(self, items: Int64, at: Int64, names: Sequence[str] | dict[int, str]) -> None:
        """Cover every item; ``items`` (n,) and ``at`` (n,) say which row covers which. ``names`` has the name of the
        group of a row that is chosen for an item."""
        if not len(items):
            return
        pairs = np.unique(np.stack([items, at]), axis=1)
        items, at = pairs
        done = np.zeros(int(items.max()) + 1, np.bool_)
        chosen = np.array([*self.chosen], np.int64)
        done[items[np.isin(at, chosen)]] = True
        open_ = ~done[items]
        items, at = items[open_], at[open_]
        gains = np.bincount(at, minlength=self._rows)
        by_row = np.argsort(at, kind="stable")
        row_ends = np.searchsorted(at[by_row], np.arange(self._rows + 1))
        item_ends = np.searchsorted(items, np.arange(len(done) + 1))  # pairs are in order of items
        while gains.max() > 0:
            row = int(gains.argmax())
            mine = [i for i in items[by_row[row_ends[row] : row_ends[row + 1]]].tolist() if not done[i]]
            self.chosen[row] = names[mine[0]]
            for i in mine:
                done[i] = True
                gains[at[item_ends[i] : item_ends[i + 1]]] -= 1


def _required(net: Network, ledger: Ledger) -> list[list[int]]:
    """The events that show a rounding constant or a bias off by one: groups of which one event is enough."""
    groups = []
    for k, layer in enumerate(net.layers):
        neurons = range(len(layer.bias))
        shared = np.ndim(getattr(layer.requantize, "round", 0)) == 0
        for kind in (ROUND_UP, ROUND_DOWN, BELOW, AT):
            if ledger.stages[k].exists(kind):
                numbers = [ledger.number(k, kind, j) for j in neurons]
                groups += [numbers] if shared and kind in (ROUND_UP, ROUND_DOWN) else [[number] for number in numbers]
    return groups


def _order(net: Network, ledger: Ledger, count: int, draw: Draw) -> tuple[Int64, tuple[str, ...]]:
    """The rows of a plan and their groups."""
    corners, impulses, walking = _structured(net, max(8, count // 16))
    found = np.stack(ledger.rows)
    events, at, shows = np.array(ledger.events), np.array(ledger.at), np.array(ledger.shows, np.bool_)
    kinds, neurons, layers = _places(ledger, events)
    names = _group_names(ledger)
    cover = _Cover(len(found))
    bias = shows & ((kinds == BELOW) | (kinds == AT))
    constant = shows & ((kinds == ROUND_UP) | (kinds == ROUND_DOWN))
    shared = np.array([np.ndim(getattr(layer.requantize, "round", 0)) == 0 for layer in net.layers])
    one = np.where(shared[layers], events - neurons, events)  # the same number for all neurons of a shared constant
    cover.take(one[constant], at[constant], names)
    cover.take(events[bias], at[bias], names)
    missed = _take_faults(net, cover, corners, found)
    first = [*cover.chosen.items()]
    chased = [(fault, row) for fault in missed for row in _chase(net, fault, found[:_CHASED], draw)]
    chased += _by_chance(net, [fault for fault in missed if fault not in dict(chased)], draw)
    cover.take(events[shows], at[shows], names)
    cover.take(events, at, names)
    for _ in range(_WANTED):
        fresh = shows & ~np.isin(at, [*cover.chosen])
        again = _Cover(len(found))
        again.take(events[fresh], at[fresh], names)
        cover.chosen.update(again.chosen)
    more = [*cover.chosen.items()][len(first) :]
    low, high, inputs = net.input.min, net.input.max, net.sizes[0]
    if (high - low + 1) ** inputs <= count:  # all there are
        rest = np.stack(np.meshgrid(*[np.arange(low, high + 1)] * inputs), axis=-1).reshape(-1, inputs)
    else:
        rest = low + draw.below(high - low + 1, 2 * count, inputs)
    parts: list[tuple[Int64, Sequence[str]]] = [
        (corners, ["corners"] * len(corners)),
        (found[[row for row, _ in first]], [name for _, name in first]),
        (np.array([row for _, row in chased], np.int64).reshape(-1, inputs), [_fault_group(f) for f, _ in chased]),
        (impulses, ["impulses"] * len(impulses)),
        (walking, ["walking bits"] * len(walking)),
    ]
    left = max(0, count - count // 8 - sum(len(part) for part, _ in parts))
    parts.append((found[[row for row, _ in more[:left]]], [name for _, name in more[:left]]))
    parts.append((rest, ["random"] * len(rest)))
    rows = np.concatenate([part for part, _ in parts])
    group = [name for _, part in parts for name in part]
    seen: dict[bytes, int] = {}
    for i, row in enumerate(rows):
        seen.setdefault(row.tobytes(), i)
    kept = [*seen.values()][:count]
    return rows[kept], tuple(group[i] for i in kept)


def _places(ledger: Ledger, events: Int64) -> tuple[Int64, Int64, Int64]:
    """Kind, neuron and layer of numbered events: (n,) each."""
    layers = np.searchsorted(ledger.first, events, side="right") - 1
    sizes = np.array([stage.outputs for stage in ledger.stages])[layers]
    inner = events - np.array(ledger.first)[layers]
    return inner // sizes, inner % sizes, layers


def _group_names(ledger: Ledger) -> list[str]:
    """The name of the group of each event's rows."""
    return [
        f"layer {k} {kind.family}"
        for k, stage in enumerate(ledger.stages)
        for kind in KINDS
        for _ in range(stage.outputs)
    ]


def _take_faults(net: Network, cover: _Cover, corners: Int64, found: Int64) -> list[faults.Fault]:
    """Choose rows that show the faults of the catalogue which corners and those chosen so far do not; the faults
    that no row shows."""
    work = sum(layer.weights.size for layer in net.layers)
    most = int(np.clip(_FAULTS // (work * len(faults.catalogue(net))), 64, 2000))
    rest = np.setdiff1d(np.arange(len(found)), [*cover.chosen])
    order = np.concatenate([np.array([*cover.chosen], np.int64), rest])[:most]
    mutants = faults.Mutants(net, np.concatenate([corners, found[order]]))
    items, at, missed = [], [], []
    names = {}
    for number, fault in enumerate(faults.catalogue(net)):
        killed = np.flatnonzero((mutants.outputs([fault]) != mutants.expected).any(axis=1))
        if len(killed) and killed[0] >= len(corners):
            killed = order[killed - len(corners)]
            items.append(np.full(len(killed), number))
            at.append(killed)
            names[number] = _fault_group(fault)
        elif not len(killed):
            missed.append(fault)
    if items:
        cover.take(np.concatenate(items), np.concatenate(at), names)
    return missed


def _fault_group(fault: faults.Fault) -> str:
    return "every layer" if fault.layer is None else f"layer {fault.layer} faults"


def _by_chance(net: Network, missed: Sequence[faults.Fault], draw: Draw) -> list[tuple[faults.Fault, Int64]]:
    """Each of the faults that some row of many shows, with that row (inputs,)."""
    work = sum(layer.weights.size for layer in net.layers) * max(1, len(missed))
    mutants = faults.Mutants(net, _random(net, int(np.clip(_CHANCE // work, 64, 100_000)), draw))
    found = []
    for fault in missed:
        if not same_function(net, [], [fault]):
            shows = (mutants.outputs([fault]) != mutants.expected).any(axis=1)
            found += [(fault, mutants.x[row]) for row in np.flatnonzero(shows)[:1]]
    return found


def _chase(net: Network, fault: faults.Fault, rows: Int64, draw: Draw) -> Int64:
    """A row that shows a fault of one layer's sums which those given do not: (1, inputs), or none. Rows on which the
    fault moves an accumulator, most of all or at all, are changed in an input or two, and so on."""
    if fault.layer is None or fault.stage not in ("input", "accumulate") or same_function(net, [], [fault]):
        return rows[:0]
    right, wrong = faults.specified(net)[fault.layer], faults.mutant(net, [fault])[fault.layer]
    low, high, inputs = net.input.min, net.input.max, net.sizes[0]
    for _ in range(_CHASES):
        mutants = faults.Mutants(net, rows)
        shows = (mutants.outputs([fault]) != mutants.expected).any(axis=1)
        if shows.any():
            return rows[np.flatnonzero(shows)[:1]]
        x = mutants.inputs[fault.layer]
        moved = np.abs(faults.execute(wrong, x)[0].astype(np.int64) - faults.execute(right, x)[0]).max(axis=1)
        order = np.argsort(-moved, kind="stable")[: max(1, np.count_nonzero(moved))]
        spread = np.linspace(0, len(order) - 1, _CHASED // 32).astype(np.intp)
        chosen = np.concatenate([order[: _CHASED // 32], order[spread]])
        rows = np.repeat(rows[chosen], 16, axis=0)
        for _ in range(2):  # the second may be the first again
            rows[np.arange(len(rows)), draw.below(inputs, len(rows))] = low + draw.below(high - low + 1, len(rows))
    return rows[:0]


def _coverage(net: Network, search: Search, rows: Int64) -> tuple[Event, ...]:
    """Every event of every neuron, as ``rows`` reach and show it."""
    layers = search.stages
    ledger = Ledger(layers, 1 << 30, _SHOWN)
    ledger.scan(rows)
    events = []
    for k, stage in enumerate(layers):
        for number, kind in enumerate(KINDS):
            if not stage.exists(number):
                continue
            for j in range(stage.outputs):
                at = ledger.number(k, number, j)
                reached = int(ledger.reached[at])
                proved = not reached and _unreachable(stage, number, j)
                events.append(Event(kind.name, k, j, reached, int(ledger.shown[at]), proved))
    return tuple(events)


def _unreachable(stage: Stage, kind: int, neuron: int) -> bool:
    """Whether it is proved that no input makes the event."""
    targets = stage.targets(kind, neuron)
    return stage.exhaustive(kind) and not stage.reachable(neuron, targets).any()
