"""Faults in the loops, stores and calls of emitted C, made on its tree; they register themselves in
:mod:`c_mutants`."""

from __future__ import annotations

import copy
from collections.abc import Callable

from c_code import (
    Code,
    Node,
    NoPlaceError,
    blocks,
    each,
    expression,
    loops,
    named,
    nested,
    places,
    show,
    some,
    statements,
)
from c_mutants import fault
from pycparser import c_ast

# --- the accumulator


def is_accumulator(node: Node) -> bool:
    """Whether ``node`` declares an accumulator, which starts at a bias."""
    return isinstance(node, c_ast.Decl) and node.init is not None and "bias" in show(node.init)


def retype(node: Node, name: str) -> None:
    """Give a declaration of a number another type."""
    node.type.type.names[:] = [name]


def accumulators(name: str, ctype: str, refused: bool = False) -> None:
    """Register accumulators of another type."""

    def change(code: Code) -> None:
        for node, _ in some(code.layer, is_accumulator):
            retype(node, ctype)

    fault(name, refused=refused)(change)


accumulators("accumulator in 16 bits", "int16_t")
accumulators("accumulator in an int (16-bit int)", "int")
accumulators("unsigned accumulator", "uint32_t")
accumulators("float accumulator", "float", refused=True)
accumulators("double accumulator", "double", refused=True)


@fault("products in an int (16-bit int)")
def _ints(code: Code) -> None:
    found = 0
    for node, put in list(places(code.layer.body)):
        if isinstance(node, c_ast.Cast) and show(node.to_type) == "int32_t":
            put(node.expr)
            found += 1
        elif isinstance(node, c_ast.Decl) and not is_accumulator(node) and show(node.type) == "int32_t":
            retype(node, "int")
            found += 1
    if not found:
        raise NoPlaceError


@fault("accumulator uninitialised")
def _uninitialised(code: Code) -> None:
    some(code.layer, is_accumulator)[-1][0].init = None


@fault("accumulator not reset between neurons")
def _kept(code: Code) -> None:
    for block in blocks(code.layer)[1:]:
        for i, node in enumerate(block):
            if is_accumulator(node):
                block[i] = statements(f"{node.name} += {show(node.init)};")[0]
                node.init = expression("0")
                code.layer.body.block_items.insert(0, node)
                return
    raise NoPlaceError


@fault("bias of the next neuron")
def _next_bias(code: Code) -> None:
    each(
        code.layer,
        lambda n: isinstance(n, c_ast.ArrayRef) and named(n, "bias"),
        lambda n: f"{show(n.name)}[{show(n.subscript)} + 1]",
        last=True,
    )


@fault("read beyond the weights")
def _beyond(code: Code) -> None:
    each(
        code.layer,
        lambda n: isinstance(n, c_ast.ArrayRef) and named(n, "weights"),
        lambda n: f"{show(n.name)}[{show(n.subscript)} + 1]",
        last=True,
    )


@fault("weights of the first neurons for all")
def _same_weights(code: Code) -> None:
    for block in blocks(code.layer):
        for node in block:
            if isinstance(node, c_ast.Assignment) and node.op == "+=" and show(node.lvalue) == "weights":
                block.remove(node)
                return
    raise NoPlaceError


def is_input(node: Node) -> bool:
    """Whether ``node`` reads an element of the network's input."""
    return isinstance(node, c_ast.ArrayRef) and show(node.name) == "x"


def read_as(name: str, text: str) -> None:
    """Register another reading of the input's elements."""

    def change(code: Code) -> None:
        each(code.layer, is_input, lambda n: text.format(show(n)))

    fault(name)(change)


read_as("input read as unsigned", "(uint8_t){}")
read_as("input read as 7 bits", "({} & 127)")


# --- loops


def advance(loop: Node) -> Node:
    """What a loop does for its next turn: a step of what its condition compares."""
    if isinstance(loop, c_ast.DoWhile) and isinstance(loop.cond, c_ast.BinaryOp):
        for node in loop.stmt.block_items:
            if isinstance(node, c_ast.Assignment) and show(node.lvalue) == show(loop.cond.left):
                return node
    if not isinstance(loop, c_ast.For) or not isinstance(loop.cond, c_ast.BinaryOp):
        raise NoPlaceError
    return loop.next


def bounded(function: Node, loop: Node, start: int = 0, stop: int = 0) -> None:
    """Move the start or the end of a loop of a function by so many of its steps."""
    change = advance(loop)
    step = int(change.rvalue.value) if isinstance(change, c_ast.Assignment) else 1
    if stop:
        loop.cond.right = expression(f"{show(loop.cond.right)} {stop * step:+}")
    if start and isinstance(loop, c_ast.DoWhile):
        block = next(block for block in blocks(function) if loop in block)
        block.insert(block.index(loop), statements(f"{show(change.lvalue)} {change.op} {start * step};")[0])
    elif start:
        first = loop.init.decls[0] if isinstance(loop.init, c_ast.DeclList) else loop.init
        part = "init" if isinstance(first, c_ast.Decl) else "rvalue"
        setattr(first, part, expression(f"{show(getattr(first, part))} {start * step:+}"))


