"""The TFLite importer: what it copies, what it derives, what it refuses.

Expected values are computed below from the description given to the builder, in plain Python integers and floats and
with nothing of `intnn`: the derivation of multipliers with fractions, the engines' rules with unbounded integers.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tflite
import tflite_builder
from tflite_builder import Layer, Model, Step, build

import intnn
from intnn.errors import IntnnError, UsageError
from intnn.formats import tflite as importer
from intnn.formats.report import Import
from intnn.formats.tflite import import_tflite, parse_tflite, read_tflite
from intnn.profiles import activation_bounds

RECORDED = Path(__file__).resolve().parents[2] / "shared" / "models"

INT32_PROFILES = ("single", "double", "double-f32", "upup", "reduced15")
ORACLE_PROFILES = (*INT32_PROFILES, "f64away", "fp32even")

RNG = np.random.default_rng(20250704)


def random_weights(outputs: int, inputs: int) -> Any:
    return RNG.integers(-128, 128, (outputs, inputs)).astype(np.int8)


W43 = random_weights(4, 3)
W24 = random_weights(2, 4)

PLAIN = Model(
    input_scale=0.023,
    input_zero_point=-11,
    layers=(
        Layer(W43, 0.0071, 0.041, -128, [1000, -2000, 300, -4], "RELU"),
        Layer(W24, 0.013, 0.19, 17, [-77, 12345]),
    ),
)
PER_CHANNEL = Model(
    input_scale=0.023,
    input_zero_point=5,
    layers=(
        Layer(W43, (0.0071, 0.0003, 0.5, 0.02), 0.041, -20, [1000, -2000, 300, -4], "RELU6"),
        Layer(W24, (0.013, 0.00007), 0.19, 17),
    ),
)
TIES = Model(  # real multipliers of 1/4: every rule shows
    input_scale=1.0,
    layers=(Layer(W43 // 43, 1.0, 4.0, 3, [0, 1, 2, 3]), Layer(W24 // 43, 0.5, 2.0, -1, [1, -1])),
)
WIDE = Model(
    input_scale=0.0004,
    activation_type="int16",
    layers=(
        Layer(W43, 0.0071, 0.00091, 0, [10**6, -20000, 300, -4], "RELU"),
        Layer(W24, (0.013, 0.02), 0.0019, 0, [-77, 12345]),
    ),
)
MODELS = {"plain": PLAIN, "per-channel": PER_CHANNEL, "ties": TIES, "int16": WIDE}


def dense(model: Model) -> tuple[Layer, ...]:
    return tuple(layer for layer in model.layers if isinstance(layer, Layer))


def all_layers(input_shape: tuple[int, ...] | None = None, **changes: Any) -> Model:
    """PLAIN with the fields of every layer changed."""
    layers = tuple(dataclasses.replace(layer, **changes) for layer in dense(PLAIN))
    return dataclasses.replace(PLAIN, input_shape=input_shape, layers=layers)


def reshaped(shapes: list[tuple[int, ...] | None], input_shape: tuple[int, ...] | None = None) -> Model:
    """PLAIN with a RESHAPE before, between and after its layers, where ``shapes`` has one."""
    steps = [None if shape is None else Step("RESHAPE", shape) for shape in shapes]
    chain = (steps[0], dense(PLAIN)[0], steps[1], dense(PLAIN)[1], steps[2])
    return dataclasses.replace(PLAIN, input_shape=input_shape, layers=tuple(s for s in chain if s is not None))


def written(changes: dict[tuple[str, int], Callable[[Any], dict[str, Any]]], model: Model = PLAIN) -> bytes:
    """The model's bytes, but the n-th table of a kind gets the fields that ``changes[kind, n]`` makes with the writer.

    In PLAIN the tensors are 0 input, 1 weights, 2 bias, 3 output, 4 weights, 5 bias, 6 output; buffer n + 1 is tensor
    n's, quantization n is tensor n's, and there are two operators.
    """

    class Writer(tflite_builder._Writer):
        made: dict[str, list[int]]  # positions of the tables written so far, by kind

        def table(self, kind: str, **fields: Any) -> int:
            self.made = getattr(self, "made", {})
            made = self.made.setdefault(kind, [])
            made.append(-1)
            at = len(made) - 1
            if (kind, at) in changes:
                fields |= changes[kind, at](self)
            made[at] = super().table(kind, **fields)
            return made[at]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tflite_builder, "_Writer", Writer)
        return build(model)


def behind(model: Model) -> bytes:
    """The model with its constants behind the flatbuffer, as files beyond 2 GB have them."""
    tail = b""
    places: list[tuple[int, int]] = []

    class Writer(tflite_builder._Writer):
        def buffer(self, data: bytes | None) -> int:
            nonlocal tail
            if data is None:
                return super().buffer(None)
            places.append((0x1122334455660000 + len(places), len(tail)))
            tail += data
            return self.table("Buffer", Offset=places[-1][0], Size=len(data))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tflite_builder, "_Writer", Writer)
        root = build(model)
    for mark, at in places:
        assert root.count(struct.pack("<Q", mark)) == 1
        root = root.replace(struct.pack("<Q", mark), struct.pack("<Q", len(root) + at))
    return root + tail


def report(imported: Import[intnn.Network]) -> list[str]:
    return [str(line) for line in imported.report]


def same(a: intnn.Network, b: intnn.Network) -> bool:
    """Whether two networks are equal but for their source."""
    return intnn.dumps(dataclasses.replace(a, source="")) == intnn.dumps(dataclasses.replace(b, source=""))


# --- expected values, with nothing of intnn ------------------------------------------------------------------------


def f32(value: float) -> float:
    """The float32 nearest to a float64."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def expected_multiplier(real: float) -> tuple[int, int]:
    """QuantizeMultiplier by its definition: real = q * 2^e, q in [1/2, 1), m = q * 2^31 rounded half away."""
    exact, exponent = Fraction(real), 0
    while exact >= 1:
        exact, exponent = exact / 2, exponent + 1
    while exact < Fraction(1, 2):
        exact, exponent = exact * 2, exponent - 1
    multiplier = math.floor(exact * 2**31 + Fraction(1, 2))
    if multiplier == 2**31:
        multiplier, exponent = 2**30, exponent + 1
    return (multiplier, exponent) if exponent >= -31 else (0, 0)


