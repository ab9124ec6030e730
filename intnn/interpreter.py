"""The reference interpreter: spec/30-execution.md made executable.

Two beats a layer, accumulate and requantize, on data that flows through ``*``, ``+`` and ``>>`` only (a test
reads the syntax tree). Nothing is verified on the way: :mod:`intnn.engines` runs proved networks only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from intnn import arithmetic
from intnn.arithmetic import Word
from intnn.model import Q31, Dense, Fixed, HostRule, Network


class LayerTrace(NamedTuple):
    """What one layer computed for a batch: ``acc`` int32 and ``output``, both (batch, outputs)."""

    acc: Word
    output: Word


def accumulate(x: Iterable[Word], zero_point: int, weights: Iterable[Word], bias: Word) -> Word:
    """[dense.accumulate] ``bias + sum((x_i - zero_point) * w_i)``.

    ``x`` yields one value per input and ``weights`` the matching weights. For one neuron these are ints; for a
    batch and a layer, columns of shape (batch, 1) and rows of shape (outputs,), giving (batch, outputs).
    """
    acc = bias
    for x_i, w_i in zip(x, weights, strict=True):
        acc = acc + (x_i + zero_point * -1) * w_i
    return acc


def requantize(acc: Word, layer: Dense) -> Word:
    """[dense.output] the accumulator rescaled, moved to the output's zero point, then clamped."""
    match layer.requantize:
        case Fixed() as r:
            v = arithmetic.fixed(acc, r.pre_round, r.pre_shift, r.multiplier, r.round, r.shift)
        case Q31() as r:
            v = arithmetic.q31(acc, r.multiplier, r.exponent, r.rounding)
        case HostRule() as host:  # not int32-only: brings its own arithmetic
            v = host.rescale(acc, layer)
    return arithmetic.clamp(v + layer.output.zero_point, layer.output.min, layer.output.max)


def execute(net: Network, x: Word) -> Iterator[LayerTrace]:
    """[network.run] the layers in order; ``x`` yields the input's columns of shape (batch, 1)."""
    for layer, source in zip(net.layers, net.inputs, strict=True):
        acc = accumulate(x, source.zero_point, layer.weights.T.astype(np.int32), layer.bias)
        y = requantize(acc, layer)
        yield LayerTrace(acc, y)
        x = columns(y)


def columns(y: Word) -> list[Word]:
    """(batch, n) as n columns of shape (batch, 1)."""
    return [y[:, i : i + 1] for i in range(y.shape[1])]
