"""Random C expressions for tests/c_functions.py, with an interval of what each can be.

Intervals and concreteness steer the choice of operands: most steps that could be undefined are made safe by a mask,
some are left as they are.
"""

from __future__ import annotations

import random
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

INT32 = (-(1 << 31), (1 << 31) - 1)
UINT32 = (0, (1 << 32) - 1)
RANGES = {
    **{f"int{bits}_t": (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) for bits in (8, 16, 32)},
    **{f"uint{bits}_t": (0, (1 << bits) - 1) for bits in (8, 16, 32)},
    "int": INT32,
}
"""The types of parameters and variables; the range of int is that of the tests' 32-bit machines."""

FIXED = [t for t in RANGES if t != "int"]
"""Types whose constants fit on every machine."""

RISK = 0.8
"""How often an operation on an argument is left to overflow if it may; with it about half of all calls go wrong."""


def literal(value: int) -> str:
    """A C constant, or an expression of constants, of value ``value`` in [-2^31, 2^32 - 1]."""
    if value == INT32[0]:
        return "(-2147483647 - 1)"
    return f"({value})" if value < 0 else f"{value}u" if value > INT32[1] else str(value)


class Value(NamedTuple):
    """An expression: text, whether its promoted type is unsigned, an interval; with ``data`` arguments reach it."""

    text: str
    unsigned: bool
    low: int
    high: int
    data: bool


@dataclass
class Variable:
    """A name in reach. ``concrete`` values are known when the C is read; ``path`` is where they may be changed."""

    name: str
    type: str
    kind: str = "scalar"  # scalar, array, table or pointer
    concrete: bool = False
    path: int = 0
    sizes: tuple[int, ...] = ()
    fixed: bool = False


@dataclass
class Helper:
    """A function above: ``params`` are types, ``concrete`` says which parameters must be known."""

    name: str
    params: tuple[str, ...]
    result: str


