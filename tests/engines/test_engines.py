"""The running engines agree with intnn's profiles, output for output.

Hypothesis makes dense models; each goes as the bytes of a `.tflite` file to the engine and through the importer, and
all outputs must be equal. Two precautions make agreement evidence. Random accumulators seldom tell roundings apart, so
biases are chosen that bring them next to ties, and scales that put them on ties; and the profiles of other engines must
differ from the engine: in many of the same models, and each in a model made for that.

All models are made to lie in the domain that the engines share (nothing is discarded): the overflow proof holds, the
effective scale `s_in * s_w / s_out` is within [2^-31, 200], and |acc| * scale below 2^29 leaves room for left shifts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tflite_builder import Layer, Model, build

from engines import runners
from intnn import Q31, Network, arithmetic, run
from intnn.formats.tflite import parse_tflite
from intnn.model import ROUNDINGS
from intnn.profiles import activation_bounds, requantization

pytestmark = pytest.mark.engines

Array = NDArray[Any]
Case = tuple[Model, Array]

EXAMPLES = 300
PROFILES = {
    "int8": ("single", "double", "upup", "f64away", "fp32even"),
    "int16": ("single", "double", "upup", "f64away", "fp32even", "reduced15"),
}
SETTINGS = settings(
    derandomize=True,
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],  # the load of the machine decides that
)


@dataclass(frozen=True)
class Engine:
    """An engine in one mode, ``call(file bytes, model, inputs)``, and the profile it follows.

    ``bias`` is the type of the biases that are given (``None``: none is), ``stated`` whether the file names the type.
    """

    name: str
    packages: tuple[str, ...]
    profile: str
    call: Callable[[bytes, Model, Array], Array]
    bias: str | None = "int32"
    stated: bool = False
    activations: tuple[str, ...] = ("NONE", "NONE", "RELU", "RELU6")

    def __str__(self) -> str:
        return self.name


def _tflm(data: bytes, model: Model, x: Array) -> Array:
    return runners.tflm(data, x)


def _litert(mode: str) -> Callable[[bytes, Model, Array], Array]:
    return lambda data, model, x: runners.litert(data, x, mode)


def _onnx(style: str) -> Callable[[bytes, Model, Array], Array]:
    return lambda data, model, x: runners.onnxruntime(runners.onnx_model(model, style), x)


def _tosa(profile: str) -> Callable[[bytes, Model, Array], Array]:
    """TOSA is given multipliers, shifts and clamps, so intnn's own: what is compared is the rest."""

    def call(data: bytes, model: Model, x: Array) -> Array:
        net = parse_tflite(data, profile=profile).network
        for layer, source in zip(net.layers, net.inputs, strict=True):
            rule, y = layer.requantize, layer.output
            assert isinstance(rule, Q31)
            multiplier, shift = (np.asarray(v).tolist() for v in (rule.multiplier, 31 - np.asarray(rule.exponent)))
            constants = (source.zero_point, multiplier, shift, y.zero_point, f"{profile.upper()}_ROUND")
            x = runners.tosa_dense(x, layer.weights, layer.bias, *constants, clamp=(y.min, y.max))
        return x

    return call


