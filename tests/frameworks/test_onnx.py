"""Quantized networks from ONNX: the import and onnxruntime give the same integers.

What is random comes from seeds. Two precautions make agreement evidence: models are made to put accumulators on ties
and next to them, and in many of them other roundings must give other outputs; and where onnxruntime is said to compute
on integers, the graph that it ran is looked at.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frameworks.onnx_models import (
    FORMS,
    RANGES,
    Array,
    Graph,
    Layer,
    Model,
    build,
    onnxruntime,
    operators,
    random_model,
    saturates,
)
from intnn import Network, run
from intnn.errors import InputError, IntnnError
from intnn.formats.onnx import parse_onnx, read_onnx, read_quantized
from intnn.model import Q31
from intnn.profiles import with_profile

pytest.importorskip("onnx", reason="the package onnx is not installed")
pytest.importorskip("onnxruntime", reason="the package onnxruntime is not installed")
pytestmark = pytest.mark.frameworks

INTEGERS = {"QGemm", "QLinearMatMul", "QuantizeLinear", "DequantizeLinear"}  # the last two at the ends only
OTHERS = ("single", "double", "f64away")

FUSED = [  # what onnxruntime computes on integers: form, type, clip, float ends, float bias
    *((form, kind, "none", ends, False) for form in FORMS[:2] for kind in RANGES for ends in (False, True)),
    *((form, "uint8", clip, False, False) for form in FORMS[2:] for clip in ("none", "least")),
    *((form, kind, clip, True, False) for form in FORMS[2:] for kind in RANGES for clip in ("none", "least")),
    *((form, kind, "none", True, True) for form in ("Gemm", "MatMul+Add") for kind in RANGES),
]


MODELS = 12  # of each group


@pytest.fixture(autouse=True, scope="module")
def _right_accumulators() -> None:
    if saturates():
        pytest.skip("onnxruntime saturates products on this machine: x86 without VNNI")


def imported(data: bytes, profile: str | None = None) -> Network:
    net = parse_onnx(data, profile=profile).network
    assert isinstance(net, Network)
    return net


def require_equal(y: Array, expected: Array, what: object) -> None:
    assert y.shape == expected.shape
    assert y.dtype == expected.dtype
    wrong = np.argwhere(y != expected)
    if len(wrong):
        row, output = (int(i) for i in wrong[0])
        values = f"onnxruntime says {y[row, output]}, intnn {expected[row, output]}"
        raise AssertionError(f"{what}: {len(wrong)} of {y.size} outputs differ; row {row}, output {output}: {values}")


@pytest.mark.parametrize(("form", "kind", "clip", "ends", "float_bias"), FUSED)
def test_on_integers_every_output_is_equal(
    form: str, kind: str, clip: str, ends: bool, float_bias: bool, tmp_path: Path
) -> None:
    """Nothing differs, while in many of the same models each other rounding does."""
    told, saturated, ran = Counter[str](), 0, str(tmp_path / "ran.onnx")
    for seed in range(MODELS):
        model, x = random_model(seed, form, kind=kind, clip=clip, float_ends=ends, float_bias=float_bias)
        data = build(model)
        net = imported(data)
        y = onnxruntime(model, data, x, ran)
        assert set(operators(ran)) <= INTEGERS
        require_equal(y, run(net, x), f"{form} {kind}, seed {seed}")
        saturated += int(np.isin(y, RANGES[kind]).sum())
        told.update(other for other in OTHERS if np.any(run(with_profile(net, other), x) != y))
    assert min(told[other] for other in OTHERS) >= MODELS // 5, told
    assert saturated > 50


def test_there_are_enough_models() -> None:
    assert len(FUSED) * MODELS >= 200


@pytest.mark.parametrize("form", FORMS[2:])
def test_int8_without_float_ends_is_computed_on_integers_if_asked_for(form: str, tmp_path: Path) -> None:
    """Otherwise onnxruntime turns what lies between the layers into uint8, and computes the first and the last in
    floats, for their two sides have different types."""
    ran, kept = str(tmp_path / "ran.onnx"), 0
    for seed in range(MODELS):
        model, x = random_model(seed, form, kind="int8")
        data = build(model)
        y = onnxruntime(model, data, x, ran, qdqisint8allowed="1")
        assert set(operators(ran)) <= INTEGERS
        require_equal(y, run(imported(data), x), f"{form}, seed {seed}")
        onnxruntime(model, data, x, ran)
        kept += not set(operators(ran)) <= INTEGERS - {"QuantizeLinear", "DequantizeLinear"}
    assert kept >= MODELS // 3


@pytest.mark.parametrize("kind", RANGES)
@pytest.mark.parametrize("clip", ["relu", "clip"])
@pytest.mark.parametrize("form", FORMS[2:])
def test_in_floats_outputs_are_equal_where_floats_are_exact(form: str, clip: str, kind: str, tmp_path: Path) -> None:
    """A clip within the type's range keeps onnxruntime from integers. With scales that are powers of two, products and
    sums below 2^24 are exact in float32, so that no order matters."""
    ran, clamped = str(tmp_path / "ran.onnx"), 0
    for seed in range(MODELS):
        model, x = random_model(seed, form, kind=kind, clip=clip, powers=True)
        data = build(model)
        net = imported(data)
        y = onnxruntime(model, data, x, ran)
        clamped += not set(operators(ran)) <= INTEGERS
        require_equal(y, run(net, x), f"{form} {kind}, seed {seed}")
    assert clamped == MODELS


def test_in_floats_outputs_differ_by_one_at_most_and_seldom() -> None:
    """One layer, scales of any kind: how often, is a matter of the ties; these models are full of them."""
    differ = total = 0
    for seed in range(60):
        model, x = random_model(seed, "Gemm", clip="relu")
        data = build(replace(model, layers=model.layers[:1]))
        y = onnxruntime(model, data, x).astype(int)
        apart = np.abs(y - run(imported(data), x))
        assert apart.max() <= 1
        differ, total = differ + int(apart.sum()), total + apart.size
    assert 0 < differ < total / 50


def test_clips_are_quantized_as_quantizelinear_does() -> None:
    """Half even before the zero point is added: 12.5 and zero point 1 give 13, where XNNPACK's 13.5 gives 14."""
    weights = np.array([[127], [-127]], np.int8)
    differences = 0
    for zero in (-8, -7, 0, 1, 2):
        for six in (0.5, 1.5, 12.5, 13.5):
            scale = np.float32(1 / 16)
            clip = (np.float32(-six / 16), np.float32(six / 16))
            layer = Layer("Gemm", weights, np.float32(1 / 8), zero, scale, np.zeros(2, np.int32), clip)
            model = Model("int8", 0, np.float32(1), (layer,))
            x = np.arange(-128, 128, dtype=np.int8)[:, None]
            net = imported(build(model))
            require_equal(onnxruntime(model, build(model), x), run(net, x), f"{six} and {zero}")
            differences += net.output.max != int(np.rint(np.float32(six + zero)))
    assert differences >= 4


