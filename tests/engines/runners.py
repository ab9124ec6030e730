"""Run dense models in the real engines: integers in, integers out, whole batches.

Needs the packages of the engines (ai-edge-litert, tflite-micro, onnx, onnxruntime,
tosa-tools); each is imported by the function that uses it. Nothing here computes: what
comes back is what the engine said. Imports nothing of `intnn`.

TFLite engines take the bytes of a `.tflite` file; ONNX models are made from the same
`Model` descriptions with `onnx_model`; TOSA is fed layer by layer, because its RESCALE
takes the multiplier and shift themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy
from numpy.typing import NDArray
from tflite_builder import Layer, Model

Array = NDArray[Any]

LITERT_MODES = ("default", "no_delegate", "builtin_ref")
ONNX_STYLES = ("qgemm", "qlinearmatmul", "qdq")


class EngineRefusedError(Exception):
    """The engine did not accept or did not finish the model; the engine's own words follow."""


def tflm(data: bytes, x: Array, arena: int = 1 << 20) -> Array:
    """TensorFlow Lite for Microcontrollers, reference kernels. x: (n, ...) -> (n, outputs).

    The interpreter has no batches: x is fed in pieces of the model's own input shape.
    """
    from tflite_micro.python.tflite_micro import runtime

    try:
        interpreter = runtime.Interpreter.from_bytes(data, arena_size=arena)
        shape = tuple(interpreter.get_input_details(0)["shape"])
        outputs = []
        for piece in x.reshape(-1, *shape):
            interpreter.set_input(piece, 0)
            interpreter.invoke()
            outputs.append(interpreter.get_output(0))
    except (RuntimeError, ValueError) as error:
        raise EngineRefusedError(str(error)) from error
    result: Array = numpy.concatenate(outputs).reshape(len(x), -1)
    return result


def litert(data: bytes, x: Array, mode: str = "default", resize: bool = True) -> Array:
    """LiteRT (TensorFlow Lite), one thread. x: (n, ...) -> (n, outputs).

    `default` uses XNNPACK where it can, `no_delegate` the optimized kernels (ruy), and
    `builtin_ref` the reference kernels. The model is resized to a batch of len(x); a
    RESHAPE operator fixes the batch, and then `resize=False` feeds x in pieces, as `tflm` does.
    """
    return litert_layers(data, x, mode, resize)[0]


