"""The fast engine: bit-identical to the reference, made for bulk on a host with floating point.

Nothing here is approximate; each float operation is used only where it is proved to give the integer:

- matrix products run in float32 where no partial sum can reach 2^24, else in float64 (the overflow proof keeps every
  sum below 2^31, far from 2^53): all sums are integers the format holds exactly, in any order;
- requantization and clamp together are a non-decreasing step function of the accumulator with at most 256 levels.
  ``floor(dot * a + c)`` in floats is non-decreasing too, so the two agree everywhere if they agree on both sides of
  every step. The steps are found with the reference's own arithmetic, and ``a`` and ``c`` are accepted only after
  the very float operations to be used have been run on both sides of each. Where no such ``a`` and ``c`` is found the
  accumulators go through the reference's requantization.

Batches run in blocks of rows that keep a block's activations in the cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from intnn import interpreter
from intnn.bounds import LayerProof, require_valid
from intnn.foreign import Foreign
from intnn.model import Q31, Activation, Dense, Fixed, IntArray, Network

Floats: TypeAlias = npt.NDArray[np.floating[Any]]

_BLOCK = 1 << 18  # activations of one layer in a block: 1 MiB of float32
_MOST_STEPS = 1 << 20  # steps times neurons that are worth finding: beyond, requantize by the reference


@dataclass(frozen=True, eq=False)
class Line:
    """``floor(dot * a + c)``, clipped to [low, high], is the output minus ``offset``; ``a`` and ``c`` (outputs,)."""

    a: Floats
    c: Floats
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Stage:
    """A layer made ready: ``weights`` (inputs, outputs) in the float type of its products."""

    layer: Dense
    weights: Floats
    line: Line | None
    next_zero_point: int


_stages: WeakKeyDictionary[Network, list[Stage]] = WeakKeyDictionary()


def run(net: Network, x: IntArray) -> IntArray:
    """Outputs (batch, outputs) in the output's type for rows ``x`` (batch, inputs) that were verified before."""
    if net not in _stages:
        _stages[net] = _prepare(net)
    stages = _stages[net]
    y = np.empty((len(x), net.sizes[-1]), net.output.type)
    rows = max(1, _BLOCK // max(net.sizes))
    for start in range(0, len(x), rows):
        y[start : start + rows] = _run_block(stages, x[start : start + rows], net.input.zero_point)
    return y


def _run_block(stages: list[Stage], x: IntArray, zero_point: int) -> Floats:
    centred: Floats = x.astype(stages[0].weights.dtype)
    centred -= zero_point
    for stage in stages:
        v: Floats = centred.astype(stage.weights.dtype, copy=False) @ stage.weights
        if stage.line is not None:
            _apply(stage.line, v)
        else:
            acc = v.astype(np.int32) + stage.layer.bias
            v = (interpreter.requantize(acc, stage.layer) - stage.next_zero_point).astype(v.dtype)
        centred = v
    return centred


def _apply(line: Line, dot: Floats) -> None:
    """The float form of requantization, in place."""
    dot *= line.a
    dot += line.c
    np.floor(dot, out=dot)
    np.clip(dot, line.low, line.high, out=dot)


def _prepare(net: Network) -> list[Stage]:
    stages = []
    following = (
        *(layer.output.zero_point for layer in net.layers[:-1]),
        0,
    )  # what the next layer subtracts
    for layer, source, proof, zero in zip(net.layers, net.inputs, require_valid(net).layers, following, strict=True):
        exact = np.float32 if _largest_sum(layer, source) < 1 << 24 else np.float64
        weights = np.ascontiguousarray(layer.weights.T.astype(exact))
        stages.append(Stage(layer, weights, _find_line(layer, proof, exact, zero), zero))
    return stages


def _largest_sum(layer: Dense, source: Activation) -> int:
    reach = max(abs(source.min - source.zero_point), abs(source.max - source.zero_point))
    return int(np.abs(layer.weights.astype(np.int64)).sum(axis=1).max()) * reach


def _find_line(layer: Dense, proof: LayerProof, dtype: type[np.floating[Any]], zero: int) -> Line | None:
    low, high = int(proof.output_low.min()), int(proof.output_high.max())
    if (high - low) * len(layer.bias) > _MOST_STEPS:
        return None
    levels = np.arange(low + 1, high + 1, dtype=np.int64)[:, None]
    steps = _steps(layer, proof, levels)
    bias = layer.bias.astype(np.int64)
    real = (levels > proof.output_low) & (levels <= proof.output_high)  # steps inside the neuron's own interval
    above, below = steps - bias, steps - bias - 1  # the products' sum on both sides of each step
    wanted = levels - zero

    # On both sides of every step: wanted - a * above <= c < wanted - a * below. The middle leaves most room.
    a = np.broadcast_to(_real_scale(layer), bias.shape).astype(dtype)
    slope = a.astype(np.float64)
    least = np.where(real, wanted - slope * above, -np.inf).max(axis=0, initial=-np.inf)
    most = np.where(real, wanted - slope * below, np.inf).min(axis=0, initial=np.inf)
    constant = np.where(real.any(axis=0), (least + most) / 2, proof.output_low - zero + 0.5 - slope * 0)
    flat = ~real.any(axis=0)  # the output never changes: a = 0 says so exactly
    a = np.where(flat, 0, a).astype(dtype)
    c = constant.astype(dtype)

    line = Line(a, c, float(layer.output.min - zero), float(layer.output.max - zero))
    for side, holds in ((above, np.greater_equal), (below, np.less)):
        value = side.astype(dtype)
        _apply(line, value)
        if not np.all(holds(value, wanted) | ~real):
            return None
    return line


def _steps(layer: Dense, proof: LayerProof, levels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The least accumulator whose output reaches each level: (levels, outputs), by bisection [overflow.endpoints]."""
    shape = (len(levels), len(layer.bias))
    below = np.broadcast_to(proof.acc_low, shape).astype(np.int64)
    reached = np.broadcast_to(proof.acc_high, shape).astype(np.int64)
    while np.any(reached - below > 1):
        middle = (below + reached) >> 1
        enough = interpreter.requantize(middle.astype(np.int32), layer) >= levels
        reached, below = np.where(enough, middle, reached), np.where(enough, below, middle)
    return reached


def _real_scale(layer: Dense) -> npt.NDArray[np.float64]:
    """About what an accumulator is multiplied by; a guess to start from, verified afterwards."""
    match layer.requantize:
        case Fixed() as r:
            return np.asarray(r.multiplier / np.exp2(r.pre_shift) / np.exp2(r.shift), np.float64)
        case Q31() as r:
            return np.asarray(np.ldexp(np.asarray(r.multiplier, np.float64), np.asarray(r.exponent) - 31), np.float64)
        case Foreign() as r:
            return np.asarray(r.real_scale(layer), np.float64)
    raise TypeError(f"unknown requantization {layer.requantize!r}")
