"""Emitted C with one fault, by name: what a wrong exporter, a wrong table or a wrong line of code would give.

Some faults are in the network that the C is emitted for, some in a table of the text, some in its code. Each finds
its place by structure: in C with the default kernel, or where that has none, in C for the least flash. The names are
those a firmware author would use for the bug.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from c_code import Code, NoPlaceError

from intnn import Q31, Activation, Dense, Fixed, Network, prove
from intnn.ccheck.source import read
from intnn.emit import emit_c


@dataclass(frozen=True)
class Mutant:
    """``change`` makes a wrong network, or makes a text wrong in place. ``refused``: no C of the subset is left."""

    change: Callable[[Any], Any]
    of_network: bool = False
    refused: bool = False

    def of(self, net: Network) -> str | None:
        """The wrong C for ``net``; ``None`` where there is no place for the fault."""
        if self.of_network:
            try:
                return emit_c(_valid(self.change(net)))
            except NoPlaceError:
                return None
        for size in (False, True):
            code = emitted(net, size).copy()
            try:
                self.change(code)
            except NoPlaceError:
                continue
            text = code.text()
            assert text != emitted(net, size).text(), "nothing has changed"
            return text
        return None


MUTANTS: dict[str, Mutant] = {}


def fault(name: str, **kind: bool) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Register a change under ``name``."""

    def register(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
        assert name not in MUTANTS, name
        MUTANTS[name] = Mutant(change, **kind)
        return change

    return register


@cache
def emitted(net: Network, size: bool = False) -> Code:
    """The C of ``net``."""
    return Code(read(emit_c(net, size=size)))


def _valid(net: Network) -> Network:
    if not prove(net).valid:
        raise NoPlaceError
    return net


# --- networks


def realistic(q31: bool = False) -> Network:
    """6-16-16-6, int8: hidden ReLU at zero point -128, the last layer per channel."""
    random = np.random.RandomState(2)  # its numbers are the same with every NumPy
    layers = []
    for inputs, outputs, scale in ((6, 16, 3904), (16, 16, 2304), (16, 6, 2608)):
        last = outputs == 6
        weights = np.clip(np.rint(random.standard_normal((outputs, inputs)) * 45), -128, 127).astype(np.int64)
        bias = random.randint(-2000, 2000, outputs)
        multiplier: Any = scale + 16 * random.randint(-9, 10, outputs) if last else scale
        rule: Fixed | Q31 = Fixed(17, 1 << 16, multiplier, 2, 2)
        if q31:
            rule = Q31((multiplier << 19) + 12345, -7, "double")
        zero = 5 if last else -128
        layers.append(Dense(weights, bias, rule, Activation("int8", zero)))
    return Network(Activation("int8", -3), tuple(layers), name="realistic q31" if q31 else "realistic")


def probe() -> Network:
    """2-4-4-2 with all 65,536 inputs enumerable: weights 127 and 1, small shifts and multipliers, so many ties."""
    weights = [
        [[127, 1], [1, -127], [64, 3], [-2, 1]],
        [[1, 0, -1, 5], [2, 127, 1, 0], [-1, 3, 64, -2], [1, -1, 1, 16]],
        [[1, 127, 4, -3], [-8, 1, 2, 33]],
    ]
    bias = [[3, -64, 121, 20], [40, -1000, 77, 9], [5, -131]]
    rules = [Fixed(5, 16, 1, 2, 2), Fixed(4, 8, 2, 1, 0), Fixed(6, 32, np.array([4, 9]), 1, 1)]
    zeros = [-128, -128, 5]
    layers = [
        Dense(np.array(w), np.array(b), rule, Activation("int8", zero))
        for w, b, rule, zero in zip(weights, bias, rules, zeros, strict=True)
    ]
    return Network(Activation("int8", 0), tuple(layers), name="probe")


NETWORKS = {"realistic": realistic(), "q31": realistic(q31=True), "probe": probe()}


# --- faults of the network: all of the C is right, but for other numbers


def layered(name: str, number: int) -> Callable[[Callable[[Dense], Dense]], Callable[[Dense], Dense]]:
    """Register a change of the layer ``number``."""

    def register(change: Callable[[Dense], Dense]) -> Callable[[Dense], Dense]:
        def changed(net: Network) -> Network:
            layers = list(net.layers)
            layers[number] = change(layers[number])
            return replace(net, layers=tuple(layers))

        fault(name, of_network=True)(changed)
        return change

    return register


def added(values: Any, place: Any, by: int) -> Any:
    """An array with ``by`` added at ``place``."""
    result = np.array(values, np.int64)
    result[place] += by
    return result


for _layer, _word in ((0, "first"), (1, "middle"), (-1, "last")):
    for _by in (1, -1):
        for _neuron, _which in ((0, "first"), (-1, "last")):
            layered(f"bias {_by:+}: {_word} layer, {_which} neuron", _layer)(
                lambda v, n=_neuron, by=_by: replace(v, bias=added(v.bias, n, by))  # type: ignore[misc]  # bound defaults
            )
    layered(f"a weight +1: {_word} layer", _layer)(
        lambda v: replace(v, weights=added(v.weights, np.unravel_index(v.weights.argmin(), v.weights.shape), 1))
    )


@layered("a weight -1", 1)
def _weight(v: Dense) -> Dense:
    return replace(v, weights=added(v.weights, (-1, -1), -1))


@layered("a weight's sign", 0)
def _sign(v: Dense) -> Dense:
    return replace(v, weights=added(v.weights, (0, 1), -2 * int(v.weights[0, 1])))


@layered("two weights of a row swapped", 1)
def _swapped(v: Dense) -> Dense:
    order = [1, 0, *range(2, v.weights.shape[1])]
    return replace(v, weights=np.vstack([v.weights[:1, order], v.weights[1:]]))


def permuted(values: Any, *rows: int) -> Any:
    """An array whose first rows are other ones."""
    return np.concatenate([np.asarray(values)[list(rows)], np.asarray(values)[len(rows) :]])


layered("two rows of weights swapped", 0)(lambda v: replace(v, weights=permuted(v.weights, 1, 0)))
layered("rows of weights reversed", -1)(lambda v: replace(v, weights=v.weights[::-1]))
layered("columns of weights reversed", 0)(lambda v: replace(v, weights=v.weights[:, ::-1]))
layered("weights transposed", 1)(lambda v: replace(v, weights=v.weights.T))
layered("two neurons swapped", -1)(lambda v: replace(v, weights=permuted(v.weights, 1, 0), bias=permuted(v.bias, 1, 0)))
layered("two biases swapped", 1)(lambda v: replace(v, bias=permuted(v.bias, 1, 0)))
layered("bias missing", 1)(lambda v: replace(v, bias=v.bias * 0))


def ranged(name: str, number: int, **changes: Callable[[Activation], int]) -> None:
    """Register a change of the output of the layer ``number``."""

    def change(v: Dense) -> Dense:
        parts: dict[str, Any] = {part: value(v.output) for part, value in changes.items()}
        return replace(v, output=replace(v.output, **parts))

    layered(name, number)(change)


ranged("output zero point missing", -1, zero_point=lambda a: 0)
ranged("output zero point's sign", -1, zero_point=lambda a: -a.zero_point)
ranged("hidden zero point +1", 0, zero_point=lambda a: a.zero_point + 1)
ranged("output lower bound +1", -1, min=lambda a: a.min + 1)
ranged("output upper bound -1", -1, max=lambda a: a.max - 1)
ranged("hidden lower bound +1", 0, min=lambda a: a.min + 1)
ranged("hidden upper bound -1", 0, max=lambda a: a.max - 1)
ranged("ReLU at 0", 0, min=lambda a: 0)
ranged("ReLU where there is none", -1, min=lambda a: a.zero_point)


@fault("input zero point missing or +1", of_network=True)
def _zero(net: Network) -> Network:
    return replace(net, input=replace(net.input, zero_point=0 if net.input.zero_point else 1))


@fault("a layer skipped", of_network=True)
def _skipped(net: Network) -> Network:
    return replace(net, layers=(net.layers[0], *net.layers[2:]))


@fault("a layer twice", of_network=True)
def _twice(net: Network) -> Network:
    return replace(net, layers=(*net.layers[:2], *net.layers[1:]))


def rescaled(name: str, number: int, rule: type[Fixed | Q31], **changes: Callable[[Any], Any]) -> None:
    """Register a change of the requantize rule of the layer ``number`` where it is a ``rule``."""

    def change(v: Dense) -> Dense:
        if not isinstance(v.requantize, rule):
            raise NoPlaceError
        parts = {part: value(v.requantize) for part, value in changes.items()}
        return replace(v, requantize=replace(v.requantize, **parts))

    layered(name, number)(change)


for _rule, _kind in ((Fixed, "fixed"), (Q31, "q31")):
    rescaled(f"multiplier +1 ({_kind})", 0, _rule, multiplier=lambda r: r.multiplier + 1)
    rescaled(
        f"multipliers of two channels swapped ({_kind})", -1, _rule, multiplier=lambda r: permuted(r.multiplier, 1, 0)
    )
    rescaled(f"a channel's multiplier -1 ({_kind})", -1, _rule, multiplier=lambda r: added(r.multiplier, -1, -1))

rescaled("shift +1 (fixed)", 1, Fixed, shift=lambda r: r.shift + 1)
rescaled("shift -1 (fixed)", 1, Fixed, shift=lambda r: r.shift - 1, round=lambda r: r.round >> 1)
rescaled("rounding constant of the shift before (fixed)", 1, Fixed, round=lambda r: r.round >> 1)
rescaled(
    "pre-shift missing, shift as much more (fixed)",
    0,
    Fixed,
    pre_shift=lambda r: 0,
    pre_round=lambda r: 0,
    shift=lambda r: r.shift + r.pre_shift,
    round=lambda r: r.round << r.pre_shift,
)
rescaled("rounding constant of the pre-shift 0 (fixed)", 0, Fixed, pre_round=lambda r: 0)
rescaled("rounding constant 0 (fixed)", 0, Fixed, round=lambda r: 0)
rescaled("rounding constant x 2 - 1 (fixed)", 0, Fixed, round=lambda r: 2 * r.round - 1)
for _layer, _word in ((0, "first"), (1, "middle"), (-1, "last")):
    rescaled(f"rounding constant +1: {_word} layer (fixed)", _layer, Fixed, round=lambda r: r.round + 1)
    rescaled(f"rounding constant -1: {_word} layer (fixed)", _layer, Fixed, round=lambda r: r.round - 1)
rescaled("exponent +1 (q31)", 1, Q31, exponent=lambda r: r.exponent + 1)
rescaled("exponent -1 (q31)", 1, Q31, exponent=lambda r: r.exponent - 1)
rescaled("rounded once (q31)", 0, Q31, rounding=lambda r: "single")
rescaled("second rounding half up: first layer (q31)", 0, Q31, rounding=lambda r: "upup")
rescaled("second rounding half up: last layer (q31)", -1, Q31, rounding=lambda r: "upup")


# --- faults of a table


@fault("a table entry +1")
def _entry(code: Code) -> None:
    code.table("weights", 1)[0][0] += 1


@fault("two table entries swapped")
def _entries(code: Code) -> None:
    values, _ = code.table("weights", 1)
    values[0], values[1] = values[1], values[0]


@fault("a table of weights reversed")
def _reversed(code: Code) -> None:
    code.table("weights", 1)[0].reverse()


@fault("the biases one place late")
def _late(code: Code) -> None:
    values, _ = code.table("bias", 0)
    values.insert(0, values.pop())


@fault("table one entry short")
def _short(code: Code) -> None:
    values, declaration = code.table("weights", -1)
    values.pop()
    declaration.type.dim.value = str(len(values))


@fault("the last table entry 0")
def _zeroed(code: Code) -> None:
    values, _ = code.table("bias", 1)
    values.pop()
