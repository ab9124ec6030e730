"""The fast engine: bit-identical to the reference, made for bulk on a host with floating point.

Nothing here is approximate; each float operation is used only where it is proved to give the integer:

- matrix products run in float32 where no partial sum can reach 2^24, else in float64: all sums are integers the format
  holds exactly, in any order (inputs are centred first; by the overflow proof ``sum |w| * reach`` is below 2^32, far
  from 2^53);
- requantization and clamp together are a non-decreasing step function of the accumulator with at most 256 levels.
  ``rint(acc * a + c)`` in floats is non-decreasing too, so the two agree everywhere if they agree on both sides of
  every step. The steps are found with the reference's own arithmetic, and ``a`` and ``c`` are accepted only after
  the very float operations to be used have been run on both sides of each. A neuron for which none are found has its
  accumulators go through the reference's requantization.

Batches run in blocks of rows that keep a block's activations in the cache.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from intnn import interpreter
from intnn.bounds import Int64Array, LayerProof, require_valid
from intnn.model import Q31, Activation, Dense, Fixed, HostRule, IntArray, Network

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
FloatType: TypeAlias = type[np.float32] | type[np.float64]

_BLOCK = 1 << 20  # activations of the widest layer in a block: 4 MiB of float32
_MOST_LEVELS = 256  # outputs of 16 bits, and very wide layers, are requantized by the reference:
_MOST_STEPS = 1 << 18  # finding more steps, times neurons, would take longer than it saves


@dataclass(frozen=True, eq=False)
class FloatForm:
    """Requantization and clamp in floats: ``rint((dot + add) * a + c)``, clipped to [low, high].

    All are of the float type to work in. Either ``add`` (outputs,) makes accumulators of ``dot``, ``a`` is a scalar (or
    (outputs,), per channel) and ``c`` a scalar; or ``add`` is ``None``, and ``a`` and ``c`` are (outputs,), fitted to
    each neuron. ``c = None`` adds nothing. Where ``bend`` is given it is added wherever ``dot < split``: rounding half
    away from zero puts the steps of negative accumulators on a line of their own.
    """

    add: Floats | None
    a: Floats
    c: Floats | None
    low: float
    high: float
    split: Floats
    bend: Floats | None = None

    def apply(self, dot: Floats) -> Floats:
        """The centred outputs; ``dot`` may be overwritten. These very operations are what is verified."""
        v = dot.astype(self.a.dtype, copy=False)
        negative = None if self.bend is None else v < self.split
        if self.add is not None:
            v += self.add
        v *= self.a
        if self.c is not None:
            v += self.c
        if self.bend is not None and negative is not None:
            np.add(v, self.bend, out=v, where=negative)
        np.rint(v, out=v)
        np.clip(v, self.low, self.high, out=v)
        return v


@dataclass(frozen=True, eq=False)
class Stage:
    """A layer made ready for values that are carried *centred*: less an integer that puts them around zero.

    ``weights`` (inputs, outputs) multiply the centred input to ``dot``; the accumulator is ``dot + offset``. ``form``
    gives the centred output of all neurons but those listed in ``exact``, of which ``layer`` consists if there are any;
    ``centre`` is what it lacks.
    """

    weights: Floats
    form: FloatForm
    layer: Dense
    exact: npt.NDArray[np.intp]
    offset: Int64Array
    centre: int

    def run(self, v: Floats, room: Floats) -> Floats:
        """Centred inputs (rows, inputs) to centred outputs (rows, outputs), which may lie in ``room``."""
        dtype = self.weights.dtype
        out = room[: len(v) * self.weights.shape[1]].reshape(len(v), -1) if dtype == room.dtype else None
        dot: Floats = np.matmul(v.astype(dtype, copy=False), self.weights, out=out)
        if not len(self.exact):
            return self.form.apply(dot)
        acc = dot[:, self.exact].astype(np.int64) + self.offset[self.exact]
        outputs = interpreter.requantize(acc.astype(np.int32), self.layer)
        v = self.form.apply(dot)
        v[:, self.exact] = outputs - self.centre
        return v


_stages: WeakKeyDictionary[Network, list[Stage]] = WeakKeyDictionary()
_scratch = threading.local()


def run(net: Network, x: IntArray) -> IntArray:
    """Outputs (batch, outputs) in the output's type for rows ``x`` (batch, inputs) that were verified before."""
    if net not in _stages:
        proofs = require_valid(net).layers
        _stages[net] = [_prepare(*parts) for parts in zip(net.layers, net.inputs, proofs, strict=True)]
    stages = _stages[net]
    y = np.empty((len(x), net.sizes[-1]), net.output.type)
    rows = max(1, min(len(x), _BLOCK // max(net.sizes)))
    rooms = _rooms(rows * max(net.sizes))
    for start in range(0, len(x), rows):
        block = x[start : start + rows]
        v: Floats = rooms[1][: block.size].reshape(block.shape)
        np.copyto(v, block, casting="unsafe")
        if centre := _centre(net.input):
            v -= centre
        for i, stage in enumerate(stages):
            v = stage.run(v, rooms[i % 2])
        if stages[-1].centre:
            v += stages[-1].centre
        np.copyto(y[start : start + rows], v, casting="unsafe")
    return y


def _rooms(size: int) -> tuple[Floats, Floats]:
    """Two float32 arrays that layers write to in turn; a thread keeps its own, for fresh memory is slow to touch."""
    rooms: tuple[Floats, Floats] | None = getattr(_scratch, "rooms", None)
    if rooms is None or rooms[0].size < size:
        rooms = _scratch.rooms = np.empty(size, np.float32), np.empty(size, np.float32)
    return rooms


def _centre(activation: Activation) -> int:
    return (activation.min + activation.max + 1) >> 1


def _prepare(layer: Dense, source: Activation, proof: LayerProof) -> Stage:
    weights = layer.weights.astype(np.int64)
    reach = max(source.max - _centre(source), _centre(source) - source.min)
    exact_type = np.float32 if int(np.abs(weights).sum(axis=1).max()) * reach < 1 << 24 else np.float64
    offset = layer.bias + weights.sum(axis=1) * (_centre(source) - source.zero_point)
    form, found = _find_form(layer, proof, offset, exact_type)
    columns = np.ascontiguousarray(layer.weights.T.astype(exact_type))
    exact = np.flatnonzero(~found)
    rest = layer.neurons(exact.tolist()) if 0 < len(exact) < len(found) else layer
    return Stage(columns, form, rest, exact, offset, _centre(layer.output))


def _find_form(
    layer: Dense, proof: LayerProof, offset: Int64Array, dtype: FloatType
) -> tuple[FloatForm, npt.NDArray[np.bool_]]:
    """The cheapest form that passes :meth:`_Steps.hold` for all neurons, or for most; and for which it does."""
    low, high = (bound - _centre(layer.output) for bound in (layer.output.min, layer.output.max))
    zeros, none = np.zeros(len(offset), dtype), np.zeros(len(offset), np.bool_)
    best = FloatForm(None, zeros, zeros, low, high, zeros), none
    levels = int(proof.output_high.max() - proof.output_low.min()) + 1
    if levels > _MOST_LEVELS or levels * len(offset) > _MOST_STEPS:
        return best
    steps = _Steps(layer, proof, offset)
    tries: tuple[Callable[[], tuple[FloatForm, npt.NDArray[np.bool_]]], ...] = (
        lambda: steps.fit_sums(dtype),
        lambda: steps.fit_rows(dtype, bent=False),
        lambda: steps.fit_rows(np.float64, bent=False),
        lambda: steps.fit_rows(np.float64, bent=True),
    )
    for fit in tries:
        form, found = fit()
        if found.sum() > best[1].sum():
            best = form, found
        if found.all():
            break
    return best


class _Steps:
    """Where each neuron's output steps up, in terms of ``dot``: arrays of shape (levels, outputs)."""

    def __init__(self, layer: Dense, proof: LayerProof, offset: Int64Array) -> None:
        centre = _centre(layer.output)
        levels = np.arange(proof.output_low.min() + 1, proof.output_high.max() + 1, dtype=np.int64)[:, None]
        self.bounds = float(layer.output.min - centre), float(layer.output.max - centre)
        self.scale = _real_scale(layer)
        self.offset = offset
        self.above = _steps(layer, proof, levels) - offset  # the least dot that reaches the level
        self.real = (levels > proof.output_low) & (levels <= proof.output_high)  # the steps this neuron has
        self.wanted = levels - centre
        self.ends = np.stack([proof.acc_low, proof.acc_high]) - offset
        self.end_values = np.stack([proof.output_low, proof.output_high]) - centre

    def fit_sums(self, dtype: FloatType) -> tuple[FloatForm, npt.NDArray[np.bool_]]:
        """A form of scalars on accumulators, and for which neurons it is proved: the first for all, or the best."""
        tries = ((form, self.hold(form)) for slope in self._slopes(dtype) for form in self._sums(slope))
        best = next(tries)
        while not best[1].all() and (following := next(tries, None)):
            best = max(best, following, key=lambda pair: int(pair[1].sum()))
        return best

    def fit_rows(self, dtype: FloatType, bent: bool) -> tuple[FloatForm, npt.NDArray[np.bool_]]:
        """A form with a line for each neuron (two if ``bent``), and for which neurons it is proved."""
        forms = (self._rows(slope, bent) for slope in self._slopes(dtype))
        best = next(forms)
        found = self.hold(best)
        while not found.all() and (form := next(forms, None)):
            holds = self.hold(form)
            best, found = _merge(best, form, holds & ~found), found | holds
        return best, found

    def _slopes(self, dtype: FloatType) -> Iterator[Floats]:
        """The real scale and its neighbours."""
        for nudge in (0, 1, -1, 2, -2, 3, -3):
            yield np.asarray(self.scale * (1 + nudge * float(np.finfo(dtype).eps)), dtype)

    def hold(self, form: FloatForm) -> npt.NDArray[np.bool_]:
        """For which neurons the form is right on both sides of every step and at both ends. That proves it right
        everywhere, for the form (its bend is not positive) and the specified output are both non-decreasing."""
        high_side, low_side = (form.apply(dot.astype(form.a.dtype)) for dot in (self.above, self.above - 1))
        sides = (high_side >= self.wanted) & (low_side < self.wanted) | ~self.real
        ends = form.apply(self.ends.astype(form.a.dtype)) == self.end_values
        holds: npt.NDArray[np.bool_] = sides.all(axis=0) & ends.all(axis=0)
        return holds

    def _sums(self, slope: Floats) -> Iterator[FloatForm]:
        """One line for all neurons, on accumulators: without constant, with it in ``add``, with it in ``c``."""
        least, most = self._limits(slope.astype(np.float64), self.above + self.offset)
        lower, upper = least.max(where=self.real, initial=-np.inf), most.min(where=self.real, initial=np.inf)
        c = (lower + upper) / 2 if self.real.any() else 0.0
        split = (-self.offset).astype(slope.dtype)
        for add, constant in ((0.0, None), (c, None), (0.0, np.asarray(c, slope.dtype))):
            sums = self.offset + np.divide(add, slope, where=slope > 0, out=np.zeros_like(slope))
            yield FloatForm(sums.astype(slope.dtype), slope, constant, *self.bounds, split)

    def _rows(self, slope: Floats, bent: bool) -> FloatForm:
        dtype = slope.dtype
        a = np.where(self.real.any(axis=0), slope, 0).astype(dtype)  # 0 where the output never changes
        least, most = self._limits(a.astype(np.float64), self.above)
        split = -self.offset  # the dot of accumulator 0
        if not bent:
            c = self._middle(least, most, self.real, self.real).astype(dtype)
            return FloatForm(None, a, c, *self.bounds, split.astype(dtype))
        high_negative, low_negative = self.above < split, self.above - 1 < split
        positive = self._middle(least, most, self.real & ~high_negative, self.real & ~low_negative)
        negative = self._middle(least, most, self.real & high_negative, self.real & low_negative)
        bend = np.minimum(negative - positive, 0).astype(dtype)
        return FloatForm(None, a, positive.astype(dtype), *self.bounds, split.astype(dtype), bend)

    def _limits(self, a: Floats, above: Int64Array) -> tuple[Floats, Floats]:
        """``rint(v * a + c)`` steps where the output does if ``least <= c < most`` (up to ties, which are verified)."""
        return self.wanted - 0.5 - a * above, self.wanted - 0.5 - a * (above - 1)

    def _middle(
        self, least: Floats, most: Floats, bind_least: npt.NDArray[np.bool_], bind_most: npt.NDArray[np.bool_]
    ) -> Floats:
        """Amid the greatest ``least`` and the smallest ``most`` that bind; neurons without a step keep their output."""
        lower = np.where(bind_least, least, -np.inf).max(axis=0, initial=-np.inf)
        upper = np.where(bind_most, most, np.inf).min(axis=0, initial=np.inf)
        constant = self.end_values[0]
        lower = np.where(np.isfinite(lower), lower, np.where(np.isfinite(upper), upper, constant))
        upper = np.where(np.isfinite(upper), upper, lower)
        middle: Floats = (lower + upper) / 2
        return middle


def _merge(form: FloatForm, other: FloatForm, which: npt.NDArray[np.bool_]) -> FloatForm:
    """``form`` with the neurons ``which`` taken from ``other``."""
    pairs = ((getattr(form, name), getattr(other, name)) for name in ("a", "c", "bend"))
    a, c, bend = (mine if mine is None else np.where(which, theirs, mine) for mine, theirs in pairs)
    return replace(form, a=a, c=c, bend=bend)  # type: ignore[arg-type]  # only bend may be None: forms by rows have c


def _steps(layer: Dense, proof: LayerProof, levels: Int64Array) -> Int64Array:
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
        case HostRule() as r:
            return np.asarray(r.real_scale(layer), np.float64)
