"""Networks of floats from ONNX: what they compute is what onnxruntime computes.

In float64 both sides round alike but for the order of sums, so the comparison is as good as exact; in float32, which
people have, onnxruntime's sums of n products are off by about n * 2^-24 of their largest terms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from frameworks.onnx_models import Array, Graph
from intnn.errors import IntnnError
from intnn.floats.network import FloatNetwork
from intnn.formats.onnx import parse_onnx

pytest.importorskip("onnx", reason="the package onnx is not installed")
pytest.importorskip("onnxruntime", reason="the package onnxruntime is not installed")
pytestmark = pytest.mark.frameworks

TOLERANCE = {"FLOAT": 2e-5, "DOUBLE": 1e-13}
DTYPES = {"FLOAT": np.float32, "DOUBLE": np.float64}
SIZES = ((6, 9), (9, 8), (8, 4))


class Net:
    """A graph of floats of the type under test, with random constants."""

    def __init__(self, kind: str) -> None:
        self.kind, self.g, self.rng = kind, Graph(), np.random.default_rng(7)

    def c(self, *shape: int, low: float = -1.0, high: float = 1.0) -> str:
        """A random constant."""
        return self.value(self.rng.uniform(low, high, shape))

    def value(self, value: Any) -> str:
        return self.g.constant(value, DTYPES[self.kind])

    def node(self, op: str, inputs: list[str], **attributes: Any) -> str:
        return self.g.node(op, inputs, **attributes)


def matmul_add(net: Net, now: str) -> str:
    """As scikit-learn's converter writes it, biases of shape (1, n)."""
    for inputs, outputs in SIZES:
        now = net.node("Add", [net.node("MatMul", [now, net.c(inputs, outputs)]), net.c(1, outputs)])
        now = net.node("Relu", [now]) if outputs != 4 else now
    return now


def bias_first(net: Net, now: str) -> str:
    for inputs, outputs in SIZES:
        now = net.node("Clip", [net.node("Add", [net.c(outputs), net.node("MatMul", [now, net.c(inputs, outputs)])])])
    return now


def torch_like(net: Net, now: str) -> str:
    """As PyTorch exports Flatten, Linear, Dropout, ReLU and ReLU6."""
    now = net.node("Flatten", [now], axis=1)
    for i, (inputs, outputs) in enumerate(SIZES):
        now = net.node("Gemm", [now, net.c(outputs, inputs), net.c(outputs)], alpha=1.0, beta=1.0, transB=1)
        now = net.node("Identity", [net.node("Dropout", [now])])
        bounds = [net.value(0.0), net.value(0.4)]
        now = net.node("Relu", [now]) if i == 0 else net.node("Clip", [now, *bounds]) if i == 1 else now
    return now


def alpha_and_beta(net: Net, now: str) -> str:
    now = net.node("Gemm", [now, net.c(6, 9), net.c(1, 1)], alpha=0.5, beta=-2.0)
    now = net.node("Gemm", [net.node("Relu", [now]), net.c(8, 9), net.c(8)], beta=0.25, transB=1)
    now = net.node("Relu", [now])
    return net.node("Gemm", [now, net.c(8, 4)], alpha=3.0)


def normalized(net: Net, now: str) -> str:
    """BatchNormalization after a layer, after an activation and so before the next layer, and before any."""

    def normalization(now: str, size: int) -> str:
        return net.node(
            "BatchNormalization", [now, *(net.c(size) for _ in range(3)), net.c(size, low=0.1)], epsilon=0.01
        )

    now = normalization(now, 6)
    now = normalization(net.node("Gemm", [now, net.c(6, 9), net.c(9)]), 9)
    now = normalization(net.node("Relu", [now]), 9)
    now = net.node("Relu", [net.node("MatMul", [now, net.c(9, 8)])])
    return normalization(net.node("Gemm", [now, net.c(8, 4), net.c(4)]), 4)


