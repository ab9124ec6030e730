"""An ONNX file behind checks: the only place that reads the protobuf messages.

What comes out are plain records. Nothing is executed and no other file is opened; sizes that are a lie allocate
nothing, and bytes that make no sense become an error with a code.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from intnn.errors import ForeignModelError, UsageError
from intnn.formats.flatbuffer import printable
from intnn.formats.native import MAX_BYTES

Array: TypeAlias = npt.NDArray[Any]
Shape: TypeAlias = tuple[int | None, ...]

MAX_NODES = 1000
OPSETS = (7, 28)
"""Versions of ONNX's operators whose meaning is known here; before 7, broadcasting was another."""

_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")  # no two of them share a name here with another meaning
_STORED = {  # by type, where values stand that are not raw
    "FLOAT": ("<f4", "float_data"),
    "DOUBLE": ("<f8", "double_data"),
    "INT8": ("<i1", "int32_data"),
    "UINT8": ("<u1", "int32_data"),
    "INT32": ("<i4", "int32_data"),
    "INT64": ("<i8", "int64_data"),
    "BOOL": ("|b1", "int32_data"),
}
_NUMBERS = {"value_float": "<f4", "value_floats": "<f4", "value_int": "<i8", "value_ints": "<i8"}  # of Constant


@dataclass(frozen=True, eq=False)
class Node:
    """An operator as stored; an input that is left out is ``""``."""

    index: int
    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]

    def input(self, index: int) -> str:
        """The name of input ``index``, ``""`` if it is left out."""
        return self.inputs[index] if index < len(self.inputs) else ""

    def options(self, **defaults: Any) -> dict[str, Any]:
        """Values of the attributes, those in ``defaults`` or as stored; any other attribute is refused."""
        for name, value in self.attributes.items():
            known = name in defaults
            check_field(known, self, f"has the attribute {quote(name)}", "one of " + (", ".join(defaults) or "none"))
            right = isinstance(value, type(defaults[name]))
            check_field(right, self, f"{name} is {quote(value)}", f"a value such as {defaults[name]!r}")
        return defaults | self.attributes

    def __str__(self) -> str:
        return f"node {self.index} ({self.op}{' ' + quote(self.name) if self.name else ''})"


