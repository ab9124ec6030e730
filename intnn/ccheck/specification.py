"""What the C must compute: the network's layers in the proof domain, by the formulas of spec/30-execution.md.

Written over unbounded integers, from the specification's text; nothing of the interpreter is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from intnn.ccheck import forms
from intnn.ccheck.curves import Curve, Curves, Undecided, curve, restricted
from intnn.ccheck.symbols import Bent, Doubt, Root, Sum, Symbols, Variable
from intnn.model import Q31, Activation, Dense, Fixed, Network

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Neuron:
    """One output: ``acc = factor * u + const`` for u of ``root``, and the output as a curve over it."""

    layer: int
    index: int
    root: Root
    factor: int
    const: int
    output: Curve


class Specification:
    """The network in the domain ``symbols``: ``inputs`` and ``outputs`` are its ends, as sums or ints."""

    def __init__(self, net: Network, symbols: Symbols) -> None:
        self.net = net
        self.symbols = symbols
        self.neurons: dict[Root, list[Neuron]] = {}
        self.activations: dict[Neuron, Sum | int] = {}
        self.layer_of: dict[Variable, int] = {}  # the layer that reads the variable
        self.inputs = [
            self._variable(0, f"input {i}", net.input.min, net.input.max) for i in range(net.layers[0].weights.shape[1])
        ]
        values = self.inputs
        for index, (layer, source) in enumerate(zip(net.layers, net.inputs, strict=True)):
            values = self._layer(index, layer, source, values)
        self.outputs = values
        symbols.cut = self.cut

    def _variable(self, layer: int, name: str, low: int, high: int) -> Sum | int:
        made = self.symbols.variable(name, low, high)
        if isinstance(made, Sum):
            self.layer_of[made.log[0][1]] = layer
        return made

    def _layer(self, index: int, layer: Dense, source: Activation, values: list[Sum | int]) -> list[Sum | int]:
        terms = [(v, {}) if isinstance(v, int) else (v.const, v.collected()) for v in values]
        result = []
        for o, row in enumerate(layer.weights.tolist()):
            const = int(layer.bias[o])
            total: dict[Variable, int] = {}
            for w, (base, variables) in zip(row, terms, strict=True):  # [dense.accumulate]
                const += w * (base - source.zero_point)
                for v, c in variables.items():
                    total[v] = total.get(v, 0) + w * c
            total = {v: c for v, c in total.items() if c}
            result.append(self._neuron(index, o, layer, const, total))
        return result

    def _neuron(self, index: int, o: int, layer: Dense, const: int, total: dict[Variable, int]) -> Sum | int:
        curves = self.symbols.curves
        if not total:
            return int(curves.evaluate(output_of(curves, _line(0, 0, 0, const), layer, o).pieces[0][2], 0))
        root, factor = self.symbols.root(total)
        neuron = Neuron(
            index, o, root, factor, const, output_of(curves, _line(root.low, root.high, factor, const), layer, o)
        )
        known = self._find(root, neuron.output)
        if known is None:
            low, high = curves.range(neuron.output)
            straight = self.symbols.straight(Bent(root, neuron.output))
            known = (
                self._variable(index + 1, f"activation {o} of layer {index}", low, high)
                if straight is None
                else straight
            )
        self.neurons.setdefault(root, []).append(neuron)
        self.activations[neuron] = known
        return known

    def _find(self, root: Root, value: Curve) -> Sum | int | None:
        """``value`` as a multiple of an activation plus a constant; ``None`` if it is none that is known."""
        for neuron in self.neurons.get(root, []):
            factor, rest = self._ratio(neuron, value)
            try:
                same = factor and self.symbols.curves.differs(self._scaled(neuron, factor, rest), value) is None
            except Undecided:
                continue
            if same:
                known = self.activations[neuron]
                if isinstance(known, int):
                    return factor * known + rest
                sum_: Sum = self.symbols.add(self.symbols.multiply(known, factor), rest)
                return sum_
        return None

    def _ratio(self, neuron: Neuron, value: Curve) -> tuple[int, int]:
        """Factor and rest such that, if at all, ``value = factor * output + rest``; factor 0 if there is none."""
        curves, root = self.symbols.curves, neuron.root
        a, b = (_known(curves, neuron.output, u) for u in (root.low, root.high))
        v, w = (_known(curves, value, u) for u in (root.low, root.high))
        if a == b:  # a constant, since outputs never fall
            return 1, v - a
        if (w - v) % (b - a):
            return 0, 0
        factor = (w - v) // (b - a)
        return factor, v - factor * a

    def _scaled(self, neuron: Neuron, factor: int, rest: int) -> Curve:
        curves = self.symbols.curves
        return curves.offset(curves.scale(neuron.output, factor), rest)

    def cut(self, value: Bent) -> Sum | int:
        """``value`` as a multiple of an activation plus a constant; :class:`Doubt`, naming the nearest neuron."""
        root, curves = value.root, self.symbols.curves
        if value.curve.spans != ((root.low, root.high),):
            raise Doubt("a value that is not computed for every input")
        found = self._find(root, value.curve)
        if found is not None:
            return found
        neurons = self.neurons.get(root)
        if not neurons:
            raise Doubt(self._nearest(root), root=root)
        neuron = neurons[0]
        points = np.linspace(root.low, root.high, 33).astype(np.int64).tolist()
        shifts = [_known(curves, value.curve, u) - _known(curves, neuron.output, u) for u in points]
        shift = max(shifts, key=shifts.count)  # C may keep activations with an offset: the one that fits most
        place = f"layer {neuron.layer}, neuron {neuron.index}"
        try:
            u = curves.differs(self._scaled(neuron, 1, shift), value.curve)
        except Undecided as error:
            raise Doubt(f"{place}: {error}", root=root) from None
        assert u is not None  # or _find would have found it
        ours, theirs = _known(curves, neuron.output, u), _known(curves, value.curve, u)
        acc = neuron.factor * u + neuron.const
        kept = f" (kept as {theirs})" if shift else ""
        raise Doubt(
            f"{place}: for acc = {acc} the specification gives {ours}, the C {theirs - shift}{kept}", root=root, u=u
        )

    def _nearest(self, root: Root) -> str:
        """What a root that no neuron has may have been meant to be."""
        layer = max(self.layer_of[v] for v, _ in root.terms)
        mine = dict(root.terms)
        best: tuple[int, Neuron, Variable] | None = None
        for neuron in (n for group in self.neurons.values() for n in group if n.layer == layer):
            theirs = dict(neuron.root.terms)
            other = [v for v in {**mine, **theirs} if mine.get(v, 0) != theirs.get(v, 0)]
            if best is None or len(other) < best[0]:
                best = (len(other), neuron, min(other, key=lambda v: v.number))
        if best is None:
            return f"layer {layer}: no neuron weighs its inputs like this"
        count, neuron, v = best
        theirs = dict(neuron.root.terms)
        wanted, got = (neuron.factor * terms.get(v, 0) for terms in (theirs, mine))
        return (
            f"layer {layer}: no neuron weighs its inputs like this; the nearest is neuron {neuron.index}, "
            f"which has {count} other weight{'s' * (count > 1)}: {wanted} for {v.name}, in the C {got}"
        )


def _known(curves: Curves, c: Curve, u: int) -> int:
    """``c(u)``, where there is a value."""
    value = curves.value(c, u)
    assert value is not None
    return value


def _line(low: int, high: int, factor: int, const: int) -> Curve:
    return Curve(((low, high, (const, ((forms.U, factor),) if factor else ())),))


def output_of(curves: Curves, acc: Curve, layer: Dense, o: int) -> Curve:
    """[dense.output] of neuron ``o`` as a curve, from its accumulator."""
    rule, y = layer.requantize, layer.output
    if isinstance(rule, Fixed):  # [requantize.fixed]
        pre_round, pre_shift, multiplier, round_, shift = (
            _at(part, o) for part in (rule.pre_round, rule.pre_shift, rule.multiplier, rule.round, rule.shift)
        )
        v = curves.down(curves.offset(acc, pre_round), pre_shift)
        v = curves.down(curves.offset(curves.scale(v, multiplier), round_), shift)
    elif isinstance(rule, Q31):
        v = _q31(curves, acc, _at(rule.multiplier, o), _at(rule.exponent, o), rule.rounding)
    else:
        raise TypeError("a foreign rule has no proof")
    return _clamp(curves, curves.offset(v, y.zero_point), y.min, y.max)


def _at(part: Any, o: int) -> int:
    return int(part) if np.ndim(part) == 0 else int(part[o])


def _q31(curves: Curves, acc: Curve, m: int, e: int, rounding: str) -> Curve:
    product = curves.scale(acc, m << max(e, 0))
    r = max(-e, 0)
    if rounding == "single":  # [requantize.single]: floor(acc * m * 2^(e-31) + 1/2)
        return curves.down(curves.offset(product, 1 << (30 + r)), 31 + r)
    high = curves.down(curves.offset(product, 1 << 30), 31)  # floor(x * m / 2^31 + 1/2)
    if r == 0:
        return high
    if rounding == "double":  # [requantize.double]: floor((x - [x < 0]) / 2^r + 1/2)
        negative = curves.positive(curves.scale(high, -1))
        high = curves.add(high, negative, -1)
    return curves.down(curves.offset(high, 1 << (r - 1)), r)


def _clamp(curves: Curves, v: Curve, low: int, high: int) -> Curve:
    return _bounded(curves, _bounded(curves, v, low, 1), high, -1)


def _bounded(curves: Curves, v: Curve, bound: int, sign: int) -> Curve:
    """The larger of ``v`` and ``bound`` with sign 1, the smaller with sign -1."""
    beyond = curves.positive(curves.offset(curves.scale(v, -sign), sign * bound))
    spans = [(low, high) for low, high, f in beyond.pieces if f[0]]
    rest = [(low, high) for low, high, f in beyond.pieces if not f[0]]
    kept = restricted(v, rest).pieces
    return curve([*kept, *((low, high, forms.constant(bound)) for low, high in spans)])


def run(net: Network, x: Int64) -> tuple[list[Int64], Int64]:
    """Every layer's accumulators and the outputs for ``x`` (batch, inputs), in plain integers."""
    accs = []
    for layer, source in zip(net.layers, net.inputs, strict=True):
        acc = (x - source.zero_point) @ layer.weights.T.astype(np.int64) + layer.bias
        accs.append(acc)
        rule = layer.requantize
        size = int(np.abs(acc).max(initial=1)) * int(np.max(getattr(rule, "multiplier", 1)))
        number = np.int64 if size << int(np.max(getattr(rule, "exponent", 0), initial=0)) < 1 << 60 else object
        wide = acc.astype(number)  # Python's integers where int64 would not hold a product
        if isinstance(rule, Fixed):
            fields = (rule.pre_round, rule.pre_shift, rule.multiplier, rule.round, rule.shift)
            rp, p, m, rs, s = (np.asarray(part).astype(number) for part in fields)
            v = ((((wide + rp) >> p) * m) + rs) >> s
        elif isinstance(rule, Q31):
            m, e = (np.asarray(p).astype(number) for p in (rule.multiplier, rule.exponent))
            left, r = np.maximum(e, 0), np.maximum(-e, 0)
            product = wide * m * 2**left
            if rule.rounding == "single":
                v = (product + 2 ** (30 + r)) >> (31 + r)
            else:
                high = (product + 2**30) >> 31
                odd = (high < 0).astype(number) if rule.rounding == "double" else 0
                v = np.where(r > 0, (2 * (high - odd) + 2**r) >> (r + 1), high)
        else:
            raise TypeError("a foreign rule has no proof")
        y = layer.output
        x = np.clip(v + y.zero_point, y.min, y.max).astype(np.int64)
    return accs, x
