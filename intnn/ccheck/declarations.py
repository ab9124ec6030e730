"""C types and objects: what is declared, and what tables hold."""

from __future__ import annotations

from math import prod
from typing import Any

from intnn.ccheck.cmodel import LIMITS, IntType
from intnn.ccheck.expressions import Expressions
from intnn.ccheck.scope import Ref, Symbol, Type
from intnn.ccheck.source import TABLE, Source
from intnn.ccheck.values import UNSET, Block, Value


class Declarations(Expressions):
    """Declares types, objects and local variables in the scope at hand."""

    source: Source
    typedefs: dict[str, IntType | None]
    aliases: dict[str, str]
    mutable: list[Block]

    def typedef(self, node: Any) -> None:
        if type(node.type).__name__ == "ArrayDecl":  # a compile-time assertion: an array of -1 elements is refused
            if node.type.dim is None or self.number(node.type.dim) < 1:
                raise self.refuse(f"{node.name}: the assertion fails", node)
            self.typedefs[node.name] = None
            return
        t = self.type_of(node.type)
        if not isinstance(t, IntType) or node.name in self.typedefs or node.quals:
            raise self.refuse(f"the type {node.name}", node)
        self.typedefs[node.name] = t
        self.aliases[node.name] = self.name_of(node.type)

    def enumerate(self, node: Any) -> None:
        value = -1
        for item in node.values.enumerators if node.values else []:
            value = self.number(item.value) if item.value else value + 1
            if not self.model.int_type.low <= value <= self.model.int_type.high:
                raise self.refuse(f"{item.name}: {value} in an enumeration, in the data model {self.model.name}", item)
            self.bind(item.name, Symbol(self.model.int_type, number=value), item)

    def type_of(self, node: Any) -> Type:
        """The type that a declarator or type name stands for; ``None`` is void. An array is its own :class:`Ref`."""
        match type(node).__name__:
            case "TypeDecl" if type(node.type).__name__ == "IdentifierType":
                names = node.type.names
                if names == ["void"]:
                    return None
                if len(names) == 1 and self.typedefs.get(names[0]) is not None:
                    return self.typedefs[names[0]]
                found = self.model.named(" ".join(names))
                if found is not None:
                    return found
                raise self.refuse(f"the type {' '.join(names)}", node)
            case "PtrDecl" | "ArrayDecl":
                if getattr(node, "dim_quals", None):
                    raise self.refuse(f"[{' '.join(map(str, node.dim_quals))}]", node)
                inner = self.type_of(node.type)
                const = "const" in getattr(base(node), "quals", [])
                if isinstance(inner, IntType):
                    return Ref(inner, (), self.name_of(base(node)), const)
                if isinstance(inner, Ref) and type(node.type).__name__ == "ArrayDecl":
                    return inner._replace(dims=(self.length(node.type), *inner.dims))
        raise self.refuse(f"the type {type(node).__name__}", node)

    def name_of(self, node: Any) -> str:
        """The type's name, one for all that C takes for the same type whatever its width."""
        words: list[str] = node.type.names
        if len(words) == 1:
            return self.aliases.get(words[0], words[0])
        return " ".join(sorted({*words} - ({"signed"} if "char" not in words else set()) - {"int"})) or "int"

    def length(self, node: Any) -> int:
        if node.dim is None:
            raise self.refuse("an array without a length", node)
        length = self.number(node.dim)
        if not 1 <= length <= 1 << 24:
            raise self.refuse(f"an array of {length} elements", node)
        return length

    def bind(self, name: str, symbol: Symbol, node: Any) -> None:
        if name in self.scope.names[-1] or name in LIMITS or name in self.functions or name in self.typedefs:
            raise self.refuse(f"a second meaning of {name}", node)
        self.scope.names[-1][name] = symbol

    def object(self, node: Any) -> None:
        """A table, or a static array, at file scope or static in a function."""
        if type(node.type).__name__ not in ("ArrayDecl", "TypeDecl"):
            raise self.refuse(f"{node.name}: a pointer at file scope", node)
        const = "const" in base(node.type).quals
        if not const and (node.init is not None or type(node.type).__name__ != "ArrayDecl"):
            raise self.refuse(f"{node.name}: a variable that is static, or at file scope, and not const", node)
        if "static" not in node.storage and (node.storage or not const):
            raise self.refuse(f"{node.name}: an object at file scope that is neither static nor const", node)
        if type(node.type).__name__ == "TypeDecl":
            t = self.type_of(node.type)
            assert isinstance(t, IntType)
            if node.init is None:
                raise self.refuse(f"{node.name}: a constant without a value", node)
            value = self.number(node.init)
            if not t.low <= value <= t.high:
                raise self.refuse(f"{node.name}: {value} in {t}", node)
            self.bind(node.name, Symbol(t, number=value, const=True), node)
            return
        block, t, dims = self.array(node)
        if const and node.init is None:
            raise self.refuse(f"{node.name}: a table without values", node)
        if not const:
            self.mutable.append(block)
        self.bind(node.name, Symbol(t, block=block, dims=dims, const=const), node)

    def array(self, node: Any) -> tuple[Block, Ref, tuple[int, ...]]:
        t = self.type_of(node.type)
        assert isinstance(t, Ref)
        values = None if node.init is None else self._nested(node.init)
        if node.type.dim is None and values is None:
            raise self.refuse(f"{node.name}: an array without a length", node)
        length = self.length(node.type) if node.type.dim is not None else len(values or [])
        dims = (length, *t.dims)
        cells = [UNSET] * prod(dims) if values is None else self._fill(values, dims, t.elem, node)
        return Block(node.name, t.elem, cells), t, dims

    def _nested(self, node: Any) -> list[Any]:
        if type(node).__name__ != "InitList":
            raise self.refuse("an array initialised by anything but a list", node)
        if not node.exprs:
            raise self.refuse("an empty list of values", node)
        first: Any = node.exprs[0]
        if type(first).__name__ == "ID" and first.name.startswith(TABLE):
            return self.source.tables[int(first.name[len(TABLE) :])]
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
                    raise self.refuse(f"{node.name}: {str(value)[:40]} in {t}", node)
            cells = list(values)
        else:
            for row in values:
                if isinstance(row, int):
                    raise self.refuse(f"{node.name}: rows with and without braces", node)
                cells += self._fill(row, dims[1:], t, node)
        return cells + [0] * (prod(dims) - len(cells))

    def local(self, name: str, t: IntType | Ref, node: Any) -> int:
        slot = self.scope.slots
        self.scope.slots += 1
        self.bind(name, Symbol(t, slot=slot), node)
        return slot


def base(node: Any) -> Any:
    """The innermost declarator: the one that says whether the elements are const."""
    while type(node).__name__ in ("PtrDecl", "ArrayDecl"):
        node = node.type
    return node