TFLM = ("tflite_micro",)
LITERT = ("ai_edge_litert",)
ONNX = ("onnx", "onnxruntime")
TOSA = ("tosa_serializer", "tosa_reference_model")
NO_ACTIVATION = ("NONE",)  # the integer operators of onnxruntime have none; RELU is an output zero point of -128
INT8 = (
    Engine("tflm", TFLM, "double", _tflm),
    Engine("litert no_delegate", LITERT, "upup", _litert("no_delegate")),
    Engine("litert builtin_ref", LITERT, "f64away", _litert("builtin_ref")),
    Engine("litert default", LITERT, "fp32even", _litert("default")),
    Engine("onnxruntime qgemm", ONNX, "fp32even", _onnx("qgemm"), activations=NO_ACTIVATION),
    Engine("onnxruntime qlinearmatmul", ONNX, "fp32even", _onnx("qlinearmatmul"), None, False, NO_ACTIVATION),
    Engine("tosa single", TOSA, "single", _tosa("single")),
    Engine("tosa double", TOSA, "double", _tosa("double")),
)
INT16 = tuple(
    Engine(f"{name}, {'no' if bias is None else bias} bias", packages, profile, call, bias, stated)
    for name, packages, call, bias, stated, profile in (
        ("tflm", TFLM, _tflm, "int64", False, "reduced15"),
        ("tflm", TFLM, _tflm, None, False, "reduced15"),
        ("tflm", TFLM, _tflm, "int32", False, "double"),
        ("litert no_delegate", LITERT, _litert("no_delegate"), "int64", False, "f64away"),
        ("litert no_delegate", LITERT, _litert("no_delegate"), "int32", False, "upup"),
        ("litert no_delegate", LITERT, _litert("no_delegate"), None, False, "upup"),
        ("litert default", LITERT, _litert("default"), "int64", False, "f64away"),
        ("litert default", LITERT, _litert("default"), "int32", False, "upup"),
        ("litert default", LITERT, _litert("default"), None, False, "upup"),
        ("litert builtin_ref", LITERT, _litert("builtin_ref"), "int64", False, "f64away"),
        ("litert builtin_ref", LITERT, _litert("builtin_ref"), "int32", True, "f64away"),
        ("litert builtin_ref", LITERT, _litert("builtin_ref"), None, False, "f64away"),
    )
)
ENGINES = [*((engine, "int8") for engine in INT8), *((engine, "int16") for engine in INT16)]


def require(*packages: str) -> None:
    for package in packages:
        pytest.importorskip(package, reason=f"the engine's package {package} is not installed")


# --- models --------------------------------------------------------------------------------------------------------

SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 100, 257)
RANGES = {"int8": (-128, 127), "int16": (-32768, 32767)}
MOST = 2.0**29  # |acc| * max(scale, 1)

mantissas = (
    st.just(1.0)
    | st.sampled_from([1 + 2.0**-23, 1 + 2.0**-12, 2 - 2.0**-23])
    | st.floats(1, 2, width=32, exclude_max=True)
)
zero_points = st.sampled_from([-128, 127, 0, -1]) | st.integers(-128, 127)
seeds = st.integers(0, 2**32 - 1)


@st.composite
def cases(draw: st.DrawFn, engine: Engine, kind: str = "int8", layers: int = 3) -> Case:
    """A model for ``engine`` and inputs: all least, all greatest, the zero point, single inputs moving, random ones."""
    rng = np.random.default_rng(draw(seeds))
    low, high = RANGES[kind]
    sizes = draw(st.lists(st.sampled_from(SIZES if kind == "int8" else SIZES[:15]), min_size=2, max_size=layers + 1))
    zero = draw(zero_points) if kind == "int8" else 0
    scale = f32(draw(mantissas) * 2.0 ** draw(st.integers(-12, 3)))

    walking = np.full((6, sizes[0]), zero)
    walking[np.arange(6), rng.integers(sizes[0], size=6)] = rng.permutation([low, high, low + 1, high - 1, 1, -1])
    ends = np.array([low, high, zero])[:, None] + np.zeros(sizes[0], int)
    x = np.concatenate([ends, walking, rng.integers(low, high + 1, (15, sizes[0]))])

    model_input, values, made = (scale, zero), x, []
    for outputs in sizes[1:]:
        layer = draw(_layers(engine, kind, rng, outputs, scale, zero, values))
        made.append(layer)
        values = _about(values, layer, scale, zero, kind)
        scale, zero = layer.output_scale, layer.output_zero_point
    return Model(model_input[0], tuple(made), model_input[1], activation_type=kind), x.astype(kind)


