"""What C names stand for while a translation unit is compiled, and where in the text a node is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

from intnn.ccheck.cmodel import IntType
from intnn.ccheck.values import Block, Value

Frame = list[Value]
"""A function's local variables: first their values, then for each the path on which it came to be."""

Run = Callable[[Frame], Value]
"""A compiled expression."""


class Ref(NamedTuple):
    """A pointer to ``elem`` or, with ``dims``, to an array of it. ``name`` tells types of equal width apart."""

    elem: IntType
    dims: tuple[int, ...]
    name: str
    const: bool

    def fits(self, other: Ref) -> bool:
        """Whether both point to the same type, const aside."""
        return self[:3] == other[:3]

    @property
    def stride(self) -> int:
        return prod(self.dims)

    def __str__(self) -> str:
        array = "".join(f"[{n}]" for n in self.dims)
        return f"pointer to {'const ' if self.const else ''}{self.name}{array}"


Type = IntType | Ref | None
"""The type of an expression; ``None`` is void."""


@dataclass
class Function:
    """A C function: ``call(arguments)`` runs it."""

    name: str
    params: list[Type]
    spelled: list[str]
    result: Type
    static: bool
    call: Callable[[list[Value]], Value] | None = None
    pure: bool = True
    running: bool = False


@dataclass
class Symbol:
    """What a name stands for: a slot of the frame, a block of memory, or a number."""

    type: IntType | Ref
    slot: int = -1
    block: Block | None = None
    dims: tuple[int, ...] = ()
    number: int | None = None
    const: bool = False


@dataclass
class Scope:
    """Names in reach, and how many slots the function at hand needs."""

    names: list[dict[str, Symbol]] = field(default_factory=lambda: [{}])
    slots: int = 1

    def depth(self, name: str) -> int:
        """In which of the nested scopes ``name`` is declared."""
        return max((i for i, names in enumerate(self.names) if name in names), default=0)

    def find(self, name: str) -> Symbol | None:
        for names in reversed(self.names):
            if name in names:
                return names[name]
        return None


def where(node: Any) -> str:
    """``file:line`` of a node, or of the first part of it that has one."""
    coord = getattr(node, "coord", None)
    if coord is not None:
        return f"{coord.file}:{coord.line}"
    return next((place for _, child in node.children() if (place := where(child))), "")
