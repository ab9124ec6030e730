"""C text to change and print again: pycparser's tree, found by structure rather than by the emitter's words."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from pycparser import c_ast, c_generator, c_parser

from intnn.ccheck.cmodel import FIXED
from intnn.ccheck.source import TABLE, Source

Node = Any  # pycparser has no types
Place = tuple[Node, Callable[[Node], None]]
"""A node, and what puts another in its place."""

LOOPS = (c_ast.For, c_ast.While, c_ast.DoWhile)
_PRELUDE = "".join(f"typedef int {name};" for name in [*FIXED, "int64_t"])


class NoPlaceError(Exception):
    """The text has no place for the change."""


def show(node: Node) -> str:
    """A node as C."""
    text: str = c_generator.CGenerator().visit(node)
    return text


def statements(text: str) -> list[Node]:
    """Statements from C."""
    items: list[Node] = c_parser.CParser().parse(f"{_PRELUDE} void f(void) {{ {text} }}").ext[-1].body.block_items
    return items


def expression(text: str) -> Node:
    """An expression from C."""
    return statements(f"({text});")[0]


def places(root: Node) -> Iterator[Place]:
    """Every node below ``root``, parents first."""
    for name, child in root.children():
        yield child, partial(_put, root, name)
        yield from places(child)


def _put(parent: Node, name: str, new: Node) -> None:
    member, _, index = name.rstrip("]").partition("[")
    if index:
        getattr(parent, member)[int(index)] = new
    else:
        setattr(parent, member, new)


def blocks(root: Node) -> list[list[Node]]:
    """The statement lists below ``root``, inner ones last."""
    return [node.block_items for node, _ in places(root) if isinstance(node, c_ast.Compound) and node.block_items]


def some(root: Node, wanted: Callable[[Node], Any]) -> list[Place]:
    """The places below ``root`` whose node is ``wanted``; raises :class:`NoPlaceError` if there are none."""
    found = [place for place in places(root) if wanted(place[0])]
    if not found:
        raise NoPlaceError
    return found


def each(root: Node, wanted: Callable[[Node], Any], new: Callable[[Node], str], last: bool = False) -> None:
    """Put the expression ``new(node)`` in the place of each node below ``root`` that is ``wanted``, or of the last."""
    found = some(root, wanted)
    for node, put in found[-1:] if last else found:
        put(expression(new(node)))


def named(node: Node, *words: str) -> bool:
    """Whether ``node`` is a call, an element or a name whose name ends in one of ``words``."""
    match node:
        case c_ast.FuncCall(name=inner) | c_ast.ArrayRef(name=inner):
            return named(inner, *words)
        case c_ast.ID(name=name):
            return any(name == word or name.endswith(f"_{word}") for word in words)
    return False


class Code:
    """A translation unit to change in place; ``text()`` prints it."""

    def __init__(self, source: Source) -> None:
        self.tree, self.tables = source.tree, source.tables

    def copy(self) -> Code:
        """The same, apart."""
        return Code(Source(*pickle.loads(pickle.dumps((self.tree, self.tables)))))  # deepcopy takes ten times as long

    def text(self) -> str:
        """The unit as C."""
        text = "#include <stdint.h>\n\n" + show(self.tree)
        for i in reversed(range(len(self.tables))):  # name 1 begins name 10
            text = text.replace(f"{TABLE}{i}", _braces(self.tables[i]))
        return text

    @property
    def functions(self) -> list[Node]:
        """The function definitions, callees first."""
        return [node for node in self.tree.ext if isinstance(node, c_ast.FuncDef)]

    @property
    def entry(self) -> Node:
        """The public function."""
        return next(f for f in self.functions if "static" not in f.decl.storage)

    @property
    def layer(self) -> Node:
        """The function of a layer: the first that has a loop within a loop."""
        for function in self.functions:
            if any(isinstance(inner, LOOPS) for outer in loops(function) for inner, _ in places(outer)):
                return function
        raise NoPlaceError

    @property
    def requantize(self) -> Node:
        """The function from an accumulator to an activation that :attr:`layer` calls."""
        called = {show(node.name) for node, _ in places(self.layer) if isinstance(node, c_ast.FuncCall)}
        for function in self.functions:
            if "requantize" in function.decl.name and function.decl.name in called:
                return function
        raise NoPlaceError

    def table(self, word: str, number: int = 0) -> tuple[list[int], Node]:
        """The values of the ``number``-th table whose name has ``word`` in it, and its declaration."""
        found = [d for d in self.tree.ext if isinstance(d, c_ast.Decl) and word in d.name and d.init is not None]
        if not -len(found) <= number < len(found):
            raise NoPlaceError
        values = self.tables[int(found[number].init.exprs[0].name.removeprefix(TABLE))]
        if not all(isinstance(v, int) for v in values):
            raise NoPlaceError
        return values, found[number]


def _braces(values: list[Any]) -> str:
    return ", ".join(f"{{{_braces(v)}}}" if isinstance(v, list) else str(v) for v in values)


def loops(root: Node) -> list[Node]:
    """The loops below ``root``, outer ones first."""
    return [node for node, _ in places(root) if isinstance(node, LOOPS)]


def nested(function: Node) -> tuple[Node, Node]:
    """A loop over neurons, and the loop over inputs in it."""
    for outer in loops(function):
        for inner in loops(outer.stmt):
            return outer, inner
    raise NoPlaceError
