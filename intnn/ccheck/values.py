"""What C values are made of here, and what a domain of values must offer.

One front end (:mod:`intnn.ccheck.compiler`) turns C into Python closures. Numbers that do not depend on the network's
input are Python ints and never leave it. What does depend on the input belongs to a domain: lanes of a batch
(:mod:`intnn.ccheck.lanes`) or exact symbolic values (:mod:`intnn.ccheck.symbols`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from intnn.ccheck.cmodel import IntType

Value = Any
"""An int, a :class:`Pointer`, ``UNSET``, or a value of the domain."""


class _Unset:
    def __repr__(self) -> str:
        return "uninitialised"


UNSET = _Unset()
"""The value of an object that was never written."""


class Trap(Exception):  # noqa: N818  # the C standard gives no meaning to what the program does
    """What C leaves undefined or to the implementation; ``where`` is ``file:line``."""

    def __init__(self, kind: str, where: str) -> None:
        super().__init__(kind, where)
        self.kind = kind
        self.where = where


class Block:
    """An array in memory: ``cells`` of the element type ``type``; ``birth`` is the path on which it was made."""

    __slots__ = ("birth", "cells", "name", "type")

    def __init__(self, name: str, type: IntType, cells: list[Value], birth: object = None) -> None:
        self.name = name
        self.type = type
        self.cells = cells
        self.birth = birth


class Pointer:
    """Cell ``index`` of ``block``, which may be followed only within [low, high)."""

    __slots__ = ("block", "high", "index", "low")

    def __init__(self, block: Block, index: int, low: int, high: int) -> None:
        self.block = block
        self.index = index
        self.low = low
        self.high = high


def extent(p: Pointer) -> str:
    """What a pointer may reach, in words."""
    row = "" if p.high - p.low == len(p.block.cells) else "a row of "
    return f"the {p.high - p.low} of {row}{p.block.name}"


class Domain(ABC):
    """Arithmetic on values that depend on the input, over unbounded integers; operands may also be ints.

    ``path`` is the set of inputs on which the statement at hand is executed; ``None`` means all.
    """

    path: Any = None

    @abstractmethod
    def read(self, value: Value, where: str) -> Value:
        """``value`` as read from memory: traps where it was never written."""

    def stored(self, value: Value) -> Value:
        """``value`` as an array keeps it."""
        return value

    @abstractmethod
    def add(self, a: Value, b: Value, times: int = 1) -> Value:
        """``a + times * b``."""

    @abstractmethod
    def multiply(self, a: Value, b: Value) -> Value:
        """``a * b``."""

    @abstractmethod
    def down(self, a: Value, s: int) -> Value:
        """``floor(a / 2^s)``."""

    @abstractmethod
    def modulo(self, a: Value, bits: int) -> Value:
        """``a`` modulo 2^bits, in [0, 2^bits)."""

    @abstractmethod
    def positive(self, a: Value) -> Value:
        """1 where ``a > 0``, else 0."""

    @abstractmethod
    def fit(self, a: Value, low: int, high: int, kind: str, where: str) -> Value:
        """``a``; traps with ``kind`` where it lies outside [low, high]."""

    @abstractmethod
    def split(self, a: Value) -> tuple[Any, Any]:
        """The parts of the present path where ``a`` is not 0 and where it is; ``None`` for an empty part."""

    @abstractmethod
    def union(self, p: Any, q: Any) -> Any:
        """The path of inputs on either of two paths."""

    @abstractmethod
    def overlay(self, new: Value, old: Value) -> Value:
        """``new`` on the present path, ``old`` elsewhere."""