def scaled(net: Net, now: str) -> str:
    """Standardized inputs and outputs in units, by vectors and by single factors."""
    now = net.node("Div", [net.node("Sub", [now, net.c(6)]), net.c(1, 6, low=0.5)])
    now = net.node("Mul", [now, net.value(0.5)])
    now = net.node("Relu", [net.node("Add", [net.node("MatMul", [now, net.c(6, 9)]), net.c(9)])])
    now = net.node("Add", [net.c(1), net.node("Mul", [net.value([[3.0]]), now])])
    now = net.node("Gemm", [now, net.c(9, 4), net.c(4)])
    return net.node("Sub", [net.node("Div", [now, net.c(4, low=0.5)]), net.value(0.75)])


def constants_as_nodes(net: Net, now: str) -> str:
    """Constant, transposed: as PyTorch's older exporter writes a product without bias."""
    from onnx import numpy_helper

    value = numpy_helper.from_array(net.rng.normal(size=(4, 6)).astype(DTYPES[net.kind]))
    weights = net.node("Transpose", [net.node("Identity", [net.node("Constant", [], value=value)])], perm=[1, 0])
    return net.node("MatMul", [now, weights])


def reshaped(net: Net, now: str) -> str:
    for shape in ([0, 2, 3], [0, -1], [-1, 3, 2], [0, 0, 2], [-1, 6]):
        now = net.node("Reshape", [now, net.g.constant(shape, np.int64)])
    return net.node("Reshape", [net.node("Gemm", [now, net.c(6, 4)]), net.g.constant([-1, 4], np.int64)])


GRAPHS: list[Callable[[Net, str], str]] = [
    matmul_add,
    bias_first,
    torch_like,
    alpha_and_beta,
    normalized,
    scaled,
    constants_as_nodes,
    reshaped,
]


def both(net: Net, now: str, shape: list[Any], outputs: list[Any], x: Array) -> tuple[FloatNetwork, Array]:
    """The imported network, and what onnxruntime computes for ``x``."""
    import onnxruntime as ort

    data = net.g.model([("x", net.kind, shape)], [(now, net.kind, outputs)])
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    read = parse_onnx(data).network
    assert isinstance(read, FloatNetwork)
    return read, session.run(None, {"x": x.astype(DTYPES[net.kind])})[0]


@pytest.mark.parametrize("kind", TOLERANCE)
@pytest.mark.parametrize("graph", GRAPHS)
def test_outputs_are_onnxruntimes(graph: Callable[[Net, str], str], kind: str) -> None:
    net = Net(kind)
    x = np.random.default_rng(1).normal(size=(200, 6)).astype(np.float32)
    read, y = both(net, graph(net, "x"), ["n", 6], ["n", 4], x)
    largest = np.abs(y).max()
    assert largest > 0.1
    assert np.abs(read.run(x) - y).max() <= TOLERANCE[kind] * largest


def test_images_are_flattened_row_by_row() -> None:
    net = Net("DOUBLE")
    now = net.node("Flatten", [net.node("Div", ["x", net.value(255.0)])])
    x = np.random.default_rng(1).integers(0, 256, (50, 1, 4, 3))
    read, y = both(net, net.node("Gemm", [now, net.c(12, 4)]), ["n", 1, 4, 3], ["n", 4], x)
    assert np.abs(read.run(x.reshape(50, 12)) - y).max() < 1e-13


@pytest.mark.parametrize("transposed", [False, True])
def test_weights_are_copied_bit_for_bit(transposed: bool) -> None:
    w, b = np.array([[0.1, -2, 3e-9], [1e9, 0.3, -0.7]], np.float32), np.array([0.1, 0.2], np.float32)
    net = Net("FLOAT")
    y = net.node("Gemm", ["x", net.value(w if transposed else w.T), net.value(b)], transB=int(transposed))
    read = parse_onnx(net.g.model([("x", "FLOAT", ["n", 3])], [(y, "FLOAT", ["n", 2])]), name="bits")
    (layer,) = read.network.layers
    assert np.array_equal(layer.weights, w)
    assert np.array_equal(layer.bias, b)
    assert {line.how for line in read.report} == {"exact"}
    assert read.network.name == "bits"


