"""Fault models against a formulation in plain Python: one row, one neuron, integers and fractions, a branch a fault."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import intnn
from intnn import Q31, Activation, Dense, Fixed, Network, Scales
from intnn.conform import faults
from intnn.conform.fault_models import MODELS, NEURON_MODELS
from intnn.conform.faults import Fault, Mutants, catalogue, neuron_faults, outputs, parse, trace
from intnn.errors import UsageError
from intnn.foreign import FOREIGN, Foreign
from intnn.model import TYPES
from intnn.strategies import cases

f32 = np.float32


def wrapped(v: int, bits: int, signed: bool = True) -> int:
    v %= 1 << bits
    return v - (1 << bits) if signed and v >= 1 << (bits - 1) else v


def rounded(q: Fraction, how: str) -> int:
    down, up = math.floor(q), math.ceil(q)
    if how in ("floor", "ceil") or down == up:
        return up if how == "ceil" else down
    if how == "toward-zero":
        return down if q > 0 else up
    if q - down != Fraction(1, 2):
        return down if q - down < Fraction(1, 2) else up
    tie: dict[str, int] = {
        "half-up": up,
        "half-down": down,
        "half-away": up if q > 0 else down,
        "half-to-zero": down if q > 0 else up,
        "half-even": down if down % 2 == 0 else up,
    }
    return tie[how]


EXACT = ("floor", "half-up", "half-down", "half-away", "half-to-zero", "half-even", "toward-zero", "ceil")


def q31(acc: int, m: int, e: int, rounding: str, logical: bool) -> int:
    left, right = max(e, 0), max(-e, 0)
    x = wrapped(acc << left, 32)
    if rounding == "reduced15":
        m, rounding = min((m + (1 << 15)) >> 16, 32767) << 16, "single"
    if rounding == "single":
        if not (logical and right):
            return rounded(Fraction(x * m, 1 << (31 + right)), "half-up")
        high = (x * m) >> 31
        return wrapped(wrapped(high + (1 << (right - 1)), 32, False) >> right, 32)
    high = rounded(Fraction(x * m, 1 << 31), "half-up")
    if rounding == "upup" and logical and right:
        return wrapped(wrapped(high + (1 << (right - 1)), 32, False) >> right, 32)
    value = rounded(Fraction(high, 1 << right), "half-up" if rounding == "upup" else "half-away")
    if logical and right and high < 0:  # the quotient is that of a uint32, and the remainder adds 1 as it should
        value = wrapped(value + (1 << (32 - right)), 32)
    return value


def real(acc: int, rounding: str, scale: Any, double: float) -> int:
    """A float rule; ``scale`` is the multiplier in float32 and ``double`` in float64."""
    if rounding == "f64away":
        v = Fraction(float(acc) * double)
        v = Fraction(rounded(v, "half-away"))
    elif rounding == "rndnu":
        v = Fraction(rounded(acc * Fraction(float(scale)), "half-up"))
    else:
        v = Fraction(float(f32(acc) * scale))
        v = Fraction(rounded(v, "half-even" if rounding == "fp32even" else "toward-zero"))
    return max(-(1 << 24), min(1 << 24, int(v)))


def of(value: Any, o: int) -> int:
    return int(value[o]) if isinstance(value, np.ndarray) else int(value)


def rescaled(layer: Dense, acc: int, o: int, fault: str) -> int:
    rule, s = layer.requantize, layer.scales
    name = fault.removeprefix("rounding.") if fault.startswith("rounding.") else ""
    c = 0 if fault == "multiplier.of-first-channel" else o
    step = {"plus-one": 1, "minus-one": -1}.get(fault.partition(".")[2], 0)
    m_step, s_step = (step if fault.startswith(kind) else 0 for kind in ("multiplier.", "shift."))
    if s is not None:
        w = float(np.broadcast_to(s.weights, layer.bias.shape)[c])
        scale, double = (f32(s.input) * f32(w)) / f32(s.output), s.input * w / s.output
    if isinstance(rule, Foreign):
        assert s is not None
        if name in EXACT:
            return rounded(acc * Fraction(float(scale)), name)
        if name in ("single", "double", "upup", "reduced15"):
            derived = intnn.profiles.requantization(name, s)
            assert isinstance(derived, Q31)
            return q31(acc, of(derived.multiplier, c), of(derived.exponent, c), derived.rounding, False)
        if (name or rule.profile) == "microflow":
            one = replace(s, weights=w)
            alone = Dense(layer.weights[o : o + 1], layer.bias[o : o + 1], rule, layer.output, one)
            return int(rule.rescale(np.array([[acc]]), alone)[0, 0])
        return real(acc, name or rule.profile, scale, double)
    if isinstance(rule, Q31):
        m, e = of(rule.multiplier, c), of(rule.exponent, c)
        m = max(0, min(2**31 - 1, m + m_step)) if m_step else m
        m = m >> 16 << 16 if fault == "multiplier.truncated" else m
        e = max(-31, min(30, e - s_step))
        factor = Fraction(m, 1 << (31 - e))
        if name in EXACT:
            return rounded(acc * factor, name)
        if name not in FOREIGN:
            return q31(acc, m, e, name or rule.rounding, fault == "shift.logical")
    else:
        assert isinstance(rule, Fixed)
        m, sh, p = (of(v, c) for v in (rule.multiplier, rule.shift, rule.pre_shift))
        rs, rp = of(rule.round, c), of(rule.pre_round, c)
        m = m >> 1 << 1 if fault == "multiplier.truncated" else max(0, min(2**31 - 1, m + m_step))
        factor = Fraction(m, 1 << (sh + p))
        if name in EXACT:
            first = rounded(Fraction(acc, 1 << p), name)
            return rounded(Fraction(wrapped(first * m, 32), 1 << sh), name)
        if fault == "rounding.once":
            return rounded(acc * factor, "half-up")
        if name not in FOREIGN:
            rp = 0 if fault == "rounding.pre-missing" else rp
            if name.startswith("constant") and sh > 0:
                rs = max(rs - 1, 0) if "minus" in name else rs + 1
                rs = of(rule.round, c) if "minus" in name and of(rule.round, c) == 0 else rs
            sh = max(0, min(31, sh + s_step))
            total = wrapped(wrapped((wrapped(acc + rp, 32) >> p) * m, 32) + rs, 32)
            return wrapped(wrapped(total, 32, False) >> sh, 32) if fault == "shift.logical" else total >> sh
    if s is None:
        scale, double = f32(float(factor)), float(factor)
    return real(acc, name, scale, double)


def plain_layer(layer: Dense, source: Activation, x: list[int], fault: str) -> tuple[list[int], list[int]]:
    """Accumulators and outputs of one layer for one row."""
    w, b = layer.weights.tolist(), layer.bias.tolist()
    n, inputs = len(w), len(x)
    tail = n % 4 or 1
    out = layer.output
    bits = 16 if source.type == "int16" else 8
    x = [x[inputs - 1 - i] for i in range(inputs)] if fault == "input.reversed" else x
    x = [wrapped(v, bits, False) for v in x] if fault == "input.unsigned" else x
    x = [wrapped(v, bits) for v in x] if fault == "input.signed" else x
    zero = {
        "input.zero-point-missing": 0,
        "input.zero-point-sign": -source.zero_point,
        "input.zero-point-of-output": out.zero_point,
    }.get(fault, source.zero_point)
    loop = range(inputs)
    loop = range(inputs - 1) if fault == "input.last-missing" else loop
    loop = range(1, inputs) if fault == "input.first-missing" else loop
    flat = [v for row in w for v in row]
    sums, ys = [], []
    for o in range(n):
        other = o - (n - tail) if o >= n - tail else o
        row = {"weights.row-shifted": (o + 1) % n, "weights.last-rows": other}.get(fault, o)
        acc = 0
        for i in loop:
            v = flat[i * n + o] if fault == "weights.transposed" else w[row][i]
            v = flat[o * (inputs - 1) + i] if fault == "weights.short-stride" else v
            v = v % 256 if fault == "weights.unsigned" else v
            v = -127 if fault == "weights.symmetric" and v == -128 else v
            acc += (x[i] - zero) * (-v if fault == "weights.negated" else v)
        bias = b[{"bias.shifted": (o + 1) % n, "bias.last-rows": other}.get(fault, o)]
        bias = {
            "bias.missing": 0,
            "bias.int16": wrapped(bias, 16),
            "bias.int8": wrapped(bias, 8),
            "bias.negated": -bias,
            "bias.doubled": 2 * bias,
        }.get(fault, bias)
        acc = wrapped(acc + bias, 32)
        acc = wrapped(acc, 16) if fault == "acc.int16-wrap" else acc
        acc = max(-32768, min(32767, acc)) if fault == "acc.int16-saturate" else acc
        v = rescaled(layer, acc, o, fault)
        sums.append(acc)
        ys.append(clamped(v, out, source, fault))
    if fault == "output.reversed":
        ys.reverse()
    if fault == "output.last-missing":
        ys[-1] = 0
    return sums, ys


def clamped(v: int, out: Activation, source: Activation, fault: str) -> int:
    low, high = TYPES[out.type]
    bits, signed = 16 if out.type == "int16" else 8, out.type != "uint8"
    zero = {
        "zero-point.missing": 0,
        "zero-point.sign": -out.zero_point,
        "zero-point.of-input": source.zero_point,
    }.get(fault, out.zero_point)
    if fault == "clamp.wrap":
        return wrapped(v + zero, bits, signed)
    if fault == "clamp.before-zero-point":
        return wrapped(max(low, min(high, v)) + zero, bits, signed)
    least = {
        "clamp.type-only": low,
        "relu.at-zero": 0,
        "relu.extra": out.zero_point,
        "clamp.symmetric": -127,
        "clamp.min-plus-one": out.min + 1,
        "clamp.min-minus-one": out.min - 1,
        "clamp.min-missing": -(1 << 31),
    }.get(fault, out.min)
    most = {
        "clamp.type-only": high,
        "clamp.max-plus-one": out.max + 1,
        "clamp.max-minus-one": out.max - 1,
        "clamp.max-missing": (1 << 31) - 1,
    }.get(fault, out.max)
    return wrapped(min(max(wrapped(v + zero, 32), least), most), bits, signed)


def plain(net: Network, name: str, at: int | None, row: list[int]) -> tuple[list[list[int]], list[list[int]]]:
    """Every layer's accumulators and outputs of a device with the fault ``name`` in the layer ``at``, or in all."""
    sums, ys = [], []
    for k, (layer, source) in enumerate(zip(net.layers, net.inputs, strict=True)):
        there = (at == k or at is None) and has_meaning(layer, source, name)
        acc, row = plain_layer(layer, source, row, name if there else "")
        sums.append(acc)
        ys.append(row)
    return sums, ys