def test_a_clip_between_dequantizelinear_and_quantizelinear() -> None:
    """The same scale on both sides: the clamp of the layer before is narrowed."""
    for clip in ("Relu", (np.float32(-1.3), np.float32(2.05))):
        for zero in (-5, 3):
            g = Graph()
            x_scale, w_scale, y_scale = (g.constant(np.float32(s)) for s in (0.5, 0.25, 0.1))
            zeros = {z: g.constant(np.int8(z)) for z in {0, zero}}
            x = g.node("DequantizeLinear", ["x", x_scale, zeros[0]])
            w = g.node("DequantizeLinear", [g.constant(np.array([[2], [-1]], np.int8)), w_scale])
            y = g.node("QuantizeLinear", [g.node("Gemm", [x, w], transB=1), y_scale, zeros[zero]])
            y = g.node("DequantizeLinear", [y, y_scale, zeros[zero]])
            y = g.node("Relu", [y]) if clip == "Relu" else g.node("Clip", [y, *(g.constant(c) for c in clip)])
            y = g.node("QuantizeLinear", [y, y_scale, zeros[zero]])
            data = g.model([("x", "INT8", ["n", 1])], [(y, "INT8", ["n", 2])])
            net = imported(data)
            every = np.arange(-128, 128, dtype=np.int8)[:, None]
            given = onnxruntime(Model("int8", 0, np.float32(1), ()), data, every)
            require_equal(given, run(net, every), clip)
            assert net.output.min > -128