@dataclass
class Expressions:
    """Writes expressions of the names in reach. Statements: :class:`c_functions.Writer`."""

    rng: random.Random
    prefix: str
    lines: list[str] = field(default_factory=list)
    scopes: list[list[Variable]] = field(default_factory=lambda: [[]])
    helpers: list[Helper] = field(default_factory=list)
    names: int = 0

    # Names and lines

    def fresh(self, stem: str) -> str:
        self.names += 1
        return f"{stem}{self.names}"

    def put(self, line: str) -> None:
        self.lines.append("    " * (len(self.scopes) - 1) + line)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        self.put(head + " {")
        self.scopes.append([])
        yield
        self.scopes.pop()
        self.put("}")

    def reach(self, *kinds: str) -> list[Variable]:
        return [v for scope in self.scopes for v in scope if v.kind in kinds]

    def reckless(self) -> bool:
        """Whether to plant what goes wrong in all calls."""
        return self.rng.random() < RISK / 120

    # Expressions

    def constant(self, low: int = INT32[0], high: int = INT32[1]) -> Value:
        rng = self.rng
        options = (rng.randint(-9, 9), rng.randint(-9, 9), rng.randint(-300, 300), rng.randint(low, high))
        value = min(max(rng.choice((*options, low, high)), low), high)
        text = literal(value)
        if value > 7 and rng.random() < 0.3:
            text = rng.choice((f"0x{value:X}", f"0{value:o}", f"{value}u")) if value < 1 << 31 else text
        unsigned = text.endswith("u")
        return Value(text, unsigned, value, value, False)

    def load(self, v: Variable) -> Value:
        """A variable's value, or one of its elements."""
        text = v.name
        if v.kind == "pointer":
            text = self.rng.choice((f"*{v.name}", f"{v.name}[0]"))
        elif v.kind != "scalar":
            text += "".join(f"[{self.index(n)}]" for n in v.sizes)
        low, high = RANGES[v.type]
        return Value(text, v.type == "uint32_t", low, high, not (v.concrete or v.kind == "table"))

    def index(self, n: int) -> str:
        counters = [v for v in self.reach("scalar") if v.concrete and v.fixed and v.sizes[0] <= n]
        if counters and self.rng.random() < 0.6:
            name = self.rng.choice(counters).name
            return f"{name} + 1" if self.reckless() else name
        return str(n if self.reckless() else self.rng.randrange(n))

    def leaf(self, data: bool) -> Value:
        known = [
            v for v in self.reach("scalar", "array", "table", "pointer") if data or v.concrete or v.kind == "table"
        ]
        varying = [v for v in known if v.kind != "table" and not v.concrete]
        if not known or self.rng.random() < 0.25:
            return self.constant()
        return self.load(self.rng.choice(varying if varying and self.rng.random() < 0.7 else known))

    def mask(self, v: Value, low: int, high: int) -> Value:
        """``v`` brought into [low, high], which has 0 and 1 within, by a mask."""
        bits = self.rng.randint(1, (min(high, INT32[1]) + 1).bit_length() - 1)
        top = (1 << bits) - 1
        if low < -(top >> 1) and self.rng.random() < 0.5:
            return Value(f"((int32_t)({v.text} & {top}) - {top >> 1})", False, -(top >> 1), top - (top >> 1), v.data)
        return Value(f"({v.text} & {top})", v.unsigned, 0, top, v.data)

    def fit(self, v: Value, low: int, high: int, part: float = 1) -> Value:
        """``v``, brought into [low, high] or left as a risk."""
        if (low <= v.low and v.high <= high) or (v.data and self.rng.random() < part * RISK):
            return v
        return self.mask(v, low, high)

    def expression(self, depth: int, data: bool = True) -> Value:
        rng = self.rng
        if depth <= 0 or rng.random() < 0.1:
            return self.leaf(data)
        forms = [self.arithmetic] * 6 + [self.compare] * 2 + [self.shift] * 3 + [self.bits] * 2
        forms += [self.unary] * 2 + [self.cast] * 2 + [self.choice] * 2 + [self.logic, self.arithmetic_shift]
        if data and self.helpers:
            forms += [self.call] * 2
        return rng.choice(forms)(depth, data)

    def arithmetic(self, depth: int, data: bool) -> Value:
        op = self.rng.choice("++--**")
        a, b = self.expression(depth - 1, data), self.expression(depth - 1, data)
        unsigned, known = a.unsigned or b.unsigned, a.data or b.data
        if not unsigned:
            low, high = _interval(op, a, b)
            if low < INT32[0] or high > INT32[1]:
                reach = (1 << 15) - 1 if op == "*" else (1 << 30) - 1
                a, b = self.fit(a, -reach, reach), self.fit(b, -reach, reach)
                unsigned = a.unsigned or b.unsigned
        low, high = _interval(op, a, b)
        limit = UINT32 if unsigned else INT32
        if low < limit[0] or high > limit[1]:
            low, high = limit
        return Value(f"({a.text} {op} {b.text})", unsigned, low, high, known)

    def compare(self, depth: int, data: bool) -> Value:
        a, b = self.expression(depth - 1, data), self.expression(depth - 1, data)
        op = self.rng.choice(("<", ">", "<=", ">=", "==", "!="))
        return Value(f"({a.text} {op} {b.text})", False, 0, 1, a.data or b.data)

    def amount(self) -> Value:
        """How far to shift: seldom too far."""
        if self.reckless():
            return self.constant(-1, 40)
        counters = [v for v in self.reach("scalar") if v.concrete and v.fixed]
        if counters and self.rng.random() < 0.3:
            v = self.rng.choice(counters)
            return Value(v.name, False, 0, v.sizes[0], False)
        s = self.rng.randint(0, self.rng.choice((3, 8, 31)))
        return Value(str(s), False, s, s, False)

    def shift(self, depth: int, data: bool) -> Value:
        a, s = self.expression(depth - 1, data), self.amount()
        most = min(max(s.high, 0), 31)
        if self.rng.random() < 0.5:
            a = a if a.unsigned else self.fit(a, 0, INT32[1], 0.3)
            return Value(f"({a.text} >> {s.text})", a.unsigned, max(a.low, 0) >> most, max(a.high, 0), a.data)
        if a.unsigned or most > 29:
            return Value(f"((uint32_t){a.text} << {s.text})", True, *UINT32, a.data)
        a = self.fit(a, 0, INT32[1] >> most)
        return Value(f"({a.text} << {s.text})", a.unsigned, 0, UINT32[1] if a.unsigned else INT32[1], a.data)

    def arithmetic_shift(self, depth: int, data: bool) -> Value:
        """The shift of a negative value that C defines, of a variable: it is written three times."""
        names = [v for v in self.reach("scalar") if RANGES[v.type][0] < 0 and (data or v.concrete)]
        if not names:
            return self.leaf(data)
        v, s = self.rng.choice(names), self.rng.randint(0, 31)
        return Value(f"({v.name} < 0 ? ~(~{v.name} >> {s}) : {v.name} >> {s})", False, *RANGES[v.type], not v.concrete)

    def bits(self, depth: int, data: bool) -> Value:
        a = self.expression(depth - 1, data)
        if a.data:
            return self.mask(a, -(1 << 15), INT32[1])
        b = self.expression(depth - 1, False)
        unsigned = a.unsigned or b.unsigned
        return Value(f"({a.text} {self.rng.choice('&|^')} {b.text})", unsigned, *(UINT32 if unsigned else INT32), False)

    def unary(self, depth: int, data: bool) -> Value:
        op, a = self.rng.choice("-~!+"), self.expression(depth - 1, data)
        if op == "!":
            return Value(f"(!{a.text})", False, 0, 1, a.data)
        a = self.fit(a, -INT32[1], INT32[1]) if op == "-" and not a.unsigned else a
        low, high = {"-": (-a.high, -a.low), "~": (~a.high, ~a.low), "+": (a.low, a.high)}[op]
        low, high = UINT32 if a.unsigned else (low, high)
        return Value(f"({op}{a.text})", a.unsigned, low, high, a.data)

    def cast(self, depth: int, data: bool) -> Value:
        t = self.rng.choice([*RANGES])
        low, high = RANGES[t]
        a = self.expression(depth - 1, data)
        a = a if low == 0 else self.fit(a, low, high, 0.5)
        held = low <= a.low and a.high <= high
        return Value(f"({t})({a.text})", t == "uint32_t", *((a.low, a.high) if held else (low, high)), a.data)

    def choice(self, depth: int, data: bool) -> Value:
        c, a, b = (self.expression(depth - 1, data) for _ in range(3))
        if data and not c.data:
            c = self.leaf(data)
        unsigned = a.unsigned or b.unsigned
        low, high = (*UINT32,) if unsigned else (min(a.low, b.low), max(a.high, b.high))
        return Value(f"({c.text} ? {a.text} : {b.text})", unsigned, low, high, a.data or b.data or c.data)

    def logic(self, depth: int, data: bool) -> Value:
        a, b = self.expression(depth - 1, data), self.expression(depth - 1, data)
        return Value(f"({a.text} {self.rng.choice(('&&', '||'))} {b.text})", False, 0, 1, a.data or b.data)

    def call(self, depth: int, data: bool) -> Value:
        helper = self.rng.choice(self.helpers)
        arguments = [self.assigned(t, self.expression(depth - 2, data)) for t in helper.params]
        return Value(
            f"{helper.name}({', '.join(arguments)})", helper.result == "uint32_t", *RANGES[helper.result], True
        )

    def assigned(self, t: str, v: Value) -> str:
        """``v`` as it is stored in a variable of type ``t``."""
        return (v if RANGES[t][0] == 0 else self.fit(v, *RANGES[t], 0.5)).text


def _interval(op: str, a: Value, b: Value) -> tuple[int, int]:
    if op == "*":
        ends = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
        return min(ends), max(ends)
    return (a.low + b.low, a.high + b.high) if op == "+" else (a.low - b.high, a.high - b.low)