@st.composite
def _layers(
    draw: st.DrawFn,
    engine: Engine,
    kind: str,
    rng: np.random.Generator,
    outputs: int,
    input_scale: float,
    input_zero: int,
    x: Array,
) -> Layer:
    """One layer; ``x`` are values that its input takes, some of which the bias puts next to ties."""
    low, high = RANGES[kind]
    shape = (outputs, x.shape[1])
    weights = {
        "any": rng.integers(-128, 128, shape),
        "extreme": rng.choice([-128, 127], shape),
        "small": rng.integers(-2, 3, shape),
        "few": np.where(rng.random(shape) < 2 / shape[1], rng.integers(-128, 128, shape), 0),
    }[draw(st.sampled_from(["any", "extreme", "small", "few"]))].astype(np.int8)

    dot = (x - input_zero) @ weights.T.astype(np.int64)
    reach = int(np.abs(weights.astype(np.int64)).sum(axis=1).max() + 1) * (high - low)
    effective, exact = draw(_effective_scales(float(np.abs(dot).mean()) + 1, reach, high))
    factor: Array = np.ones(outputs)
    per_channel = outputs > 1 and draw(st.booleans())
    if per_channel:
        effective = max(effective, 2.0**-27)
        powers = 2.0 ** -rng.integers(0, 5, outputs)
        factor = powers if exact or draw(st.booleans()) else rng.uniform(1 / 16, 1, outputs)
    output_scale = draw(_output_scales(2 * float(np.frexp(input_scale)[0]) if exact else None))
    weight_scale = f32(effective * output_scale / input_scale * factor)

    zero = draw(zero_points) if kind == "int8" else 0
    layer: dict[str, Any] = {
        "weight_scale": weight_scale.tolist() if per_channel else float(weight_scale[0]),
        "activation": draw(st.sampled_from(engine.activations)),
        "output_zero_point": zero,
        "omit_bias_slot": draw(st.booleans()),
    }
    # int16 engines treat a layer without bias in another way, which is tested as an engine of its own
    if engine.bias is not None and (kind == "int16" or draw(st.sampled_from([True, True, True, False]))):
        real = input_scale * weight_scale / output_scale
        limit = int(MOST / 2 / max(1, real.max()))
        if draw(st.sampled_from([True, True, False])):
            bias = _next_to_ties(rng, dot, real, zero, min(140, int(limit * real.max())), (low, high)).clip(
                -limit, limit
            )
        else:
            some = min(limit, reach)
            bias = rng.integers(-some, some + 1, outputs)
        layer |= _bias(engine, bias.astype(np.int64))
    return Layer(weights, output_scale=output_scale, **layer)


def _next_to_ties(
    rng: np.random.Generator, dot: Array, real: Array, zero: int, most: int, bounds: tuple[int, int]
) -> Array:
    """Biases that bring for each neuron the sum of one row onto a tie or beside it, as near as its scale allows.

    Most of the ties lie between outputs of at most ``most``, near the middle of the range or (int8) all over it.
    """
    outputs = len(real)
    steps = np.where(rng.random(outputs) < 0.8, rng.integers(-most, most + 1, outputs), rng.integers(*bounds, outputs))
    tie = np.floor((steps - zero + 0.5) / real) + rng.choice([-1, 0, 0, 0, 1, 1], outputs)
    bias: Array = tie - dot[rng.integers(len(dot), size=outputs), np.arange(outputs)]
    return bias


def _bias(engine: Engine, values: Array | list[int]) -> dict[str, Any]:
    """The fields of a layer with a bias, as ``engine`` wants it."""
    stated = {"quantized_bias_type": str(engine.bias).upper()} if engine.stated else {}
    return {"bias": values, "bias_type": engine.bias, **stated}


@st.composite
def _effective_scales(draw: st.DrawFn, usual: float, reach: int, high: int) -> tuple[float, bool]:
    """An effective scale, and whether to keep it exactly; ``usual`` and ``reach``: |acc| on average and at most."""
    way = draw(st.sampled_from(["spread", "spread", "power", "power", "above one", "tiny"]))
    most = min(200.0, MOST / 2 / reach)
    if way == "spread":
        return min(most, high / usual * 2.0 ** draw(st.floats(-2, 2))), False
    if way == "power":
        return min(2.0 ** np.floor(np.log2(most)), 2.0 ** draw(st.integers(-10, 2))), True
    if way == "above one":
        return min(most, draw(st.floats(1, 200))), False
    return 2.0 ** draw(st.floats(-31, -10)), False


@st.composite
def _output_scales(draw: st.DrawFn, mantissa: float | None) -> float:
    """An output scale: with the mantissa asked for, with 6 / scale at a tie (RELU6), or any."""
    if mantissa is None and draw(st.booleans()):
        return float(f32(6 / (draw(st.integers(0, 128)) + 0.5)))
    return float(f32((draw(mantissas) if mantissa is None else mantissa) * 2.0 ** draw(st.integers(-7, 3))))


def f32(value: Any) -> Any:
    """The nearest float32, as the float64 (array) that the builder writes without change."""
    rounded = np.asarray(value).astype(np.float32).astype(np.float64)
    return rounded if rounded.ndim else float(rounded)