def litert_layers(data: bytes, x: Array, mode: str = "default", resize: bool = True) -> list[Array]:
    """Every output of the model: with `expose_layers` the last layer first, then the others in order."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = {
        "default": OpResolverType.AUTO,
        "no_delegate": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        "builtin_ref": OpResolverType.BUILTIN_REF,
    }[mode]
    try:
        interpreter = Interpreter(model_content=data, num_threads=1, experimental_op_resolver_type=resolver)
        source = interpreter.get_input_details()[0]
        shape = tuple(source["shape"])
        if resize and len(x) != shape[0]:
            shape = (len(x), *shape[1:])
            interpreter.resize_tensor_input(source["index"], shape)
        interpreter.allocate_tensors()
        pieces = []
        for piece in x.reshape(-1, *shape):
            interpreter.set_tensor(source["index"], piece)
            interpreter.invoke()
            pieces.append([interpreter.get_tensor(y["index"]) for y in interpreter.get_output_details()])
    except (RuntimeError, ValueError) as error:
        raise EngineRefusedError(str(error)) from error
    return [numpy.concatenate(output).reshape(len(x), -1) for output in zip(*pieces, strict=True)]


def onnx_model(model: Model, style: str) -> bytes:
    """The ONNX form of a chain of `Layer`s. Quantized input and output, batch left open.

    `qgemm`: com.microsoft QGemm, with bias. `qlinearmatmul`: the ONNX operator, which has
    none. `qdq`: Gemm between DequantizeLinear and QuantizeLinear, with bias and RELU;
    onnxruntime turns it into the integer operators itself.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kinds = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8}
    kind = kinds[model.activation_type]
    nodes: list[Any] = []
    constants: list[Any] = []

    def constant(name: str, value: Any, dtype: str) -> str:
        constants.append(numpy_helper.from_array(numpy.asarray(value, dtype), name))
        return name

    def node(operator: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], domain=domain, **attributes))
        return output

    scale = constant("input_scale", model.input_scale, "float32")
    zero_point = constant("input_zero_point", model.input_zero_point, model.activation_type)
    current, current_scale = "input", numpy.float32(model.input_scale)
    for index, layer in enumerate(model.layers):
        if not isinstance(layer, Layer):
            raise ValueError(f"layer {index}: only dense layers have an ONNX form here")
        if layer.activation != "NONE" and style != "qdq":
            raise ValueError(f"layer {index}: {style} has no activation")
        if layer.bias is not None and style == "qlinearmatmul":
            raise ValueError(f"layer {index}: {style} has no bias")
        name = f"layer{index}"
        weight_scale = numpy.asarray(layer.weight_scale, numpy.float32)
        weights = constant(f"{name}_weights", layer.weights.T, str(layer.weights.dtype))
        weight = (
            constant(f"{name}_weight_scale", weight_scale, "float32"),
            constant(
                f"{name}_weight_zero_point",
                numpy.broadcast_to(numpy.asarray(layer.weight_zero_point), weight_scale.shape),
                str(layer.weights.dtype),
            ),
        )
        output = (
            constant(f"{name}_scale", layer.output_scale, "float32"),
            constant(f"{name}_zero_point", layer.output_zero_point, model.activation_type),
        )
        bias = [] if layer.bias is None else [constant(f"{name}_bias", layer.bias, "int32")]
        if style == "qdq":
            per_channel: dict[str, Any] = {"axis": 1} if weight_scale.ndim else {}
            inputs = [
                node("DequantizeLinear", [current, scale, zero_point], f"{name}_x"),
                node("DequantizeLinear", [weights, *weight], f"{name}_w", **per_channel),
            ]
            if bias:
                product = constant(f"{name}_bias_scale", current_scale * weight_scale, "float32")
                per_channel = {"axis": 0} if weight_scale.ndim else {}
                inputs.append(node("DequantizeLinear", [*bias, product], f"{name}_b", **per_channel))
            current = node("Gemm" if bias else "MatMul", inputs, f"{name}_y")
            if layer.activation == "RELU":
                current = node("Relu", [current], f"{name}_relu")
            elif layer.activation != "NONE":
                raise ValueError(f"layer {index}: no ONNX form for {layer.activation}")
            current = node("QuantizeLinear", [current, *output], f"{name}_output")
        else:
            inputs = [current, scale, zero_point, weights, *weight]
            if style == "qgemm":
                inputs += [*(bias or [""]), *output]
                current = node("QGemm", inputs, f"{name}_output", "com.microsoft")
            else:
                current = node("QLinearMatMul", [*inputs, *output], f"{name}_output")
        (scale, zero_point), current_scale = output, numpy.float32(layer.output_scale)
    graph = helper.make_graph(
        nodes,
        "dense",
        [helper.make_tensor_value_info("input", kind, ["n", constants[2].dims[0]])],
        [helper.make_tensor_value_info(current, kind, ["n", None])],
        constants,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return bytes(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())


def onnxruntime(data: bytes, x: Array, optimize: bool = True) -> Array:
    """onnxruntime on the CPU. x: (n, inputs) -> (n, outputs). Without `optimize` QDQ stays float."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        return numpy.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])
    except Exception as error:  # onnxruntime's exceptions share no base of their own
        raise EngineRefusedError(str(error)) from error


def tosa_rescale(
    acc: Array,
    multiplier: int | Sequence[int],
    shift: int | Sequence[int],
    zero_point: int,
    rounding: str,
    output_type: str = "int8",
    scale32: bool = True,
) -> Array:
    """TOSA RESCALE of accumulators (n, channels) by multiplier * 2**-shift, then the zero point.

    acc: int32, or int64 for 48-bit values, which need scale32=False (16-bit multipliers).
    rounding: SINGLE_ROUND, or with scale32 also DOUBLE_ROUND; shift: 2..62, to the right.
    Refused: |acc| of 2**(shift-1) and more, and results outside int32 before saturation.
    """
    graph = _TosaGraph()
    wide = acc.dtype == numpy.int64
    source = graph.constant(acc, "INT48") if wide else graph.input(acc.shape, "INT32")
    graph.rescale(source, acc.shape, multiplier, shift, zero_point, rounding, output_type, scale32, wide)
    return graph.run([] if wide else [acc])


def tosa_dense(
    x: Array,
    weights: Array,
    bias: Sequence[int] | Array | None,
    input_zero_point: int,
    multiplier: int | Sequence[int],
    shift: int | Sequence[int],
    output_zero_point: int,
    rounding: str,
    clamp: tuple[int, int] | None = None,
) -> Array:
    """A dense layer in TOSA: MATMUL, ADD of the bias, RESCALE, CLAMP. x: int8 (n, inputs) -> (n, outputs)."""
    graph = _TosaGraph()
    outputs = weights.shape[0]
    shape = (1, len(x), outputs)
    current = graph.node(
        "MATMUL",
        [
            graph.input((1, *x.shape), "INT8"),
            graph.constant(weights.T[None], "INT8"),
            graph.constant([input_zero_point], "INT8"),
            graph.constant([0], "INT8"),
        ],
        shape,
        "INT32",
    )
    if bias is not None:
        addend = graph.constant(numpy.reshape(bias, (1, 1, outputs)), "INT32")
        current = graph.node("ADD", [current, addend], shape, "INT32")
    current = graph.rescale(current, shape, multiplier, shift, output_zero_point, rounding, "int8", final=clamp is None)
    if clamp is not None:
        graph.clamp(current, shape, clamp)
    return graph.run([x[None]]).reshape(len(x), outputs)


class _TosaGraph:
    def __init__(self) -> None:
        import tosa_serializer

        self.ts = tosa_serializer
        self.serializer = tosa_serializer.TosaSerializer("")
        self.output: tuple[tuple[int, ...], str] = ((), "")

    def input(self, shape: Sequence[int], kind: str) -> str:
        tensor = self.serializer.addPlaceholder(list(shape), getattr(self.ts.DType, kind), None)
        return str(getattr(tensor, "name", tensor))

    def constant(self, values: Any, kind: str) -> str:
        array = numpy.asarray(values)
        tensor = self.serializer.addConst(list(array.shape), getattr(self.ts.DType, kind), array.reshape(-1).tolist())
        return str(getattr(tensor, "name", tensor))

    def node(
        self,
        operator: str,
        inputs: list[str],
        shape: Sequence[int],
        kind: str,
        attribute: tuple[Any, ...] = (),
        final: bool = False,
    ) -> str:
        make = self.serializer.addOutput if final else self.serializer.addIntermediate
        tensor = make(list(shape), getattr(self.ts.DType, kind))
        attributes = self.ts.TosaSerializerAttribute()
        names = {"MATMUL": "MatMul", "ADD": "Add", "RESCALE": "Rescale", "CLAMP": "Clamp"}
        getattr(attributes, f"{names[operator]}Attribute")(*attribute)
        self.serializer.addOperator(getattr(self.ts.Op, operator), inputs, [tensor.name], attributes)
        self.output = (tuple(shape), kind)
        return str(tensor.name)

    def rescale(
        self,
        source: str,
        shape: Sequence[int],
        multiplier: int | Sequence[int],
        shift: int | Sequence[int],
        zero_point: int,
        rounding: str,
        output_type: str,
        scale32: bool = True,
        wide: bool = False,
        final: bool = True,
    ) -> str:
        per_channel = not isinstance(multiplier, int)
        kind = output_type.upper()
        inputs = [
            source,
            self.constant(numpy.atleast_1d(multiplier), "INT32" if scale32 else "INT16"),
            self.constant(numpy.atleast_1d(shift), "INT8"),
            self.constant([0], "INT48" if wide else "INT32"),
            self.constant([zero_point], kind),
        ]
        mode = getattr(self.ts.RoundingMode, rounding)
        attribute = (scale32, mode, per_channel, False, False)
        return self.node("RESCALE", inputs, shape, kind, attribute, final)

    def clamp(self, source: str, shape: Sequence[int], bounds: tuple[int, int]) -> str:
        low, high = (list(numpy.int8(bound).tobytes()) for bound in bounds)
        attribute = (low, high, self.ts.NanPropagationMode.PROPAGATE)
        return self.node("CLAMP", [source], shape, "INT8", attribute, final=True)

    def run(self, inputs: list[Array]) -> Array:
        import tosa_reference_model

        data = self.serializer.serialize()
        results, status = tosa_reference_model.run(data, [numpy.ascontiguousarray(x) for x in inputs])
        if status != tosa_reference_model.GraphStatus.TOSA_VALID:
            raise EngineRefusedError(f"the TOSA reference model says {status}")
        shape, kind = self.output
        return numpy.frombuffer(results[0].tobytes(), kind.lower()).reshape(shape)
