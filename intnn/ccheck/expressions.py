"""Typed C expressions as Python closures over a frame of local variables.

Types are settled when a closure is made, for one data model; values are checked when it runs: what C leaves
undefined or to the implementation raises :class:`Trap` or asks the domain to.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from intnn.ccheck.closures import (
    ARITHMETIC,
    COMPARISONS,
    affine,
    arithmetic,
    both,
    choice,
    comparison,
    negation,
    zero,
)
from intnn.ccheck.cmodel import LIMITS, DataModel, IntType
from intnn.ccheck.scope import Frame, Function, Ref, Run, Scope, Type, where
from intnn.ccheck.source import NotInSubset
from intnn.ccheck.values import UNSET, Domain, Pointer, Trap, Value, extent


class Expressions(ABC):
    """Turns expressions into closures. ``scope`` is the scope at hand, ``function`` the function."""

    model: DataModel
    domain: Domain
    scope: Scope
    functions: dict[str, Function]
    function: Function | None = None

    def refuse(self, what: str, node: Any) -> NotInSubset:
        return NotInSubset(what, where(node))

    def expression(self, node: Any, top: bool = False) -> tuple[Run, Type]:
        """The closure and type of ``node``; ``top`` says that it is all of a statement or of an assigned value."""
        method = getattr(self, "_" + type(node).__name__, None)
        if method is None:
            raise self.refuse(f"{type(node).__name__} in an expression", node)
        if type(node).__name__ == "FuncCall":
            return self._FuncCall(node, top)
        result: tuple[Run, Type] = method(node)
        return result

    def integer(self, node: Any, top: bool = False) -> tuple[Run, IntType]:
        """As :meth:`expression`, of integer type."""
        run, t = self.expression(node, top)
        if not isinstance(t, IntType):
            raise self.refuse("a pointer or void where an integer is needed", node)
        return run, t

    def number(self, node: Any) -> int:
        """The value of an integer constant expression (C99 6.6): objects, also const ones, have no place in it."""
        self._require_constant(node)
        run, _ = self.integer(node)
        try:
            value = run([])
        except (Trap, IndexError):
            value = None
        if type(value) is not int:
            raise self.refuse("an integer constant expression was expected", node)
        return value

    def _require_constant(self, node: Any) -> None:
        kind = type(node).__name__
        if kind == "ID":
            symbol = self.scope.find(node.name)
            if symbol is not None and (symbol.number is None or symbol.const):
                raise self.refuse(f"{node.name} where an integer constant is needed: a macro, or an enumerator", node)
        elif kind not in ("Constant", "BinaryOp", "TernaryOp", "Cast") and not (
            kind == "UnaryOp" and node.op in ("+", "-", "~", "!")
        ):
            raise self.refuse("an integer constant expression was expected", node)
        for name, child in node.children():
            if name != "to_type":
                self._require_constant(child)

    # Conversions

    def converted(self, run: Run, source: IntType, target: IntType, node: Any) -> Run:
        """``run`` with its value converted to ``target``."""
        if target.holds(source):
            return run
        if self.model.usual and target.signed:
            return self._wrapped(run, target)
        return self._within(run, target, f"conversion to {target}", node)

    def _wrapped(self, run: Run, t: IntType) -> Run:
        """``run`` with the low bits of its value as the signed type ``t``."""
        low, bits, domain = t.low, t.bits, self.domain

        def wrap(frame: Frame) -> Value:
            value = run(frame)
            if type(value) is int:
                return (value - low) % (1 << bits) + low
            return domain.add(domain.modulo(domain.add(value, -low), bits), low)

        return wrap

    def _checked(self, run: Run, t: IntType, what: str, node: Any) -> Run:
        """``run``, the result of the operator ``what`` of type ``t``."""
        return self._within(run, t, f"overflow of {what} in {t}", node)

    def _within(self, run: Run, t: IntType, kind: str, node: Any) -> Run:
        """``run`` with its value brought into ``t``: unsigned types wrap, signed ones must hold it."""
        low, high, place, domain, signed, bits = t.low, t.high, where(node), self.domain, t.signed, t.bits

        def check(frame: Frame) -> Value:
            value = run(frame)
            if type(value) is int:
                if low <= value <= high:
                    return value
                if not signed:
                    return value % (high + 1)
                raise Trap(f"{kind}: the value is {value}", place)
            return domain.fit(value, low, high, kind, place) if signed else domain.modulo(value, bits)

        return check

    # Leaves

    def _Constant(self, node: Any) -> tuple[Run, Type]:  # noqa: N802  # named as pycparser names its nodes
        found = self.model.constant(node.value)
        if found is None:
            raise self.refuse(f"the constant {node.value} in the data model {self.model.name}", node)
        value, t = found
        return lambda frame: value, t

    def _ID(self, node: Any) -> tuple[Run, Type]:  # noqa: N802  # as above
        symbol = self.scope.find(node.name)
        if symbol is None:
            if node.name in LIMITS:
                limit = LIMITS[node.name]
                value = limit.low if node.name.endswith("MIN") else limit.high
                return lambda frame: value, self.model.promoted(limit)
            raise self.refuse(f"the name {node.name}", node)
        if symbol.number is not None:
            number = symbol.number
            return lambda frame: number, symbol.type
        if symbol.block is not None:
            if self.function is not None and not symbol.const:
                self.function.pure = False
            pointer = Pointer(symbol.block, 0, 0, len(symbol.block.cells))
            return lambda frame: pointer, symbol.type
        slot, place, domain = symbol.slot, where(node), self.domain

        def load(frame: Frame) -> Value:
            value = frame[slot]
            if type(value) is int:
                return value
            if value is UNSET:
                raise Trap(f"read of {node.name}, which is uninitialised", place)
            return value if type(value) is Pointer else domain.read(value, place)

        return load, symbol.type

    # Memory

    def _place(self, node: Any) -> tuple[Run, Run, Ref]:
        """The pointer and the index that ``a[i]`` or ``*p`` is made of, and the pointer's type."""
        name = type(node).__name__
        if name == "ArrayRef":
            base, t = self.expression(node.name)
            index, _ = self.integer(node.subscript)
        elif name == "UnaryOp" and node.op == "*":
            base, t = self.expression(node.expr)
            index = zero
        else:
            raise self.refuse("not an array element", node)
        if not isinstance(t, Ref):
            raise self.refuse("an integer where a pointer is needed", node)
        return base, index, t

    def address(self, node: Any) -> tuple[Run, Ref]:
        """Where ``a[i]`` or ``*p`` is: a pointer to it, and the type of the pointer that ``a`` or ``p`` is."""
        base, index, t = self._place(node)
        stride, place = t.stride, where(node)

        def step(frame: Frame) -> Value:
            p, i = base(frame), index(frame)
            if type(i) is not int:
                raise NotInSubset("an array index that depends on the input", place)
            at = p.index + i * stride
            if not (p.low <= at and at + stride <= p.high):
                raise Trap(f"access to element {at - p.low} of {extent(p)}", place)
            return Pointer(p.block, at, at, at + stride) if t.dims else Pointer(p.block, at, p.low, p.high)

        return step, t

    def _ArrayRef(self, node: Any) -> tuple[Run, Type]:  # noqa: N802  # as above
        return self._element(node)

    def _element(self, node: Any) -> tuple[Run, Type]:
        step, t = self.address(node)
        if t.dims:  # a row of an array of several dimensions, which decays to a pointer to its first element
            return step, t._replace(dims=t.dims[1:])
        place, domain = where(node), self.domain

        def load(frame: Frame) -> Value:
            p = step(frame)
            value = p.block.cells[p.index]
            if type(value) is int:
                return value
            if value is UNSET:
                raise Trap(f"read of element {p.index} of {p.block.name}, which is uninitialised", place)
            value = p.block.cells[p.index] = domain.stored(domain.read(value, place))  # also of what branches put there
            return value

        return load, t.elem

    # Operators

    def _Cast(self, node: Any) -> tuple[Run, Type]:  # noqa: N802  # as above
        target = self.type_of(node.to_type.type)
        if target is None:
            run, _ = self.expression(node.expr)
            return run, None
        run, source = self.integer(node.expr)
        if not isinstance(target, IntType):
            raise self.refuse("a cast to a pointer", node)
        return self.converted(run, source, target, node), target

    @abstractmethod
    def type_of(self, node: Any) -> Type:
        """The type that a declarator or type name stands for; ``None`` is void."""

    def _UnaryOp(self, node: Any) -> tuple[Run, Type]:  # noqa: N802  # as above
        op = node.op
        if op == "*":
            return self._element(node)
        if op == "&":
            base, index, ref = self._place(node.expr)  # &a[i] is a + i, also one past the end
            return self._moved(base, index, ref, node), ref
        if op in ("p++", "p--", "++", "--"):
            return self._increment(node)
        run, t = self.integer(node.expr)
        if op == "!":
            return negation(self.domain, run), self.model.int_type
        t = self.model.promoted(t)
        domain = self.domain
        if op == "+":
            return run, t
        if op == "-":
            return self._checked(affine(domain, run, -1, 0), t, "-", node), t
        if op == "~":
            return affine(domain, run, -1, -1 if t.signed else t.high), t
        raise self.refuse(f"the operator {op}", node)

    def _increment(self, node: Any) -> tuple[Run, Type]:
        if type(node.expr).__name__ != "ID":
            raise self.refuse(f"{node.op} of anything but a name", node)
        load, t = self.expression(node.expr)
        store = self.store(node.expr, t, node)
        by = 1 if "+" in node.op else -1
        if isinstance(t, Ref):
            change = self._moved(load, lambda frame: by, t, node)
        else:
            assert isinstance(t, IntType)  # a name is an integer or a pointer
            wide = self.model.common(t, self.model.int_type)
            change = self.converted(self._checked(affine(self.domain, load, 1, by), wide, "++", node), wide, t, node)
        before = node.op.startswith("p")

        def step(frame: Frame) -> Value:
            old = load(frame) if before else None
            new = change(frame)
            store(frame, new)
            return old if before else new

        return step, t

    @abstractmethod
    def store(self, node: Any, t: Type, place: Any) -> Callable[[Frame, Value], None]:
        """What writes a value of type ``t`` to a name or an array element."""

    def _moved(self, pointer: Run, count: Run, t: Ref, node: Any) -> Run:
        place, stride = where(node), t.stride

        def move(frame: Frame) -> Value:
            p, n = pointer(frame), count(frame)
            if type(n) is not int:
                raise NotInSubset("a pointer that depends on the input", place)
            at = p.index + n * stride
            if not p.low <= at <= p.high:
                raise Trap(f"a pointer to element {at - p.low} of {extent(p)}", place)
            return Pointer(p.block, at, p.low, p.high)

        return move

    def _BinaryOp(self, node: Any) -> tuple[Run, Type]:  # noqa: N802  # as above
        op = node.op
        if op in ("&&", "||"):
            left, right = self.integer(node.left)[0], self.integer(node.right)[0]
            return both(self.domain, left, right, op == "&&"), self.model.int_type
        left, a = self.expression(node.left)
        right, b = self.expression(node.right)
        if isinstance(a, Ref) or isinstance(b, Ref):
            return self._pointers(node, left, a, right, b)
        if not (isinstance(a, IntType) and isinstance(b, IntType)):
            raise self.refuse("a void operand", node)
        if op in ("<<", ">>"):
            return self._shifted(node, left, right, self.model.promoted(a))
        t = self.model.common(a, b)
        left, right = self.converted(left, a, t, node.left), self.converted(right, b, t, node.right)
        if op in ARITHMETIC:
            return self._checked(arithmetic(self.domain, op, left, right), t, op, node), t
        if op in COMPARISONS:
            return comparison(self.domain, op, left, right), self.model.int_type
        if op in ("&", "|", "^"):
            return self._bits(node, left, right), t
        raise self.refuse(f"the operator {op}", node)

    def _pointers(self, node: Any, left: Run, a: Type, right: Run, b: Type) -> tuple[Run, Type]:
        op = node.op
        if isinstance(a, Ref) and isinstance(b, IntType) and op in ("+", "-"):
            count = right if op == "+" else affine(self.domain, right, -1, 0)
            return self._moved(left, count, a, node), a
        if isinstance(b, Ref) and isinstance(a, IntType) and op == "+":
            return self._moved(right, left, b, node), b
        if isinstance(a, Ref) and isinstance(b, Ref) and op in COMPARISONS and a.fits(b):
            compare, place = COMPARISONS[op], where(node)

            def run(frame: Frame) -> Value:
                p, q = left(frame), right(frame)
                if p.block is not q.block:
                    raise Trap("comparison of pointers into different arrays", place)
                return int(compare(p.index, q.index))

            return run, self.model.int_type
        raise self.refuse(f"the operator {op} on a pointer", node)

    def _shifted(self, node: Any, left: Run, right: Run, t: IntType) -> tuple[Run, Type]:
        place, domain, high, bits, signed, up = where(node), self.domain, t.high, t.bits, t.signed, node.op == "<<"
        kind = "a negative value shifted left" if up else "a negative value shifted right (implementation-defined)"
        negative = not up and self.model.usual

        def run(frame: Frame) -> Value:
            value, s = left(frame), right(frame)
            if type(s) is not int:
                raise NotInSubset("a shift by an amount that depends on the input", place)
            if not 0 <= s < bits:
                raise Trap(f"a {bits}-bit value shifted by {s}", place)
            if type(value) is int:
                if value < 0 and not negative:
                    raise Trap(kind, place)
                return value << s if up else value >> s
            value = domain.fit(value, 0, high, kind, place) if signed and not negative else value
            return domain.multiply(value, 1 << s) if up else domain.down(value, s)

        return (self._checked(run, t, "<<", node), t) if up else (run, t)

    def _bits(self, node: Any, left: Run, right: Run) -> Run:
        place, domain, op = where(node), self.domain, node.op
        concrete = {"&": operator.and_, "|": operator.or_, "^": operator.xor}[op]

        def run(frame: Frame) -> Value:
            a, b = left(frame), right(frame)
            if type(a) is int and type(b) is int:
                return concrete(a, b)
            value, mask = (b, a) if type(a) is int else (a, b)
            if op == "&" and type(mask) is int and mask >= 0 and mask & (mask + 1) == 0:
                return domain.modulo(value, mask.bit_length())
            raise NotInSubset(f"{op} on a value that depends on the input, other than & with 2^k - 1", place)

        return run

    def _TernaryOp(self, node: Any) -> tuple[Run, Type]:  # noqa: N802  # as above
        condition = self.integer(node.cond)[0]
        yes, a = self.integer(node.iftrue)
        no, b = self.integer(node.iffalse)
        t = self.model.common(a, b)
        yes, no = self.converted(yes, a, t, node.iftrue), self.converted(no, b, t, node.iffalse)
        return choice(self.domain, condition, yes, no), t

    def _FuncCall(self, node: Any, top: bool) -> tuple[Run, Type]:  # noqa: N802  # as above
        name = getattr(node.name, "name", "?")
        function = self.functions.get(name)
        if function is None:
            raise self.refuse(f"a call to {name}, which is not a function declared above", node)
        nodes = node.args.exprs if node.args is not None else []
        if len(nodes) != len(function.params):
            raise self.refuse(f"{len(nodes)} arguments for the {len(function.params)} parameters of {name}", node)
        arguments = [self.argument(n, t, top=False) for n, t in zip(nodes, function.params, strict=True)]
        if not function.static:  # the compiler might know a library function of this name
            raise self.refuse(f"a call to {name}, which is not static", node)
        pure = function.pure and function.call is not None  # of what is only declared so far nothing is known
        if not top and not (pure and all(t.const for t in function.params if isinstance(t, Ref))):
            raise self.refuse(f"{name} may write to memory and is called within a larger expression", node)
        if self.function is not None and not pure:
            self.function.pure = False
        place = where(node)

        def run(frame: Frame) -> Value:
            values = [argument(frame) for argument in arguments]
            if function.call is None or function.running:
                raise NotInSubset(f"{name} is {'recursive' if function.running else 'not defined'}", place)
            function.running = True
            try:
                return function.call(values)
            finally:
                function.running = False

        return run, function.result

    def argument(self, node: Any, target: Type, top: bool = True) -> Run:
        """``node`` as it is passed or assigned to ``target``."""
        run, t = self.expression(node, top)
        if isinstance(target, IntType) and isinstance(t, IntType):
            return self.converted(run, t, target, node)
        if isinstance(target, Ref) and isinstance(t, Ref) and t.fits(target) and (target.const or not t.const):
            return run
        raise self.refuse(f"a value of type {t or 'void'} where {target or 'void'} is expected", node)