def _about(x: Array, layer: Layer, input_scale: float, input_zero: int, kind: str) -> Array:
    """About what a layer puts out; only to choose the next layer's bias."""
    low, high = RANGES[kind]
    acc = (x - input_zero) @ layer.weights.T.astype(np.int64) + (0 if layer.bias is None else np.asarray(layer.bias))
    real = acc * input_scale * np.asarray(layer.weight_scale) / layer.output_scale
    least = low if layer.activation == "NONE" else layer.output_zero_point
    values: Array = np.clip(np.rint(real) + layer.output_zero_point, least, high).astype(np.int64)
    return values


# --- comparing -----------------------------------------------------------------------------------------------------


def require_equal(y: Array, expected: Array, engine: object, profile: str) -> None:
    """The message names the first difference."""
    assert y.shape == expected.shape
    assert y.dtype == expected.dtype
    wrong = np.argwhere(y != expected)
    if len(wrong):
        row, neuron = (int(i) for i in wrong[0])
        values = f"{engine} says {y[row, neuron]}, {profile} {expected[row, neuron]}"
        raise AssertionError(f"{len(wrong)} of {y.size} outputs differ; row {row}, output {neuron}: {values}")


def _requantized(net: Network, profile: str) -> Network:
    """The network with all clamps as they are, so that only the rounding can make a difference."""
    layers = []
    for layer in net.layers:
        assert layer.scales is not None
        layers.append(replace(layer, requantize=requantization(profile, layer.scales)))
    return replace(net, layers=tuple(layers))


def require_agreement(engine: Engine, kind: str) -> None:
    """Many models whose outputs are all equal, many of which give other outputs under each profile of the others."""
    count = Counter({profile: 0 for profile in PROFILES[kind] if profile != engine.profile})

    @SETTINGS
    @given(cases(engine, kind))
    def compare(case: Case) -> None:
        model, x = case
        data = build(model)
        net = parse_tflite(data, profile=engine.profile).network
        y = engine.call(data, model, x)
        require_equal(y, run(net, x), engine, engine.profile)
        count["models"] += 1
        for other in PROFILES[kind]:
            if other != engine.profile:
                count[other] += bool(np.any(run(_requantized(net, other), x) != y))

    compare()
    assert count["models"] >= 200
    assert min(count.values()) >= 10, f"too few models tell {engine.profile} from another profile: {count}"


@pytest.mark.parametrize(("engine", "kind"), ENGINES, ids=str)
def test_models(engine: Engine, kind: str) -> None:
    require(*engine.packages)
    require_agreement(engine, kind)


def separating(engine: Engine, kind: str) -> list[Model]:
    """Models of one weight that give every pair of profiles away, and every way to compute the effective scale.

    The first divides by 4, which is a matter of ties. The second has a multiplier of which 16 bits are not enough for
    large accumulators. In the others the product of the scales is not a float32. Rounded to one it is a little less,
    then a little more: exactly half of the output scale, so that odd accumulators are ties or next to them; in the
    last the multiplier changes enough to be reduced to other 15 bits.
    """
    bias = {} if engine.bias is None else _bias(engine, [0])
    numbers = [  # input scale, weight, its scale, output scale
        (1.0, 1, 1.0, 4.0),
        (1.0, 127, f32((1 + 2.0**-17) / 127), 1.0),
        (1 + 2.0**-12, 1, 1 + 2.0**-12, 2 + 2.0**-10),
        (1 + 3 * 2.0**-12, 1, 1 + 2.0**-12, 2 + 2.0**-9 + 2.0**-21),
        (1 + 2.0**-12, 127, 1 + 11 * 2.0**-12, 134.0),
    ]
    return [
        Model(s_in, (Layer(np.array([[weight]], np.int8), s_w, s_out, **bias),), activation_type=kind)
        for s_in, weight, s_w, s_out in numbers
    ]


@pytest.mark.parametrize("other", [*PROFILES["int16"], "double-f32"])
@pytest.mark.parametrize(("engine", "kind"), ENGINES, ids=str)
def test_each_profile_but_the_engines_own_is_told_from_it(engine: Engine, kind: str, other: str) -> None:
    require(*engine.packages)
    low, high = RANGES[kind]
    x = np.arange(low, high + 1, 1 if kind == "int8" else 101).astype(kind)[:, None]
    differences = 0
    for model in separating(engine, kind):
        data = build(model)
        y = engine.call(data, model, x)
        require_equal(y, run(parse_tflite(data, profile=engine.profile).network, x), engine, engine.profile)
        differences += int((run(parse_tflite(data, profile=other).network, x) != y).sum())
    assert (differences == 0) == (other == engine.profile)


