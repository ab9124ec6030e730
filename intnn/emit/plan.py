"""What the C of each layer computes: constants folded as far as every value is sure to fit int32.

Everything here is decided with Python's unbounded integers, from the ranges that :mod:`intnn.bounds` proved.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from intnn.arithmetic import INT32_MAX, INT32_MIN
from intnn.bounds import LayerProof, require_valid
from intnn.emit.text import smallest_type
from intnn.errors import ModelError
from intnn.model import Q31, TYPES, Activation, Dense, Fixed, IntArray, Network

Values = tuple[int, ...]

CENTRE = 128
"""The pairs kernel stores weights plus this, for only unsigned bytes load with an offset on a Cortex-M0."""

ROWS, STEP = 2, 4
"""Neurons and inputs that the pairs kernel takes at a time: what fits the eight low registers of a Cortex-M0."""

FEW = 10
"""Up to so many inputs, the first layer has a pairs kernel of its own rather than inputs added: no loop over inputs."""

NARROW = 128
"""Up to so many inputs, a layer of one neuron has a second one added rather than a kernel of its own."""


@dataclass(frozen=True)
class Vector:
    """How the C keeps an activation vector: ``size`` numbers of C type ``ctype``, each the activation plus
    ``offset`` and so within [``low``, ``high``]."""

    size: int
    ctype: str
    offset: int
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class Plan:
    """One layer: ``kernel`` is "plain", "pairs" or "unrolled", ``rule`` the form of requantization; ``bias`` and
    ``numbers`` (one integer for the layer, or one a neuron) hold whatever could be folded.

    The kernel starts at ``bias``; where the rule is "fixed with bias" that is 0, and ``numbers`` holds it.
    """

    index: int
    kernel: str
    rule: str
    source: Vector
    target: Vector
    weights: IntArray
    bias: Values
    numbers: dict[str, Values]

    @property
    def paired(self) -> bool:
        """Whether the kernel takes two neurons at a time."""
        return self.kernel != "plain"

    @property
    def inputs(self) -> int:
        """The number of inputs, rounded up to what the kernel takes at a time."""
        return padded(self.source.size, STEP if self.kernel == "pairs" else 1)

    @property
    def neurons(self) -> int:
        """The number of neurons, rounded up likewise."""
        return padded(self.target.size, ROWS if self.paired else 1)


def plan_layers(net: Network, size: bool) -> list[Plan]:
    """The layers of a valid int32-only network.

    Raises :class:`ModelError` ``model.host-only`` or ``model.overflow``.
    """
    if not net.int32_only:
        raise ModelError(
            "model.host-only",
            "C is emitted for int32-only networks, but a layer uses a foreign profile",
            repair="choose one of the int32 roundings: --profile double, single or upup",
        )
    proof = require_valid(net)
    vectors = native_vectors(net) if size else unsigned_vectors(net)

    def planned(fold: bool) -> list[Plan]:
        return [
            plan_layer(i, layer, x, vectors[i], vectors[i + 1], proof.layers[i], pairs=not size, fold=fold)
            for i, (layer, x) in enumerate(zip(net.layers, net.inputs, strict=True))
        ]

    plans = planned(True)
    if size and not narrow(plans) and narrow(exact := planned(False)):
        plans = exact  # a bias of 16 bits takes less flash than a zero point more
    merged = [merge(plan, layer) for plan, layer in zip(plans, proof.layers, strict=True)]
    share = all(plan.rule != "fixed" for plan in merged)  # for the layers' functions, that is
    return merged if share and flash(merged) <= flash(plans) else plans


def narrow(layers: list[Plan]) -> bool:
    """Whether every bias fits 16 bits."""
    return all(-(1 << 15) <= v < 1 << 15 for layer in layers for v in layer.bias)


def native_vectors(net: Network) -> list[Vector]:
    """Activations in their own types; where a buffer holds vectors of different types, in int16."""
    activations = [*net.inputs, net.output]
    types = [a.type for a in activations]
    for first in (1, 2):  # the hidden vectors that share a buffer
        if len(set(types[first:-1:2])) > 1:
            types[first:-1:2] = ["int16"] * len(types[first:-1:2])
    return [Vector(n, f"{t}_t", 0, a.min, a.max) for n, t, a in zip(net.sizes, types, activations, strict=True)]


def unsigned_vectors(net: Network) -> list[Vector]:
    """Activations moved up so that none is negative, in two buffers, each of one unsigned type."""
    activations = [*net.inputs, net.output]
    vectors = []
    for i, (n, a) in enumerate(zip(net.sizes, activations, strict=True)):
        wide = any(other.type == "int16" for other in activations[i % 2 :: 2])
        offset = max(0, -TYPES[a.type][0]) if a.min < 0 else 0
        vectors.append(Vector(n, "uint16_t" if wide else "uint8_t", offset, a.min + offset, a.max + offset))
    return vectors


def plan_layer(
    index: int,
    layer: Dense,
    x: Activation,
    source: Vector,
    target: Vector,
    proof: LayerProof,
    *,
    pairs: bool,
    fold: bool,
) -> Plan:
    """How to compute one layer within int32: by ``pairs`` where these fit, ``fold`` into the bias what fits there."""
    ends = list(zip(map(int, proof.acc_low), map(int, proof.acc_high), strict=True))
    zero = layer.output.zero_point + target.offset
    before: Values = (0,) * target.size
    match layer.requantize:
        case Fixed() as rule:
            before = per_neuron(rule.pre_round, target.size)
            kind, numbers = plan_fixed(rule, ends, zero)
        case Q31() as rule:
            kind, numbers = plan_q31(rule, ends, zero)
        case _:
            raise AssertionError("plan_layers refuses foreign rules")

    # The zero point and the first rounding constant go into the bias where every partial sum then fits.
    origin = x.zero_point + source.offset
    weights = layer.weights.astype(np.int64)
    bias = tuple(map(int, layer.bias))
    folded = tuple(int(v) for v in layer.bias - origin * weights.sum(axis=1) + np.array(before))
    kernel = "plain"
    if pairs and not (target.size == 1 and source.size > NARROW) and pairs_fit(folded, weights, source):
        kernel = "unrolled" if index == 0 and source.size <= FEW and source.size % STEP else "pairs"
        bias, origin, before = folded, 0, (0,)
    elif fold and sums_fit(folded, weights, source):
        bias, origin, before = folded, 0, (0,)
    numbers |= {"before": before, "origin": (origin,), "low": (target.low,), "high": (target.high,)}
    return Plan(index, kernel, kind, source, target, weights, bias, {k: one(v) for k, v in numbers.items()})


def merge(plan: Plan, proof: LayerProof) -> Plan:
    """``plan`` with the bias taken through the multiplier, into the rounding constant, where every value then fits.

    ``acc * m + r`` of an accumulator without its bias b is what ``(acc + b) * m + r`` was for r + b * m instead of r.
    """
    size, numbers = plan.target.size, dict(plan.numbers)
    if plan.rule != "fixed" or numbers["coarse"] != (0,):
        return plan
    ends = zip(map(int, proof.acc_low), map(int, proof.acc_high), strict=True)
    multiplier, rounding = (per_neuron(np.array(numbers[name]), size) for name in ("multiplier", "rounding"))
    products = [((low - b) * m, (high - b) * m) for (low, high), b, m in zip(ends, plan.bias, multiplier, strict=True)]
    bias = tuple(b * m + r for b, m, r in zip(plan.bias, multiplier, rounding, strict=True))
    start = (0,) * size
    within = pairs_fit if plan.paired else sums_fit
    if not (within(start, plan.weights, plan.source) and sum_fits(products, bias) and sum_fits(products, start)):
        return plan
    del numbers["rounding"]
    return replace(plan, rule="fixed with bias", bias=start, numbers=numbers | {"bias": one(bias)})


def flash(layers: list[Plan]) -> int:
    """The bytes of the layers' tables of numbers."""
    tables = [values for layer in layers for values in layer.numbers.values() if len(values) > 1]
    tables += [layer.bias for layer in layers if layer.rule != "fixed with bias"]
    return sum(len(values) * int(smallest_type(values).strip("uint_")) // 8 for values in tables)


def sums_fit(bias: Values, weights: IntArray, source: Vector) -> bool:
    """Whether every partial sum of the bias and the products with stored inputs is in int32."""
    ends = np.array([source.low, source.high])[:, None, None] * weights
    least = np.minimum(ends.min(axis=0), 0).sum(axis=1)
    most = np.maximum(ends.max(axis=0), 0).sum(axis=1)
    return all(fits(b, b + int(low), b + int(high)) for b, low, high in zip(bias, least, most, strict=True))


def pairs_fit(bias: Values, weights: IntArray, source: Vector) -> bool:
    """The same for the pairs kernel, which starts each sum at the bias minus the sum of the inputs times 128."""
    padding = padded(source.size, STEP) - source.size
    most = {"uint8_t": 255, "uint16_t": 65535}[source.ctype]
    offset = CENTRE * (source.size * source.high + padding * most)
    sums = (weights + CENTRE).sum(axis=1) * source.high + CENTRE * padding * most
    return all(fits(offset, b - offset, b + int(s)) for b, s in zip(bias, sums, strict=True))


def plan_fixed(rule: Fixed, ends: list[tuple[int, int]], zero: int) -> tuple[str, dict[str, Values]]:
    """``(t >> coarse) * multiplier + rounding >> shift``, then ``+ zero``; t is the accumulator plus its rounding."""
    size = len(ends)
    coarse, before = per_neuron(rule.pre_shift, size), per_neuron(rule.pre_round, size)
    multiplier, shift = per_neuron(rule.multiplier, size), per_neuron(rule.shift, size)
    products = [
        ((low + r >> p) * m, (high + r >> p) * m)
        for (low, high), r, p, m in zip(ends, before, coarse, multiplier, strict=True)
    ]
    rounding = per_neuron(rule.round, size)
    with_zero = tuple(r + (zero << s) for r, s in zip(rounding, shift, strict=True))
    if sum_fits(products, with_zero):
        rounding, zero = with_zero, 0
    return "fixed", {
        "coarse": coarse,
        "multiplier": multiplier,
        "rounding": rounding,
        "shift": shift,
        "zero": (zero,),
    }


def plan_q31(rule: Q31, ends: list[tuple[int, int]], zero: int) -> tuple[str, dict[str, Values]]:
    """The high product h of ``acc * scale``, then ``((h >> coarse) + rounding >> shift) + zero``.

    Where ``away`` is 1, a negative h has 1 taken away first. The multiplier is in two limbs of 16 bits, ``carry``
    is what the high product adds.
    """
    m, e = per_neuron(rule.multiplier, len(ends)), per_neuron(rule.exponent, len(ends))
    right = tuple(max(-v, 0) for v in e)
    scale = tuple(1 << max(v, 0) for v in e)
    ends = [(low * s, high * s) for (low, high), s in zip(ends, scale, strict=True)]
    up = tuple(0 if rule.rounding == "single" and r else 1 << 14 for r in right)
    away = tuple(int(rule.rounding == "double" and r > 0) for r in right)

    kind, carry = "q31", tuple(2 * n for n in up)
    upper, lower = tuple(v >> 16 for v in m), tuple(v & 65535 for v in m)
    if not all(map(short_fits, ends, upper, lower, carry)):
        kind, carry = "q31 wide", up
        lower = tuple((v + 32768 & 65535) - 32768 for v in m)
        upper = tuple(v - low >> 16 for v, low in zip(m, lower, strict=True))

    products = []
    for pair, multiplier, n, minus in zip(ends, m, up, away, strict=True):
        low, high = (x * multiplier + (n << 16) >> 31 for x in pair)
        products.append((low - minus * (low < 0), high - minus * (high < 0)))
    coarse: Values = (0,)
    half = tuple(1 << r >> 1 for r in right)
    with_zero = tuple(h + (zero << r) for h, r in zip(half, right, strict=True))
    if sum_fits(products, with_zero):
        half, zero = with_zero, 0
    elif not sum_fits(products, half):  # in two steps: floor((floor(h / 2^(r-1)) + 1) / 2)
        coarse = tuple(max(r - 1, 0) for r in right)
        half = right = tuple(int(r > 0) for r in right)
    return kind, {
        "scale": scale,
        "upper": upper,
        "lower": lower,
        "carry": carry,
        "away": away,
        "coarse": coarse,
        "rounding": half,
        "shift": right,
        "zero": (zero,),
    }


def short_fits(ends: tuple[int, int], upper: int, lower: int, carry: int) -> bool:
    """Whether each step of the short high product is in int32 for the x in ``ends`` and what is between."""
    xh = [end >> 15 for end in ends]
    inner = [v * lower + more for v, more in zip(xh, (0, (32767 * lower >> 15) + carry), strict=True)]
    middle = [(v >> 1) + more for v, more in zip(inner, (0, 32767 * upper), strict=True)]
    outer = [v * upper + (more >> 15) for v, more in zip(xh, middle, strict=True)]
    return fits(*inner, *middle, *outer)


def sum_fits(intervals: Iterable[tuple[int, int]], added: Values) -> bool:
    """Whether each of ``added`` is in int32, and also after the interval's values are added to it."""
    return all(fits(v, low + v, high + v) for (low, high), v in zip(intervals, added, strict=True))


def fits(*values: int) -> bool:
    """Whether every value is in int32."""
    return all(INT32_MIN <= v <= INT32_MAX for v in values)


def padded(size: int, step: int) -> int:
    """``size`` rounded up to a multiple of ``step``."""
    return -(-size // step) * step


def per_neuron(value: IntArray | int, size: int) -> Values:
    """``value`` as one Python int for each of ``size`` neurons."""
    return tuple(int(v) for v in np.broadcast_to(value, (size,)))


def one(values: Values) -> Values:
    """``values``, or the one they all equal."""
    return values[:1] if len(set(values)) == 1 else values
