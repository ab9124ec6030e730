"""Faults in the requantization of emitted C, made on its tree; they register themselves in :mod:`c_mutants`."""

from __future__ import annotations

from collections.abc import Callable

from c_code import Code, Node, NoPlaceError, each, expression, loops, named, places, show, some, statements
from c_mutants import fault
from pycparser import c_ast

# --- shifts: x < 0 ? ~(~x >> s) : x >> s


def is_shift(node: Node) -> bool:
    """Whether ``node`` is the arithmetic shift, written so that C defines it."""
    return isinstance(node, c_ast.TernaryOp) and isinstance(node.iftrue, c_ast.UnaryOp) and node.iftrue.op == "~"


def shifted(name: str, text: str, refused: bool = False) -> None:
    """Register a wrong arithmetic shift of ``{x}`` by ``{s}``."""

    def change(code: Code) -> None:
        each(code.tree, is_shift, lambda n: text.format(x=show(n.iffalse.left), s=show(n.iffalse.right)))

    fault(name, refused=refused)(change)


shifted("shift toward zero", "{x} < 0 ? -((-{x}) >> {s}) : {x} >> {s}")
shifted("plain >> of a negative", "{x} >> {s}")
shifted("shift as unsigned", "(int32_t)((uint32_t){x} >> {s})")
shifted("shift as 16 bits", "(int16_t){x} < 0 ? ~(~(int16_t){x} >> {s}) : (int16_t){x} >> {s}")
shifted("division instead of shift", "{x} / ((int32_t)1 << {s})", refused=True)


# --- saturation: v < low ? low : v, v > high ? high : v


def is_bound(op: str) -> Callable[[Node], bool]:
    """Whether a node is the larger (op "<") or the smaller (op ">") of two values."""

    def bound(node: Node) -> bool:
        if not isinstance(node, c_ast.TernaryOp) or not isinstance(node.cond, c_ast.BinaryOp) or node.cond.op != op:
            return False
        return (show(node.cond.left), show(node.cond.right)) == (show(node.iffalse), show(node.iftrue))

    return bound


def value(node: Node) -> str:
    """The value that the bound is put on."""
    return show(node.iffalse)


@fault("no upper saturation")
def _no_upper(code: Code) -> None:
    each(code.tree, is_bound(">"), value)


@fault("no lower saturation")
def _no_lower(code: Code) -> None:
    each(code.tree, is_bound("<"), value)


@fault("a cast instead of saturation")
def _no_clamp(code: Code) -> None:
    _no_upper(code)
    _no_lower(code)


@fault("clamp before zero point")
def _clamp_early(code: Code) -> None:
    each(code.tree, is_bound("<"), lambda n: f"{value(n)} - 5 < {show(n.iftrue)} ? {show(n.iftrue)} : {value(n)} - 5")
    each(code.tree, is_bound(">"), lambda n: f"({show(n)}) + 5")


@fault("the lower bound for both")
def _one_bound(code: Code) -> None:
    each(code.tree, is_bound("<"), lambda n: f"{value(n)} > {show(n.iftrue)} ? {show(n.iftrue)} : {value(n)}")


# --- rounding, and the number types of requantization


def is_product(node: Node) -> bool:
    """Whether ``node`` is a product."""
    return isinstance(node, c_ast.BinaryOp) and node.op == "*"


def is_rounding(node: Node) -> bool:
    """Whether ``node`` is ``acc * multiplier + constant``."""
    return isinstance(node, c_ast.BinaryOp) and node.op == "+" and is_product(node.left)


def rounded(name: str, text: str) -> None:
    """Register another ``{t} + {r}`` for the product ``{t}`` and the rounding constant ``{r}`` (fixed)."""

    def change(code: Code) -> None:
        each(code.requantize, is_rounding, lambda n: text.format(t=show(n.left), r=show(n.right)))

    fault(name)(change)


rounded("half rounded away from zero (fixed)", "{t} + {r} + ({t} < 0 ? -1 : 0)")
rounded("rounding constant x 2 (fixed)", "{t} + {r} * 2")
rounded("rounding constant taken away (fixed)", "{t} - {r}")


@fault("product six bits larger (fixed)")
def _larger(code: Code) -> None:
    each(code.requantize, is_rounding, lambda n: f"{show(n.left)} * 64 + {show(n.right)} * 64")
    call, _ = some(code.requantize, lambda n: isinstance(n, c_ast.FuncCall) and named(n, "asr"))[-1]
    call.args.exprs[1] = expression(f"{show(call.args.exprs[1])} + 6")