@pytest.mark.parametrize(("engine", "kind"), [p for p in ENGINES if "RELU6" in p[0].activations], ids=str)
def test_the_upper_bound_of_relu6(engine: Engine, kind: str) -> None:
    """Where 6 / scale is a tie in float32 engines take different bounds; XNNPACK's depends on the zero point."""
    require(*engine.packages)
    x = np.array([RANGES[kind]]).T.astype(kind)
    bias = {} if engine.bias is None else _bias(engine, [0])
    differences = 0
    for zero in (-128, -8, -7, 0, 1, 100) if kind == "int8" else (0,):
        for six in (0.5, 1.5, 2.5, 3.5, 6.25, 12.5, 13.5, 26.5):
            scale = f32(6 / six)
            weights = np.array([[127]], np.int8)
            layer = Layer(weights, scale, scale, zero, activation="RELU6", **bias)  # effective scale 1: 6 is passed
            model = Model(1.0, (layer,), activation_type=kind)
            data = build(model)
            y = engine.call(data, model, x)
            require_equal(y, run(parse_tflite(data, profile=engine.profile).network, x), engine, engine.profile)
            away, even = (activation_bounds(name, "RELU6", kind, zero, scale) for name in ("double", "fp32even"))
            differences += away != even
    assert differences >= 3


# --- TOSA's RESCALE ------------------------------------------------------------------------------------------------


@st.composite
def rescales(draw: st.DrawFn) -> tuple[Array, Array, Array, int, str]:
    """Accumulators (rows, channels), int32 multipliers and shifts (channels,), zero point and output type.

    The accumulators are ends of the range that RESCALE takes, values next to ties, and any.
    """
    rng = np.random.default_rng(draw(seeds))
    channels = draw(st.integers(1, 9))
    multipliers = st.sampled_from([1 << 30, (1 << 30) + 1, (1 << 31) - 1]) | st.integers(1 << 30, (1 << 31) - 1)
    multiplier = np.array([draw(multipliers) for _ in range(channels)], np.int32)
    shift = np.array([draw(st.integers(2, 62)) for _ in range(channels)], np.int32)
    limit = np.minimum(2.0 ** (shift - 1.0), 2.0**31) - 1  # exact in float64
    steps = rng.integers(-200, 200, (32, channels)) + rng.choice([0.25, 0.5, 0.5, 0.75], (32, channels))
    near = np.floor(steps * 2.0**shift / multiplier) + rng.integers(-1, 3, (32, channels))
    some = np.rint(rng.uniform(-limit, limit, (8, channels)))
    ends = np.stack([limit, -limit, limit - 1, 1 - limit, 0 * limit, 0 * limit + 1, 0 * limit - 1])
    acc = np.clip(np.concatenate([ends, near, some]), -limit, limit).astype(np.int32)
    output_type = draw(st.sampled_from(["int8", "int8", "int16"]))
    return acc, multiplier, shift, draw(zero_points) if output_type == "int8" else 0, output_type


@pytest.mark.parametrize("rounding", ["single", "double"])
def test_tosa_rescale(rounding: str) -> None:
    require(*TOSA)
    told = Counter[str]()

    @SETTINGS
    @given(rescales())
    def compare(case: tuple[Array, Array, Array, int, str]) -> None:
        acc, multiplier, shift, zero_point, output_type = case
        low, high = RANGES[output_type]
        scaled = (multiplier.tolist(), shift.tolist())
        y = runners.tosa_rescale(acc, *scaled, zero_point, f"{rounding.upper()}_ROUND", output_type)
        for name in ROUNDINGS:
            v = arithmetic.q31(acc, multiplier, 31 - shift, name) + zero_point
            told[name] += bool(np.any(arithmetic.clamp(v, low, high) != y))
            if name == rounding:
                require_equal(y, arithmetic.clamp(v, low, high).astype(output_type), "RESCALE", name)

    compare()
    assert told[rounding] == 0
    assert all(told[name] >= 50 for name in ROUNDINGS if name != rounding), told
