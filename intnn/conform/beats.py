"""One layer as a device executes it, beat by beat, as data: what :mod:`intnn.conform.faults` changes and runs.

Where the specification's interpreter shows how each step is done in int32, this module is made to try many variants
on many rows: int64 values, and matrix products in floats where every partial sum is an integer the format holds.
What leaves int32, which only a fault can bring about, wraps, as on the machines that are tested.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from intnn.conform.device import Int64
from intnn.foreign import FOREIGN, fp32_scale
from intnn.model import Q31, TYPES, Activation, Dense, Fixed, Network, Scales
from intnn.profiles import reduce_multiplier

SHIFTS = ("floor", "half-up", "half-down", "half-away", "half-to-zero", "half-even", "toward-zero", "ceil")
"""Names of roundings of an exact quotient by a power of two; see :func:`addend`."""

Q31_ROUNDINGS = ("single", "double", "upup", "reduced15")
REAL_ROUNDINGS = ("f64away", "fp32even", "trunc0", "rndnu")
_FAR = 1 << 24  # where the annex saturates results of float rules


def wrap(v: Int64, bits: int, signed: bool = True) -> Int64:
    """The low ``bits`` bits of ``v`` as a signed or unsigned integer."""
    low = v & ((1 << bits) - 1)
    return low - ((low >> (bits - 1)) << bits) if signed else low


def wrap32(v: Int64) -> Int64:
    """``v`` modulo 2^32 in int32's range, as int64."""
    return v.astype(np.int32).astype(np.int64)


def wrap_type(v: Int64, type: str) -> Int64:
    """``v`` stored in an activation of ``type`` and read back."""
    return v.astype(type).astype(np.int64)


def addend(rounding: str, v: Int64, s: Int64) -> Int64:
    """What makes ``(v + addend) >> s`` the quotient ``v / 2^s`` in one of :data:`SHIFTS`; 0 where ``s`` is 0."""
    full = np.left_shift(np.int64(1), s)
    half, some = full >> 1, np.asarray(s > 0, np.int64)
    match rounding:
        case "floor":
            return np.zeros_like(full)
        case "half-up":
            return half
        case "half-down":
            return half - some
        case "half-away":
            return half - some * (v < 0)
        case "half-to-zero":
            return half - some * (v >= 0)
        case "half-even":
            return half - some * (1 - ((v >> s) & 1))
        case "toward-zero":
            return (full - 1) * (v < 0)
        case _:
            assert rounding == "ceil", rounding
            return full - 1


class _Factor(NamedTuple):
    """A real multiplier in the place of scales of which it is the quotient."""

    input: float
    weights: npt.NDArray[np.float64]
    output: float