def has_meaning(layer: Dense, source: Activation, name: str) -> bool:
    """Of a fault of every layer: whether it is one in this layer. Where it is none, the layer is as specified."""
    out, rule = layer.output, layer.requantize
    relu = out.min == out.zero_point
    kind = "fixed" if isinstance(rule, Fixed) else "q31" if isinstance(rule, Q31) else "real"
    match name:
        case "relu.at-zero":
            return relu
        case "relu.extra":
            return out.min == TYPES[out.type][0]
        case "clamp.symmetric":
            return out.type == "int8" and out.min == -128 < out.max
        case "clamp.max-minus-one" | "clamp.min-plus-one":
            return out.min < out.max
        case "input.unsigned":
            return source.type != "uint8"
        case "input.signed":
            return source.type == "uint8"
        case "clamp.before-zero-point":
            return out.zero_point != 0
        case "rounding.single" | "rounding.double" | "rounding.upup" | "rounding.reduced15":
            return kind != "fixed"
        case "rounding.constant-plus-one" | "rounding.constant-minus-one" | "rounding.pre-missing":
            return kind == "fixed"
        case "rounding.once":
            return kind == "fixed" and bool(np.any(rule.pre_shift))  # type: ignore[union-attr]  # kind says it has one
        case "shift.logical":
            return kind != "real"
        case "multiplier.truncated" | "multiplier.plus-one" | "multiplier.minus-one":
            return kind == "q31" or (kind == "fixed" and bool(np.any(np.asarray(rule.multiplier) != 1)))  # type: ignore[union-attr]  # kind says it has one
    return True