class File:
    """The model in ``data``: ``nodes`` in order, without constants; the one ``input`` with its ``type`` and ``shape``
    (``None`` where not stated); ``outputs``, names.

    Raises :class:`UsageError` ``usage.extra``, :class:`ForeignModelError` ``onnx.file`` or ``onnx.field``.
    """

    def __init__(self, data: bytes) -> None:
        self._onnx = _onnx()
        self._room = MAX_BYTES  # for all constants together, each as often as it is used
        with _reading("file"):
            model = self._onnx.ModelProto.FromString(data)
            check_file(model.HasField("graph") and len(model.graph.node) > 0, "file", "holds no graph", "an ONNX model")
            graph = model.graph
            self._check_versions(model)
            check_field(len(graph.node) <= MAX_NODES, "graph", f"has {len(graph.node)} nodes", f"at most {MAX_NODES}")
            check_field(not graph.sparse_initializer, "graph", "has sparse constants", "none")
            self._constants: dict[str, Any] = {}
            for tensor in graph.initializer:
                self._add(_text(tensor.name), tensor)
            own = {(_text(f.domain), _text(f.name)) for f in model.functions}
            nodes = [self._node(i, node, own) for i, node in enumerate(graph.node)]
            self.nodes = [node for node in nodes if not self._is_constant(node)]
            inputs = [v for v in graph.input if _text(v.name) not in self._constants]
            check_field(len(inputs) == 1, "graph", f"inputs are {len(inputs)} tensors", "one")
            self.input: str = inputs[0].name
            self.type, self.shape = self._kind(inputs[0])
            self.outputs = [_text(v.name) for v in graph.output]

    def holds(self, name: str) -> bool:
        """Whether ``name`` is a constant."""
        return name in self._constants

    def constant(self, name: str) -> Array:
        """The values of the constant ``name``, read-only."""
        stored = self._constants[name]
        values = stored if isinstance(stored, np.ndarray) else self._values(stored)
        self._room -= values.nbytes
        check_field(self._room >= 0, quote(name), "is one constant too many", f"at most {MAX_BYTES} bytes of constants")
        values.flags.writeable = False
        return values

    def _check_versions(self, model: Any) -> None:
        versions = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
        right = all(OPSETS[0] <= version <= OPSETS[1] for version in versions) and len(versions) < 2
        found = f"opset_import of ONNX's operators is {versions or 'missing'}"
        repair = "convert it with onnx.version_converter.convert_version"
        check_field(right and model.opset_import, "model", found, "one version from {} to {}".format(*OPSETS), repair)

    def _add(self, name: str, value: Any) -> None:
        check_file(name not in self._constants, quote(name), "is defined twice", "one definition a name")
        self._constants[name] = value

    def _is_constant(self, node: Node) -> bool:
        """Whether ``node`` only holds a value; it is then put aside as a constant."""
        if node.op != "Constant" or (len(node.attributes), len(node.outputs)) != (1, 1):
            return False
        ((kind, value),) = node.attributes.items()
        if kind == "value" and isinstance(value, self._onnx.TensorProto):
            self._add(node.outputs[0], value)
            return True
        if kind in _NUMBERS:
            self._add(node.outputs[0], np.array(value, _NUMBERS[kind]))
            return True
        return False

    def _node(self, index: int, node: Any, own: set[tuple[str, str]]) -> Node:
        domain, op = _text(node.domain), _text(node.op_type)
        if domain not in _DOMAINS or (domain, op) in own:
            op = f"{domain}.{op}"
        attributes = {_text(a.name): self._attribute(a) for a in node.attribute}
        inputs, outputs = tuple(map(_text, node.input)), tuple(map(_text, node.output))
        return Node(index, printable(op), _text(node.name), inputs, outputs, attributes)

    def _attribute(self, a: Any) -> Any:
        kinds = self._onnx.AttributeProto
        match a.type:
            case kinds.FLOAT:
                return float(a.f)
            case kinds.INT:
                return int(a.i)
            case kinds.STRING:
                return bytes(a.s)
            case kinds.TENSOR:
                return a.t
            case kinds.FLOATS:
                return [*a.floats]
            case kinds.INTS:
                return [*a.ints]
        return None  # graphs and others that no supported operator has

    def _kind(self, value: Any) -> tuple[str, Shape | None]:
        """Type and shape of the graph's input."""
        check_field(value.type.HasField("tensor_type"), quote(value.name), "is not a tensor", "a tensor")
        t = value.type.tensor_type
        dims = [d.dim_value if d.HasField("dim_value") else None for d in t.shape.dim]
        right = (all(d is None or d >= 0 for d in dims) and 0 < len(dims) < 9) or not t.HasField("shape")
        check_field(right, quote(value.name), f"shape is {dims[:9]}", "(batch, ...), at most 8 dimensions")
        return self._type(t.elem_type), tuple(dims) if t.HasField("shape") else None

    def _type(self, number: int) -> str:
        values = self._onnx.TensorProto.DataType
        return str(values.Name(number)) if number in values.values() else f"number {number}"

    def _values(self, t: Any) -> Array:
        with _reading(name := quote(t.name)):
            far = t.data_location == t.EXTERNAL or t.external_data
            repair = "save it as one file: onnx.save(onnx.load(path), other_path)"
            check_field(not far, name, "stands in another file, which is not opened", "values in the model", repair)
            kind, dims = self._type(t.data_type), tuple(t.dims)
            check_field(kind in _STORED and not t.HasField("segment"), name, f"type is {kind}", ", ".join(_STORED))
            dtype, where = _STORED[kind]
            data = np.frombuffer(t.raw_data, dtype) if t.HasField("raw_data") else np.array(getattr(t, where))
            values = data.astype(dtype)  # of its own, aligned
            exact = kind in ("FLOAT", "DOUBLE") or np.array_equal(values, data)
            check_file(exact, name, f"holds values that {kind} has not", f"values of {kind}")
            right = len(dims) < 9 and min(dims, default=0) >= 0 and math.prod(dims) == len(values)
            check_file(right, name, f"has {len(values)} values for the shape {list(dims[:9])}", "as many as that says")
            return values.reshape(dims)


@contextmanager
def _reading(place: str) -> Iterator[None]:
    """Turns what the protobuf reader raises on damaged bytes into the error for it."""
    from google.protobuf.message import DecodeError

    try:
        yield
    # bytes that are no message: DecodeError; names that are no text: UnicodeDecodeError, a ValueError, as are lengths
    # that do not divide
    except (DecodeError, ValueError, OverflowError) as error:
        found = f"damaged or cut short, or not ONNX: {printable(str(error))}"
        raise ForeignModelError("onnx.file", found, where=place, expected="a well-formed ONNX model") from None


def _onnx() -> Any:
    try:
        import onnx  # not at the top: `import intnn` must work, and be quick, without it
    except ImportError as error:
        found = f"reading ONNX files needs the package {error.name}"
        raise UsageError("usage.extra", found, repair="pip install 'intnn[onnx]'") from None
    return onnx


def _text(value: str | bytes) -> str:
    """A name; what is no UTF-8 the protobuf reader leaves as bytes."""
    return value if isinstance(value, str) else value.decode()


def _require(code: str, right: Any, place: object, found: str, expected: str, repair: str) -> None:
    if not right:
        raise ForeignModelError(code, found, where=str(place), expected=expected, repair=repair)


def check_file(right: Any, place: object, found: str, expected: str, repair: str = "") -> None:
    _require("onnx.file", right, place, found, expected, repair)


def check_field(right: Any, place: object, found: str, expected: str, repair: str = "") -> None:
    _require("onnx.field", right, place, found, expected, repair)


def check_operator(right: Any, place: object, found: str, expected: str, repair: str = "") -> None:
    _require("onnx.operator", right, place, found, expected, repair)


def quote(value: object) -> str:
    return repr(printable(str(value)[:60]))
