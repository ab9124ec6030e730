"""The pairs of faults that explain best a few answers.

Two faults in different layers are tried in bulk: what every fault of the layers before leaves is stacked, and goes
through a layer with its fault at once. Faults of the same layer, or of every layer, are tried one pair after the other,
the most promising first. How much is tried is bounded by a count of multiply-accumulates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from intnn.conform.beats import same
from intnn.conform.device import Int64
from intnn.conform.faults import Fault, Mutants, execute, mutant, specified
from intnn.model import IntArray, Network

Pair = tuple[Fault, Fault]
Scored = tuple[int, int, int, Pair]
"""Minus the rows and minus the elements matched, the order, and the pair: the least is the best."""

_EFFORT = 6_000_000_000  # multiply-accumulates, or what takes as long, for each of both ways
_RUN = 600_000  # what it takes to try a pair by itself, beside its rows
_KEPT = 64


def work(net: Network) -> int:
    """About how many multiply-accumulates take as long as one row of ``net``: a neuron's end takes some, too."""
    return sum(layer.weights.size + 64 * len(layer.bias) for layer in net.layers)


def agreement(y: Int64, got: Int64) -> tuple[int, int]:
    """On how many rows, and in how many integers, two answers (batch, outputs) are equal."""
    equal = y == got
    return int(equal.all(axis=1).sum()), int(equal.sum())


def best_pairs(net: Network, faults: Sequence[Fault], x: Int64, got: Int64) -> tuple[list[Pair], int]:
    """The pairs of ``faults`` that explain best why ``net`` on ``x`` gave ``got``, at most 64, and how many were tried.

    A pair has at least one fault that by itself comes close, where all pairs would be too many.
    """
    if not len(x):
        return [], 0
    reference = Mutants(net, x)
    alone = [agreement(reference.outputs((fault,)), got) for fault in faults]
    ranked = sorted(range(len(faults)), key=lambda i: (-alone[i][1], -alone[i][0], i))
    found = [*_of_two_layers(net, faults, ranked, reference, got), *_of_one(net, faults, ranked, reference, got)]
    found.sort(key=lambda entry: entry[:3])
    real = (pair for *_, pair in found if not _adds_nothing(net, pair))
    return list(islice(real, _KEPT)), len(found)


def _of_two_layers(
    net: Network, faults: Sequence[Fault], ranked: Sequence[int], reference: Mutants, got: Int64
) -> Iterator[Scored]:
    rows = len(got)
    count = max(8, _EFFORT // (rows * len(faults) * work(net)))
    top = set(ranked[:count])
    left = {i: _inputs(net, fault, reference) for i, fault in enumerate(faults) if fault.layer is not None}
    layers = specified(net)
    for j in range(1, len(layers)):
        before = [i for i in left if faults[i].first < j]
        promising = [i for i in before if i in top]
        for k in (k for k in left if faults[k].layer == j):
            first = before if k in top else promising
            if not first:
                continue
            y: IntArray = np.concatenate([left[i][j] for i in first])
            for beats in (mutant(net, [faults[k]])[j], *layers[j + 1 :]):
                y = execute(beats, y)[1]
            equal = y.reshape(len(first), *got.shape) == got
            whole, elements = equal.all(axis=2).sum(axis=1), equal.sum(axis=(1, 2))
            for n, i in enumerate(first):
                yield -int(whole[n]), -int(elements[n]), i * len(faults) + k, (faults[i], faults[k])


def _inputs(net: Network, fault: Fault, reference: Mutants) -> list[IntArray]:
    """The input of every layer beyond the fault's, on the rows; of those before, as specified."""
    layers = mutant(net, [fault])
    inputs = list(reference.inputs[: fault.first + 1])
    for beats in layers[fault.first : -1]:
        inputs.append(execute(beats, inputs[-1])[1])
    return inputs


def _of_one(
    net: Network, faults: Sequence[Fault], ranked: Sequence[int], reference: Mutants, got: Int64
) -> Iterator[Scored]:
    """Pairs within a layer, then those with a fault of every layer; of each kind those with a promising one first."""
    most = max(64, _EFFORT // (_RUN + len(got) * work(net)))
    whole = {i for i in ranked if faults[i].layer is None}
    for everywhere in (False, True):
        pairs = (
            (min(a, b), max(a, b))
            for n, a in enumerate(ranked)
            for b in ranked[n + 1 :]
            if bool(whole & {a, b}) == everywhere
            and (everywhere or faults[a].layer == faults[b].layer)
            and faults[a].change is not faults[b].change
        )
        for i, k in islice(pairs, most):
            rows, elements = agreement(reference.outputs((faults[i], faults[k])), got)
            yield -rows, -elements, i * len(faults) + k, (faults[i], faults[k])


def _adds_nothing(net: Network, pair: Pair) -> bool:
    """Whether the two faults are just one of them."""
    both = mutant(net, pair)
    return any(all(map(same, both, mutant(net, [fault]))) for fault in pair)
