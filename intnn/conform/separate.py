"""Inputs on which hypotheses differ: given ones, random ones, and such as are led to where the hypotheses part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from intnn.conform.beats import Beats, same
from intnn.conform.device import Int64
from intnn.conform.faults import Fault, Mutants, execute, mutant
from intnn.conform.pairs import work
from intnn.conform.steps import differing, every_input, same_function
from intnn.model import IntArray, Network

Hypotheses = Sequence[tuple[Fault, ...]]

_EFFORT = 12_000_000_000  # multiply-accumulates, or what takes as long, for all batches of inputs together
_BATCHES = 12  # about how many batches there are
_LOOKED_AT = 256  # rows of a batch, no two of which refute just the same, among which the best are chosen
_RANDOM = 4  # batches of random rows
_PAIRS = 16  # pairs of hypotheses for which inputs are searched
_NEURONS, _WALKERS, _STEPS = 16, 32, 160  # of the search for a chosen accumulator; fewer steps if they cost much


def deciding(net: Network, hypotheses: Hypotheses, rows: Int64, most: int) -> Int64:
    """Of ``rows`` (n, inputs) at most ``most``, each of which splits the ``hypotheses`` best in turn: (k, inputs)."""
    if not len(rows):
        return rows
    mutants = Mutants(net, rows)
    answers = np.stack([mutants.outputs(h) for h in hypotheses])
    differs = (answers != answers[0]).any(axis=2)  # from the first: (hypotheses, rows)
    patterns, split = np.unique(np.packbits(differs, axis=0), axis=1, return_index=True)
    split = np.sort(split[patterns.any(axis=0)])
    split = split[np.linspace(0, len(split) - 1, min(len(split), _LOOKED_AT)).astype(np.intp)]
    classes = [_numbered(answers[:, row]) for row in split]
    chosen: list[int] = []
    parts = np.zeros(len(hypotheses), np.intp)
    while len(chosen) < most:
        finer = [_numbered(np.stack([parts, c], axis=1)) for c in classes]
        best = max(range(len(split)), key=lambda i: (int(finer[i].max()), -i), default=None)
        if best is None or finer[best].max() == parts.max():
            break
        parts = finer[best]
        chosen.append(int(split[best]))
    return rows[chosen]


def classes(names: Sequence[str], net: Network, hypotheses: Hypotheses, rows: Int64) -> list[list[str]]:
    """The ``names`` of the ``hypotheses``, those together that answer all ``rows`` alike."""
    mutants = Mutants(net, rows)
    parts: dict[bytes, list[str]] = {}
    for name, h in zip(names, hypotheses, strict=True):
        parts.setdefault(mutants.outputs(h).tobytes(), []).append(name)
    return list(parts.values())


def _numbered(answers: Int64) -> npt.NDArray[np.intp]:
    """The same number for equal rows, from 0."""
    return np.unique(answers, axis=0, return_inverse=True)[1].reshape(-1)


def candidates(net: Network, pool: Int64 | None, hypotheses: Hypotheses, seed: int = 0) -> Iterator[Int64]:
    """Batches of inputs (n, inputs) worth trying to tell hypotheses apart: every input if they are few, else the
    ``pool``, random rows, and rows near those accumulators at which the first hypothesis and another finish a layer
    differently.

    ``hypotheses`` is looked at before each batch: the caller removes those that are refuted.
    """
    if (rows := every_input(net)) is not None:
        yield rows
        return
    rng = np.random.default_rng(seed)

    def size() -> int:
        return int(np.clip(_EFFORT // (_BATCHES * work(net) * max(1, len(hypotheses))), 64, 2048))

    if pool is not None:
        at = 0
        while at < len(pool) and at < 4 * 2048:
            count = size()
            yield pool[at : at + count]
            at += count
    for n in range(_RANDOM):
        yield _random(net, rng, size(), sparse=n % 2 == 1)
    tried: set[tuple[tuple[Fault, ...], ...]] = set()
    while len(tried) < _PAIRS and (pair := _open_pair(net, hypotheses, tried)):
        tried.add(pair)
        a, b = (mutant(net, h) for h in pair)
        yield from _near(net, a, b, rng)


def _open_pair(
    net: Network, hypotheses: Hypotheses, tried: set[tuple[tuple[Fault, ...], ...]]
) -> tuple[tuple[Fault, ...], tuple[Fault, ...]] | None:
    """The first hypothesis and another that is not proved to be the same function."""
    for other in hypotheses[1:]:
        if (hypotheses[0], other) not in tried and not same_function(net, hypotheses[0], other):
            return hypotheses[0], other
    return None


def _random(net: Network, rng: np.random.Generator, count: int, sparse: bool) -> Int64:
    """Uniform rows; ``sparse``: the zero point but for a few inputs, and inputs at the ends of the range."""
    low, high = net.input.min, net.input.max
    shape = (count, net.sizes[0])
    rows = rng.integers(low, high + 1, shape)
    if sparse:
        rest = rng.integers(0, 4, shape)
        zero = min(max(net.input.zero_point, low), high)
        rows = np.choose(rest, [rows, np.full(shape, zero), np.full(shape, low), np.full(shape, high)])
    return rows


def _near(net: Network, a: Sequence[Beats], b: Sequence[Beats], rng: np.random.Generator) -> Iterator[Int64]:
    """Rows led to where two mutants part: first in a layer's accumulators, then from there at random."""
    k = next((k for k, (p, q) in enumerate(zip(a, b, strict=True)) if not same(p, q)), None)
    if k is None or work(net) > 1 << 21:
        return
    if a[k].accumulates_as(b[k]):
        targets = differing(net, k, a[k], b[k])
        if targets is None or not any(map(len, targets)):
            return
        rows = _walk(net, a[: k + 1], targets, rng)
        for at in range(0, len(rows), 2048):
            yield rows[at : at + 2048]
    else:
        rows = _random(net, rng, 2048, sparse=False)
    inner: list[IntArray] = [_outputs(layers[: k + 1], rows) for layers in (a, b)]
    parted = rows[(inner[0] != inner[1]).any(axis=1)]
    if len(parted):  # the layers above hide the difference: others that part there may show it
        yield _nudged(net, rng, np.resize(parted, (2048, rows.shape[1])))


