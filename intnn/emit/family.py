"""Layers that share one C function: what they have in common is a constant in it, what differs a parameter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from intnn.emit.plan import Plan
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
    arguments: dict[int, list[str]] = field(default_factory=dict)  # for them, by layer; {x} and {y} are the buffers
    tables: dict[int, list[str]] = field(default_factory=dict)  # in C, by layer
    rescaling: list[tuple[str, str]] = field(default_factory=list)  # parameters of the requantize function: name, type
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
        if self.plural(name):
            if name not in self.behind:
                smallest = smallest_type(v for layer in self.layers for v in layer.numbers[name])
                self.table(several(name), smallest, lambda layer: [for_each(layer.numbers[name], layer)])
        elif (constant := self.scalar(name, ctype, [layer.numbers[name][0] for layer in self.layers])) != name:
            return constant
        self.rescaling.append((name, ctype))
        return name

    def plural(self, name: str) -> bool:
        """Whether a layer has a number ``name`` for each neuron."""
        return any(len(layer.numbers[name]) > 1 for layer in self.layers)

    @property
    def behind(self) -> list[str]:
        """The numbers that stand behind the weights of their neurons: those of paired kernels that are bytes."""
        return [
            name
            for name in self.layers[0].numbers
            if self.layers[0].paired
            and self.plural(name)
            and smallest_type(v for layer in self.layers for v in layer.numbers[name]) == "uint8_t"
        ]

    def rescaled(self, acc: str, place: str, behind: int = 0) -> list[str]:
        """The arguments of the requantize function for ``acc``, of the neuron that stands at ``place`` in the tables.

        What stands behind the weights of two neurons begins at ``weights[behind]``.
        """
        arguments = [acc]
        for name, _ in self.rescaling:
            if name in self.behind:
                at = behind + int(place) * len(self.behind) + self.behind.index(name)
                arguments.append(f"weights[{at}]")
            else:
                arguments.append(f"{several(name)}[{place}]" if self.plural(name) else name)
        return arguments


def several(name: str) -> str:
    """The name of a table of numbers ``name``."""
    return name if name == "bias" else f"{name}s"


def for_each(values: Sequence[int], layer: Plan) -> list[int]:
    """``values`` as one for each neuron that the kernel computes, the last one repeated."""
    return [*values, *[values[-1]] * (layer.neurons - len(values))]


def counter(layers: Sequence[Plan]) -> str:
    """The type of a counter of inputs or neurons, for an int may have 16 bits."""
    return "int" if max(max(layer.inputs, layer.neurons) for layer in layers) < 32768 else "int32_t"


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