@dataclass(frozen=True, eq=False)
class Rescale:
    """About ``acc * multiplier / 2^(pre_shift + shift)``, rounded in one way or another.

    ``family`` is ``fixed``, ``q31`` or ``real``. ``rounding`` is ``constants`` (``fixed``: the two added constants),
    one of :data:`SHIFTS` (``fixed``: of both shifts; else of the exact product, once), one of :data:`Q31_ROUNDINGS`
    (not ``fixed``) or a name of :data:`intnn.foreign.FOREIGN`. Arrays are int64 of shape () or (outputs,); ``shift`` is
    the total right shift of a ``q31`` rule. ``scales`` are those of the layer, if it has any. With ``logical`` the last
    right shift of an int32, where there is one, takes a negative value for a uint32.
    """

    layer: Dense
    family: str
    rounding: str
    multiplier: Int64
    shift: Int64
    pre_shift: Int64
    round: Int64
    pre_round: Int64
    scales: Scales | None
    logical: bool = False

    @classmethod
    def of(cls, layer: Dense) -> Rescale:
        """What the specification has ``layer`` do [model.dense]."""
        match layer.requantize:
            case Fixed() as r:
                constants = (r.multiplier, r.shift, r.pre_shift, r.round, r.pre_round)
                family, rounding = "fixed", "constants"
            case Q31() as r:
                constants = (r.multiplier, 31 - np.asarray(r.exponent), 0, 0, 0)
                family, rounding = "q31", r.rounding
            case rule:
                assert layer.scales is not None, "a layer with a foreign rule was validated when it was made"
                constants = (*mantissas(layer.scales), 0, 0, 0)
                family, rounding = "real", rule.profile
        multiplier, shift, pre_shift, half, pre_half = (np.asarray(v, np.int64) for v in constants)
        return cls(layer, family, rounding, multiplier, shift, pre_shift, half, pre_half, layer.scales)

    @property
    def real(self) -> npt.NDArray[np.float64]:
        """The real multiplier that the constants stand for: () or (outputs,)."""
        return np.asarray(np.ldexp(self.multiplier.astype(np.float64), -(self.shift + self.pre_shift)))

    def apply(self, acc: Int64) -> Int64:
        """The rescaled accumulators; ``acc`` is (batch, outputs) within int32."""
        if self.rounding in FOREIGN:
            # The rules read nothing but these three members.
            scales = self.scales or cast(Scales, _Factor(1.0, self.real, 1.0))
            v = FOREIGN[self.rounding](acc, scales, self.layer)
            return np.clip(v, -_FAR, _FAR).astype(np.int64)
        if self.family == "fixed":
            return self._fixed(acc)
        return self._q31(acc) if self.rounding in Q31_ROUNDINGS else self._exact(acc)

    def _fixed(self, acc: Int64) -> Int64:
        constants = self.rounding == "constants"
        first = wrap32(acc + (self.pre_round if constants else addend(self.rounding, acc, self.pre_shift)))
        product = wrap32((first >> self.pre_shift) * self.multiplier)
        total = product + (self.round if constants else addend(self.rounding, product, self.shift))
        return self._last(wrap32(total) if constants else total, self.shift)

    def _exact(self, acc: Int64) -> Int64:
        product = acc * self.multiplier  # 62 bits, and what is added is below 2^62
        v: Int64 = (product + addend(self.rounding, product, self.shift)) >> self.shift
        return v

    def _q31(self, acc: Int64) -> Int64:
        left, right = np.maximum(31 - self.shift, 0), np.maximum(self.shift - 31, 0)
        x = wrap32(acc << left)
        m = reduce_multiplier(self.multiplier) if self.rounding == "reduced15" else self.multiplier
        if self.rounding in ("single", "reduced15"):
            if not self.logical:
                v: Int64 = (x * m + np.left_shift(np.int64(1), 30 + right)) >> (31 + right)
                return v
            high = (x * m + np.where(right, 0, 1 << 30)) >> 31
            return self._last(high + addend("half-up", high, right), right)
        high = (x * m + (1 << 30)) >> 31
        if self.rounding == "upup":
            return self._last(high + addend("half-up", high, right), right)
        rounded = (high + addend("half-away", high, right)) >> right
        # The usual code takes the quotient and adds 1 by its remainder: the carry is right, the quotient is not.
        return wrap32(self._last(high, right) + rounded - (high >> right)) if self.logical else rounded

    def _last(self, v: Int64, s: Int64) -> Int64:
        return wrap32((v & 0xFFFFFFFF) >> s) if self.logical else v >> s


def mantissas(scales: Scales) -> tuple[Int64, Int64]:
    """The float32 scale of a layer as ``mantissa * 2^-shift`` with 24-bit mantissas: () or (outputs,)."""
    fraction, exponent = np.frexp(fp32_scale(scales))
    mantissa = np.ldexp(fraction.astype(np.float64), 24).astype(np.int64)
    return np.asarray(mantissa), np.asarray(24 - exponent.astype(np.int64))


