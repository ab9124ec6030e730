"""A translation unit of C as Python closures, ready to be called in some domain."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from intnn.ccheck.cmodel import FIXED, LIMITS, DataModel
from intnn.ccheck.declarations import base
from intnn.ccheck.scope import Function, Ref, Scope, Type, where
from intnn.ccheck.source import Source
from intnn.ccheck.statements import Statements
from intnn.ccheck.values import UNSET, Domain, Trap, Value

D = TypeVar("D", bound=Domain)


class Program(Statements, Generic[D]):
    """A translation unit compiled for one data model; ``functions`` by name.

    Values that depend on the input belong to ``domain``. Raises :class:`NotInSubset`.
    """

    domain: D

    def __init__(self, source: Source, model: DataModel, domain: D) -> None:
        self.model = model
        self.domain = domain
        self.scope = Scope()
        self.functions: dict[str, Function] = {}
        self.source = source
        self.typedefs = dict(FIXED)
        self.aliases = {"signed": "int"}
        self.mutable = []
        self.steps = 0
        for node in source.tree.ext:
            self._external(node)

    def call(self, name: str, arguments: list[Value]) -> Value:
        """Run a function on ints, domain values and pointers; static arrays hold nothing at first."""
        function = self.functions[name]
        self.steps = 0
        for block in self.mutable:
            block.cells[:] = [UNSET] * len(block.cells)
        for other in self.functions.values():
            other.running = False
        assert function.call is not None
        return function.call(arguments)

    def _external(self, node: Any) -> None:
        kind = type(node).__name__
        if kind == "Typedef":
            self.typedef(node)
        elif kind == "FuncDef":
            self._define(node)
        elif kind == "Decl" and type(node.type).__name__ == "FuncDecl":
            self._declare(node)
        elif kind == "Decl" and type(node.type).__name__ == "Enum":
            self.enumerate(node.type)
        elif kind == "Decl":
            self.object(node)
        else:
            raise self.refuse(f"{kind} at file scope", node)

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
            if type(p.type).__name__ == "ArrayDecl" and p.type.dim is not None:
                self.length(p.type)
            if t is not None:
                params.append(t)
            elif len(kind.args.params) > 1 or getattr(p, "name", None):
                raise self.refuse(f"a void parameter of {node.name}", node)
        spelled = [self.name_of(base(p.type)) for p in ([] if kind.args is None else kind.args.params)]
        spelled.append(self.name_of(base(kind.type)))
        static = "static" in node.storage
        known = self.functions.get(node.name)
        if node.name in LIMITS:
            raise self.refuse(f"a second meaning of {node.name}", node)
        if known is None:
            if node.name in self.scope.names[0] or node.name in self.typedefs:
                raise self.refuse(f"a second meaning of {node.name}", node)
            known = self.functions[node.name] = Function(node.name, params, spelled, result, static)
        elif (known.params, known.spelled, known.result) != (params, spelled, result) or (static and not known.static):
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
            slots.append(self.local(p.name, t, p))
            self.scope.names[-1][p.name].const = "const" in getattr(p.type, "quals", [])
        body = self.statements(node.body)
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
