"""A TFLite file behind checks: the only place that calls the generated flatbuffer reader.

What comes out are plain records, read when asked for, with vectors as views of the file: a length that is a lie
allocates nothing, and bytes that make no sense become an error with a code.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from intnn.errors import ForeignModelError, UsageError

Array: TypeAlias = npt.NDArray[Any]

MAX_OPERATORS = 1000
"""More are refused: entries of a hostile file can share tables, so its length does not bound the work."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor as stored: ``scale`` float32 and ``zero_point`` int64 of any length, ``data`` uint8 or ``None``;
    ``odd`` says what makes it more than a plain tensor, and is empty otherwise."""

    index: int
    name: Callable[[], bytes | None]
    type: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    scale: Array
    zero_point: Array
    axis: int
    data: Array | None
    odd: str

    @property
    def zero(self) -> int:
        """The zero point of an activation."""
        return int(self.zero_point[0])

    @property
    def meaning(self) -> str:
        """Type and quantization of an activation; exact, so equal where these are equal."""
        if self.type == "float32":
            return self.type
        return f"{self.type}, zero point {self.zero}, {scale_text(self.scale)}"

    def __str__(self) -> str:
        with _reading(f"tensor {self.index}"):  # read only for a message: a name may be as long as the file
            return f"tensor {self.index} {_quote(self.name())}"


@dataclass(frozen=True, eq=False)
class Operator:
    """An operator as stored; ``inputs`` and ``outputs`` are int32 tensor indices, ``options`` those of a layer."""

    index: int
    name: str
    inputs: Array
    outputs: Array
    options: dict[str, Any]

    def __str__(self) -> str:
        return f"operator {self.index} ({self.name})"


def is_tflite(data: bytes) -> bool:
    """Whether ``data`` begins as a TFLite model does."""
    return data[4:8] == b"TFL3"


class File:
    """The flatbuffer behind checks: every call of the generated reader is made here, under :func:`_reading`.

    Vectors come back as views of the file, so a length that is a lie costs nothing: NumPy refuses what reaches
    beyond the end. Tensors and operators are read when asked for, so what the chain does not use costs nothing.
    """

    def __init__(self, data: bytes) -> None:
        self.schema = _schema()
        self.data = data
        found = f"is not a TFLite model: its identifier is {_quote(data[4:8])}"
        check_file(is_tflite(data), "file", found, "'TFL3'")
        with _reading("model"):
            self.model = self.schema.Model.GetRootAs(data, 0)
            check_field(self.model.Version() == 3, "model", f"version is {self.model.Version()}", "3")
            count = self.model.SubgraphsLength()
            check_field(count == 1, "model", f"subgraphs are {count}", "one")
            self.graph = self.model.Subgraphs(0)
            ends = [_vector(v, np.int32) for v in (self.graph.InputsAsNumpy(), self.graph.OutputsAsNumpy())]
            for name, end in zip(("inputs", "outputs"), ends, strict=True):
                check_field(len(end) == 1, "subgraph", f"{name} are {len(end)} tensors", "one")
            self.input, self.output = (int(end[0]) for end in ends)
            self.operators: int = self.graph.OperatorsLength()
        few = self.operators <= MAX_OPERATORS
        check_field(few, "subgraph", f"operators are {self.operators}", f"at most {MAX_OPERATORS}")

    def tensor(self, index: int) -> Tensor:
        """Tensor ``index``."""
        with _reading(f"tensor {index}"):
            check_file(0 <= index < self.graph.TensorsLength(), "subgraph", f"tensor {index} is not there", "a tensor")
            t = self.graph.Tensors(index)
            q = t.Quantization()
            kind = _name(self.schema.TensorType, t.Type()).lower()
            shapes = [_vector(v, np.int32) for v in (t.ShapeAsNumpy(), t.ShapeSignatureAsNumpy())]
            shape, signature = (tuple(v[:9].tolist()) for v in shapes)
            check_field(len(shape) < 9, f"tensor {index}", f"shape has {len(shapes[0])} dimensions", "at most 8")
            scale = _vector(q and q.ScaleAsNumpy(), np.float32)
            zero_point = _vector(q and q.ZeroPointAsNumpy(), np.int64)
            axis = q.QuantizedDimension() if q else 0
            odd = "is sparse" if t.Sparsity() is not None else "is_variable is true" if t.IsVariable() else ""
            odd = "quantization is not affine" if q and q.DetailsType() else odd
            data = self._buffer(t.Buffer())
            return Tensor(index, t.Name, kind, shape, signature, scale, zero_point, axis, data, odd)

    def _buffer(self, index: int) -> Array | None:
        """The bytes of a buffer (uint8), within the flatbuffer or behind it; ``None`` for an empty one."""
        check_file(index < self.model.BuffersLength(), "model", f"buffer {index} is not there", "a buffer")
        buffer = self.model.Buffers(index)
        if buffer.Offset() > 1:  # behind the flatbuffer; 0 and 1 are not used as offsets
            return np.frombuffer(self.data, np.uint8, buffer.Size(), buffer.Offset())
        data = _vector(buffer.DataAsNumpy(), np.uint8)
        return data if len(data) else None

    def operator(self, index: int) -> Operator:
        """Operator ``index``, with its options if it is a layer."""
        with _reading(f"operator {index}"):
            op = self.graph.Operators(index)
            known = op.OpcodeIndex() < self.model.OperatorCodesLength()
            check_file(
                known, f"operator {index}", f"opcode_index is {op.OpcodeIndex()}", "an operator code of the model"
            )
            code = self.model.OperatorCodes(op.OpcodeIndex())
            number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())  # codes below 127 are in the second
            name = _name(self.schema.BuiltinOperator, number)
            options = self._options(index, op) if name == "FULLY_CONNECTED" else {}
            name += f" {_quote(code.CustomCode())}" if name == "CUSTOM" else ""
            inputs, outputs = _vector(op.InputsAsNumpy(), np.int32), _vector(op.OutputsAsNumpy(), np.int32)
            return Operator(index, name, inputs, outputs, options)

    def _options(self, index: int, op: Any) -> dict[str, Any]:
        table, kind = op.BuiltinOptions(), _name(self.schema.BuiltinOptions, op.BuiltinOptionsType())
        if kind == "NONE" or table is None:
            return {"activation": "NONE", "weights_format": "DEFAULT", "keep_num_dims": False, "bias_type": "FLOAT32"}
        place = f"operator {index} (FULLY_CONNECTED)"
        check_field(kind == "FullyConnectedOptions", place, f"builtin_options are {kind}", "FullyConnectedOptions")
        options = self.schema.FullyConnectedOptions()
        options.Init(table.Bytes, table.Pos)
        return {
            "activation": _name(self.schema.ActivationFunctionType, options.FusedActivationFunction()),
            "weights_format": _name(self.schema.FullyConnectedOptionsWeightsFormat, options.WeightsFormat()),
            "keep_num_dims": options.KeepNumDims(),
            "bias_type": _name(self.schema.TensorType, options.QuantizedBiasType()),  # FLOAT32: not stated
        }


@contextmanager
def _reading(place: str) -> Iterator[None]:
    """Turns what the flatbuffers reader raises on damaged bytes into the error for it."""
    try:
        yield
    # beyond the end: struct.error (a number), ValueError (a vector), OverflowError (a buffer); before the beginning:
    # TypeError
    except (struct.error, ValueError, OverflowError, TypeError):
        found = "damaged or cut short: it refers to places outside the file"
        raise ForeignModelError("tflite.file", found, where=place, expected="a well-formed flatbuffer") from None


def _schema() -> Any:
    try:
        import tflite  # not at the top: `import intnn` must work, and be quick, without it
    except ImportError as error:
        found = f"reading TFLite files needs the package {error.name}"
        raise UsageError("usage.extra", found, repair="pip install 'intnn[tflite]'") from None
    return tflite


def _vector(view: Any, dtype: type) -> Array:
    """A vector as an array; the reader has 0 or ``None`` for one that is not there."""
    return view if isinstance(view, np.ndarray) else np.zeros(0, dtype)


def _name(names: Any, number: int) -> str:
    return next((name for name, value in vars(names).items() if value == number), f"number {number}")


def _require(code: str, right: bool, place: object, found: str, expected: str, repair: str = "") -> None:
    if not right:
        raise ForeignModelError(code, found, where=str(place), expected=expected, repair=repair)


def check_field(right: bool, place: object, found: str, expected: str, repair: str = "") -> None:
    _require("tflite.field", bool(right), place, found, expected, repair)


def check_operator(right: bool, place: object, found: str, expected: str) -> None:
    _require("tflite.operator", right, place, found, expected)


def check_file(right: bool, place: object, found: str, expected: str) -> None:
    _require("tflite.file", right, place, found, expected)


def printable(text: str) -> str:
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text[:200])


def _quote(raw: bytes | None) -> str:
    return f"'{printable((raw or b'')[:60].decode('latin-1'))}'"


def scale_text(scale: Array) -> str:
    return f"scale {scale[0]:.9g}" if len(scale) == 1 else f"{len(scale)} scales"  # nine digits identify a float32
