"""The overflow proof: for every input in the declared range, no value leaves int32 [overflow.valid].

Two parts for each layer, each a handful of vector operations whatever the number of possible inputs:

- the accumulator: the largest and the smallest sum of any *subset* of the summands (bias and products). Every
  partial sum of every evaluation order is such a subset, and both are reached, so the condition is exact;
- the rest: every step of requantization is non-decreasing in the accumulator, so running both ends of its interval
  through the checked arithmetic bounds every step in between [overflow.endpoints].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from intnn import interpreter
from intnn.arithmetic import INT32_MAX, INT32_MIN
from intnn.checked import Int32
from intnn.errors import ContractError, ModelError
from intnn.model import Activation, Dense, Fixed, HostRule, Network

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LayerProof:
    """What is proved of one layer; arrays are int64 of shape (outputs,), one entry a neuron.

    ``acc_low`` and ``acc_high`` bound the accumulator and are both reached; ``sum_low`` and ``sum_high`` bound every
    partial sum in every order; ``product_low`` and ``product_high`` bound the largest product of requantization:
    ``((acc + rp) >> p) * m + rs`` of a fixed rule, ``acc * 2^max(e, 0)`` of a q31 rule (``None`` for a foreign one);
    ``output_low`` and ``output_high`` bound the output. ``headroom`` is the number of bits of int32 that none of
    these, nor ``acc + rp``, needs.
    """

    acc_low: Int64Array
    acc_high: Int64Array
    sum_low: Int64Array
    sum_high: Int64Array
    product_low: Int64Array | None
    product_high: Int64Array | None
    output_low: Int64Array
    output_high: Int64Array
    headroom: int


@dataclass(frozen=True, eq=False)
class Overflow:
    """Why a network is invalid: ``layer`` and ``neuron``, the int64 input vector ``witness`` of that layer, the
    accumulator ``acc`` it reaches, and in ``message`` the operation that leaves int32."""

    layer: int
    neuron: int
    witness: Int64Array
    acc: int
    message: str

    def error(self) -> ModelError:
        """This finding as the error that loading the network raises."""
        return ModelError(
            "model.overflow",
            f"{self.message}; witness: layer input {_brief(self.witness)} gives acc = {self.acc}",
            where=f"layer {self.layer}, neuron {self.neuron}",
            expected="every value within int32 for every input in the declared range [overflow.valid]",
            repair="use smaller weights, bias, multiplier or left shift, or declare a narrower input range",
        )


@dataclass(frozen=True, eq=False)
class Proof:
    """The outcome for a network: the layers proved, in order, and the first ``overflow`` or ``None``."""

    layers: tuple[LayerProof, ...]
    overflow: Overflow | None

    @property
    def valid(self) -> bool:
        """Whether the network is valid [overflow.valid]."""
        return self.overflow is None


_proofs: WeakKeyDictionary[Network, Proof] = WeakKeyDictionary()  # networks are frozen: one proof is enough


def prove(net: Network) -> Proof:
    """Prove ``net``, layer by layer, up to the first layer that can overflow [overflow.valid].

    Takes time in proportion to the number of weights. The result is remembered for as long as ``net`` lives.
    """
    if net not in _proofs:
        layers: list[LayerProof] = []
        overflow = None
        for index, (layer, source) in enumerate(zip(net.layers, net.inputs, strict=True)):
            result = _prove_layer(index, layer, source)
            if isinstance(result, Overflow):
                overflow = result
                break
            layers.append(result)
        _proofs[net] = Proof(tuple(layers), overflow)
    return _proofs[net]


def require_valid(net: Network) -> Proof:
    """The proof of a valid network; raises :class:`ModelError` ``model.overflow`` with a witness otherwise."""
    proof = prove(net)
    if proof.overflow is not None:
        raise proof.overflow.error()
    return proof


def _prove_layer(index: int, layer: Dense, source: Activation) -> LayerProof | Overflow:
    bias = layer.bias.astype(np.int64)
    # A product's ends depend on its weight's sign only, so the sums of positive and of negative weights are enough.
    positive = np.maximum(layer.weights, 0).sum(axis=1, dtype=np.int64)
    negative = np.minimum(layer.weights, 0).sum(axis=1, dtype=np.int64)
    low, high = source.min - source.zero_point, source.max - source.zero_point
    acc_low, acc_high = bias + positive * low + negative * high, bias + positive * high + negative * low
    sum_low = np.minimum(bias, 0) + positive * min(low, 0) + negative * max(high, 0)
    sum_high = np.maximum(bias, 0) + positive * max(high, 0) + negative * min(low, 0)

    for upper, wrong in ((True, sum_high > INT32_MAX), (False, sum_low < INT32_MIN)):
        if wrong.any():
            neuron = int(np.argmax(wrong))
            x = _witness(layer, source, neuron, upper)
            kind, extreme = ("positive", sum_high) if upper else ("negative", sum_low)
            message = f"the sum of its {kind} summands (bias and products) is {extreme[neuron]} and leaves int32"
            return Overflow(index, neuron, x, int((acc_high if upper else acc_low)[neuron]), message)

    ends: Int64Array = np.stack([acc_low, acc_high])
    rule = layer.requantize
    if isinstance(rule, HostRule):  # proved are the sums; the rule itself runs on the host
        outputs = interpreter.requantize(ends.astype(np.int32), layer)
        bits = _headroom(sum_low, sum_high)
        return LayerProof(acc_low, acc_high, sum_low, sum_high, None, None, outputs[0], outputs[1], bits)
    try:
        outputs = interpreter.requantize(Int32(ends), layer).values
    except ContractError as error:
        side, neuron = error.index
        x = _witness(layer, source, neuron, bool(side))
        message = f"requantizing acc = {ends[side, neuron]}: {error.found}"
        return Overflow(index, neuron, x, int(ends[side, neuron]), message)
    if isinstance(rule, Fixed):
        rounded = ends + np.asarray(rule.pre_round, np.int64)
        least, most = (rounded >> rule.pre_shift) * rule.multiplier
        most = most + rule.round
    else:
        rounded = ends
        least, most = ends << np.maximum(rule.exponent, 0)
    bits = _headroom(sum_low, sum_high, rounded, least, most)
    return LayerProof(acc_low, acc_high, sum_low, sum_high, least, most, outputs[0], outputs[1], bits)


def _witness(layer: Dense, source: Activation, neuron: int, upper: bool) -> Int64Array:
    """The input on which every product of the neuron takes its largest value, or its smallest."""
    return np.where((layer.weights[neuron] >= 0) == upper, source.max, source.min).astype(np.int64)


def _headroom(*values: Int64Array) -> int:
    """The bits of int32 that no value needs: v >= 0 needs its length in bits, v < 0 that of -v - 1."""
    ends = (int(end) for v in values for end in (v.min(), v.max()))
    return 31 - max((v if v >= 0 else ~v).bit_length() for v in ends)


def _brief(x: Any) -> str:
    """A vector in at most a dozen runs, equal neighbours counted: ``[127 x 3, -128, 127]``."""
    runs: list[list[int]] = []
    for v in x.tolist():
        if runs and runs[-1][0] == v:
            runs[-1][1] += 1
        else:
            runs.append([v, 1])
    shown = [f"{v} x {n}" if n > 1 else str(v) for v, n in runs[:12]]
    return "[" + ", ".join(shown) + (f", ... {len(runs) - 12} more runs" if len(runs) > 12 else "") + "]"