def _outputs(layers: Sequence[Beats], x: IntArray) -> IntArray:
    for beats in layers:
        x = execute(beats, x)[1]
    return x


def _walk(net: Network, layers: Sequence[Beats], targets: Sequence[Int64], rng: np.random.Generator) -> Int64:
    """Rows on which neurons of the last of ``layers`` have one of their ``targets``, sorted accumulators: as many as
    random walks find that never go farther from it."""
    able = [o for o, t in enumerate(targets) if len(t)]
    neurons = [able[i] for i in np.linspace(0, len(able) - 1, min(_NEURONS, len(able))).astype(int)]
    seeds = _random(net, rng, 1024, sparse=False)

    def distances(rows: Int64) -> Int64:
        """How far each neuron (n, neurons) is from its nearest target."""
        acc = layers[-1].accumulate(_outputs(layers[:-1], rows))
        return np.stack([_distance(acc[:, o], targets[o]) for o in neurons], axis=1)

    order = np.argsort(distances(seeds), axis=0, kind="stable")[:_WALKERS]
    rows = np.concatenate([seeds[order[:, n]] for n in range(len(neurons))])
    own = np.repeat(np.arange(len(neurons)), len(order))  # which neuron a row is to serve
    far = distances(rows)[np.arange(len(rows)), own]
    found = [rows[far == 0]]
    for _ in range(min(_STEPS, _EFFORT // (_BATCHES * work(net) * len(rows)))):
        moved = _nudged(net, rng, rows)
        now = distances(moved)[np.arange(len(rows)), own]
        nearer = now <= far
        rows, far = np.where(nearer[:, None], moved, rows), np.where(nearer, now, far)
        found.append(rows[nearer & (far == 0)])
    return np.unique(np.concatenate(found), axis=0)


def _distance(acc: Int64, targets: Int64) -> Int64:
    at = np.searchsorted(targets, acc)
    below, above = targets[np.maximum(at - 1, 0)], targets[np.minimum(at, len(targets) - 1)]
    distance: Int64 = np.minimum(np.abs(acc - below), np.abs(above - acc))
    return distance


def _nudged(net: Network, rng: np.random.Generator, rows: Int64) -> Int64:
    """The rows with one or two inputs changed, by little or to anything."""
    low, high = net.input.min, net.input.max
    rows = rows.copy()
    every = np.arange(len(rows))
    for turn in range(2):
        column = rng.integers(0, rows.shape[1], len(rows))
        little = rows[every, column] + rng.integers(-3, 4, len(rows))
        value = np.where(rng.integers(0, 2, len(rows)) == 1, little, rng.integers(low, high + 1, len(rows)))
        use = (rng.integers(0, 2, len(rows)) == 1) | (turn == 0)
        rows[every, column] = np.where(use, np.clip(value, low, high), rows[every, column])
    return rows