@fault("ties rounded to what is even as stored (fixed)")
def _even(code: Code) -> None:
    some(code.requantize, is_rounding)
    shifts = some(code.requantize, lambda n: isinstance(n, c_ast.FuncCall) and named(n, "asr"))
    call, put = shifts[-1]
    up, s = show(call), show(call.args.exprs[1])
    below = f"{show(call.name)}({show(call.args.exprs[0])} - 1, {s})"
    put(expression(f"{up} != {below} ? {up} - ({up} & 1) : {up}"))


@fault("one accumulator wrong")
def _one(code: Code) -> None:
    name = code.requantize.decl.type.args.params[0].name
    code.requantize.body.block_items[:0] = statements(f"{name} = {name} == 1000 ? {name} + 4000 : {name};")


@fault("64-bit product", refused=True)
def _wide(code: Code) -> None:
    try:
        where = high(code)
    except NoPlaceError:
        where = code.requantize
    each(where, is_product, lambda n: f"(int32_t)((int64_t){show(n.left)} * {show(n.right)})")


def powers(node: Node) -> bool:
    """Whether ``node`` is a constant that 16 bits do not hold, and an odd number times a power of two."""
    if not isinstance(node, c_ast.Constant):
        return False
    number = int(node.value)
    return number > 32767 and number // (number & -number) < 32768


@fault("1 << n as a constant (16-bit int)")
def _power(code: Code) -> None:
    def power(node: Node) -> str:
        number = int(node.value)
        zeros = (number & -number).bit_length() - 1
        return f"{number >> zeros} << {zeros}"

    for function in code.functions:
        if any(powers(node) for node, _ in places(function)):
            each(function, powers, power)
            return
    raise NoPlaceError


# --- limbs of the high product (q31)


def is_limbs(node: Node) -> bool:
    """Whether ``node`` is a product of two limbs, none a constant."""
    return is_product(node) and not any(isinstance(side, c_ast.Constant) for side in (node.left, node.right))


def is_low(node: Node) -> bool:
    """Whether ``node`` is the low limb: ``x - high * 2^n``."""
    return isinstance(node, c_ast.BinaryOp) and node.op == "-" and is_product(node.right) and not is_limbs(node.right)


def high(code: Code) -> Node:
    """The function of the high product: it has several products of limbs."""
    for function in code.functions:
        if not loops(function) and sum(is_limbs(node) for node, _ in places(function)) > 2:
            return function
    raise NoPlaceError


def limb(name: str, wanted: Callable[[Node], bool], text: str, number: int = 0) -> None:
    """Register ``text`` for the ``number``-th place of the high product that is ``wanted``.

    In the text, ``{}`` is what is there; of the low limb ``x - high * 2^n``, {x} is x and {m} is 2^n.
    """

    def change(code: Code) -> None:
        node, put = some(high(code), wanted)[number]
        parts = {"x": show(node.left), "m": show(node.right.right)} if is_low(node) else {}
        put(expression(text.format(f"({show(node)})", **parts)))

    fault(name)(change)


for _number, _which in enumerate(("first", "second", "third", "last")):
    limb(f"{_which} product of limbs missing (q31)", is_limbs, "0", _number)
limb("last product of limbs off by one (q31)", is_limbs, "{} - 1", -1)
limb("limb's mask one bit short (q31)", is_low, "{x} & ({m} - 16384 - 1)")
limb("limb's mask one bit long (q31)", is_low, "{x} & (2 * {m} - 1)")
limb("limb's divisor not a power of two (q31)", is_low, "{} + 1")


def argument(name: str, number: int, text: str) -> None:
    """Register ``text`` for an argument ``{}`` of the high product: from the end, carry, low limb, high limb."""

    def change(code: Code) -> None:
        function = high(code).decl.name
        for call, _ in some(code.requantize, lambda n: isinstance(n, c_ast.FuncCall) and n.name.name == function):
            arguments = call.args.exprs
            arguments[number] = expression(text.format(show(arguments[number])))

    fault(name)(change)


argument("carry +1 (q31)", -1, "{} + 1")
argument("carry -1 (q31)", -1, "{} - 1")
argument("carry 0 (q31)", -1, "{} * 0")
argument("carry x 2 (q31)", -1, "{} * 2")
argument("carry halved (q31)", -1, "{} - 16384")
argument("low limb of the multiplier 0 (q31)", -2, "{} * 0")
argument("high limb of the multiplier -1 (q31)", -3, "{} - 1")
