"""Whether two ways to finish a layer ever differ: decided on both sides of each step, or on every accumulator.

Where zero point and clamp end in a non-decreasing function of the accumulator, that function is settled by its values
next to the steps of another: constant between two steps of the one, the other is squeezed between equal values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from intnn.bounds import require_valid
from intnn.conform.beats import Beats, same
from intnn.conform.device import Int64
from intnn.conform.faults import Fault, mutant, outputs, specified
from intnn.model import TYPES, Network

_MOST = 1 << 21  # accumulators of a layer looked at: beyond that the question stays open
_MOST_INPUTS = 1 << 16  # networks with no more inputs than that are tried on every one


def every_input(net: Network) -> Int64 | None:
    """All inputs in the declared range (n, inputs), where they are at most 65,536."""
    width, size = net.input.max - net.input.min + 1, net.sizes[0]
    if width == 1:
        return np.full((1, size), net.input.min, np.int64)
    if size > 16 or width**size > _MOST_INPUTS:
        return None
    digits = np.indices((width,) * size).reshape(size, -1).T
    return np.ascontiguousarray(digits, np.int64) + net.input.min


def differing(net: Network, layer: int, a: Beats, b: Beats) -> list[Int64] | None:
    """For each neuron, accumulators at which ``a`` and ``b`` finish differently, none of them only if there are none
    within the interval of the overflow proof; ``None`` where that would take too long to decide.

    Both are beats of that ``layer``. The interval holds what inputs may reach, and more: not all of it need be reached.
    """
    proof = require_valid(net).layers[layer]
    low, high = proof.acc_low, proof.acc_high
    points = _step_sides(a, low, high) if _monotone(a) and _monotone(b) else _every(low, high)
    if points is None:
        return None
    wrong = a.finish(points.copy()) != b.finish(points.copy())
    return [np.unique(points[wrong[:, o], o]) for o in range(points.shape[1])]


def differs_somewhere(net: Network, fault: Fault) -> list[bool | None]:
    """For each neuron of the fault's layer: ``False`` if the fault is proved to leave it as it is, ``True`` if some
    accumulator within the interval of the overflow proof shows it, ``None`` if this is not decided.

    Decided are faults of one layer's ``requantize`` and ``clamp``.
    """
    if fault.layer is None:
        return [None]
    right, wrong = specified(net)[fault.layer], mutant(net, [fault])[fault.layer]
    if not wrong.accumulates_as(right) or _rearranges(wrong):
        return [None] * len(right.bias)
    found = differing(net, fault.layer, right, wrong)
    return [None if found is None else bool(len(found[o])) for o in range(len(right.bias))]


def same_function(net: Network, one: Sequence[Fault], other: Sequence[Fault]) -> bool:
    """Whether devices with these faults are *proved* to answer every input alike: their layers never differ, or they
    were tried on every input. Else ``False``, which says nothing."""
    if (rows := every_input(net)) is not None:
        return bool((outputs(net, one, rows) == outputs(net, other, rows)).all())
    layers = list(zip(_in_order(mutant(net, one)), _in_order(mutant(net, other)), strict=True))
    for number, (a, b) in enumerate(layers):
        if not same(a, b):
            right = specified(net)[number]
            if not a.accumulates_as(right) or not b.accumulates_as(right) or _rearranges(a) or _rearranges(b):
                return False
            found = differing(net, number, a, b)
            if found is None or any(map(len, found)):
                return False
        if not _within(a):  # the layers beyond may see what the proof does not know of
            return all(same(a, b) for a, b in layers[number + 1 :])
    return True


def _in_order(layers: Sequence[Beats]) -> list[Beats]:
    """The same layers, where one that writes its outputs in reverse is said of the one that reads them."""
    found = list(layers)
    for k, (b, after) in enumerate(pairwise(layers)):
        if b.write_backwards:
            found[k] = replace(b, write_backwards=False)
            found[k + 1] = replace(after, read_backwards=not after.read_backwards)
    return found


def _monotone(b: Beats) -> bool:
    low, high = TYPES[b.layer.output.type]
    return b.clamp == "bounds" and low <= b.low <= b.high <= high and not b.rescale.logical and not _rearranges(b)


def _rearranges(b: Beats) -> bool:
    return b.write_backwards or b.last_missing


def _within(b: Beats) -> bool:
    """Whether what the layer stores stays within its declared bounds."""
    out = b.layer.output
    return b.clamp == "bounds" and out.min <= b.low <= b.high <= out.max and not b.last_missing


def _every(low: Int64, high: Int64) -> Int64 | None:
    width = int((high - low).max()) + 1
    if width * len(low) > _MOST:
        return None
    points: Int64 = np.minimum(low + np.arange(width, dtype=np.int64)[:, None], high)
    return points


def _step_sides(b: Beats, low: Int64, high: Int64) -> Int64 | None:
    """The ends, and both sides of each step: (n, outputs) accumulators, some of them more than once."""
    ends = np.stack([low, high])
    least, most = b.finish(ends.copy())
    count = int((most - least).max())
    if count * len(low) > _MOST:
        return None
    levels = np.minimum(least + np.arange(1, count + 1, dtype=np.int64)[:, None], most)
    below, reached = np.broadcast_to(low, levels.shape).copy(), np.broadcast_to(high, levels.shape).copy()
    while np.any(reached - below > 1):  # where no level is to be reached, both sides end at the lower end: harmless
        middle = (below + reached) >> 1
        enough = b.finish(middle.copy()) >= levels
        reached, below = np.where(enough, middle, reached), np.where(enough, below, middle)
    return np.concatenate([ends, below, reached])
