"""C statements as closures over a frame."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from intnn.ccheck.cmodel import IntType
from intnn.ccheck.declarations import Declarations
from intnn.ccheck.scope import Frame, Ref, Type, where
from intnn.ccheck.source import NotInSubset
from intnn.ccheck.values import UNSET, Block, Pointer, Trap, Value

NEXT, BREAK, CONTINUE, RETURN = None, "break", "continue", "return"
Execute = Callable[[Frame], str | None]

STEPS = 1 << 21
"""How many loop iterations a call may take: more is taken for a loop without end."""


class Statements(Declarations):
    """Turns statements into closures that say how they were left. ``steps`` counts loop iterations."""

    steps: int

    def _statement(self, node: Any) -> Execute:
        match type(node).__name__:
            case "Compound":
                self.scope.names.append({})
                body = self.statements(node)
                self.scope.names.pop()
                return body
            case "Decl":
                return self._declaration(node)
            case "DeclList":
                return _sequence([self._declaration(d) for d in node.decls])
            case "If":
                return self._if(node)
            case "For":
                self.scope.names.append({})
                start = self._statement(node.init) if node.init is not None else _nothing
                step = self._statement(node.next) if node.next is not None else _nothing
                loop = self._loop(node, node.cond, step, True)
                self.scope.names.pop()
                return _sequence([start, loop])
            case "While":
                return self._loop(node, node.cond, _nothing, True)
            case "DoWhile":
                return self._loop(node, node.cond, _nothing, False)
            case "Return":
                return self._return(node)
            case "Break":
                return lambda frame: BREAK
            case "Continue":
                return lambda frame: CONTINUE
            case "EmptyStatement":
                return _nothing
            case "ExprList":
                return _sequence([self._statement(e) for e in node.exprs])
            case "Assignment":
                return self._assignment(node)
            case "FuncCall" | "UnaryOp" | "Cast":
                self._one_side_effect(node)
                run, _ = self.expression(node, top=True)

                def execute(frame: Frame) -> str | None:
                    run(frame)
                    return NEXT

                return execute
        raise self.refuse(f"{type(node).__name__} as a statement", node)

    def statements(self, node: Any) -> Execute:
        return _sequence([self._statement(item) for item in node.block_items or []])

    def _declaration(self, node: Any) -> Execute:
        if "static" in node.storage:
            self.object(node)
            return _nothing
        if node.storage or type(node.type).__name__ not in ("TypeDecl", "PtrDecl", "ArrayDecl"):
            raise self.refuse(f"the declaration of {node.name}", node)
        self._one_side_effect(node)
        if type(node.type).__name__ == "ArrayDecl":
            return self._local_array(node)
        t = self.type_of(node.type)
        if t is None:
            raise self.refuse(f"{node.name}: a void object", node)
        slot, domain = self.local(node.name, t, node), self.domain  # in reach of its own initialiser, as in C
        run = None if node.init is None else self.argument(node.init, t)
        self._set_const(node)

        def declare(frame: Frame) -> str | None:
            frame[slot] = UNSET
            if run is not None:
                frame[slot] = run(frame)
            frame[slot + len(frame) // 2] = domain.path
            return NEXT

        return declare

    def _set_const(self, node: Any) -> None:
        """Marks a const scalar or a const pointer, which keep their first value."""
        self.scope.names[-1][node.name].const = "const" in node.type.quals

    def _local_array(self, node: Any) -> Execute:
        model, t, dims = self.array(node)
        slot, domain, cells, count = self.local(node.name, t, node), self.domain, model.cells, prod(dims)
        self.scope.names[-1][node.name].const = True  # the name stays with its array

        def declare(frame: Frame) -> str | None:
            frame[slot] = Pointer(Block(node.name, t.elem, list(cells), domain.path), 0, 0, count)
            return NEXT

        return declare

    def _assignment(self, node: Any) -> Execute:
        self._one_side_effect(node)
        target = node.lvalue
        if type(target).__name__ == "ID":
            load, t = self.expression(target)
        else:
            load, t = self._element(target)
        store = self.store(target, t, node)
        if isinstance(t, Ref):
            self._require_as_long_lived(target.name, node.rvalue)
        if node.op == "=":
            if type(node.rvalue).__name__ == "Assignment":
                raise self.refuse("an assignment within an assignment", node)
            run = self.argument(node.rvalue, t, top=type(target).__name__ == "ID")
        else:
            run = self._updated(node, load, t)

        def execute(frame: Frame) -> str | None:
            store(frame, run(frame))
            return NEXT

        return execute

    def _require_as_long_lived(self, pointer: str, value: Any) -> None:
        """Refuses a pointer into an array that may be gone before the pointer is: one of an inner scope."""
        if type(value).__name__ == "ID" and self.scope.depth(value.name) > self.scope.depth(pointer):
            raise self.refuse(f"{pointer}, which outlives {value.name}, is made to point there", value)
        for _, part in value.children():
            self._require_as_long_lived(pointer, part)

    def _updated(self, node: Any, load: Any, t: Type) -> Any:
        """The value of ``target op= value``: the operator on both, converted back to the target's type."""
        from pycparser import c_ast

        op = node.op[:-1]
        if "++" in _operators(node.lvalue) or "--" in _operators(node.lvalue):
            raise self.refuse(f"{node.op} on what ++ or -- changes", node)
        operation = c_ast.BinaryOp(op, node.lvalue, node.rvalue, node.coord)
        if isinstance(t, Ref):
            return self.argument(operation, t)
        run, wide = self.integer(operation)
        assert isinstance(t, IntType)
        return self.converted(run, wide, t, node)

    def store(self, node: Any, t: Type, place: Any) -> Callable[[Frame, Value], None]:
        """What writes a value of type ``t`` to a name or an array element; on a restricted path, only there."""
        domain = self.domain
        if type(node).__name__ == "ID":
            symbol = self.scope.find(node.name)
            if symbol is None or symbol.slot < 0 or symbol.const:
                raise self.refuse(f"an assignment to {node.name}", place)
            slot, line = symbol.slot, where(place)

            def assign(frame: Frame, value: Value) -> None:
                path = domain.path
                if path is not None and path is not frame[slot + len(frame) // 2]:
                    if type(value) is Pointer:
                        raise NotInSubset("a pointer that depends on the input", line)
                    value = domain.overlay(value, frame[slot])
                frame[slot] = value

            return assign
        address, ref = self.address(node)
        if ref.const or not isinstance(t, IntType):
            raise self.refuse("an assignment to a constant or to an array", place)

        def put(frame: Frame, value: Value) -> None:
            p = address(frame)
            path = domain.path
            if path is not None and path is not p.block.birth:
                value = domain.overlay(value, p.block.cells[p.index])
            p.block.cells[p.index] = value if type(value) is int else domain.stored(value)

        return put

    def _if(self, node: Any) -> Execute:
        self._one_side_effect(node.cond)
        condition = self.integer(node.cond)[0]
        yes = self._statement(node.iftrue) if node.iftrue is not None else _nothing
        no = self._statement(node.iffalse) if node.iffalse is not None else _nothing
        domain, place = self.domain, where(node)

        def execute(frame: Frame) -> str | None:
            truth = condition(frame)
            if type(truth) is int:
                return yes(frame) if truth else no(frame)
            taken, skipped = domain.split(truth)
            if taken is None or skipped is None:
                return (yes if skipped is None else no)(frame)
            outer, alive, left = domain.path, [], False
            for path, branch in ((taken, yes), (skipped, no)):
                domain.path = path
                end = branch(frame)
                if end in (BREAK, CONTINUE):
                    raise NotInSubset("break or continue on a condition that depends on the input", place)
                if end is RETURN:
                    left = True
                else:
                    left |= domain.path is not path  # a return within the branch, on some inputs
                    alive.append(domain.path)
            if not alive:
                return RETURN
            if not left:
                domain.path = outer
            else:
                domain.path = alive[0] if len(alive) == 1 else domain.union(*alive)
            return NEXT

        return execute

    def _loop(self, node: Any, condition: Any, step: Execute, first: bool) -> Execute:
        if condition is not None:
            self._one_side_effect(condition)
        test = self.integer(condition)[0] if condition is not None else (lambda frame: 1)
        body, place = self._statement(node.stmt), where(node)
        endless = not _may_end(node)

        def execute(frame: Frame) -> str | None:
            check = first
            while True:
                if check:
                    truth = test(frame)
                    if type(truth) is not int:
                        raise NotInSubset("a loop whose end depends on the input", place)
                    if not truth:
                        return NEXT
                if endless and check:  # the condition holds, and will
                    raise Trap("a loop without end: nothing in it changes its condition or leaves it", place)
                check = True
                self.steps += 1
                if self.steps > STEPS:
                    raise NotInSubset(f"more than {STEPS} loop iterations", place)
                end = body(frame)
                if end is BREAK:
                    return NEXT
                if end is RETURN:
                    return RETURN
                step(frame)

        return execute

    def _return(self, node: Any) -> Execute:
        assert self.function is not None
        if (node.expr is None) != (self.function.result is None):
            raise self.refuse("a return that does not fit the function's type", node)
        if node.expr is None:
            return lambda frame: RETURN
        self._one_side_effect(node)
        run, domain = self.argument(node.expr, self.function.result), self.domain

        def execute(frame: Frame) -> str | None:
            value = run(frame)
            if domain.path is not None and domain.path is not frame[len(frame) // 2]:
                value = domain.overlay(value, frame[0])
            frame[0] = value
            return RETURN

        return execute

    def _one_side_effect(self, node: Any) -> None:
        """Refuses ``i++`` beside another use of ``i`` in one expression, and assignments within one."""
        names: list[str] = []
        changed: list[str] = []

        def visit(part: Any, root: bool) -> None:
            kind = type(part).__name__
            if kind == "ID":
                names.append(part.name)
            elif kind == "Assignment" and not root:
                raise self.refuse("an assignment within an expression", part)
            elif kind == "UnaryOp" and part.op in ("p++", "p--", "++", "--"):
                changed.append(getattr(part.expr, "name", ""))
            for _, child in part.children():
                visit(child, False)

        visit(node, True)
        for name in changed:
            if names.count(name) > 1:
                raise self.refuse(f"{name} is changed and used in one expression", node)


def _may_end(loop: Any) -> bool:
    """Whether a loop's body or step changes a name of its condition, or leaves it."""
    named: set[str] = set()
    changed: set[str] = set()
    leaves = False

    def visit(part: Any, condition: bool) -> None:
        nonlocal leaves
        kind = type(part).__name__
        leaves |= kind in ("Break", "Return") or (condition and kind in ("ArrayRef", "FuncCall"))  # not looked into
        if kind == "ID" and condition:
            named.add(part.name)
        if kind == "Assignment" or (kind == "UnaryOp" and part.op in ("p++", "p--", "++", "--")):
            target = part.lvalue if kind == "Assignment" else part.expr
            while hasattr(target, "subscript") or hasattr(target, "expr"):
                target = target.name if hasattr(target, "subscript") else target.expr
            changed.add(getattr(target, "name", ""))
        for name, child in part.children():
            if not (part is loop and name == "init"):  # which runs once
                visit(child, condition or (part is loop and name == "cond"))

    visit(loop, False)
    return leaves or bool(named & changed)


def _operators(node: Any) -> str:
    """The unary operators of an expression, one after the other."""
    own = node.op if type(node).__name__ == "UnaryOp" else ""
    return own + "".join(" " + _operators(child) for _, child in node.children())


def _nothing(frame: Frame) -> str | None:
    return NEXT


def _sequence(steps: list[Execute]) -> Execute:
    def execute(frame: Frame) -> str | None:
        for step in steps:
            end = step(frame)
            if end is not NEXT:
                return end
        return NEXT

    return steps[0] if len(steps) == 1 else execute