@pytest.mark.parametrize("opset", [7, 10, 13, 22])
def test_clip_by_attributes_and_by_inputs(opset: int) -> None:
    net = Net("FLOAT")
    now = net.node("Gemm", ["x", net.c(3, 2), net.c(2)])
    low_high = [net.value(0.0), net.value(6.0)]
    now = net.node("Clip", [now, *low_high]) if opset > 10 else net.node("Clip", [now], min=0.0, max=6.0)
    data = net.g.model([("x", "FLOAT", ["n", 3])], [(now, "FLOAT", ["n", 2])], opset)
    (layer,) = parse_onnx(data).network.layers
    assert isinstance(layer.min, float)  # type: ignore[union-attr]  # a network of floats
    assert (layer.min, layer.max) == (0.0, 6.0)  # type: ignore[union-attr]  # as above


def classifier(binary: bool) -> bytes:
    """The graph that skl2onnx 1.20 makes of an MLPClassifier (its node names left out)."""
    net = Net("FLOAT")
    now = net.node("Cast", ["x"], to=1)
    now = net.node("Relu", [net.node("Add", [net.node("MatMul", [now, net.c(6, 8)]), net.c(1, 8)])])
    now = net.node("Add", [net.node("MatMul", [now, net.c(8, 1 if binary else 3)]), net.c(1, 1 if binary else 3)])
    now = net.node("Sigmoid" if binary else "Softmax", [now])
    if binary:
        now = net.node("Concat", [net.node("Sub", [net.value([1.0]), now]), now], axis=1)
    best = net.node("ArgMax", [now], axis=1)
    classes = net.g.constant(np.arange(2 if binary else 3))
    label = net.g.node("ArrayFeatureExtractor", [classes, best], domain="ai.onnx.ml")
    label = net.node("Reshape", [label, net.g.constant([-1], np.int64)])
    label = net.node("Cast", [net.node("Cast", [label], to=7)], to=7)
    scores = 2 if binary else 3
    return net.g.model([("x", "FLOAT", [None, 6])], [(label, "INT64", [None]), (now, "FLOAT", [None, scores])])


@pytest.mark.parametrize("binary", [False, True])
def test_an_answer_read_off_a_network_is_passed_over(binary: bool) -> None:
    import onnxruntime as ort

    data = classifier(binary)
    read = parse_onnx(data)
    net = read.network
    assert isinstance(net, FloatNetwork)
    x = np.random.default_rng(1).normal(size=(200, 6)).astype(np.float32)
    logits = net.run(x)
    labels = ort.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    assert np.array_equal(logits[:, 0] > 0 if binary else logits.argmax(axis=1), labels)
    assert len({*labels.tolist()}) > 1
    passed = [line.where for line in read.report if line.how == "passed over"]
    assert len(passed) == (9 if binary else 7)


def test_the_scaler_of_scikit_learn() -> None:
    import onnxruntime as ort

    net = Net("FLOAT")
    now = net.g.node("Scaler", ["x"], domain="ai.onnx.ml", offset=[0.5, -1.0, 2.0], scale=[2.0, 0.25, 3.0])
    now = net.node("Add", [net.node("MatMul", [now, net.c(3, 2)]), net.c(1, 2)])
    data = net.g.model([("x", "FLOAT", ["n", 3])], [(now, "FLOAT", ["n", 2])])
    x = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
    y = ort.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    read = parse_onnx(data).network
    assert isinstance(read, FloatNetwork)
    assert np.abs(read.run(x) - y).max() < 1e-4


def test_quantized_networks_are_refused_with_the_way_to_go(tmp_path: Any) -> None:
    from frameworks.onnx_models import build, random_model
    from intnn.formats.onnx import read_float

    path = tmp_path / "quantized.onnx"
    path.write_bytes(build(random_model(1, "Gemm")[0]))
    with pytest.raises(IntnnError) as caught:
        read_float(path)
    assert caught.value.code == "onnx.operator"
    assert "intnn import" in caught.value.repair
