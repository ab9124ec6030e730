"""Why a fault may change nothing: two networks, or a network and a formula, compared for every accumulator there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from intnn import Q31, Dense, Network, interpreter, prove
from intnn.bounds import LayerProof

Int64 = npt.NDArray[np.int64]


def accumulators(proof: LayerProof) -> Int64:
    """Every accumulator that a layer can have, int64 (values, outputs): each neuron's own interval, ends repeated."""
    values = np.arange(proof.acc_low.min(), proof.acc_high.max() + 1)[:, None]
    result: Int64 = np.clip(values, proof.acc_low, proof.acc_high)
    return result


def outputs(layer: Dense, acc: Int64) -> Any:
    """The interpreter's outputs for accumulators (values, outputs)."""
    return interpreter.requantize(acc.astype(np.int32), layer)


def same_network(net: Network, other: Network) -> bool:
    """Whether each neuron of ``other`` answers as that of ``net`` for every accumulator that the latter can have.

    Both have the same weights and zero points, so the accumulators differ by the biases.
    """
    assert net.input == other.input
    assert len(net.layers) == len(other.layers)
    for a, b, proof in zip(net.layers, other.layers, prove(net).layers, strict=True):
        assert (a.weights == b.weights).all()
        assert a.output.zero_point == b.output.zero_point
        acc = accumulators(proof)
        shift = b.bias.astype(np.int64) - a.bias
        if not np.array_equal(outputs(a, acc), outputs(b, acc + shift)):
            return False
    return True


def same_rule(net: Network, rule: Callable[[Dense, Int64], Int64]) -> bool:
    """Whether ``rule(layer, acc)``, before zero point and clamp, gives the outputs of every layer of ``net``."""
    for layer, proof in zip(net.layers, prove(net).layers, strict=True):
        acc = accumulators(proof)
        y = np.clip(rule(layer, acc) + layer.output.zero_point, layer.output.min, layer.output.max)
        if not np.array_equal(outputs(layer, acc), y):
            return False
    return True


def q31_double(layer: Dense, acc: Int64, *, multiplier: int = 0, carry: int = 0) -> Int64:
    """q31 with rounding ``double`` and a negative exponent, in int64, with faults: ``multiplier`` is added to the
    multiplier, ``carry`` * 2^15 to the product."""
    q = layer.requantize
    assert isinstance(q, Q31)
    assert q.rounding == "double"
    r = -np.asarray(q.exponent, np.int64)
    assert (r > 0).all()
    high = (acc * (np.asarray(q.multiplier, np.int64) + multiplier) + (carry << 15) + (1 << 30)) >> 31
    result: Int64 = (high - (high < 0) + (1 << (r - 1))) >> r
    return result