def loop(name: str, pick: Callable[[Code], tuple[Node, Node]]) -> None:
    """Register what can go wrong at the ends of the loop that ``pick`` gives, after its function."""
    for what, start, stop in (("stops early", 0, -1), ("goes on", 0, 1), ("starts late", 1, 0)):

        def change(code: Code, start: int = start, stop: int = stop) -> None:
            bounded(*pick(code), start, stop)

        fault(f"loop over {name} {what}")(change)


def own_loop(number: int) -> Callable[[Code], tuple[Node, Node]]:
    """A loop of the public function, which copies inputs in or outputs out."""

    def pick(code: Code) -> tuple[Node, Node]:
        found = loops(code.entry)
        if not found:
            raise NoPlaceError
        return code.entry, found[number]

    return pick


loop("neurons", lambda code: (code.layer, nested(code.layer)[0]))
loop("inputs", lambda code: (code.layer, nested(code.layer)[1]))
loop("what is copied out", own_loop(-1))


@fault("loop over what is copied in stops early")
def _copied(code: Code) -> None:
    bounded(*own_loop(0)(code), stop=-1)


@fault("loop without end")
def _endless(code: Code) -> None:
    loop_ = nested(code.layer)[0]
    change = advance(loop_)
    if isinstance(loop_, c_ast.DoWhile):
        loop_.stmt.block_items.remove(change)
    else:
        loop_.next = None


# --- what is stored, and where


def stores(code: Code) -> list[tuple[list[Node], int]]:
    """The statements of the layer function that store an activation: their block and place in it."""
    word = code.requantize.decl.name
    found = [
        (block, i)
        for block in blocks(code.layer)
        for i, node in enumerate(block)
        if isinstance(node, c_ast.Assignment) and word in show(node.rvalue)
    ]
    if not found:
        raise NoPlaceError
    return found


@fault("a store missing")
def _unwritten(code: Code) -> None:
    block, i = stores(code)[-1]
    del block[i]


@fault("the neuron before stored again")
def _again(code: Code) -> None:
    if len(stores(code)) < 2:
        raise NoPlaceError
    (before, i), (block, j) = stores(code)[-2:]
    block[j].rvalue = copy.deepcopy(before[i].rvalue)


@fault("stored one place on")
def _moved(code: Code) -> None:
    block, i = stores(code)[-1]
    target = block[i].lvalue
    block[i].lvalue = expression(f"{show(target.name)}[{show(target.subscript)} + 1]")


def ending(name: str, text: str) -> None:
    """Register a statement at the end of the public function; ``{last}`` is the place of the last output."""

    def change(code: Code) -> None:
        last = int(code.entry.decl.type.args.params[1].type.dim.value) - 1
        code.entry.body.block_items += statements(text.format(last=last))

    fault(name)(change)


ending("last output stale", "y[{last}] = y[{last} - 1];")
ending("output overwritten later", "y[0] = 0;")
ending("outputs swapped", "int8_t t = y[0]; y[0] = y[1]; y[1] = t;")
ending("output overwritten for one value of an input", "if (x[0] == 77) y[0] = 1;")
ending("output overwritten for one value of two inputs", "if (x[0] == 77 && x[1] == -55) y[0] = 1;")
ending("output beyond the last", "y[{last} + 1] = 0;")


# --- the public function


def calls(code: Code) -> tuple[list[Node], list[int]]:
    """The statements of the public function, and which of them call a layer."""
    body = code.entry.body.block_items
    name = code.layer.decl.name
    places_ = [i for i, node in enumerate(body) if isinstance(node, c_ast.FuncCall) and node.name.name == name]
    if len(places_) < 2:
        raise NoPlaceError
    return body, places_


@fault("a layer's call missing")
def _uncalled(code: Code) -> None:
    body, at = calls(code)
    del body[at[1]]


@fault("two layers' calls exchanged")
def _exchanged(code: Code) -> None:
    body, at = calls(code)
    body[at[0]], body[at[1]] = body[at[1]], body[at[0]]


@fault("a layer reads the wrong buffer")
def _wrong_buffer(code: Code) -> None:
    body, at = calls(code)
    body[at[-1]].args.exprs[0] = copy.deepcopy(body[at[-2]].args.exprs[0])


@fault("bias of another layer")
def _other_bias(code: Code) -> None:
    body, at = calls(code)
    first, second = (body[i].args.exprs for i in at[:2])
    place = next(i for i, a in enumerate(first) if "bias" in show(a))
    first[place] = copy.deepcopy(second[place])


@fault("recursion", refused=True)
def _recursive(code: Code) -> None:
    name = code.requantize.decl.name
    parameters = ", ".join(p.name for p in code.requantize.decl.type.args.params)
    code.requantize.body.block_items[:0] = statements(
        f"if ({parameters.split(', ')[0]} < 0) {{ return {name}({parameters}); }}"
    )


@fault("a count of calls kept", refused=True)
def _stateful(code: Code) -> None:
    code.entry.body.block_items[:0] = statements("static int32_t count = 0; count++;")