def layer_scales(model: Model) -> Iterator[tuple[Layer, float, list[float], float]]:
    """Every layer with its scales as the float32 values that the file holds."""
    source = f32(model.input_scale)
    for layer in model.layers:
        if isinstance(layer, Layer):
            weights = np.atleast_1d(np.asarray(layer.weight_scale)).tolist()
            yield layer, source, [f32(w) for w in weights], f32(layer.output_scale)
            source = f32(layer.output_scale)


def expected_multipliers(profile: str, source: float, weights: list[float], output: float) -> list[tuple[int, int]]:
    products = [source * w for w in weights]  # exact: two significands of 24 bits
    if len(weights) == 1 and profile in ("double-f32", "upup"):
        products = [f32(products[0])]
    reals = [product / output for product in products]
    pairs = [expected_multiplier(real) for real in reals]
    if profile == "reduced15":
        pairs = [(0x7FFF0000 if m >= 0x7FFF0000 else (m + 2**15) // 2**16 * 2**16, e) for m, e in pairs]
    return pairs


def half_away(value: float) -> int:
    exact = Fraction(value)
    return math.floor(exact + Fraction(1, 2)) if exact >= 0 else -math.floor(-exact + Fraction(1, 2))


def expected_bounds(profile: str, kind: str, layer: Layer) -> tuple[int, int]:
    low, high = {"int8": (-128, 127), "int16": (-32768, 32767)}[kind]
    if layer.activation == "NONE":
        return low, high
    if layer.activation == "RELU":
        return layer.output_zero_point, high
    six = f32(6 / f32(layer.output_scale))
    if profile == "fp32even":
        return layer.output_zero_point, min(high, round(f32(six + layer.output_zero_point)))
    return layer.output_zero_point, min(high, layer.output_zero_point + half_away(six))


def expected_rescale(profile: str, acc: int, source: float, weight: float, output: float, pair: tuple[int, int]) -> int:
    m, e = pair
    match profile:
        case "single" | "reduced15":
            return (acc * m + (1 << (30 - e))) >> (31 - e)
        case "double" | "double-f32" | "upup":
            high = ((acc << max(e, 0)) * m + (1 << 30)) >> 31
            right = max(-e, 0)
            if right == 0:
                return high
            return (high + (1 << (right - 1)) - (1 if profile != "upup" and high < 0 else 0)) >> right
        case "f64away":
            return half_away(float(acc) * (source * weight / output))
        case _:
            scale = f32(f32(source * weight) / output)
            return round(f32(f32(float(acc)) * scale))


def expected_output(model: Model, profile: str, x: list[int]) -> list[int]:
    """The network's answer to one input, neuron by neuron."""
    zero_point = model.input_zero_point
    for layer, source, weights, output in layer_scales(model):
        pairs = expected_multipliers(profile, source, weights, output)
        low, high = expected_bounds(profile, model.activation_type, layer)
        y = []
        for n, row in enumerate(layer.weights.tolist()):
            acc = sum((a - zero_point) * w for a, w in zip(x, row, strict=True))
            acc += 0 if layer.bias is None else int(layer.bias[n])
            weight, pair = (weights[0], pairs[0]) if len(weights) == 1 else (weights[n], pairs[n])
            v = expected_rescale(profile, acc, source, weight, output, pair) + layer.output_zero_point
            y.append(min(max(v, low), high))
        x, zero_point = y, layer.output_zero_point
    return x


def inputs_of(model: Model) -> Any:
    low, high = {"int8": (-128, 127), "int16": (-32768, 32767)}[model.activation_type]
    x = RNG.integers(low, high + 1, (60, 3))
    return np.concatenate([x, RNG.integers(-40, 40, (60, 3)), [[low] * 3, [high] * 3, [low, high, low]]])


# --- what is imported ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", INT32_PROFILES)
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_every_field_is_the_descriptions(model: Model, profile: str) -> None:
    net = parse_tflite(build(model), profile=profile).network
    assert (net.input.type, net.input.zero_point) == (model.activation_type, model.input_zero_point)
    assert (net.input.min, net.input.max) == ((-128, 127) if model.activation_type == "int8" else (-32768, 32767))
    assert len(net.layers) == len(model.layers)
    for imported, (layer, source, weights, output) in zip(net.layers, layer_scales(model), strict=True):
        assert imported.weights.tolist() == layer.weights.tolist()
        assert imported.bias.tolist() == ([0] * len(layer.weights) if layer.bias is None else list(layer.bias))
        pairs = expected_multipliers(profile, source, weights, output)
        rule: Any = imported.requantize
        found = list(zip(np.atleast_1d(rule.multiplier).tolist(), np.atleast_1d(rule.exponent).tolist(), strict=True))
        assert found == pairs
        assert rule.rounding == {"reduced15": "single", "double-f32": "double"}.get(profile, profile)
        assert (imported.output.min, imported.output.max) == expected_bounds(profile, model.activation_type, layer)
        assert (imported.output.type, imported.output.zero_point) == (model.activation_type, layer.output_zero_point)
        assert imported.scales is not None
        assert (imported.scales.input, imported.scales.output) == (source, output)
        assert np.atleast_1d(imported.scales.weights).tolist() == weights


@pytest.mark.parametrize("profile", ORACLE_PROFILES)
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_outputs_are_those_of_the_rule(model: Model, profile: str) -> None:
    net = parse_tflite(build(model), profile=profile).network
    x = inputs_of(model)
    expected = [expected_output(model, profile, row) for row in x.tolist()]
    assert intnn.run(net, x).tolist() == expected
    again = intnn.loads(intnn.dumps(net))
    assert intnn.run(again, x, engine="fast").tolist() == expected


def test_the_profiles_differ_on_these_models() -> None:
    """Otherwise the test above could not tell one from another."""
    x = inputs_of(TIES)
    nets = [
        parse_tflite(build(TIES), profile=p).network for p in ORACLE_PROFILES if p not in ("double-f32", "reduced15")
    ]
    answers = {intnn.run(net, x).tobytes() for net in nets}
    assert len(answers) == len(nets)


@pytest.mark.parametrize(
    ("profile", "scale", "zero_point", "top"),
    [
        # measured with one neuron driven far beyond 6: TFLM, LiteRT without delegate and BUILTIN_REF; then XNNPACK
        ("double", 4.0, -7, -5),
        ("fp32even", 4.0, -7, -6),
        ("double", 4.0, -6, -4),
        ("fp32even", 4.0, -6, -4),
        ("upup", 12.0, -7, -6),
        ("fp32even", 12.0, -7, -6),
        ("f64away", 12.0, -6, -5),
        ("fp32even", 12.0, -6, -6),
        ("double", 0.0234, -128, 127),
        ("double", 0.0236, -128, 126),
        ("double", 1e-45, 0, 127),
        ("fp32even", 1e-45, 0, 127),
        ("single", 1e30, 3, 3),
    ],
)
def test_the_upper_bound_of_relu6(profile: str, scale: float, zero_point: int, top: int) -> None:
    assert activation_bounds(profile, "RELU6", "int8", zero_point, scale) == (zero_point, top)


@pytest.mark.parametrize("omit", [True, False])
def test_a_missing_bias_is_zero(omit: bool) -> None:
    layers = tuple(dataclasses.replace(layer, bias=None, omit_bias_slot=omit) for layer in dense(PLAIN))
    imported = parse_tflite(build(dataclasses.replace(PLAIN, layers=layers)), profile="double")
    assert [layer.bias.tolist() for layer in imported.network.layers] == [[0] * 4, [0] * 2]
    assert "layer 1 bias: exact: absent, so zero" in report(imported)


@pytest.mark.parametrize(
    ("variant", "passed_over"),
    [
        (dataclasses.replace(PLAIN, float_ends=True), 2),
        (dataclasses.replace(PLAIN, dynamic_batch=True), 0),
        (dataclasses.replace(PLAIN, input_shape=(1, 3, 1)), 0),
        (reshaped([(1, 3), (1, 2, 2), (2,)], input_shape=(1, 1, 3)), 3),
        (dataclasses.replace(reshaped([None, (4, 1), None]), float_ends=True), 3),
        (dataclasses.replace(reshaped([(3,), None, (2, 1)]), float_ends=True), 4),
        (all_layers(weight_axis=1), 0),
        (all_layers(keep_num_dims=True), 0),
        (all_layers(keep_num_dims=True, input_shape=(1, 1, 3)), 0),
    ],
    ids=[
        "float ends",
        "dynamic batch",
        "image",
        "reshapes",
        "reshape and float ends",
        "reshapes and float ends",
        "axis of one scale",
        "keep_num_dims",
        "keep 3-D",
    ],
)
def test_what_does_not_compute_changes_nothing(variant: Model, passed_over: int) -> None:
    imported = parse_tflite(build(variant), profile="double")
    plain = parse_tflite(build(PLAIN), profile="double").network
    assert same(imported.network, plain)
    assert [line.how for line in imported.report].count("passed over") == passed_over


def test_constants_behind_the_flatbuffer_are_found() -> None:
    content = behind(PLAIN)
    net = parse_tflite(content, profile="double").network
    assert same(net, parse_tflite(build(PLAIN), profile="double").network)
    with pytest.raises(IntnnError) as caught:
        parse_tflite(content[:-1], profile="double")
    assert caught.value.code == "tflite.file"


def test_name_and_source_of_the_network(tmp_path: Path) -> None:
    path = tmp_path / "mod\u00e9le 1.tflite"
    path.write_bytes(build(PLAIN))
    net = import_tflite(path, profile="upup")
    assert net.name == "mod?le 1"
    digest = hashlib.sha256(build(PLAIN)).hexdigest()
    assert net.source == f"tflite sha256={digest}"


# --- the report ----------------------------------------------------------------------------------------------------


def test_the_report_accounts_for_every_field() -> None:
    imported = parse_tflite(build(dataclasses.replace(PLAIN, float_ends=True)), profile="double")
    (first, source, weights, output), (second, source2, weights2, output2) = layer_scales(PLAIN)
    assert report(imported) == [
        "operator 0 (QUANTIZE): passed over: the network's input is the int8 tensor",
        f"input: exact: int8, zero point -11, scale {source:.9g}",
        f"layer 0 weights: exact: int8 [4, 3], scale {weights[0]:.9g}",
        "layer 0 bias: exact: int32 [4]",
        f"layer 0 output: exact: int8, zero point -128, scale {output:.9g}",
        "layer 0 activation: re-derived: min -128, max 127 from RELU [foreign.activation-bounds]",
        "layer 0 multiplier, exponent: re-derived: {}, {} from the scales"
        " [foreign.real-multiplier] [foreign.quantize-multiplier]".format(
            *expected_multipliers("double", source, weights, output)[0]
        ),
        f"layer 1 weights: exact: int8 [2, 4], scale {weights2[0]:.9g}",
        "layer 1 bias: exact: int32 [2]",
        f"layer 1 output: exact: int8, zero point 17, scale {output2:.9g}",
        "layer 1 activation: re-derived: min -128, max 127 from NONE [foreign.activation-bounds]",
        "layer 1 multiplier, exponent: re-derived: {}, {} from the scales"
        " [foreign.real-multiplier] [foreign.quantize-multiplier]".format(
            *expected_multipliers("double", source2, weights2, output2)[0]
        ),
        "operator 3 (DEQUANTIZE): passed over: the network's output is the int8 tensor",
    ]
    assert (first, second) == dense(PLAIN)


def test_the_report_of_other_requantizations() -> None:
    foreign = report(parse_tflite(build(PLAIN), profile="fp32even"))
    none = "re-derived: none: the rule computes with the scales themselves [foreign.fp32even]"
    assert f"layer 0 multiplier, exponent: {none}" in foreign
    channels = report(parse_tflite(build(PER_CHANNEL), profile="upup"))
    assert "layer 0 weights: exact: int8 [4, 3], 4 scales" in channels
    assert any(line.startswith("layer 0 multiplier, exponent: re-derived: 4 pairs from") for line in channels)
    reduced = report(parse_tflite(build(WIDE), profile="reduced15"))
    assert sum(line.endswith("[foreign.reduced15]") for line in reduced) == 2


def test_a_bias_scale_of_its_own_is_noted_and_ignored() -> None:
    imported = parse_tflite(build(all_layers(bias_scale=0.25)), profile="double")
    own = "note: its own scale 0.25 is ignored, as by engines: it is taken at input scale * weight scale"
    assert [line for line in report(imported) if "note" in line] == [f"layer {n} bias: {own}" for n in (0, 1)]
    plain = parse_tflite(build(PLAIN), profile="double").network
    assert same(imported.network, plain)


@pytest.mark.parametrize(
    ("profile", "bias_type", "stated", "known"),
    [
        # measured against tflite_micro of 2026-10 and ai-edge-litert 2.3.0, x86-64
        ("reduced15", "int64", "FLOAT32", True),
        ("reduced15", "int64", "INT64", True),
        ("f64away", "int64", "FLOAT32", True),
        ("double", "int64", "FLOAT32", False),
        ("upup", "int64", "FLOAT32", False),
        ("double", "int32", "FLOAT32", True),
        ("upup", "int32", "FLOAT32", True),
        ("f64away", "int32", "FLOAT32", False),
        ("f64away", "int32", "INT32", True),
        ("reduced15", "int32", "INT32", False),
        ("reduced15", None, "FLOAT32", True),
        ("double", None, "FLOAT32", False),
        ("double", None, "INT32", True),
        ("fp32even", None, "INT32", False),
    ],
)
def test_int16_profiles_that_no_engine_has_are_noted(
    profile: str, bias_type: str | None, stated: str, known: bool
) -> None:
    changes: dict[str, Any] = {"quantized_bias_type": stated}
    changes |= {"bias": None} if bias_type is None else {"bias_type": bias_type}
    layers = tuple(dataclasses.replace(layer, **changes) for layer in dense(WIDE))
    lines = report(parse_tflite(build(dataclasses.replace(WIDE, layers=layers)), profile=profile))
    notes = [line for line in lines if "no known engine runs int16 activations" in line and f"`{profile}`:" in line]
    assert len(notes) == (0 if known else 2)


def test_reduced15_on_int8_is_noted() -> None:
    lines = report(parse_tflite(build(PLAIN), profile="reduced15"))
    assert lines.count("layer 0: note: no known engine runs int8 activations with `reduced15`") == 1


# --- what is refused -----------------------------------------------------------------------------------------------


def rewire(operator: int, **ends: list[int]) -> bytes:
    """PLAIN with other tensor numbers as Inputs or Outputs of an operator, or of the subgraph (-1)."""
    place = ("SubGraph", 0) if operator < 0 else ("Operator", operator)
    return written({place: lambda w: {end: w.numbers(indices, "int32") for end, indices in ends.items()}})


def append(inputs: list[int], outputs: list[int], times: int = 1) -> bytes:
    """PLAIN with more FULLY_CONNECTED operators, without options, behind its own."""

    def operators(w: Any) -> dict[str, Any]:
        ends = {"Inputs": w.numbers(inputs, "int32"), "Outputs": w.numbers(outputs, "int32")}
        return {"Operators": w.offsets([*w.made["Operator"], *[w.table("Operator", **ends)] * times])}

    return written({("SubGraph", 0): operators})


def tensor(index: int, model: Model = PLAIN, **fields: Any) -> bytes:
    """The model with fields of a tensor replaced: Type by name, Shape and ShapeSignature by their numbers."""

    def change(w: Any) -> dict[str, Any]:
        made = {
            name: w.numbers(value, "int32") if name.startswith("Shape") else value for name, value in fields.items()
        }
        return made | ({"Type": getattr(tflite.TensorType, fields["Type"])} if "Type" in fields else {})

    return written({("Tensor", index): change}, model)


def data(index: int, content: bytes) -> bytes:
    """PLAIN with other bytes in the buffer of a tensor."""
    return written({("Buffer", index + 1): lambda w: {"Data": w.builder.CreateByteVector(content)}})


def quantization(index: int, **fields: Any) -> bytes:
    """PLAIN with a tensor's Scale, ZeroPoint or QuantizedDimension replaced."""
    kinds = {"Scale": "float32", "ZeroPoint": "int64"}

    def change(w: Any) -> dict[str, Any]:
        return {name: w.numbers(v, kinds[name]) if name in kinds else v for name, v in fields.items()}

    return written({("QuantizationParameters", index): change})


def chain(*layers: Layer | Step, **fields: Any) -> bytes:
    return build(dataclasses.replace(PLAIN, layers=layers, **fields))


def custom(w: Any) -> dict[str, Any]:
    return {
        "DeprecatedBuiltinCode": tflite.BuiltinOperator.CUSTOM,
        "BuiltinCode": tflite.BuiltinOperator.CUSTOM,
        "CustomCode": w.builder.CreateString("Mine\n\u00e9" + "x" * 99),
    }


FIRST, SECOND = dense(PLAIN)
FLOAT = dataclasses.replace(PLAIN, activation_type="float32")
WIDE_BIAS = dataclasses.replace(dense(WIDE)[1], bias=[0, 2**31])

REFUSED: dict[str, tuple[bytes, str, list[str]]] = {
    # the file
    "empty": (b"", "tflite.file", ["identifier is ''"]),
    "text": (b"some text, not a model", "tflite.file", ["identifier is ' tex'"]),
    "identifier": (build(dataclasses.replace(PLAIN, file_identifier=b"TFL2")), "tflite.file", ["'TFL2'"]),
    "header alone": (build(PLAIN)[:8], "tflite.file", ["model: damaged"]),
    "truncated": (build(PLAIN)[:300], "tflite.file", ["damaged"]),
    "root beyond the end": (b"\xff\xff\xff\x7fTFL3" + bytes(40), "tflite.file", ["damaged"]),
    "table before the beginning": (struct.pack("<I4si", 8, b"TFL3", 100) + bytes(40), "tflite.file", ["damaged"]),
    "version": (build(dataclasses.replace(PLAIN, schema_version=2)), "tflite.field", ["version is 2"]),
    "no such tensor": (rewire(0, Inputs=[0, 99, 2]), "tflite.file", ["tensor 99 is not there"]),
    "negative tensor": (rewire(0, Inputs=[0, -1, 2]), "tflite.file", ["tensor -1 is not there"]),
    "no such buffer": (tensor(1, Buffer=50), "tflite.file", ["buffer 50 is not there"]),
    "no such code": (written({("Operator", 0): lambda w: {"OpcodeIndex": 7}}), "tflite.file", ["opcode_index is 7"]),
    "buffer size": (
        written({("Buffer", 2): lambda w: {"Offset": 8, "Size": 2**63}}),
        "tflite.file",
        ["tensor 1", "damaged"],
    ),
    # the graph
    "subgraphs": (build(dataclasses.replace(PLAIN, subgraphs=2)), "tflite.field", ["subgraphs are 2"]),
    "two outputs": (build(dataclasses.replace(PLAIN, expose_layers=True)), "tflite.field", ["outputs are 2 tensors"]),
    "two inputs": (
        chain(dataclasses.replace(FIRST, weights_constant=False)),
        "tflite.field",
        ["inputs are 2 tensors"],
    ),
    "no operators": (
        written({("SubGraph", 0): lambda w: {"Operators": w.offsets([]), "Outputs": w.numbers([0], "int32")}}),
        "tflite.operator",
        ["no FULLY_CONNECTED"],
    ),
    "output in the middle": (rewire(-1, Outputs=[3]), "tflite.field", ["output is tensor 3"]),
    "leftover operator": (
        append([0, 1], [3]),
        "tflite.field",
        ["operator 2 (FULLY_CONNECTED)", "inputs begin with [0]", "tensor 6"],
    ),
    "a cycle": (append([6, 1], [0]), "tflite.field", ["tensor 0 'input'", "written twice"]),
    "in place": (rewire(1, Outputs=[3]), "tflite.field", ["tensor 3 'layer0/output'", "written twice"]),
    "two results": (
        rewire(1, Outputs=[6, 3]),
        "tflite.field",
        ["operator 1 (FULLY_CONNECTED)", "outputs are 2 tensors"],
    ),
    "no data input": (rewire(0, Inputs=[]), "tflite.field", ["inputs begin with []"]),
    "four inputs": (rewire(0, Inputs=[0, 1, 2, 2]), "tflite.field", ["inputs are 4 tensors"]),
    # operators
    "softmax": (chain(FIRST, Step("SOFTMAX")), "tflite.operator", ["operator 1 (SOFTMAX)", "not supported"]),
    "relu": (chain(FIRST, Step("RELU"), SECOND), "tflite.operator", ["operator 1 (RELU)"]),
    "convolution": (chain(dataclasses.replace(FIRST, operator="CONV_2D")), "tflite.operator", ["(CONV_2D)"]),
    "squeeze": (chain(FIRST, Step("SQUEEZE")), "tflite.operator", ["(SQUEEZE)"]),
    "custom": (written({("OperatorCode", 0): custom}), "tflite.operator", ["operator 0 (CUSTOM 'Mine???xxx"]),
    "unknown operator": (
        written({("OperatorCode", 0): lambda w: {"BuiltinCode": 30000}}),
        "tflite.operator",
        ["operator 0 (number 30000)"],
    ),
    "requantizing QUANTIZE": (
        chain(FIRST, Step("QUANTIZE", output_scale=0.5), SECOND),
        "tflite.operator",
        ["operator 1 (QUANTIZE)", "int8 to int8 after 1 layers"],
    ),
    "QUANTIZE to uint8": (
        tensor(0, dataclasses.replace(PLAIN, float_ends=True), Type="UINT8"),
        "tflite.field",
        ["tensor 0 'input'", "type is uint8"],
    ),
    "DEQUANTIZE first": (
        chain(Step("DEQUANTIZE", output_type="float32"), FIRST),
        "tflite.operator",
        ["operator 0 (DEQUANTIZE)", "after 0 layers"],
    ),
    "layer after DEQUANTIZE": (
        chain(FIRST, Step("DEQUANTIZE", output_type="float32"), SECOND),
        "tflite.field",
        ["operator 2 (FULLY_CONNECTED)", "float32 to int8"],
    ),
    "reshape that drops": (chain(FIRST, Step("RESHAPE", (1, 3))), "tflite.field", ["operator 1 (RESHAPE)", "[1, 3]"]),
    "reshape that requantizes": (
        chain(FIRST, Step("RESHAPE", output_scale=0.5), SECOND),
        "tflite.field",
        ["operator 1 (RESHAPE)", "scale 0.5"],
    ),
    "reshape to a computed shape": (
        tensor(4, dataclasses.replace(PLAIN, layers=(FIRST, Step("RESHAPE"))), Buffer=0),
        "tflite.field",
        ["operator 1 (RESHAPE)", "not constant"],
    ),
    # types
    "float model": (build(FLOAT), "tflite.field", ["operator 0 (FULLY_CONNECTED)", "float32 to float32"]),
    "uint8 model": (
        build(dataclasses.replace(PLAIN, activation_type="uint8", input_zero_point=3)),
        "tflite.field",
        ["tensor 0 'input'", "type is uint8"],
    ),
    "hybrid": (tensor(3, Type="FLOAT32"), "tflite.field", ["int8 to float32"]),
    "int8 to int16": (tensor(3, all_layers(output_zero_point=0), Type="INT16"), "tflite.field", ["int8 to int16"]),
    "uint8 weights": (tensor(1, Type="UINT8"), "tflite.field", ["tensor 1 'layer0/weights'", "type is uint8"]),
    "int4 weights": (tensor(1, Type="INT4"), "tflite.field", ["tensor 1 'layer0/weights'", "type is int4"]),
    "int16 weights": (
        chain(dataclasses.replace(FIRST, weights=W43.astype(np.int16))),
        "tflite.field",
        ["type is int16"],
    ),
    "float bias": (
        chain(dataclasses.replace(FIRST, bias_type="float32")),
        "tflite.field",
        ["tensor 2 'layer0/bias'", "type is float32"],
    ),
    "int64 bias on int8": (
        chain(dataclasses.replace(FIRST, bias_type="int64")),
        "tflite.field",
        ["tensor 2 'layer0/bias'", "type is int64"],
    ),
    "int64 bias beyond int32": (
        build(dataclasses.replace(WIDE, layers=(dense(WIDE)[0], WIDE_BIAS))),
        "tflite.field",
        ["tensor 5 'layer1/bias'", "neuron 1 is 2147483648"],
    ),
    "bias type stated wrongly": (
        build(dataclasses.replace(WIDE, layers=(dataclasses.replace(dense(WIDE)[0], quantized_bias_type="INT32"),))),
        "tflite.field",
        ["quantized_bias_type is INT32"],
    ),
    # options
    "activation": (
        chain(dataclasses.replace(FIRST, activation="TANH")),
        "tflite.field",
        ["operator 0 (FULLY_CONNECTED)", "activation is TANH", "NONE, RELU, RELU6"],
    ),
    "relu n1 to 1": (chain(dataclasses.replace(FIRST, activation="RELU_N1_TO_1")), "tflite.field", ["RELU_N1_TO_1"]),
    "weights_format": (
        chain(dataclasses.replace(FIRST, weights_format="SHUFFLED4x16INT8")),
        "tflite.field",
        ["weights_format is SHUFFLED4x16INT8"],
    ),
    "keep_num_dims": (
        tensor(3, all_layers(keep_num_dims=True, input_shape=(1, 3, 1)), Shape=(1, 4)),
        "tflite.field",
        ["operator 0 (FULLY_CONNECTED)", "keep_num_dims", "[1, 3, 1]"],
    ),
    "options of another operator": (
        written({("Operator", 0): lambda w: {"BuiltinOptionsType": 1}}),
        "tflite.field",
        ["operator 0 (FULLY_CONNECTED)", "Conv2DOptions"],
    ),
    # shapes
    "batch of 2": (chain(FIRST, input_shape=(2, 3)), "tflite.field", ["tensor 0 'input'", "[2, 3]", "batch 1"]),
    "rows": (chain(FIRST, input_shape=(1, 2, 3)), "tflite.field", ["tensor 0 'input'", "[1, 2, 3]"]),
    "too few inputs": (tensor(0, Shape=(1, 2)), "tflite.field", ["tensor 0 'input'", "[1, 2]"]),
    "output shape": (tensor(3, Shape=(1, 5)), "tflite.field", ["tensor 3 'layer0/output'", "[1, 5]"]),
    "no dimensions": (tensor(0, Shape=()), "tflite.field", ["tensor 0 'input'", "shape is []"]),
    "an empty dimension": (tensor(0, Shape=(0, 3)), "tflite.field", ["tensor 0 'input'", "shape is [0, 3]"]),
    "nine dimensions": (tensor(0, Shape=(1,) * 8 + (3,)), "tflite.field", ["tensor 0", "9 dimensions"]),
    "weights of rank 3": (tensor(1, Shape=(4, 3, 1)), "tflite.field", ["tensor 1 'layer0/weights'", "[4, 3, 1]"]),
    "weights without rows": (tensor(1, Shape=(0, 3)), "tflite.field", ["tensor 1 'layer0/weights'", "[0, 3]"]),
    "huge weights": (tensor(1, Shape=(2**31 - 1, 2**31 - 1)), "tflite.field", ["12 bytes", str((2**31 - 1) ** 2)]),
    "short weights": (data(1, bytes(11)), "tflite.field", ["tensor 1 'layer0/weights'", "11 bytes", "12"]),
    "long bias": (data(2, bytes(17)), "tflite.field", ["tensor 2 'layer0/bias'", "17 bytes", "16"]),
    "bias of another length": (
        chain(dataclasses.replace(FIRST, bias=[1, 2, 3])),
        "tflite.field",
        ["tensor 2 'layer0/bias'", "shape is [3]", "[4]"],
    ),
    "bias of rank 2": (tensor(2, Shape=(1, 4)), "tflite.field", ["tensor 2 'layer0/bias'", "[1, 4]"]),
    "dynamic features": (
        tensor(0, ShapeSignature=(1, -1)),
        "tflite.field",
        ["tensor 0 'input'", "shape_signature is [1, -1]"],
    ),
    "dynamic batch beside a fixed one": (
        tensor(0, Shape=(3, 1), ShapeSignature=(-1, 1)),
        "tflite.field",
        ["tensor 0 'input'", "shape_signature is [-1, 1]"],
    ),
    # constants
    "weights computed": (tensor(1, Buffer=0), "tflite.field", ["tensor 1 'layer0/weights'", "0 bytes"]),
    "bias computed": (tensor(2, Buffer=0), "tflite.field", ["tensor 2 'layer0/bias'", "0 bytes"]),
    "constant activation": (data(3, b"1234"), "tflite.field", ["tensor 3 'layer0/output'", "is constant"]),
    "sparse weights": (
        written({("Tensor", 1): lambda w: {"Sparsity": w.table("SparsityParameters")}}),
        "tflite.field",
        ["tensor 1 'layer0/weights'", "sparse"],
    ),
    "variable input": (tensor(0, IsVariable=True), "tflite.field", ["tensor 0 'input'", "is_variable"]),
    "custom quantization": (
        written(
            {("QuantizationParameters", 1): lambda w: {"DetailsType": 1, "Details": w.table("CustomQuantization")}}
        ),
        "tflite.field",
        ["tensor 1 'layer0/weights'", "not affine"],
    ),
    # quantization
    "unquantized input": (
        build(dataclasses.replace(PLAIN, input_quantized=False)),
        "tflite.field",
        ["tensor 0 'input'", "0 scales"],
    ),
    "unquantized weights": (
        chain(dataclasses.replace(FIRST, unquantized=frozenset({"weights"}))),
        "tflite.field",
        ["tensor 1 'layer0/weights'", "0 scales"],
    ),
    "unquantized output": (
        chain(dataclasses.replace(FIRST, unquantized=frozenset({"output"}))),
        "tflite.field",
        ["tensor 3 'layer0/output'", "0 scales"],
    ),
    "per-channel input": (
        quantization(0, Scale=(0.1, 0.2), ZeroPoint=(0, 0)),
        "tflite.field",
        ["tensor 0 'input'", "2 scales"],
    ),
    "three scales for four rows": (
        quantization(1, Scale=(0.1, 0.2, 0.3)),
        "tflite.field",
        ["tensor 1 'layer0/weights'", "3 scales", "1 or 4"],
    ),
    "scales of the inputs": (
        quantization(1, Scale=(0.1, 0.2, 0.3, 0.4), QuantizedDimension=1),
        "tflite.field",
        ["tensor 1 'layer0/weights'", "quantized_dimension is 1"],
    ),
    "weights zero point": (
        chain(dataclasses.replace(FIRST, weight_zero_point=3)),
        "tflite.field",
        ["tensor 1 'layer0/weights'", "zero_point is 3"],
    ),
    "one channel's zero point": (
        quantization(1, Scale=(0.1, 0.2, 0.3, 0.4), ZeroPoint=(0, 0, -7, 0)),
        "tflite.field",
        ["tensor 1 'layer0/weights'", "zero_point is -7"],
    ),
    "bias zero point": (
        chain(dataclasses.replace(FIRST, bias_zero_point=1)),
        "tflite.field",
        ["tensor 2 'layer0/bias'", "zero_point"],
    ),
    "zero point beyond int8": (
        quantization(0, ZeroPoint=(128,)),
        "tflite.field",
        ["tensor 0 'input'", "zero_point is 128", "[-128, 127]"],
    ),
    "int16 zero point": (
        build(dataclasses.replace(WIDE, input_zero_point=1)),
        "tflite.field",
        ["tensor 0 'input'", "zero_point is 1", "[0, 0]"],
    ),
    "zero scale": (quantization(3, Scale=(0.0,)), "tflite.field", ["tensor 3 'layer0/output'", "scale is 0.0"]),
    "negative scale": (quantization(0, Scale=(-0.5,)), "tflite.field", ["tensor 0 'input'", "scale is -0.5"]),
    "NaN scale": (quantization(1, Scale=(math.nan,)), "tflite.field", ["tensor 1 'layer0/weights'", "scale is nan"]),
    "infinite scale": (
        quantization(1, Scale=(1.0, 2.0, math.inf, 3.0)),
        "tflite.field",
        ["tensor 1 'layer0/weights'", "scale is inf"],
    ),
    # what the network itself refuses
    "multiplier too large": (quantization(1, Scale=(1e30,)), "model.value", ["layer 0", "real multiplier"]),
    "product of scales beyond float32": (
        build(dataclasses.replace(all_layers(weight_scale=1e38, bias_scale=1.0), input_scale=1e38)),
        "model.value",
        ["layer 0", "real multiplier of"],
    ),
    "overflow": (
        chain(dataclasses.replace(FIRST, bias=[0, 0, 2**31 - 1, 0])),
        "model.overflow",
        ["layer 0, neuron 2", "witness"],
    ),
}


@pytest.mark.parametrize(("content", "code", "words"), REFUSED.values(), ids=REFUSED)
def test_refused_by_name(content: bytes, code: str, words: list[str]) -> None:
    with pytest.raises(IntnnError) as caught:
        parse_tflite(content, profile="double")
    message = str(caught.value)
    assert caught.value.code == code, message
    assert [word for word in words if word not in message] == []
    assert caught.value.expected
    assert message.replace("\n", "").isascii()
    assert message.replace("\n", "").isprintable()


@pytest.mark.parametrize("profile", ["fp32even", "f64away", "microflow", "double-f32"])
@pytest.mark.parametrize("name", ["multiplier too large", "product of scales beyond float32"])
def test_scales_beyond_a_profiles_domain_are_refused(name: str, profile: str) -> None:
    with pytest.raises(IntnnError) as caught:
        parse_tflite(REFUSED[name][0], profile=profile)
    assert caught.value.code == "model.value"
    assert caught.value.where == "layer 0"


def test_a_long_chain_is_refused_before_it_is_read() -> None:
    with pytest.raises(IntnnError) as caught:
        parse_tflite(append([6, 1], [6], times=999), profile="double")
    assert caught.value.code == "tflite.field"
    assert "operators are 1001" in str(caught.value)


def test_constants_shared_beyond_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer, "MAX_BYTES", 12 + 16 + 8 + 7)  # one byte less than weights and biases take
    with pytest.raises(IntnnError) as caught:
        parse_tflite(build(PLAIN), profile="double")
    assert caught.value.code == "tflite.field"
    assert "tensor 5 'layer1/bias'" in str(caught.value)


def test_an_unknown_profile_is_refused_before_the_file_is_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        import_tflite(tmp_path / "no such file", profile="tflite")
    assert caught.value.code == "usage.profile"
    assert "fp32even" in caught.value.expected
    with pytest.raises(UsageError):
        parse_tflite(b"", profile="")


def test_errors_begin_with_the_files_name(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    with pytest.raises(IntnnError) as caught:
        read_tflite(path, profile="double")
    assert caught.value.code == "file.read"
    assert str(caught.value).count(str(path)) == 1
    path.write_bytes(REFUSED["softmax"][0])
    with pytest.raises(IntnnError) as caught:
        read_tflite(path, profile="double")
    assert str(caught.value).startswith(f"{path}: operator 1 (SOFTMAX): ")


def test_without_the_extra_the_repair_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tflite", None)
    with pytest.raises(UsageError) as caught:
        parse_tflite(build(PLAIN), profile="double")
    assert caught.value.code == "usage.extra"
    assert caught.value.repair == "pip install 'intnn[tflite]'"


def test_importing_intnn_leaves_flatbuffers_alone() -> None:
    code = "import sys, intnn; print([m for m in ('flatbuffers', 'tflite') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_another_profile_later_is_another_profile_at_import() -> None:
    """The whole file, name and source included: nothing left in it speaks of the profile it was imported with."""
    nets = {p: parse_tflite(build(PLAIN), profile=p).network for p in ("double", "upup", "fp32even")}
    for net in nets.values():
        for profile, expected in nets.items():
            assert intnn.dumps(intnn.with_profile(net, profile)) == intnn.dumps(expected)


# --- real models, recorded engines ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recording", "profile"),
    [("tflm", "double"), ("builtin_no_delegate", "upup"), ("xnnpack", "fp32even"), ("builtin_ref", "f64away")],
)
@pytest.mark.parametrize("name", ["hello_world_int8", "microflow_sine", "mlperf_ad01_int8"])
def test_recorded_engines_agree(name: str, recording: str, profile: str) -> None:
    path = RECORDED / f"{name}.tflite"
    if not path.is_file():
        pytest.skip(f"recorded models are not there: {path}")
    with np.load(RECORDED / f"{name}.ref.npz") as recorded:
        x, y, digest = recorded["input"], recorded[recording], str(recorded["sha256"])
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != digest:  # recordings say nothing about another file, whatever its name
        pytest.skip(f"{path.name} is not the file that was recorded: sha256 {found[:16]}, not {digest[:16]}")
    net = import_tflite(path, profile=profile)
    for candidate in (net, intnn.loads(intnn.dumps(net))):
        for engine in ("reference", "fast", "checked") if net.int32_only else ("reference", "fast"):
            assert np.count_nonzero(intnn.run(candidate, x, engine=engine) != y) == 0
