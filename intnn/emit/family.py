"""Layers that share one C function: what they have in common is a constant in it, what differs a parameter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from intnn.emit.plan import ROWS, Plan
from intnn.emit.text import literal, smallest_type, table


@dataclass(eq=False)
class Family:
    """``layers`` of the same C types, kernel and rule, and what their functions need, as it is found out.

    ``suffix`` ends the functions' names.
    """

    prefix: str
    suffix: str
    layers: Sequence[Plan]
    parameters: list[str] = field(default_factory=list)  # of the layer function
    arguments: dict[int, list[str]] = field(default_factory=dict)  # for them, by layer
    tables: dict[int, list[str]] = field(default_factory=dict)  # in C, by layer
    rescaling: list[tuple[str, str, bool]] = field(default_factory=list)  # name, type, whether one a neuron
    helpers: set[str] = field(default_factory=set)

    def name(self, what: str) -> str:
        """The name of the function for ``what``."""
        return f"{self.prefix}_{what}{self.suffix}"

    def helper(self, name: str) -> str:
        """The name of a helper function, which is emitted because it is used."""
        self.helpers.add(name)
        return f"{self.prefix}_{name}"

    def parameter(self, declaration: str, arguments: Sequence[str]) -> None:
        """One more parameter of the layer function, with each layer's argument."""
        self.parameters.append(declaration)
        for layer, argument in zip(self.layers, arguments, strict=True):
            self.arguments.setdefault(layer.index, []).append(argument)

    def table(self, name: str, ctype: str, rows: Callable[[Plan], Sequence[Sequence[int]]]) -> None:
        """One more parameter: ``name`` points to the table that ``rows`` gives for a layer."""
        symbols = [f"{self.prefix}_{name}{layer.index}" for layer in self.layers]
        for layer, symbol in zip(self.layers, symbols, strict=True):
            contents = rows(layer)
            declarator = f"{ctype} {symbol}[{sum(map(len, contents))}]"
            self.tables.setdefault(layer.index, []).append(table(declarator, contents))
        self.parameter(f"const {ctype} *{name}", symbols)

    def scalar(self, name: str, ctype: str, values: Sequence[int]) -> str:
        """A number of the layer as it stands in an expression: a constant, or the parameter ``name``."""
        if len(set(values)) == 1:
            return literal(values[0])
        self.parameter(f"{ctype} {name}", [literal(v) for v in values])
        return name

    def number(self, name: str, ctype: str = "int32_t") -> str:
        """A number of the rule as it stands in the requantize function: a constant, or its parameter ``name``."""
        values = [layer.numbers[name] for layer in self.layers]
        plural = any(len(v) > 1 for v in values)
        if plural:
            smallest = smallest_type(v for numbers in values for v in numbers)
            self.table(f"{name}s", smallest, lambda layer: [for_each(layer.numbers[name], layer)])
        elif (constant := self.scalar(name, ctype, [v for (v,) in values])) != name:
            return constant
        self.rescaling.append((name, ctype, plural))
        return name

    def rescaled(self, acc: str, place: str) -> list[str]:
        """The arguments of the requantize function for ``acc``, of neuron ``place``."""
        return [acc, *(f"{name}s[{place}]" if plural else name for name, _, plural in self.rescaling)]


def for_each(values: Sequence[int], layer: Plan) -> list[int]:
    """``values`` as one for each neuron that the kernel computes, the last one repeated."""
    return [*values, *[values[-1]] * (layer.neurons - len(values))]


def counter(layers: Sequence[Plan]) -> str:
    """The type of a counter of neurons or of a step's weights, for an int may have 16 bits."""
    return "int" if max(max(ROWS * layer.inputs, layer.neurons) for layer in layers) < 32768 else "int32_t"


def plus(left: str, right: str) -> str:
    """``left + right`` where that is not ``left``."""
    if right == "0":
        return left
    return f"{left} - {right[1:]}" if right.startswith("-") else f"{left} + {right}"


def minus(left: str, right: str) -> str:
    """``left - right`` where that is not ``left``."""
    return plus(left, right[1:] if right.startswith("-") else right if right == "0" else f"-{right}")


def times(left: str, right: str) -> str:
    """``left * right`` where that is not ``left``."""
    return left if right == "1" else f"{left} * {right}"
