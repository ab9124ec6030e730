"""Plain description -> the bytes of a `.tflite` file, well formed or deliberately not.

Builds quantized dense models (FULLY_CONNECTED, with RESHAPE and any other operator in
between) for the tests of the importer and for the comparison with live engines. The
values are written as given: nothing is checked, so that a model which every reader must
refuse is as easy to describe as a valid one. Imports nothing of `intnn`.

    model = Model(input_scale=0.5, input_zero_point=-3, layers=(
        Layer(weights=numpy.ones((2, 4), numpy.int8), weight_scale=0.25, output_scale=1.0),))
    data = build(model)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy
import tflite
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Layer:
    """One FULLY_CONNECTED operator. The fields after `activation` make unusual or invalid models."""

    weights: Array  # (outputs, inputs); its dtype is the tensor's type, int8 in a valid model
    weight_scale: float | Sequence[float]  # one, or one per output
    output_scale: float
    output_zero_point: int = 0
    bias: Array | Sequence[int] | None = None  # None leaves the third input out
    activation: str = "NONE"  # a name of ActivationFunctionType

    operator: str = "FULLY_CONNECTED"  # another name changes the operator code and nothing else
    weight_zero_point: int | Sequence[int] = 0
    weight_axis: int = 0  # quantized_dimension
    weights_constant: bool = True  # False: the weights become a second input of the model
    bias_type: str | None = None  # None: int64 with int16 activations, int32 otherwise
    bias_scale: float | Sequence[float] | None = None  # None: float32(input scale * weight scale)
    bias_zero_point: int = 0
    bias_constant: bool = True
    quantized_bias_type: str = "FLOAT32"  # the option of that name; FLOAT32 means not stated
    output_type: str | None = None  # None: the activation type of the model
    keep_num_dims: bool = False
    weights_format: str = "DEFAULT"
    unquantized: frozenset[str] = frozenset()  # of "weights", "bias", "output": without quantization
    omit_bias_slot: bool = True  # without bias: two inputs (True) or a third input -1 (False)


@dataclass(frozen=True)
class Step:
    """Any operator with one data input and no weights, for example RESHAPE, SOFTMAX or RELU."""

    operator: str
    shape: Sequence[int] | None = None  # of the output; None: that of the input
    output_scale: float | None = None  # None: quantization of the input
    output_zero_point: int = 0
    output_type: str | None = None


@dataclass(frozen=True)
class Model:
    """A chain of layers on one input."""

    input_scale: float
    layers: Sequence[Layer | Step]
    input_zero_point: int = 0
    activation_type: str = "int8"  # or "int16", "uint8"
    float_ends: bool = False  # float32 input and output: QUANTIZE first, DEQUANTIZE last

    input_shape: Sequence[int] | None = None  # None: (1, inputs of the first layer); first is the batch
    input_quantized: bool = True
    dynamic_batch: bool = False  # write shape signatures with -1 in the first place
    expose_layers: bool = False  # model outputs: the last tensor first, then every earlier one
    subgraphs: int = 1  # copies of the graph
    schema_version: int = 3
    file_identifier: bytes = b"TFL3"


@dataclass(frozen=True)
class _Quantization:
    scale: float | Sequence[float]
    zero_point: int | Sequence[int] = 0
    axis: int = 0


@dataclass(frozen=True)
class _Tensor:
    name: str
    kind: str  # a NumPy name, such as "int8"
    shape: tuple[int, ...]
    quantization: _Quantization | None = None
    data: bytes | None = None  # None: computed at run time


class _Graph:
    """Tensors and operators by number, as the file has them."""

    def __init__(self, model: Model) -> None:
        self.activation_type = model.activation_type
        self.tensors: list[_Tensor] = []
        self.operators: list[tuple[str, list[int], int, Layer | Step | None]] = []
        first = next(layer for layer in model.layers if isinstance(layer, Layer))
        shape = tuple(model.input_shape or (1, first.weights.shape[1]))
        scale = _Quantization(model.input_scale, model.input_zero_point) if model.input_quantized else None
        current = self.tensor("input", model.activation_type, shape, scale)
        self.inputs = [current]
        if model.float_ends:
            self.inputs = [self.tensor("float_input", "float32", shape)]
            self.operators.append(("QUANTIZE", [*self.inputs], current, None))
        produced = []
        for index, layer in enumerate(model.layers):
            name = f"layer{index}"
            add = self.dense if isinstance(layer, Layer) else self.step
            current = add(name, layer, current)  # type: ignore[arg-type]  # mypy does not follow the pair
            produced.append(current)
        if model.float_ends:
            produced.append(self.tensor("float_output", "float32", self.tensors[current].shape))
            self.operators.append(("DEQUANTIZE", [current], produced[-1], None))
        self.outputs = [produced[-1], *(produced[:-1] if model.expose_layers else [])]

    def tensor(self, *fields: Any) -> int:
        self.tensors.append(_Tensor(*fields))
        return len(self.tensors) - 1

    def operand(self, name: str, array: Array, constant: bool, quantization: _Quantization | None) -> int:
        data = array.tobytes() if constant else None
        tensor = self.tensor(name, str(array.dtype), array.shape, quantization, data)
        if not constant:
            self.inputs.append(tensor)
        return tensor

    def dense(self, name: str, layer: Layer, source: int) -> int:
        def given(part: str, *quantization: Any) -> _Quantization | None:
            return None if part in layer.unquantized else _Quantization(*quantization)

        before = self.tensors[source]
        scale = given("weights", layer.weight_scale, layer.weight_zero_point, layer.weight_axis)
        inputs = [source, self.operand(f"{name}/weights", layer.weights, layer.weights_constant, scale)]
        if layer.bias is not None:
            kind = layer.bias_type or ("int64" if self.activation_type == "int16" else "int32")
            bias_scale = layer.bias_scale
            if bias_scale is None:
                input_scale = numpy.asarray(before.quantization.scale if before.quantization else 1.0, numpy.float32)
                bias_scale = (input_scale * numpy.asarray(layer.weight_scale, numpy.float32)).tolist()
            scale = given("bias", bias_scale, layer.bias_zero_point)
            bias = numpy.asarray(layer.bias, kind)
            inputs.append(self.operand(f"{name}/bias", bias, layer.bias_constant, scale))
        elif not layer.omit_bias_slot:
            inputs.append(-1)
        flat = (math.prod(before.shape) // layer.weights.shape[1],)
        shape = (*(before.shape[:-1] if layer.keep_num_dims else flat), layer.weights.shape[0])
        scale = given("output", layer.output_scale, layer.output_zero_point)
        output = self.tensor(f"{name}/output", layer.output_type or self.activation_type, shape, scale)
        self.operators.append((layer.operator, inputs, output, layer))
        return output

    def step(self, name: str, step: Step, source: int) -> int:
        before = self.tensors[source]
        quantization = before.quantization
        if step.output_scale is not None:
            quantization = _Quantization(step.output_scale, step.output_zero_point)
        shape = tuple(before.shape if step.shape is None else step.shape)
        inputs = [source]
        if step.operator == "RESHAPE":
            inputs.append(self.operand(f"{name}/shape", numpy.asarray(shape, numpy.int32), True, None))
        output = self.tensor(f"{name}/output", step.output_type or before.kind, shape, quantization)
        self.operators.append((step.operator, inputs, output, step))
        return output


class _Writer:
    """Flatbuffers are written back to front: children before the tables that hold them."""

    def __init__(self) -> None:
        self.builder = flatbuffers.Builder(1024)

    def model(self, model: Model, graph: _Graph) -> bytes:
        codes = sorted({operator for operator, *_ in graph.operators})
        buffers = [self.buffer(None)] + [self.buffer(tensor.data) for tensor in graph.tensors]
        graphs = [self.subgraph(graph, codes, model) for _ in range(model.subgraphs)]
        parts = {
            "OperatorCodes": self.offsets([self.operator_code(code) for code in codes]),
            "Subgraphs": self.offsets(graphs),
            "Buffers": self.offsets(buffers),
        }
        root = self.table("Model", Version=model.schema_version, **parts)
        self.builder.Finish(root, file_identifier=model.file_identifier)
        return bytes(self.builder.Output())

    def subgraph(self, graph: _Graph, codes: list[str], model: Model) -> int:
        tensors = [self.tensor(tensor, index + 1, model.dynamic_batch) for index, tensor in enumerate(graph.tensors)]
        operators = [
            self.table(
                "Operator",
                OpcodeIndex=codes.index(code),
                Inputs=self.numbers(inputs, "int32"),
                Outputs=self.numbers([output], "int32"),
                **self.options(code, detail),
            )
            for code, inputs, output, detail in graph.operators
        ]
        return self.table(
            "SubGraph",
            Tensors=self.offsets(tensors),
            Inputs=self.numbers(graph.inputs, "int32"),
            Outputs=self.numbers(graph.outputs, "int32"),
            Operators=self.offsets(operators),
        )

    def tensor(self, tensor: _Tensor, buffer: int, dynamic_batch: bool) -> int:
        fields = {
            "Shape": self.numbers(tensor.shape, "int32"),
            "Type": getattr(tflite.TensorType, tensor.kind.upper()),
            "Buffer": buffer,
            "Name": self.builder.CreateString(tensor.name),
        }
        if tensor.quantization is not None:
            scale = numpy.atleast_1d(numpy.asarray(tensor.quantization.scale, numpy.float32))
            zero_point = numpy.broadcast_to(numpy.asarray(tensor.quantization.zero_point), scale.shape)
            fields["Quantization"] = self.table(
                "QuantizationParameters",
                Scale=self.numbers(scale, "float32"),
                ZeroPoint=self.numbers(zero_point, "int64"),
                QuantizedDimension=tensor.quantization.axis,
            )
        if dynamic_batch and tensor.data is None:
            fields["ShapeSignature"] = self.numbers((-1, *tensor.shape[1:]), "int32")
        return self.table("Tensor", **fields)

    def options(self, code: str, detail: Layer | Step | None) -> dict[str, int]:
        if isinstance(detail, Layer):
            kind = "FullyConnectedOptions"
            table = self.table(
                kind,
                FusedActivationFunction=getattr(tflite.ActivationFunctionType, detail.activation),
                WeightsFormat=getattr(tflite.FullyConnectedOptionsWeightsFormat, detail.weights_format),
                KeepNumDims=detail.keep_num_dims,
                QuantizedBiasType=getattr(tflite.TensorType, detail.quantized_bias_type),
            )
        elif code == "RESHAPE" and detail is not None and detail.shape is not None:
            kind = "ReshapeOptions"
            table = self.table(kind, NewShape=self.numbers(detail.shape, "int32"))
        elif code == "SOFTMAX":
            kind = "SoftmaxOptions"
            table = self.table(kind, Beta=1.0)
        else:
            return {}
        return {"BuiltinOptionsType": getattr(tflite.BuiltinOptions, kind), "BuiltinOptions": table}

    def operator_code(self, code: str) -> int:
        number = getattr(tflite.BuiltinOperator, code)
        return self.table("OperatorCode", DeprecatedBuiltinCode=min(number, 127), BuiltinCode=number, Version=1)

    def buffer(self, data: bytes | None) -> int:
        if data is None:
            return self.table("Buffer")
        self.builder.Prep(16, len(data))  # the schema asks for 16-byte alignment of constants
        return self.table("Buffer", Data=self.builder.CreateByteVector(data))

    def table(self, kind: str, **fields: Any) -> int:
        """A table through the generated functions, for example TensorStart, TensorAddShape, TensorEnd."""
        getattr(tflite, f"{kind}Start")(self.builder)
        for name, value in fields.items():
            getattr(tflite, f"{kind}Add{name}")(self.builder, value)
        return int(getattr(tflite, f"{kind}End")(self.builder))

    def numbers(self, values: Any, kind: str) -> int:
        return int(self.builder.CreateNumpyVector(numpy.ascontiguousarray(values, kind).reshape(-1)))

    def offsets(self, offsets: list[int]) -> int:
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return int(self.builder.EndVector())


def build(model: Model) -> bytes:
    """The file's bytes. The same description always gives the same bytes."""
    return _Writer().model(model, _Graph(model))
