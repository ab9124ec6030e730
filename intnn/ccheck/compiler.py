"""C declarations and statements as Python closures: a translation unit, ready to be called in some domain."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, Generic, TypeVar

from intnn.ccheck.cmodel import FIXED, LIMITS, DataModel, IntType
from intnn.ccheck.expressions import Expressions, Frame, Function, Ref, Scope, Symbol, Type, where
from intnn.ccheck.source import TABLE, NotInSubset, Source
from intnn.ccheck.values import UNSET, Block, Domain, Pointer, Trap, Value

NEXT, BREAK, CONTINUE, RETURN = None, "break", "continue", "return"
D = TypeVar("D", bound=Domain)
Execute = Callable[[Frame], str | None]

STEPS = 1 << 23
"""How many loop iterations a call may take: more is taken for a loop without end."""


class Program(Expressions, Generic[D]):
    """A translation unit compiled for one data model; ``functions`` by name.

    Values that depend on the input belong to ``domain``. Raises :class:`NotInSubset`.
    """

    domain: D

    def __init__(self, source: Source, model: DataModel, domain: D) -> None:
        self.model = model
        self.domain = domain
        self.scope = Scope()
        self.functions: dict[str, Function] = {}
        self._source = source
        self._typedefs: dict[str, IntType | None] = dict(FIXED)
        self._mutable: list[Block] = []
        self._depth = 0
        self.steps = 0
        for node in source.tree.ext:
            self._external(node)

    def call(self, name: str, arguments: list[Value]) -> Value:
        """Run a function on ints, domain values and pointers; static arrays hold nothing at first."""
        function = self.functions[name]
        self.steps = 0
        for block in self._mutable:
            block.cells[:] = [UNSET] * len(block.cells)
        for other in self.functions.values():
            other.running = False
        assert function.call is not None
        return function.call(arguments)

    # File scope

    def _external(self, node: Any) -> None:
        kind = type(node).__name__
        if kind == "Typedef":
            self._typedef(node)
        elif kind == "FuncDef":
            self._define(node)
        elif kind == "Decl" and type(node.type).__name__ == "FuncDecl":
            self._declare(node)
        elif kind == "Decl" and type(node.type).__name__ == "Enum":
            self._enumerate(node.type)
        elif kind == "Decl":
            self._object(node)
        else:
            raise self.refuse(f"{kind} at file scope", node)

    def _typedef(self, node: Any) -> None:
        if type(node.type).__name__ == "ArrayDecl":  # a compile-time assertion: an array of -1 elements is refused
            if node.type.dim is None or self.number(node.type.dim) < 1:
                raise self.refuse(f"{node.name}: the assertion fails", node)
            self._typedefs[node.name] = None
            return
        t = self.type_of(node.type)
        if not isinstance(t, IntType) or node.name in self._typedefs:
            raise self.refuse(f"the type {node.name}", node)
        self._typedefs[node.name] = t

    def _enumerate(self, node: Any) -> None:
        value = -1
        for item in node.values.enumerators if node.values else []:
            value = self.number(item.value) if item.value else value + 1
            self._bind(item.name, Symbol(self.model.int_type, number=value), item)

    def type_of(self, node: Any) -> Type:
        """The type that a declarator or type name stands for; ``None`` is void. An array is its own :class:`Ref`."""
        match type(node).__name__:
            case "TypeDecl" if type(node.type).__name__ == "IdentifierType":
                names = node.type.names
                if names == ["void"]:
                    return None
                if len(names) == 1 and self._typedefs.get(names[0]) is not None:
                    return self._typedefs[names[0]]
                found = self.model.named(" ".join(names))
                if found is not None:
                    return found
                raise self.refuse(f"the type {' '.join(names)}", node)
            case "PtrDecl" | "ArrayDecl":
                inner = self.type_of(node.type)
                const = "const" in getattr(_base(node), "quals", [])
                if isinstance(inner, IntType):
                    return Ref(inner, (), const)
                if isinstance(inner, Ref) and type(node.type).__name__ == "ArrayDecl":
                    return Ref(inner.elem, (self._length(node.type), *inner.dims), const)
        raise self.refuse(f"the type {type(node).__name__}", node)

    def _length(self, node: Any) -> int:
        if node.dim is None:
            raise self.refuse("an array without a length", node)
        length = self.number(node.dim)
        if not 1 <= length <= 1 << 24:
            raise self.refuse(f"an array of {length} elements", node)
        return length

    def _bind(self, name: str, symbol: Symbol, node: Any) -> None:
        if name in self.scope.names[-1] or name in LIMITS or name in self.functions or name in self._typedefs:
            raise self.refuse(f"a second meaning of {name}", node)
        self.scope.names[-1][name] = symbol

    def _object(self, node: Any) -> None:
        """A table, or a static array, at file scope or static in a function."""
        if type(node.type).__name__ not in ("ArrayDecl", "TypeDecl"):
            raise self.refuse(f"{node.name}: a pointer at file scope", node)
        const = "const" in _base(node.type).quals
        if not const and (node.init is not None or type(node.type).__name__ != "ArrayDecl"):
            raise self.refuse(f"{node.name}: a variable at file scope that is not const", node)
        if "static" not in node.storage:
            raise self.refuse(f"{node.name}: an object at file scope that is not static", node)
        if type(node.type).__name__ == "TypeDecl":
            t = self.type_of(node.type)
            assert isinstance(t, IntType)
            if node.init is None:
                raise self.refuse(f"{node.name}: a constant without a value", node)
            value = self.number(node.init)
            if not t.low <= value <= t.high:
                raise self.refuse(f"{node.name}: {value} in a {t}", node)
            self._bind(node.name, Symbol(t, number=value), node)
            return
        block, t, dims = self._array(node)
        if const and node.init is None:
            raise self.refuse(f"{node.name}: a table without values", node)
        if not const:
            self._mutable.append(block)
        self._bind(node.name, Symbol(t, block=block, dims=dims, const=const), node)

    def _array(self, node: Any) -> tuple[Block, Ref, tuple[int, ...]]:
        t = self.type_of(node.type)
        assert isinstance(t, Ref)
        values = None if node.init is None else self._nested(node.init)
        if node.type.dim is None and values is None:
            raise self.refuse(f"{node.name}: an array without a length", node)
        length = self._length(node.type) if node.type.dim is not None else len(values or [])
        dims = (length, *t.dims)
        cells = [UNSET] * prod(dims) if values is None else self._fill(values, dims, t.elem, node)
        return Block(node.name, t.elem, cells), t, dims

    def _nested(self, node: Any) -> list[Any]:
        if type(node).__name__ != "InitList":
            raise self.refuse("an array initialised by anything but a list", node)
        first: Any = node.exprs[0] if node.exprs else None
        if type(first).__name__ == "ID" and first.name.startswith(TABLE):
            return self._source.tables[int(first.name[len(TABLE) :])]
        return [self._nested(e) if type(e).__name__ == "InitList" else self.number(e) for e in node.exprs]

    def _fill(self, values: list[Any], dims: tuple[int, ...], t: IntType, node: Any) -> list[Value]:
        """The cells of an initialised array: what is left out is 0; rows are braced, or none is."""
        flat = len(dims) > 1 and all(isinstance(v, int) for v in values)
        limit = prod(dims) if flat else dims[0]
        if len(values) > limit:
            raise self.refuse(f"{node.name}: {len(values)} values where {limit} fit", node)
        cells: list[Value] = []
        if flat or len(dims) == 1:
            for value in values:
                if not isinstance(value, int) or not t.low <= value <= t.high:
                    raise self.refuse(f"{node.name}: {str(value)[:40]} in a {t}", node)
            cells = list(values)
        else:
            for row in values:
                if isinstance(row, int):
                    raise self.refuse(f"{node.name}: rows with and without braces", node)
                cells += self._fill(row, dims[1:], t, node)
        return cells + [0] * (prod(dims) - len(cells))

    # Functions

    def _declare(self, node: Any) -> Function:
        kind = node.type
        if node.funcspec and ("static" not in node.storage or node.funcspec != ["inline"]):
            raise self.refuse(f"{node.name} is declared {' '.join(node.funcspec)}", node)
        result = self.type_of(kind.type)
        if isinstance(result, Ref):
            raise self.refuse(f"{node.name} returns a pointer", node)
        params: list[Type] = []
        for p in kind.args.params if kind.args is not None else []:
            if type(p).__name__ not in ("Decl", "Typename"):
                raise self.refuse(f"{node.name} has parameters without types, or a variable number of them", node)
            t = self.type_of(p.type)
            if t is not None:
                params.append(t)
            elif len(kind.args.params) > 1 or getattr(p, "name", None):
                raise self.refuse(f"a void parameter of {node.name}", node)
        known = self.functions.get(node.name)
        if node.name in LIMITS:
            raise self.refuse(f"a second meaning of {node.name}", node)
        if known is None:
            if node.name in self.scope.names[0] or node.name in self._typedefs:
                raise self.refuse(f"a second meaning of {node.name}", node)
            known = self.functions[node.name] = Function(node.name, params, result, "static" in node.storage)
        elif (known.params, known.result) != (params, result):
            raise self.refuse(f"{node.name} is declared with other types before", node)
        return known

    def _define(self, node: Any) -> None:
        function = self._declare(node.decl)
        if function.call is not None:
            raise self.refuse(f"a second body of {function.name}", node)
        self.function = function
        self.scope = Scope([self.scope.names[0], {}])
        slots = []
        params: list[Any] = node.decl.type.args.params if function.params else []
        for p, t in zip(params, function.params, strict=True):
            if not getattr(p, "name", None):
                raise self.refuse(f"a parameter of {function.name} without a name", node)
            assert t is not None
            slots.append(self._local(p.name, t, p))
        body = self._statements(node.body)
        size, scope, domain = self.scope.slots, Scope([self.scope.names[0]]), self.domain
        self.scope, self.function = scope, None
        void, place = function.result is None, where(node)

        def call(arguments: list[Value]) -> Value:
            outer = domain.path
            frame = [UNSET] * size + [outer] * size  # the values, then the path on which each came to be
            for slot, argument in zip(slots, arguments, strict=True):
                frame[slot] = argument
            body(frame)
            domain.path = outer
            result = frame[0]
            if void:
                return None
            if result is UNSET:
                raise Trap(f"{function.name} returns no value", place)
            return result if type(result) is int else domain.read(result, place)

        function.call = call

    def _local(self, name: str, t: IntType | Ref, node: Any) -> int:
        slot = self.scope.slots
        self.scope.slots += 1
        self._bind(name, Symbol(t, slot=slot), node)
        return slot

    # Statements

    def _statement(self, node: Any) -> Execute:
        match type(node).__name__:
            case "Compound":
                self.scope.names.append({})
                body = self._statements(node)
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

    def _statements(self, node: Any) -> Execute:
        return _sequence([self._statement(item) for item in node.block_items or []])

    def _declaration(self, node: Any) -> Execute:
        if "static" in node.storage:
            if "const" not in _base(node.type).quals:
                raise self.refuse(f"{node.name}: static in a function and not const", node)
            self._object(node)
            return _nothing
        if node.storage or type(node.type).__name__ not in ("TypeDecl", "PtrDecl", "ArrayDecl"):
            raise self.refuse(f"the declaration of {node.name}", node)
        self._one_side_effect(node)
        if type(node.type).__name__ == "ArrayDecl":
            return self._local_array(node)
        t = self.type_of(node.type)
        if t is None:
            raise self.refuse(f"{node.name}: a void object", node)
        slot, domain = self._local(node.name, t, node), self.domain  # in reach of its own initialiser, as in C
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
        model, t, dims = self._array(node)
        slot, domain, cells, count = self._local(node.name, t, node), self.domain, model.cells, prod(dims)
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
            slot = symbol.slot

            def assign(frame: Frame, value: Value) -> None:
                path = domain.path
                if path is not None and path is not frame[slot + len(frame) // 2]:
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
                    raise NotInSubset("a loop left by a condition that depends on the input", place)
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

        def execute(frame: Frame) -> str | None:
            check = first
            while True:
                if check:
                    truth = test(frame)
                    if type(truth) is not int:
                        raise NotInSubset("a loop whose end depends on the input", place)
                    if not truth:
                        return NEXT
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


def _base(node: Any) -> Any:
    """The innermost declarator: the one that says whether the elements are const."""
    while type(node).__name__ in ("PtrDecl", "ArrayDecl"):
        node = node.type
    return node


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