@dataclass(frozen=True, eq=False)
class Beats:
    """What a device does in one layer.

    It reads its input as ``read`` says (``plain``, ``unsigned``, ``signed``), in reverse if ``read_backwards``, leaves
    out the inputs ``skipped`` and takes ``zero_in`` off; multiplies by ``weights`` (outputs, inputs), adds ``bias``
    (outputs,) and holds the sum as ``hold`` says (``int32``, ``int16-wrap``, ``int16-saturate``); rescales; then
    ``clamp`` is ``bounds`` (adds ``zero_out``, then clamps to [low, high]), ``wrap`` (adds it, no clamp) or ``before``
    (clamps to the type's range, then adds it). What it stores is of the output's type, written in reverse if
    ``write_backwards``, the last neuron 0 if ``last_missing``.
    """

    layer: Dense
    source: Activation
    read: str
    read_backwards: bool
    skipped: tuple[int, ...]
    zero_in: int
    weights: Int64
    bias: Int64
    hold: str
    rescale: Rescale
    clamp: str
    zero_out: int
    low: int
    high: int
    write_backwards: bool
    last_missing: bool

    @classmethod
    def of(cls, layer: Dense, source: Activation) -> Beats:
        """What the specification has ``layer`` do with an input of ``source`` [dense.output]."""
        out = layer.output
        weights, bias = layer.weights.astype(np.int64), layer.bias.astype(np.int64)
        head = (layer, source, "plain", False, (), source.zero_point, weights, bias, "int32")
        return cls(*head, Rescale.of(layer), "bounds", out.zero_point, out.min, out.max, False, False)

    @cached_property
    def _columns(self) -> npt.NDArray[np.floating[Any]]:
        """The weights (inputs, outputs), in float32 where no partial sum can reach 2^24; any sum is below 2^53."""
        weights = self.weights.T.copy()
        weights[list(self.skipped)] = 0
        reach = (1 << 8 if self.source.type != "int16" else 1 << 16) + abs(self.zero_in)
        small = int(np.abs(weights).sum(axis=0).max()) * reach < 1 << 24
        return weights.astype(np.float32 if small else np.float64)

    def accumulate(self, x: npt.NDArray[np.integer[Any]]) -> Int64:
        """The accumulators (batch, outputs) for the layer's input ``x`` (batch, inputs) [dense.accumulate]."""
        columns = self._columns
        v = x[:, ::-1] if self.read_backwards else x
        if self.read != "plain":
            bits = 16 if self.source.type == "int16" else 8
            v = wrap(v.astype(np.int64), bits, self.read == "signed")
        acc = (v.astype(columns.dtype) - columns.dtype.type(self.zero_in)) @ columns
        total = wrap32(acc.astype(np.int64) + self.bias)
        if self.hold == "int32":
            return total
        return wrap(total, 16) if self.hold == "int16-wrap" else np.clip(total, -(1 << 15), (1 << 15) - 1)

    def finish(self, acc: Int64) -> Int64:
        """The layer's output (batch, outputs) for accumulators within int32 [dense.output]."""
        v = self.rescale.apply(acc)
        kind = self.layer.output.type
        if self.clamp == "bounds":
            v = np.minimum(np.maximum(wrap32(v + self.zero_out), self.low), self.high)
            if self.low < TYPES[kind][0] or self.high > TYPES[kind][1]:
                v = wrap_type(v, kind)
        else:
            v = wrap_type((np.clip(v, *TYPES[kind]) if self.clamp == "before" else v) + self.zero_out, kind)
        if self.last_missing:
            v[:, -1] = 0
        return v[:, ::-1] if self.write_backwards else v

    def accumulates_as(self, other: Beats) -> bool:
        """Whether both surely have the same accumulators."""
        names = ("read", "read_backwards", "skipped", "zero_in", "hold")
        same = all(getattr(self, name) == getattr(other, name) for name in names)
        return same and self.weights is other.weights and self.bias is other.bias


def beats_of(net: Network) -> tuple[Beats, ...]:
    """Every layer of ``net`` as specified."""
    return tuple(Beats.of(layer, source) for layer, source in zip(net.layers, net.inputs, strict=True))


def same(a: Any, b: Any) -> bool:
    """Whether two records hold equal values throughout."""
    if is_dataclass(a) and type(a) is type(b):
        return a is b or all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    return np.array_equal(a, b) if isinstance(a, np.ndarray) else bool(a == b)
