"""What the ONNX import refuses, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frameworks.onnx_models import Graph
from intnn.errors import IntnnError
from intnn.formats import onnx_file
from intnn.formats.onnx import parse_onnx, read_onnx

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
pytestmark = pytest.mark.frameworks

Make = Callable[[Graph], str]


def f32(g: Graph, *shape: int) -> str:
    return g.constant(np.ones(shape), np.float32)


def dense(g: Graph, now: str = "x") -> str:
    return g.node("Gemm", [now, f32(g, 3, 3), f32(g, 3)])


def chain(*ops: Any) -> Make:
    """A layer, the operators, another layer."""

    def make(g: Graph) -> str:
        now = dense(g)
        for op in ops:
            now = op(g, now)
        return dense(g, now)

    return make


def op(name: str, *others: Any, **attributes: Any) -> Any:
    """An operator on the chain and on constants."""
    return lambda g, now: g.node(name, [now, *(g.constant(value) for value in others)], **attributes)


def branch(g: Graph) -> str:
    now = dense(g)
    return g.node("Add", [dense(g, now), now])


def dynamic_weights(g: Graph) -> str:
    return g.node("MatMul", [f32(g, 3, 3), dense(g)])


def weights_computed(g: Graph) -> str:
    return g.node("MatMul", ["x", g.node("Mul", [f32(g, 3, 3), f32(g, 1)])])


def doubled(g: Graph) -> str:
    now = dense(g)
    return g.node("Mul", [now, now])


def beside_softmax(g: Graph) -> str:
    now = dense(g)
    g.node("Softmax", [now])
    return dense(g, now)


ONE = np.float32(1)
FLOATS: list[tuple[str, Make, str, str]] = [
    ("Conv", chain(op("Conv", np.ones((3, 3, 1), np.float32))), "onnx.operator", "(Conv)"),
    ("Tanh", chain(op("Tanh")), "onnx.operator", "(Tanh)"),
    ("Sigmoid", chain(op("Sigmoid")), "onnx.operator", "(Sigmoid)"),
    ("Softmax", chain(op("Softmax")), "onnx.operator", "(Softmax)"),
    ("LeakyRelu", chain(op("LeakyRelu")), "onnx.operator", "(LeakyRelu)"),
    ("Transpose", chain(op("Transpose", perm=[1, 0])), "onnx.operator", "(Transpose)"),
    ("another domain's Relu", chain(op("Relu", domain="my.own")), "onnx.operator", "(my.own.Relu)"),
    ("no layer", lambda g: g.node("Identity", ["x"]), "onnx.operator", "before any layer"),
    ("an activation first", lambda g: dense(g, g.node("Relu", ["x"])), "onnx.operator", "does not follow a layer"),
    ("scaled at the end", lambda g: op("Mul", ONE)(g, op("Relu")(g, dense(g))), "onnx.operator", "scaled after a clip"),
    ("a residual branch", branch, "onnx.field", "without branches"),
    ("a value doubled", doubled, "onnx.field", "without branches"),
    ("a layer beside Softmax", beside_softmax, "onnx.operator", "is beside"),
    ("weights at run time", dynamic_weights, "onnx.field", "input 0"),
    ("weights computed", weights_computed, "onnx.operator", "on constants"),
    ("transA", lambda g: g.node("Gemm", ["x", f32(g, 3, 3)], transA=1), "onnx.field", "transA"),
    ("an unknown attribute", lambda g: g.node("Gemm", ["x", f32(g, 3, 3)], gamma=1), "onnx.field", "'gamma'"),
    ("an attribute of another type", lambda g: g.node("Gemm", ["x", f32(g, 3, 3)], transB=1.0), "onnx.field", "transB"),
    ("sizes that do not chain", lambda g: g.node("Gemm", ["x", f32(g, 4, 3)]), "onnx.field", "shape [?, 3]"),
    ("a bias of another size", lambda g: g.node("Gemm", ["x", f32(g, 3, 3), f32(g, 2)]), "onnx.field", "shape [2]"),
    ("float16", lambda g: g.node("MatMul", ["x", g.constant(np.ones((3, 3), np.float16))]), "onnx.field", "FLOAT16"),
    ("integer weights", lambda g: g.node("MatMul", ["x", g.constant(np.ones((3, 3), int))]), "onnx.field", "int64"),
    ("NaN", lambda g: g.node("MatMul", ["x", g.constant(np.full((3, 3), np.nan, np.float32))]), "onnx.field", "NaN"),
    ("an empty matrix", lambda g: g.node("MatMul", ["x", f32(g, 3, 0)]), "onnx.field", "[3, 0]"),
    ("rows mixed", chain(op("Reshape", np.array([-1, 6]))), "onnx.field", "rows of the batch"),
    ("columns made rows", chain(op("Reshape", np.array([3, -1]))), "onnx.field", "rows of the batch"),
    ("flattened whole", chain(op("Flatten", axis=0)), "onnx.field", "axis is 0"),
    ("an upside-down Clip", chain(op("Clip", np.float32(2), ONE)), "onnx.field", "min is 2"),
    ("dropout in training", chain(op("Dropout", np.float32(0.5), np.True_)), "onnx.field", "training_mode"),
    ("division by 0", chain(op("Div", np.float32(0))), "onnx.field", "divides by 0"),
    ("cast to integers", chain(op("Cast", to=7)), "onnx.field", "to is type 7"),
    ("a factor for each row", chain(op("Mul", np.ones((3, 1), np.float32))), "onnx.field", "one for each of a row"),
    ("what is not there", lambda g: g.node("MatMul", ["x", "nowhere"]), "onnx.file", "'nowhere'"),
]


@pytest.mark.parametrize(("make", "code", "text"), [case[1:] for case in FLOATS], ids=[case[0] for case in FLOATS])
def test_floats(make: Make, code: str, text: str) -> None:
    g = Graph()
    out = make(g)
    refused(g.model([("x", "FLOAT", ["n", 3])], [(out, "FLOAT", ["n", 3])]), code, text)


def refused(data: bytes, code: str, text: str) -> IntnnError:
    with pytest.raises(IntnnError) as caught:
        parse_onnx(data)
    assert caught.value.code == code, str(caught.value)
    assert text in str(caught.value)
    return caught.value


# --- quantized -----------------------------------------------------------------------------------------------------


def quantized(style: str = "qdq", **changes: Any) -> bytes:
    """One quantized layer with something changed."""
    c = {
        "w": np.ones((3, 3), np.int8),
        "x_zero": np.int8(3),
        "x_scale": np.float32(0.5),
        "w_scale": np.float32(0.25),
        "w_zero": None,
        "y_scale": np.float32(0.125),
        "y_zero": np.int8(0),
        "b": np.zeros(3, np.int32),
        "b_scale": np.float32(0.125),
        "gemm": {},
        "weights": {},
        "type": "INT8",
        "again": np.float32(0.125),
        "middle": [],
        "last": True,
    } | changes
    g = Graph()
    x = [g.constant(c["x_scale"]), g.constant(c["x_zero"])]
    y = [g.constant(c["y_scale"]), g.constant(c["y_zero"])]
    w = g.constant(c["w"])
    w_zero = np.zeros(np.shape(c["w_scale"]), c["w"].dtype) if c["w_zero"] is None else c["w_zero"]
    w_meaning = [g.constant(c["w_scale"]), g.constant(w_zero)]
    if style == "qgemm":
        out = y if c["last"] else []
        now = g.node("QGemm", ["x", *x, w, *w_meaning, g.constant(c["b"]), *out], domain="com.microsoft", **c["gemm"])
    else:
        weights = w if c["w"].dtype.kind == "f" else g.node("DequantizeLinear", [w, *w_meaning], **c["weights"])
        bias = g.constant(c["b"])
        bias = g.node("DequantizeLinear", [bias, g.constant(c["b_scale"])]) if c["b"].dtype == np.int32 else bias
        now = g.node("DequantizeLinear", ["x", *x])
        now = g.node("Gemm", [now, weights, bias], **c["gemm"])
        for name in c["middle"]:
            now = g.node(name, [now])
        now = g.node("QuantizeLinear", [now, *y]) if c["last"] else now
    if c["again"] != np.float32(0.125):
        now = g.node("DequantizeLinear", [now, g.constant(c["again"]), y[1]])
    return g.model([("x", c["type"], ["n", 3])], [(now, c["type"], ["n", 3])], 21)


QUANTIZED: list[tuple[str, dict[str, Any], str, str]] = [
    ("float weights", {"w": np.ones((3, 3), np.float32)}, "onnx.field", "quantize the weights"),
    ("uint8 weights", {"w": np.full((3, 3), 200, np.uint8), "w_zero": np.uint8(3)}, "onnx.field", "symmetrically"),
    (
        "int8 weights less a zero point",
        {"w": np.full((3, 3), -128, np.int8), "w_zero": np.int8(1)},
        "onnx.field",
        "-129",
    ),
    ("int16 activations", {"x_zero": np.int16(0), "type": "INT16"}, "onnx.field", "INT16"),
    ("an int16 output", {"y_zero": np.int16(0)}, "onnx.field", "INT16"),
    (
        "a scale for each input",
        {"w_scale": np.ones(3, np.float32), "weights": {"axis": 0}},
        "onnx.field",
        "along the inputs",
    ),
    (
        "too few scales",
        {"w_scale": np.ones(2, np.float32), "weights": {"axis": 1}},
        "onnx.field",
        "2 scales along axis 1",
    ),
    ("blocks", {"weights": {"block_size": 2}}, "onnx.field", "block_size"),
    (
        "activations by channel",
        {"x_scale": np.ones(3, np.float32), "x_zero": np.zeros(3, np.int8)},
        "onnx.field",
        "3 scales",
    ),
    ("a negative scale", {"x_scale": np.float32(-1)}, "onnx.field", "scale is -1"),
    ("a float16 scale", {"x_scale": np.float16(1)}, "onnx.field", "FLOAT16"),
    ("a float64 scale", {"x_scale": np.float64(1)}, "onnx.field", "float64"),
    ("a bias at another scale", {"b_scale": np.float32(0.126)}, "onnx.field", "input scale * weight scale"),
    ("a large float bias", {"b": np.full(3, 1e9, np.float32)}, "onnx.field", "int32"),
    ("a float64 bias", {"b": np.zeros(3)}, "onnx.field", "float64"),
    ("alpha", {"gemm": {"alpha": 0.5}}, "onnx.field", "alpha is 0.5"),
    ("Tanh", {"middle": ["Tanh"]}, "onnx.operator", "(Tanh)"),
    ("no QuantizeLinear at the end", {"last": False}, "onnx.operator", "QuantizeLinear after the last layer"),
    ("dequantized with another scale", {"again": np.float32(0.25)}, "onnx.field", "as it is given"),
    ("a scale out of fp32even's domain", {"x_scale": np.float32(1e9)}, "onnx.field", "input scale * weight scale"),
]


@pytest.mark.parametrize(("changes", "code", "text"), [c[1:] for c in QUANTIZED], ids=[c[0] for c in QUANTIZED])
def test_quantized(changes: dict[str, Any], code: str, text: str) -> None:
    refused(quantized(**changes), code, text)


@pytest.mark.parametrize("style", ["qdq", "qgemm"])
def test_without_a_change_it_is_read(style: str) -> None:
    parse_onnx(quantized(style))


QGEMM: list[tuple[dict[str, Any], str, str]] = [
    ({"gemm": {"alpha": 2.0}}, "onnx.field", "alpha is 2"),
    ({"last": False}, "onnx.operator", "gives floats"),
    ({"b": np.zeros(3, np.float32)}, "onnx.field", "float32"),
    ({"x_scale": np.float32(1e9)}, "model.value", "256"),
    ({"b": np.full(3, 2**31 - 1, np.int32)}, "model.overflow", "int32"),
]


@pytest.mark.parametrize(("changes", "code", "text"), QGEMM)
def test_qgemm(changes: dict[str, Any], code: str, text: str) -> None:
    refused(quantized("qgemm", **changes), code, text)


@pytest.mark.parametrize("name", ["DynamicQuantizeLinear", "MatMulInteger", "QLinearConv"])
def test_other_operators_on_integers(name: str) -> None:
    g = Graph()
    refused(
        g.model([("x", "FLOAT", ["n", 3])], [(g.node(name, ["x"]), "FLOAT", ["n", 3])]), "onnx.operator", f"({name})"
    )


def test_int4_weights() -> None:
    model = onnx.load_from_string(quantized())
    (w,) = (t for t in model.graph.initializer if list(t.dims) == [3, 3])
    w.data_type = onnx.TensorProto.INT4
    refused(model.SerializeToString(), "onnx.field", "INT4")


# --- the file ------------------------------------------------------------------------------------------------------


def changed(change: Callable[[Any], object]) -> bytes:
    """A small model of floats with something changed."""
    g = Graph()
    model = onnx.load_from_string(g.model([("x", "FLOAT", ["n", 3])], [(dense(g), "FLOAT", ["n", 3])]))
    change(model)
    return bytes(model.SerializeToString())


def _external(model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"


def _own_relu(model: Any) -> None:
    model.functions.add(domain="", name="Gemm")


FILES: list[tuple[str, Callable[[Any], object], str, str]] = [
    ("external data", _external, "onnx.field", "in another file"),
    ("an operator of its own", _own_relu, "onnx.operator", ".Gemm"),
    ("two inputs", lambda m: m.graph.input.add(name="z"), "onnx.field", "inputs are 2"),
    ("no input", lambda m: m.graph.ClearField("input"), "onnx.field", "inputs are"),
    ("another output", lambda m: m.graph.output.add(name="z"), "onnx.field", "output is 'z'"),
    ("no version", lambda m: m.ClearField("opset_import"), "onnx.field", "opset_import"),
    ("an old version", lambda m: setattr(m.opset_import[0], "version", 6), "onnx.field", "[6]"),
    ("a coming version", lambda m: setattr(m.opset_import[0], "version", 99), "onnx.field", "[99]"),
    ("a shape that is a lie", lambda m: m.graph.initializer[0].dims.append(2**40), "onnx.file", "9 values"),
    ("a negative shape", lambda m: m.graph.initializer[0].dims.__setitem__(slice(None), [-3, -3]), "onnx.file", "[-3"),
    ("a type without values", lambda m: setattr(m.graph.initializer[0], "data_type", 8), "onnx.field", "STRING"),
    ("an unknown type", lambda m: setattr(m.graph.initializer[0], "data_type", 77), "onnx.field", "number 77"),
    ("a name twice", lambda m: m.graph.initializer.append(m.graph.initializer[0]), "onnx.file", "twice"),
    ("a value twice", lambda m: m.graph.node.append(m.graph.node[0]), "onnx.file", "twice"),
    ("too many nodes", lambda m: m.graph.node.extend([m.graph.node[0]] * 1000), "onnx.field", "1001 nodes"),
    ("no graph", lambda m: m.ClearField("graph"), "onnx.file", "no graph"),
    ("float16 input", lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 10), "onnx.field", "FLOAT16"),
    ("sparse constants", lambda m: m.graph.sparse_initializer.add(), "onnx.field", "sparse"),
]


@pytest.mark.parametrize(("change", "code", "text"), [case[1:] for case in FILES], ids=[case[0] for case in FILES])
def test_files(change: Callable[[Any], object], code: str, text: str) -> None:
    refused(changed(change), code, text)


@pytest.mark.parametrize("data", [b"", b"\x00", b"PK\x03\x04", b"<html>", bytes(1000), b"\xff" * 100])
def test_other_files(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(IntnnError) as caught:
        read_onnx(path)
    assert caught.value.code == "onnx.file"
    assert caught.value.where.startswith(str(path))


def test_constants_are_bounded_as_often_as_they_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "MAX_BYTES", 36 * 3)
    g = Graph()
    w, now = f32(g, 3, 3), "x"
    for _ in range(4):
        now = g.node("MatMul", [now, w])
    refused(g.model([("x", "FLOAT", ["n", 3])], [(now, "FLOAT", ["n", 3])]), "onnx.field", "one constant too many")
