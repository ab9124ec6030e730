"""Quantized ONNX models: descriptions, their bytes, and random ones made to give roundings away.

Imports nothing of `intnn`. What onnxruntime computes for them is asked of onnxruntime.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

RANGES = {"int8": (-128, 127), "uint8": (0, 255)}
FORMS = ("QGemm", "QLinearMatMul", "Gemm", "MatMul+Add", "MatMul")
"""The first two are operators on integers; the others stand between DequantizeLinear and QuantizeLinear."""


@dataclass(frozen=True, eq=False)
class Layer:
    """``weights`` int8 (outputs, inputs), stored as uint8 with zero point 128 if ``unsigned``, as (outputs, inputs) if
    ``turned``; ``clip``: ``None``, ``"Relu"``, or the bounds of a Clip."""

    form: str
    weights: Array
    weight_scale: Any  # float32, () or (outputs,)
    zero: int
    scale: np.float32
    bias: Array | None = None  # int32, or float32
    clip: Any = None
    unsigned: bool = False
    turned: bool = False


@dataclass(frozen=True, eq=False)
class Model:
    """``float_ends``: QuantizeLinear before the layers and DequantizeLinear after them."""

    type: str
    zero: int
    scale: np.float32
    layers: tuple[Layer, ...]
    float_ends: bool = False

    @property
    def inputs(self) -> int:
        return int(self.layers[0].weights.shape[1])


@dataclass
class Graph:
    """Nodes and constants in the making."""

    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def constant(self, value: Any, dtype: Any = None) -> str:
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        self.constants.append(
            numpy_helper.from_array(np.ascontiguousarray(value, dtype).reshape(np.shape(value)), name)
        )
        return name

    def node(self, op: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        from onnx import helper

        output = output or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def model(self, inputs: Any, outputs: Any, opset: int = 17, name: str = "graph") -> bytes:
        """``inputs`` and ``outputs``: (name, type name, shape) each."""
        from onnx import TensorProto, helper

        def infos(ends: Any) -> list[Any]:
            return [helper.make_tensor_value_info(n, getattr(TensorProto, t), s) for n, t, s in ends]

        graph = helper.make_graph(self.nodes, name, infos(inputs), infos(outputs), self.constants)
        opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
        opsets.append(helper.make_opsetid("ai.onnx.ml", 3))
        return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())


def build(model: Model) -> bytes:
    """The bytes of the ONNX file."""
    g = Graph()
    ends = "FLOAT" if model.float_ends else model.type.upper()
    meaning = [g.constant(model.scale), g.constant(model.zero, model.type)]
    scale, now = model.scale, "x"
    if model.float_ends:
        now = g.node("QuantizeLinear", [now, *meaning])
    for layer in model.layers:
        after = [g.constant(layer.scale), g.constant(layer.zero, model.type)]
        now = _layer(g, layer, now, scale, meaning, after)
        meaning, scale = after, layer.scale
    if model.float_ends:
        now = g.node("DequantizeLinear", [now, *meaning])
    outputs = len(model.layers[-1].weights)
    return g.model([("x", ends, ["n", model.inputs])], [(now, ends, ["n", outputs])])


def _layer(g: Graph, layer: Layer, now: str, scale: np.float32, before: list[str], after: list[str]) -> str:
    stored = layer.weights.astype(int) + 128 * layer.unsigned
    kind = "uint8" if layer.unsigned else "int8"
    weights = g.constant(stored if layer.turned else stored.T, kind)
    weight_scale = np.asarray(layer.weight_scale, np.float32)
    quantized = [g.constant(weight_scale), g.constant(np.full(weight_scale.shape, 128 * layer.unsigned), kind)]
    bias = [] if layer.bias is None else [g.constant(layer.bias)]
    if layer.form == "QLinearMatMul":
        return g.node("QLinearMatMul", [now, *before, weights, *quantized, *after])
    if layer.form == "QGemm":
        inputs = [now, *before, weights, *quantized, *(bias or [""]), *after]
        return g.node("QGemm", inputs, domain="com.microsoft", transB=int(layer.turned))
    x = g.node("DequantizeLinear", [now, *before])
    w = g.node("DequantizeLinear", [weights, *quantized], axis=1 - layer.turned)
    if layer.bias is not None and layer.bias.dtype == np.int32:
        bias = [g.node("DequantizeLinear", [*bias, g.constant(scale * weight_scale, np.float32)], axis=0)]
    if layer.form == "Gemm":
        y = g.node("Gemm", [x, w, *bias], transB=int(layer.turned))
    else:
        w = g.node("Transpose", [w], perm=[1, 0]) if layer.turned else w
        y = g.node("MatMul", [x, w])
        y = g.node("Add", [y, *bias]) if bias else y
    if layer.clip == "Relu":
        y = g.node("Relu", [y])
    elif layer.clip is not None:
        y = g.node("Clip", [y, *(g.constant(bound, np.float32) for bound in layer.clip)])
    return g.node("QuantizeLinear", [y, *after])


def random_model(
    seed: int,
    form: str,
    *,
    kind: str = "int8",
    clip: str = "none",
    float_ends: bool = False,
    float_bias: bool = False,
    powers: bool = False,
) -> tuple[Model, Array]:
    """A model of 1 to 3 layers, and inputs (48, n): ends, single inputs moving, random ones.

    ``clip``: ``none``; ``least``, Relu where the zero point is the type's least; ``relu``, where it is not; ``clip``,
    some Clip. ``powers``: all scales are powers of two. Some accumulators lie on ties or next to them, through biases
    and powers of two; scales also bring saturation.
    """
    rng = np.random.default_rng([seed, *f"{form}{kind}{clip}{float_ends}{float_bias}{powers}".encode()])
    low, high = RANGES[kind]
    sizes = rng.choice([1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 64], rng.integers(2, 5))
    zero = int(rng.choice([low, high, 0, int(rng.integers(low, high + 1))]))
    scale = _float32(rng, -6, 1, powers)
    walking = np.full((12, sizes[0]), zero)
    walking[np.arange(12), rng.integers(sizes[0], size=12)] = rng.integers(low, high + 1, 12)
    edges = np.array([low, high, zero])[:, None] + np.zeros(sizes[0], int)
    x = np.concatenate([edges, walking, rng.integers(low, high + 1, (33, sizes[0]))])
    first, values, layers = (zero, scale), x, []
    for outputs in sizes[1:]:
        layer = _random_layer(rng, form, kind, clip, int(outputs), scale, zero, values, float_bias, powers)
        real = (values - zero) @ layer.weights.T.astype(int) + _integer_bias(layer, scale)
        real = real * (float(scale) * np.asarray(layer.weight_scale, float) / float(layer.scale))
        values = np.clip(np.rint(real) + layer.zero, low, high).astype(int)  # about: for the next layer's bias
        scale, zero = layer.scale, layer.zero
        layers.append(layer)
    return Model(kind, *first, tuple(layers), float_ends), x.astype(kind)


def _random_layer(
    rng: np.random.Generator,
    form: str,
    kind: str,
    clip: str,
    outputs: int,
    scale: np.float32,
    zero: int,
    x: Array,
    float_bias: bool,
    powers: bool,
) -> Layer:
    low, high = RANGES[kind]
    shape = (outputs, x.shape[1])
    weights = [
        rng.integers(-128, 128, shape),
        rng.choice([-128, 127], shape),
        rng.integers(-2, 3, shape),
        np.where(rng.random(shape) < 2 / shape[1], rng.integers(-128, 128, shape), 0),
    ][rng.integers(4)].astype(np.int8)
    dot = (x - zero) @ weights.T.astype(int)
    wanted = min(64.0, 127 / (np.abs(dot).mean() + 1) * 2.0 ** rng.uniform(-2, 2))  # effective scale: some saturate
    exact = powers or rng.random() < 0.5  # ties come with powers of two
    if exact:
        wanted = 2.0 ** np.floor(np.log2(wanted))
    after = np.float32(2 * float(np.frexp(scale)[0]) * 2.0 ** rng.integers(-5, 2)) if exact else _float32(rng, -6, 1)
    factor: Any = 1.0
    if outputs > 1 and rng.random() < 0.5:
        factor = 2.0 ** -rng.integers(0, 4, outputs) if exact else rng.uniform(1 / 8, 1, outputs)
    weight_scale = np.float32(wanted * float(after) / float(scale) * factor)
    zero_after = low if clip == "least" else int(rng.choice([low, high, int(rng.integers(low, high + 1))]))
    if clip in ("relu", "clip"):
        zero_after = int(rng.integers(low + 1, high + 1))
    real = np.broadcast_to(float(scale) * weight_scale.astype(float) / float(after), outputs)
    bias: Array | None = None
    if form in ("QGemm", "Gemm", "MatMul+Add"):
        step = rng.integers(low, high + 1, outputs)
        tie = np.floor((step - zero_after + 0.5) / real) + rng.choice([-1, 0, 0, 0, 1], outputs)
        bias = np.clip(tie - dot[rng.integers(len(dot), size=outputs), np.arange(outputs)], -(2**28), 2**28)
        bias = bias.astype(np.int32)
        if float_bias:
            bias = ((bias + rng.uniform(-1, 1, outputs)) * float(scale) * weight_scale).astype(np.float32)
    bounds: Any = {"least": "Relu", "relu": "Relu"}.get(clip)
    if clip == "clip":
        span = np.sort(rng.uniform(-200, 200, 2)) * float(after)
        bounds = tuple(np.float32(v) for v in (span if rng.random() < 0.5 else (0.0, abs(span[1]) + after)))
    turned = form != "QLinearMatMul" and bool(rng.integers(2))
    unsigned = kind == "uint8" and bool(rng.integers(2))
    return Layer(form, weights, weight_scale, zero_after, after, bias, bounds, unsigned, turned)


def _float32(rng: np.random.Generator, low: int, high: int, power: bool = False) -> np.float32:
    mantissa = 1.0 if power else rng.choice([1.0, 1 + 2.0**-23, 2 - 2.0**-23, rng.uniform(1, 2), rng.uniform(1, 2)])
    return np.float32(mantissa * 2.0 ** rng.integers(low, high))


def _integer_bias(layer: Layer, scale: np.float32) -> Any:
    if layer.bias is None:
        return 0
    return np.rint(layer.bias / (scale * layer.weight_scale)) if layer.bias.dtype.kind == "f" else layer.bias


def onnxruntime(model: Model, data: bytes, x: Array, optimized: str = "", **entries: str) -> Array:
    """The integers that onnxruntime gives for the integers ``x``; it writes the graph that it runs to ``optimized``."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if optimized:
        options.optimized_model_filepath = optimized
    for key, value in entries.items():
        options.add_session_config_entry("session." + key, value)
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    if not model.float_ends:
        return np.asarray(session.run(None, {"x": x})[0])
    y = session.run(None, {"x": (x.astype(np.float32) - model.zero) * model.scale})[0]
    last = model.layers[-1]
    integers: Array = (np.rint(y / last.scale) + last.zero).astype(model.type)
    return integers


def saturates() -> bool:
    """Whether onnxruntime's accumulators are wrong here: x86 without VNNI saturates sums of two products to int16."""
    for kind, (least, most) in RANGES.items():
        layer = Layer("QGemm", np.full((1, 64), 127, np.int8), np.float32(2.0**-14), least, np.float32(1))
        model = Model(kind, least, np.float32(1), (layer,))
        y = onnxruntime(model, build(model), np.full((1, 64), most, kind))  # 64 * 255 * 127 / 2^14 is 126.504
        if y[0, 0] != 127 + least:
            return True
    return False


def operators(path: str) -> list[str]:
    """The operators of the graph in ``path``."""
    import onnx

    return [node.op_type for node in onnx.load(path).graph.node]