@pytest.mark.filterwarnings("ignore")  # onnxruntime's tool warns of itself
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("kind", RANGES)
@pytest.mark.parametrize("style", ["QDQ", "QOperator"])
@pytest.mark.parametrize("ops", ["Gemm", "MatMul+Add"])
def test_what_quantize_static_makes(ops: str, style: str, kind: str, per_channel: bool, tmp_path: Path) -> None:
    """A model of floats through onnxruntime's own tools; with MatMul and Add by way of its quant_pre_process."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    rng = np.random.default_rng(5)
    g, now, sizes = Graph(), "x", (6, 16, 16, 3)
    for i, (inputs, outputs) in enumerate(pairwise(sizes)):
        w, b = rng.normal(0, 0.4, (inputs, outputs)), g.constant(rng.normal(size=outputs), np.float32)
        if ops == "Gemm":
            now = g.node("Gemm", [now, g.constant(w.T, np.float32), b], transB=1)
        else:
            now = g.node("Add", [g.node("MatMul", [now, g.constant(w, np.float32)]), b])
        now = g.node("Relu", [now]) if i < 2 else now
    paths = [str(tmp_path / f"{name}.onnx") for name in ("floats", "ready", "quantized")]
    Path(paths[0]).write_bytes(g.model([("x", "FLOAT", ["n", 6])], [(now, "FLOAT", ["n", 3])]))
    quant_pre_process(paths[0], paths[1], skip_symbolic_shape=True)
    samples = rng.normal(size=(64, 6)).astype(np.float32)

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the package has no types
        rows = iter(samples[:, None])

        def get_next(self) -> Any:
            row = next(self.rows, None)
            return None if row is None else {"x": row}

    activations = {"int8": QuantType.QInt8, "uint8": QuantType.QUInt8}[kind]
    quantize_static(
        paths[1],
        paths[2],
        Reader(),
        quant_format=QuantFormat[style],
        activation_type=activations,
        weight_type=QuantType.QInt8,
        per_channel=per_channel,
    )
    net = read_quantized(paths[2]).network
    first, last = net.layers[0].scales, net.layers[-1]
    assert first is not None
    assert last.scales is not None
    assert net.name == "quantized"
    outer = Layer("", last.weights, np.float32(0), last.output.zero_point, np.float32(last.scales.output))
    model = Model(kind, net.input.zero_point, np.float32(first.input), (outer,), float_ends=True)
    x = rng.integers(*RANGES[kind], (500, 6), endpoint=True).astype(kind)
    require_equal(onnxruntime(model, Path(paths[2]).read_bytes(), x), run(net, x), ops)


def test_weights_quantized_in_the_graph_are_refused_until_they_are_folded(tmp_path: Path) -> None:
    """As quantization-aware training exports them; the repair that is named is tried."""
    import onnxruntime as ort

    rng, g = np.random.default_rng(0), Graph()
    x, y = ([g.constant(np.float32(scale)), g.constant(np.int8(zero))] for scale, zero in ((0.1, 0), (0.2, -128)))
    w = [g.constant(np.full(4, 0.02, np.float32)), g.constant(np.zeros(4, np.int8))]
    weights = g.node("QuantizeLinear", [g.constant(rng.normal(size=(4, 3)), np.float32), *w], axis=0)
    now = g.node("DequantizeLinear", [g.node("QuantizeLinear", ["x", *x]), *x])
    weights = g.node("DequantizeLinear", [weights, *w], axis=0)
    now = g.node("Relu", [g.node("Gemm", [now, weights, g.constant(rng.normal(size=4), np.float32)], transB=1)])
    now = g.node("DequantizeLinear", [g.node("QuantizeLinear", [now, *y]), *y])
    data = g.model([("x", "FLOAT", ["n", 3])], [(now, "FLOAT", ["n", 4])])
    with pytest.raises(IntnnError) as caught:
        parse_onnx(data)
    assert caught.value.code == "onnx.operator"
    assert "optimized_model_filepath" in caught.value.repair
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "folded.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    net = read_quantized(tmp_path / "folded.onnx").network
    last = Layer("", net.layers[0].weights, 0, -128, np.float32(0.2))
    model = Model("int8", 0, np.float32(0.1), (last,), float_ends=True)
    rows = rng.integers(-128, 128, (500, 3)).astype(np.int8)
    require_equal(onnxruntime(model, data, rows), run(net, rows), "weights quantized in the graph")


# --- what the import says ------------------------------------------------------------------------------------------


def test_the_report_and_the_integers_are_copied() -> None:
    model, _ = random_model(3, "QGemm", kind="uint8")
    data = build(model)
    read = parse_onnx(data)
    net = read.network
    assert isinstance(net, Network)
    for layer, given in zip(net.layers, model.layers, strict=True):
        assert np.array_equal(layer.weights, given.weights)
        assert np.array_equal(layer.bias, given.bias)  # type: ignore[arg-type]  # QGemm was given one
        assert layer.output.zero_point == given.zero
        assert layer.scales is not None
        assert np.array_equal(layer.scales.weights, given.weight_scale)
        assert layer.scales.output == given.scale
    assert net.input.zero_point == model.zero
    assert net.source.startswith("onnx sha256=")
    hows = {line.where: line.how for line in read.report}
    assert hows["layer 0 weights"] == hows["layer 0 bias"] == hows["layer 0 output"] == hows["input"] == "exact"
    assert hows["layer 0 multiplier, exponent"] == "re-derived"


def test_another_profile_gives_an_int32_network() -> None:
    model, _ = random_model(3, "QGemm")
    net = imported(build(model), profile="single")
    assert net.int32_only
    assert isinstance(net.layers[0].requantize, Q31)
    again = with_profile(imported(build(model)), "single").layers[0].requantize
    assert isinstance(again, Q31)
    assert np.array_equal(net.layers[0].requantize.multiplier, again.multiplier)


def test_a_float_bias_is_said_to_be_approximated() -> None:
    model, _ = random_model(3, "Gemm", float_bias=True)
    lines = {line.where: line for line in parse_onnx(build(model)).report}
    assert lines["layer 0 bias"].how == "approximated"


def test_a_clip_that_onnxruntime_computes_in_floats_is_noted() -> None:
    for clip, noted in (("relu", True), ("least", False)):
        model, _ = random_model(3, "Gemm", clip=clip)
        assert any(line.how == "note" for line in parse_onnx(build(model)).report) == noted


def test_a_network_of_floats_is_refused_with_the_way_to_go(tmp_path: Path) -> None:
    g = Graph()
    y = g.node("Gemm", ["x", g.constant(np.ones((2, 2), np.float32))])
    path = tmp_path / "floats.onnx"
    path.write_bytes(g.model([("x", "FLOAT", ["n", 2])], [(y, "FLOAT", ["n", 2])]))
    with pytest.raises(IntnnError) as caught:
        read_quantized(path)
    assert caught.value.code == "onnx.operator"
    assert "intnn quantize" in caught.value.repair
    assert caught.value.where.startswith(str(path))
    assert not isinstance(read_onnx(path).network, Network)


def test_floats_are_no_input_of_a_quantized_network() -> None:
    model, _ = random_model(3, "QGemm", float_ends=True)
    net = imported(build(model))
    with pytest.raises(InputError):
        run(net, np.zeros((1, net.sizes[0])))