# --- networks on which every model changes some output

RULES: list[Callable[[np.random.Generator, int], Any]] = [
    lambda rng, n: Fixed.half_up(11, 3, 2),
    lambda rng, n: Fixed.half_up(2, 1, 3),  # so few bits that a constant off by one shows
    lambda rng, n: Fixed.floor(9),
    lambda rng, n: Fixed(rng.integers(8, 12, n), rng.integers(0, 256, n), rng.integers(1, 9, n), 1, 1),
    lambda rng, n: Q31(3 << 29, -8, "double"),
    lambda rng, n: Q31(1 << 30, -8, "single"),
    lambda rng, n: Q31(rng.integers(1 << 30, 1 << 31, n), rng.integers(-9, -6, n), "upup"),
    lambda rng, n: Foreign("fp32even"),
    lambda rng, n: Foreign("microflow"),
    lambda rng, n: Foreign("trunc0"),
    lambda rng, n: Q31(1 << 30, 1, "upup"),
]


def network(seed: int) -> Network:
    """Of two layers; the seed's digits choose rule, types and clamps."""
    rng = np.random.default_rng(seed)
    kinds = ("int8", "uint8", "int16")
    sizes = rng.integers(3, 8, 3)
    acts = []
    for n in range(3):
        kind = kinds[(seed + n) % 3]
        low, high = TYPES[kind]
        zero = int(rng.integers(low // 2, high // 2)) if kind != "int16" else int(rng.integers(-90, 90))
        bounds = [(low, high), (zero, high), (low + 3, high - 100)][int(rng.integers(0, 3))]
        acts.append(Activation(kind, zero, *bounds))
    acts[0] = replace(acts[0], min=max(acts[0].min, -3000), max=min(acts[0].max, 3000))
    layers = []
    for n in range(2):
        shape = (int(sizes[n + 1]), int(sizes[n]))
        weights = np.where(rng.integers(0, 6, shape) == 0, -128, rng.integers(-128, 128, shape))
        bias = rng.integers(-60000, 60000, shape[0])
        rule = RULES[(seed + 3 * n) % len(RULES)](rng, shape[0])
        per_channel = rng.uniform(0.02, 0.08, shape[0]).astype(np.float32).astype(float)
        weight_scale: Any = per_channel if seed % 2 else 0.03125
        scales = Scales(0.25, weight_scale, 0.5) if seed % 3 == 0 or isinstance(rule, Foreign) else None
        layers.append(Dense(weights, bias, rule, acts[n + 1], scales))
    return Network(acts[0], tuple(layers))


def valid_networks() -> Iterator[tuple[Network, np.ndarray[Any, Any]]]:
    for seed in range(16):
        net = network(seed)
        if intnn.prove(net).valid:
            rng = np.random.default_rng(seed)
            x = rng.integers(net.input.min, net.input.max + 1, (4, net.sizes[0]))
            x[0], x[1] = net.input.min, net.input.max
            yield net, x


NETWORKS = list(valid_networks())


def test_the_networks_are_many() -> None:
    assert len(NETWORKS) >= 12


def test_every_fault_is_what_it_says() -> None:
    """Of every model, in each layer and in all, traces are those of the plain formulation; each shows somewhere."""
    shown = set()
    for net, x in NETWORKS:
        mutants = Mutants(net, x)
        for fault in catalogue(net):
            name = fault.id.partition("@")[0]
            rows = [plain(net, name, fault.layer, row) for row in x.tolist()]
            for k, (acc, y) in enumerate(trace(net, [fault], x)):
                np.testing.assert_array_equal(acc, [sums[k] for sums, _ in rows], fault.id)
                np.testing.assert_array_equal(y, [ys[k] for _, ys in rows], fault.id)
            np.testing.assert_array_equal(mutants.outputs([fault]), y, fault.id)
            if (y != mutants.expected).any():
                shown.add(name)
    assert shown == {model.name for model in MODELS}


@settings(max_examples=60)
@given(cases(foreign=True))
def test_without_faults_it_is_the_specification(case: tuple[Network, np.ndarray[Any, Any]]) -> None:
    net, x = case
    right = intnn.trace(net, x)
    for (acc, y), layer in zip(trace(net, [], x), right, strict=True):
        np.testing.assert_array_equal(acc, layer.acc)
        np.testing.assert_array_equal(y, layer.output)
    np.testing.assert_array_equal(outputs(net, [], x), right[-1].output)
    for start in range(1, len(net.layers)):
        np.testing.assert_array_equal(outputs(net, [], right[start - 1].output, start=start), right[-1].output)
    np.testing.assert_array_equal(Mutants(net, x).expected, right[-1].output)


def test_pairs_compose() -> None:
    """In different layers each fault does what it does alone; and the shortcut of Mutants leaves nothing out."""
    rng = np.random.default_rng(0)
    for net, x in NETWORKS[::6]:
        mutants = Mutants(net, x)
        pairs = list(combinations(catalogue(net), 2))
        for n in rng.integers(0, len(pairs), 60):
            pair = pairs[n]
            y = outputs(net, pair, x)
            np.testing.assert_array_equal(mutants.outputs(pair), y)
            lower, upper = sorted(pair, key=lambda f: f.first)
            if None not in (lower.layer, upper.layer) and lower.layer != upper.layer:
                between = trace(net, [lower], x)[0][1]
                np.testing.assert_array_equal(outputs(net, [upper], between, start=1), y)


def test_faults_of_one_layer_compose() -> None:
    """By hand: the bias doubled and no zero point; and a rounding with a shift that is off."""
    layer = Dense(np.array([[3]]), np.array([7]), Fixed.half_up(2), Activation("int8", zero_point=5))
    net = Network(Activation("int8"), (layer,))
    x = np.array([[1], [-5]])  # accumulators 10 and -8; with the bias twice 17 and -1

    def found(*ids: str) -> list[int]:
        return [int(y) for y in outputs(net, [parse(net, id) for id in ids], x)[:, 0]]

    assert found() == [3 + 5, -2 + 5]  # 10/4 is a tie
    assert found("bias.doubled@0", "zero-point.missing@0") == [4, 0]  # 17/4, -1/4
    assert found("shift.minus-one@0", "rounding.floor@0") == [5 + 5, -4 + 5]
    assert found("bias.missing@0", "bias.doubled@0") == [1 + 5, -4 + 5]  # twice nothing: 3/4, -15/4


def test_faults_of_one_neuron() -> None:
    """Bias and weights by a rebuilt network: the faulty device is right for that one."""
    net, x = next((net, x) for net, x in NETWORKS if not isinstance(net.layers[1].requantize, Foreign))
    kinds = set()
    for fault in neuron_faults(net):
        name, _, place = fault.id.partition("@")
        k, o, *i = map(int, place.replace("[", " ").replace("]", "").replace(",", " ").split())
        layer = net.layers[k]
        weights, bias = layer.weights.astype(int), layer.bias.astype(int)
        if name.startswith("bias."):
            bias[o] += 1 if name == "bias.plus-one" else -1
        else:
            w = weights[o, i[0]]
            new = {"plus-one": w + 1, "minus-one": w - 1, "negated": -w, "zero": 0}[name.partition(".")[2]]
            if not -128 <= new <= 127:
                continue
            weights[o, i[0]] = new
        layers = list(net.layers)
        layers[k] = replace(layer, weights=weights, bias=bias)
        other = Network(net.input, tuple(layers))
        if intnn.prove(other).valid:
            np.testing.assert_array_equal(outputs(net, [fault], x), intnn.run(other, x), fault.id)
            kinds.add(name)
    assert kinds == {model.name for model in NEURON_MODELS}


def test_ids_are_read_back() -> None:
    for net, _ in NETWORKS[:6]:
        every = (*catalogue(net), *neuron_faults(net))
        assert len({f.id for f in every}) == len(every)
        for fault in every:
            again = parse(net, fault.id)
            assert again == fault
            assert isinstance(again, Fault)


@pytest.mark.parametrize(
    "id",
    [
        "",
        "bias.missing",
        "bias.missing@",
        "bias.missing@2",
        "bias.none@0",
        "bias.missing@0[1]",
        "bias.plus-one@0",
        "bias.plus-one@*[0]",
        "bias.plus-one@0[9999]",
        "weights.zero@0[0]",
        "weights.zero@0[0,9999]",
        "bias.missing@-1",
        "input.signed@0",
    ],
)
def test_other_ids_are_refused(id: str) -> None:
    net = next(net for net, _ in NETWORKS if net.input.type == "int8")
    with pytest.raises(UsageError) as caught:
        parse(net, id)
    assert caught.value.code == "usage.fault"


def test_what_changes_nothing_is_left_out() -> None:
    layer = Dense(np.array([[3, -2]]), np.array([0]), Fixed.half_up(4), Activation("int8", min=-100, max=100))
    ids = {f.id.partition("@")[0] for f in catalogue(Network(Activation("int8"), (layer,)))}
    assert ids.isdisjoint({"bias.missing", "zero-point.missing", "input.zero-point-missing", "rounding.half-up"})
    assert ids.isdisjoint({"acc.int16-wrap", "relu.at-zero", "rounding.double", "bias.last-rows", "weights.symmetric"})
    assert {"rounding.floor", "clamp.type-only", "weights.negated", "input.reversed", "output.last-missing"} <= ids


def test_sums_beyond_float32_are_exact() -> None:
    """600 inputs of int16 make sums far beyond 2^24; odd ones show a lost bit."""
    rng = np.random.default_rng(3)
    weights = rng.integers(-128, 128, (4, 600))
    layer = Dense(weights, rng.integers(-9, 9, 4), Q31(1 << 30, -15, "single"), Activation("int16"))
    net = Network(Activation("int16", zero_point=11, min=-20000, max=20000), (layer,))
    x = rng.integers(-20000, 20001, (50, 600))
    acc, y = trace(net, [], x)[0]
    assert acc.tolist() == [
        [
            int(b) + sum((v - 11) * w for v, w in zip(row, ws, strict=True))
            for ws, b in zip(weights.tolist(), layer.bias, strict=True)
        ]
        for row in x.tolist()
    ]
    assert np.abs(acc).max() > 1 << 24
    np.testing.assert_array_equal(y, intnn.run(net, x))


def test_catalogue_is_remembered() -> None:
    net = NETWORKS[0][0]
    assert catalogue(net) is catalogue(net)
    assert faults.specified(net) is faults.specified(net)
