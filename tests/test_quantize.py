"""From floats to integers: ranges, grids, the layers' integers, what each step cost, the search, bad input."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import intnn
from intnn import bounds
from intnn.errors import IntnnError, UsageError
from intnn.floats import attribution, auto, calibrate, meaning, rounding
from intnn.floats.network import FloatDense, FloatNetwork
from intnn.floats.numbers import Numbers, dense, layer_numbers
from intnn.floats.quantize import Quantized, mean_error, quantize
from intnn.floats.scheme import CHOICES, MULTIPLIER_BITS, Scheme
from intnn.model import Activation, Fixed
from intnn.targets.cost import Budget

SCHEMES = [
    Scheme(activations=a, requantize=r, per_channel=p, weights=w)
    for a, r, p, w in itertools.product(
        CHOICES["activations"], CHOICES["requantize"], (True, False), CHOICES["weights"]
    )
]


def floats(*sizes: int, seed: int = 0) -> FloatNetwork:
    rng = np.random.default_rng(seed)
    layers = [(rng.normal(size=(b, a)) / math.sqrt(a), rng.normal(size=b) / 4) for a, b in itertools.pairwise(sizes)]
    return FloatNetwork(
        tuple(FloatDense(w, b, 0 if i < len(layers) - 1 else -np.inf) for i, (w, b) in enumerate(layers)), "tested"
    )


def samples(count: int = 300, inputs: int = 6, seed: int = 1) -> Any:
    return np.random.default_rng(seed).normal(size=(count, inputs))


def outputs(q: Quantized, x: Any) -> Any:
    return meaning.decode(q.network, intnn.run(q.network, meaning.encode(q.network, x)))


# --- whole networks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_every_scheme_gives_a_proved_network_near_the_floats(scheme: Scheme) -> None:
    net, x = floats(6, 16, 12, 4), samples()
    q = quantize(net, x, scheme=scheme)
    assert bounds.prove(q.network).valid
    assert [layer.output.type for layer in q.network.layers] == [scheme.activations] * 2 + ["int16"]
    assert all(np.abs(layer.weights).max() <= scheme.largest_weight for layer in q.network.layers)
    wanted = net.run(x)
    error = np.sqrt(np.mean((outputs(q, x) - wanted) ** 2)) / wanted.std()
    # Bounds for the worst of the schemes: int4 has 15 steps for each weight, int8 255.
    assert error < (0.03 if scheme.weights == "int8" else 0.4)
    assert intnn.loads(intnn.dumps(q.network)).sizes == (6, 16, 12, 4)


def test_more_bits_are_better() -> None:
    """Averaged over networks, each choice that gives more bits lowers the error."""

    def error(**choices: Any) -> float:
        found = []
        for seed in range(6):
            net, x = floats(6, 16, 12, 4, seed=seed), samples(seed=seed + 50)
            q = quantize(net, x, scheme=Scheme(**choices))
            found.append(float(np.mean((outputs(q, x) - net.run(x)) ** 2)))
        return float(np.mean(found))

    assert error(activations="int16") < error(activations="int8")
    assert error(activations="int16") < error(activations="int16", weights="int4")
    assert error(activations="int16") < error(activations="int16", per_channel=False)
    assert error(activations="int16") < error(activations="int16", weight_rounding="nearest")
    int4 = {"activations": "int16", "weights": "int4"}
    assert error(**int4) < error(**int4, weight_calibration="min-max")
    assert error(requantize="8-bit") < error(requantize="power-of-two", per_channel=False)
    assert error(requantize="power-of-two") < error(requantize="power-of-two", absorb=False)
    biased = Scheme(activations="int16", weights="int4", weight_rounding="nearest", bias_correction=False)
    assert error(**vars(replace(biased, bias_correction=True))) < error(**vars(biased))


def test_integer_samples_are_taken_as_they_are() -> None:
    net = floats(6, 8, 3)
    counts = np.clip(np.rint(samples() * 500 + 2048), 0, 4095).astype(np.int16)
    raw = replace(net.layers[0], weights=net.layers[0].weights / 500)
    net = FloatNetwork((raw, *net.layers[1:]))
    q = quantize(net, counts, input_range=(0, 4095))
    assert vars(q.network.input) == {"type": "int16", "zero_point": 0, "min": 0, "max": 4095}
    assert np.array_equal(meaning.encode(q.network, counts), counts)
    assert q.network.layers[0].scales is not None
    assert q.network.layers[0].scales.input == 1.0
    assert np.sqrt(np.mean((outputs(q, counts) - net.run(counts)) ** 2)) < 0.02 * net.run(counts).std()
    assert quantize(net, counts).network.input.max == (1 << int(counts.max()).bit_length()) - 1


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 16, ("int8", 0, 31)), (0, 200, ("uint8", 0, 255)), (-5, 3, ("int8", -8, 7)), (-300, 4, ("int16", -512, 511))],
)
def test_the_type_that_holds_integer_samples(low: int, high: int, expected: tuple[str, int, int]) -> None:
    a = calibrate.integer_samples(np.array([[low], [high]]), None)
    assert (a.type, a.min, a.max) == expected
    assert a.zero_point == 0


def test_relu6_ends_where_6_is() -> None:
    layer = FloatDense(np.eye(2) * 4, np.zeros(2), 0, 6)
    q = quantize(FloatNetwork((layer, FloatDense(np.eye(2), np.zeros(2)))), samples(inputs=2), scheme=Scheme())
    out, scales = q.network.layers[0].output, q.network.layers[0].scales
    assert scales is not None
    assert (out.min, out.zero_point) == (-128, -128)
    assert abs((out.max - out.zero_point) * scales.output - 6) <= scales.output / 2
    assert outputs(q, np.full((1, 2), 100.0)).max() <= 6 + scales.output


def test_dead_neurons_are_kept_and_do_no_harm() -> None:
    net = floats(6, 8, 3)
    w, b = np.array(net.layers[0].weights), np.array(net.layers[0].bias)
    w[2], b[2] = 0, -1.0  # never active
    w[5], b[5] = 0, 0.7  # a constant
    net = FloatNetwork((FloatDense(w, b, 0), net.layers[1]))
    for per_channel, requantize in itertools.product((True, False), CHOICES["requantize"]):
        q = quantize(net, samples(), scheme=Scheme(per_channel=per_channel, requantize=requantize))
        hidden = intnn.trace(q.network, meaning.encode(q.network, samples()))[0].output.astype(int)
        scales = q.network.layers[0].scales
        assert scales is not None
        assert (hidden[:, 2] == -128).all()
        assert (np.abs(scales.output * (hidden[:, 5] + 128) - 0.7) <= scales.output).all()


@pytest.mark.parametrize("scheme", [Scheme(), Scheme(activations="int16"), Scheme(requantize="15-bit")], ids=str)
def test_relu6_ends_at_6_whatever_the_scale(scheme: Scheme) -> None:
    """Also where int16 is made no finer than the accumulator's steps."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (500, 20)).astype(np.uint8)
    first = FloatDense(rng.normal(size=(16, 20)) / 20, rng.normal(size=16), 0, 6)
    last = FloatDense(rng.normal(size=(4, 16)), np.zeros(4))
    for layers in ((first, last), (first,)):
        q = quantize(FloatNetwork(layers), x, scheme=scheme)
        for made, limit in zip(q.network.layers, (6, None), strict=False):
            assert made.scales is not None
            if limit:
                assert abs((made.output.max - made.output.zero_point) * made.scales.output - 6) <= made.scales.output
        wanted = q.floats.run(x)
        assert np.sqrt(np.mean((outputs(q, x) - wanted) ** 2)) < 0.05 * wanted.std()


@pytest.mark.parametrize("requantize", CHOICES["requantize"])
@pytest.mark.parametrize("activations", ["int8", "int16"])
@pytest.mark.parametrize("tiny", [1e-6, 1e-30, 0.0])
def test_a_nearly_dead_neuron_spoils_no_other(requantize: str, activations: str, tiny: float) -> None:
    net, x = floats(6, 16, 4), samples()
    w, b = np.array(net.layers[0].weights), np.array(net.layers[0].bias)
    w[3], b[3] = w[3] * tiny, 1.0
    spoilt_net = FloatNetwork((FloatDense(w, b, 0), net.layers[1]))
    scheme = Scheme(requantize=requantize, activations=activations)
    off = [
        float(np.sqrt(np.mean((outputs(quantize(n, x, scheme=scheme), x) - n.run(x)) ** 2))) for n in (net, spoilt_net)
    ]
    assert off[1] < 1.5 * off[0]


def test_biases_make_up_only_for_what_shows() -> None:
    """A neuron that is active on few samples is corrected by these: by all, the error far below 0 would shift it."""
    exact = np.array([[-100.0], [-100.0], [-100.0], [2.0]])
    found = exact + np.array([[-8.0], [-8.0], [-8.0], [0.5]])
    assert mean_error(FloatDense(np.eye(1), np.zeros(1), 0), exact, found).tolist() == [-0.5]
    assert mean_error(FloatDense(np.eye(1), np.zeros(1)), exact, found).tolist() == [23.5 / 4]
    assert mean_error(FloatDense(np.eye(1), np.zeros(1), 0), exact - 5, found).tolist() == [0]


def test_the_report_says_what_no_longer_varies() -> None:
    x = samples()
    x[:, 2] = 0.5
    net = FloatNetwork((FloatDense(np.eye(6)[:2] * 1e-4 + [[0, 0, 0, 0, 0, 1], [0] * 6], np.array([0, 1e4])),))
    q = quantize(net, x, scheme=Scheme(output="int8"))
    lines = [str(line) for line in q.report]
    assert any(line.startswith("input: note: value 2: constant") for line in lines)
    assert any("layer 0: note: outputs 0, 1: constant on the samples, where as floats" in line for line in lines)
    assert not any("note" in str(line) for line in quantize(floats(6, 8, 3), samples()).report)


# --- the integers of a layer -------------------------------------------------------------------------------------


def layer(
    scheme: Scheme, *, weights: Any = None, limit: int | None = None, source: Activation | None = None
) -> Numbers:
    w = np.random.default_rng(3).normal(size=(7, 5)) if weights is None else weights
    wish = calibrate_wish(w, scheme)
    return layer_numbers(
        w,
        np.linspace(-1, 1, len(w)),
        wish,
        1 / 64,
        1 / 32,
        source or Activation("uint8"),
        Activation("int16"),
        scheme,
        limit,
    )


def calibrate_wish(w: Any, scheme: Scheme) -> Any:
    reach = np.abs(w).max(axis=1)
    return (reach if scheme.per_channel else np.full_like(reach, reach.max())) / scheme.largest_weight


@pytest.mark.parametrize("scheme", [s for s in SCHEMES if s.activations == "int8"], ids=str)
def test_the_grid_makes_the_multiplier_exact(scheme: Scheme) -> None:
    n = layer(scheme)
    bits = MULTIPLIER_BITS[scheme.requantize]
    for m, s, grid in zip(n.multiplier.tolist(), n.shift.tolist(), n.weight_scale.tolist(), strict=True):
        assert 1 << (bits - 1) <= m < 1 << bits
        # input scale * grid / output scale is grid / 2: exactly what multiplier and shifts carry out
        assert Fraction(grid) / 2 == Fraction(m, 1 << (s + n.pre_shift))
    wish = calibrate_wish(np.random.default_rng(3).normal(size=(7, 5)), scheme)
    ratio = n.weight_scale / wish
    assert (ratio >= 1).all()
    assert (ratio <= 1 + 2.0 ** (1 - bits)).all()  # the next larger factor, no more
    w = np.random.default_rng(3).normal(size=(7, 5))
    assert (np.abs(n.weights * n.weight_scale[:, None] - w) <= n.weight_scale[:, None] / 2 * (1 + 1e-9)).all()
    assert len(set(n.weight_scale.tolist())) == (1 if not scheme.per_channel else len(set(n.weight_scale.tolist())))


@pytest.mark.parametrize("requantize", CHOICES["requantize"])
def test_a_grid_that_is_exact_stays(requantize: str) -> None:
    """Not even the last bit of a float makes the multiplier the next larger one: what is made twice is made alike."""
    for seed in range(200):
        w = np.random.default_rng(seed).normal(size=(7, 5))
        scales = np.random.default_rng(seed + 1).uniform(0.001, 3, 2)
        args: Any = (*scales.tolist(), Activation("uint8"), Activation("int16"), Scheme(requantize=requantize))
        once = layer_numbers(w, np.zeros(7), np.abs(w).max(axis=1) / 127, *args)
        twice = layer_numbers(w, np.zeros(7), once.weight_scale, *args)
        assert np.array_equal(once.multiplier, twice.multiplier)
        assert np.array_equal(once.weights, twice.weights)


def test_without_absorbing_the_multiplier_is_the_nearest() -> None:
    n = layer(Scheme(absorb=False))
    wish = calibrate_wish(np.random.default_rng(3).normal(size=(7, 5)), Scheme())
    assert (n.weight_scale == wish).all()
    off = n.factor / (wish / 2) - 1
    assert 0 < np.abs(off).max() <= 2.0**-8
    assert off.min() < 0 < off.max()


@pytest.mark.parametrize("scheme", [Scheme(requantize=r) for r in CHOICES["requantize"]], ids=str)
def test_the_pre_shift_is_the_least(scheme: Scheme) -> None:
    """One less, and a product would leave int32: the proof refuses it."""
    weights = np.random.default_rng(5).normal(size=(4, 400))
    source = Activation("int16", 0, 0, 32767)
    n = layer(scheme, weights=weights, source=source)
    made = dense(n, Activation("int16"), (1 / 64, 1 / 32), scheme)
    assert bounds.prove(intnn.Network(source, (made,))).valid
    if n.pre_shift:
        assert isinstance(made.requantize, Fixed)
        p, s = n.pre_shift - 1, n.shift + 1
        rule = Fixed(s, (1 << s) >> 1, n.multiplier, p, (1 << p) >> 1)
        assert not bounds.prove(intnn.Network(source, (replace(made, requantize=rule),))).valid
    assert (n.pre_shift > 0) == (scheme.requantize in ("8-bit", "15-bit"))


def test_rows_that_would_leave_int32_get_a_coarser_grid() -> None:
    weights = np.ones((2, 3000))
    weights[1] = np.random.default_rng(0).normal(size=3000) / 9
    source = Activation("int16", 0, 0, 32767)
    n = layer(Scheme(requantize="power-of-two"), weights=weights, source=source)
    assert 0 < np.abs(n.weights[0]).max() <= 21  # 3000 * 32767 * 22 is more than 2^31
    made = dense(n, Activation("int16"), (1 / 64, 1 / 32), Scheme(requantize="power-of-two"))
    assert bounds.prove(intnn.Network(source, (made,))).valid
    tensor = layer(Scheme(per_channel=False), weights=weights, source=source)
    assert np.abs(tensor.weights[0]).max() <= 21
    assert len(set(tensor.weight_scale.tolist())) == 1


@pytest.mark.parametrize("requantize", CHOICES["requantize"])
def test_rows_keep_within_a_limit(requantize: str) -> None:
    n = layer(Scheme(requantize=requantize), limit=65535)
    reach = np.abs(n.weights).sum(axis=1) * 255
    assert (reach <= 65535).all()
    over = np.abs(layer(Scheme(requantize=requantize)).weights).sum(axis=1) * 255 > 65535
    assert over.sum() >= 2
    least = 65535 / (2.2 if requantize == "power-of-two" else 1.1)
    assert (reach[over] > least).all()  # not coarser than they have to be


def test_what_no_grid_helps_is_refused() -> None:
    wide = np.ones((1, 70_000))  # 70,000 * 32,767 is more than 2^31, with weights of 1
    with pytest.raises(IntnnError) as caught:
        layer(Scheme(absorb=False), weights=wide, source=Activation("int16", 0, 0, 32_767))
    assert caught.value.code == "quantize.overflow"
    assert "neuron 0" in caught.value.found


# --- rounding ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("centred", [True, False])
def test_fitted_weights_are_never_worse_than_the_nearest(centred: bool) -> None:
    rng = np.random.default_rng(8)
    w, grid = rng.uniform(-2, 2, (9, 16)), rng.uniform(0.3, 0.5, 9)
    inputs = rng.normal(size=(500, 4)) @ rng.normal(size=(4, 16)) + rng.normal(size=(500, 16)) / 4 + 3

    def errors(steps: Any) -> Any:
        off = inputs @ (steps * grid[:, None] - w).T
        return (off - off.mean(axis=0) if centred else off).__pow__(2).mean(axis=0)

    near, fit = rounding.nearest(w, grid, 7), rounding.fitted(w, grid, rounding.moment(inputs, centred=centred), 7)
    assert (errors(fit) <= errors(near) * (1 + 1e-9)).all()
    assert errors(fit).sum() < 0.7 * errors(near).sum()
    assert np.abs(fit).max() <= 7
    assert (np.abs(fit - np.clip(w / grid[:, None], -7, 7)) < 1).all()  # up or down, not farther
    # No single weight rounded the other way makes it better.
    for row, column, step in itertools.product(range(9), range(16), (-1, 1)):
        moved = fit.copy()
        moved[row, column] += step
        if abs(moved[row, column]) <= 7 and abs(moved[row, column] - w[row, column] / grid[row]) < 1:
            assert errors(moved)[row] >= errors(fit)[row] * (1 - 1e-6)


# --- calibration -------------------------------------------------------------------------------------------------


def test_ranges_by_method() -> None:
    values = np.concatenate([np.linspace(-1, 2, 100_000), [-50.0, 80.0]])
    assert calibrate.span(values, "min-max", 255) == (-50, 80)
    low, high = calibrate.span(values, "percentile", 255)
    assert low == pytest.approx(-0.997, abs=1e-3)  # 0.1 % of 3 from the ends
    assert high == pytest.approx(1.997, abs=1e-3)
    heavy = np.random.default_rng(0).standard_t(2, 20_000)
    low, high = calibrate.span(heavy, "squared-error", 15)

    def cost(part: float) -> float:
        step = (heavy.max() - heavy.min()) * part / 15
        return float(
            np.mean((np.clip(np.rint(heavy / step) * step, heavy.min() * part, heavy.max() * part) - heavy) ** 2)
        )

    part = high / heavy.max()
    assert part < 0.9
    assert cost(part) <= min(cost(p) for p in (0.2, 0.3, 0.5, 0.7, 0.9, 1.0)) * 1.05


@pytest.mark.parametrize("per_channel", [True, False])
def test_the_best_weight_grid(per_channel: bool) -> None:
    """A large weight of an input that hardly varies is clipped; the error is that of sums, computed here from sums."""
    rng = np.random.default_rng(4)
    w, inputs = rng.normal(size=(5, 6)), rng.normal(size=(400, 6)) + 1
    w[:, 2] *= 30
    inputs[:, 2] = 1 + 0.001 * rng.normal(size=400)
    grid = np.abs(w).max(axis=1) / 7 if per_channel else np.full(5, np.abs(w).max() / 7)

    def errors(parts: Any) -> Any:
        used = grid * parts
        steps = np.clip(np.rint(w / used[:, None]), -7, 7)
        off = inputs @ (steps * used[:, None] - w).T
        return ((off - off.mean(axis=0)) ** 2).mean(axis=0)

    found = rounding.best_grid(w, grid, rounding.moment(inputs, centred=True), 7, per_channel=per_channel)
    assert (found <= grid).all()
    assert errors(found / grid).sum() < 0.2 * errors(np.ones(5)).sum()
    for part in np.linspace(0.1, 1, 10):
        assert errors(found / grid).sum() <= errors(np.full(5, part)).sum() * 1.1
    if not per_channel:
        assert len(set(found.tolist())) == 1


def test_scales_have_twelve_bits_and_cover_the_range() -> None:
    for value in np.random.default_rng(0).uniform(1e-6, 1e6, 200):
        scale = calibrate.round_up(float(value))
        assert value <= scale <= value * (1 + 2.0**-11)
        assert math.ldexp(math.frexp(scale)[0], 12).is_integer()


def test_zero_points() -> None:
    relu, scale = calibrate.activation("int8", np.array([[0.0, 5.0]]), "min-max", relu=True, top=math.inf, place="")
    assert (relu.zero_point, relu.min, relu.max) == (-128, -128, 127)
    assert 5 <= 255 * scale < 5.01
    signed, scale = calibrate.activation(
        "uint8", np.array([[-1.0, 3.0]]), "min-max", relu=False, top=math.inf, place=""
    )
    assert (signed.min, signed.max) == (0, 255)
    assert scale * (0 - signed.zero_point) <= -1
    assert scale * (255 - signed.zero_point) >= 3
    wide, scale = calibrate.activation("int16", np.array([[-1.0, 3.0]]), "min-max", relu=False, top=math.inf, place="")
    assert wide.zero_point == 0
    assert 3 <= 32767 * scale < 3.01


# --- meaning -----------------------------------------------------------------------------------------------------


def test_encode_and_decode() -> None:
    q = quantize(floats(6, 8, 3), samples())
    net = q.network
    scales = net.layers[0].scales
    assert scales is not None
    x = samples(seed=9)
    expected = np.clip([[round(v / scales.input) + net.input.zero_point for v in row] for row in x.tolist()], -128, 127)
    assert np.array_equal(meaning.encode(net, x), expected)  # Python's round is half even, too
    assert meaning.encode(net, x).dtype == np.int8
    last = net.layers[-1].scales
    assert last is not None
    assert meaning.decode(net, np.array([[100, 0, -7]])).tolist() == [[100 * last.output, 0, -7 * last.output]]


def test_a_network_without_scales_has_no_meaning() -> None:
    net = quantize(floats(6, 8, 3), samples()).network
    bare = replace(net, layers=tuple(replace(each, scales=None) for each in net.layers))
    for call in (lambda: meaning.encode(bare, samples()), lambda: meaning.decode(bare, np.zeros((1, 3)))):
        with pytest.raises(IntnnError, match="no scales"):
            call()


def test_errors_by_kind_of_target() -> None:
    y = np.array([[1.0, 3.0], [2.0, 0.0], [5.0, 4.0]])
    assert meaning.metric(np.array([1, 1, 0]), 2) == "error rate"
    assert meaning.error(y, np.array([1, 1, 0])) == pytest.approx(1 / 3)
    assert meaning.metric(np.array([1.0, 1.0, 0.0]), 2) == "RMSE"
    assert meaning.error(y, y + np.array([[3, 0], [0, 0], [0, 4]])) == pytest.approx(math.sqrt(25 / 6))
    assert meaning.error(y[:, :1], np.array([1, 2, 8])) == pytest.approx(math.sqrt(3))


# --- attribution -------------------------------------------------------------------------------------------------


def test_the_steps_between_floats_and_integers() -> None:
    """The first steps recomputed with plain floats, the last is what the interpreter gives."""
    net, x = floats(6, 8, 3), samples()
    scheme = Scheme(bias_correction=False, weight_rounding="nearest", weight_calibration="min-max")
    q = quantize(net, x, scheme=scheme)
    found = attribution.attribute(q, x)
    assert [step.name for step in found.steps] == list(attribution.STEPS)
    assert found.metric == "RMSE"
    assert found.reference == "float network"
    assert found.steps[0].error == 0

    y, wanted = x, net.run(x)
    for each in net.layers:
        grid = np.abs(each.weights).max(axis=1, keepdims=True) / 127  # without calibration of weights
        y = np.clip(y @ (np.rint(each.weights / grid) * grid).T + each.bias, each.min, each.max)
    assert found.steps[1].error == pytest.approx(np.sqrt(np.mean((y - wanted) ** 2)))
    assert found.steps[4].error == pytest.approx(np.sqrt(np.mean((outputs(q, x) - wanted) ** 2)))
    # What the integers add to exact arithmetic on the same scales is small: rounding biases, and rounding twice.
    assert abs(found.steps[4].error - found.steps[3].error) < 0.1 * found.steps[3].error


def test_an_unabsorbed_multiplier_shows_in_its_step() -> None:
    net, x = floats(6, 8, 3), samples()
    q = quantize(net, x, scheme=Scheme(requantize="power-of-two", absorb=False, activations="int16"))
    errors = {step.name: step.error for step in attribution.attribute(q, x).steps}
    assert errors["multiplier approximated"] > 10 * errors["activations rounded"]
    assert errors["integer network"] == pytest.approx(errors["multiplier approximated"], rel=0.05)


def test_labels_give_an_error_rate() -> None:
    net, x = floats(6, 8, 3), samples()
    labels = net.run(x).argmax(axis=1)
    found = attribution.attribute(quantize(net, x), x, labels)
    assert (found.metric, found.reference, found.steps[0].error) == ("error rate", "target", 0)
    assert found.steps[-1].error < 0.05


# --- the search --------------------------------------------------------------------------------------------------


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs that follow from the scheme, instead of a compiler's."""

    def cost(net: intnn.Network, source: str, **_: Any) -> Any:
        weights = sum(each.weights.size for each in net.layers)
        wide = sum(each.output.type == "int16" for each in net.layers)
        return SimpleNamespace(flash=weights + 100 * wide, ram=50 + wide, cycles=8 * weights + len(source) % 7)

    monkeypatch.setattr(auto, "network_cost", cost)


def search(**more: Any) -> Any:
    net, x = floats(6, 8, 3), samples()
    return auto.search(net, x, x, net.run(x), **more)


@pytest.mark.usefixtures("no_compiler")
def test_the_front_holds_what_no_other_beats() -> None:
    told: list[tuple[int, int]] = []
    found, refused = search(progress=lambda done, of: told.append((done, of)))
    assert len(found) == 32
    assert refused == ()
    assert told == [(i, 32) for i in range(32)]
    assert [c.error for c in found] == sorted(c.error for c in found)
    for c in found:
        beaten = any(
            o.error <= c.error
            and o.flash <= c.flash
            and o.cycles <= c.cycles
            and (o.error, o.flash, o.cycles) != (c.error, c.flash, c.cycles)
            for o in found
        )
        assert c.pareto == (not beaten)
    assert found[0].pareto


@pytest.mark.usefixtures("no_compiler")
def test_the_best_that_fits_is_taken() -> None:
    found, _ = search()
    assert auto.choose(found, Budget(10_000, 10_000)) is found[0]
    tight = min(c.flash for c in found)
    chosen = auto.choose(found, Budget(tight, 10_000))
    assert chosen.flash == tight
    assert chosen.error == min(c.error for c in found if c.flash == tight)
    with pytest.raises(UsageError) as caught:
        auto.choose(found, Budget(tight - 1, 10_000))
    assert caught.value.code == "quantize.budget"
    assert f"at least {tight} bytes" in caught.value.expected


# --- bad input ---------------------------------------------------------------------------------------------------


def any_array(value: Any) -> Any:
    """For what the types forbid."""
    return value


def spoilt(value: float) -> Any:
    x = samples()
    x[17, 3] = value
    return x


BAD: dict[str, tuple[Callable[[], Any], str, str]] = {
    "NaN": (lambda: quantize(floats(6, 3), spoilt(math.nan)), "input.value", "calib[17, 3] is nan"),
    "infinity": (lambda: quantize(floats(6, 3), spoilt(math.inf)), "input.value", "calib[17, 3] is inf"),
    "empty": (lambda: quantize(floats(6, 3), samples(0)), "input.shape", "(0, 6)"),
    "constant": (lambda: quantize(floats(6, 3), np.ones((5, 6))), "quantize.range", "all 5 samples are equal"),
    "one sample": (lambda: quantize(floats(6, 3), samples(1)), "quantize.range", "one sample"),
    "too few inputs": (lambda: quantize(floats(6, 3), samples(inputs=5)), "input.shape", "(300, 5)"),
    "text": (lambda: quantize(floats(6, 3), [["a"] * 6] * 2), "input.type", "numbers"),
    "dead layer": (
        lambda: quantize(
            FloatNetwork((FloatDense(-np.eye(3), np.full(3, -99.0), 0), FloatDense(np.eye(3), np.zeros(3)))),
            samples(inputs=3),
        ),
        "quantize.range",
        "every value is 0",
    ),
    "odd clamp": (
        lambda: quantize(FloatNetwork((FloatDense(np.eye(3), np.zeros(3), -1, 1),)), samples(inputs=3)),
        "model.value",
        "[-1, 1]",
    ),
    "chain": (
        lambda: FloatNetwork((FloatDense(np.eye(3), np.zeros(3)), FloatDense(np.eye(4), np.zeros(4)))),
        "model.chain",
        "4 inputs",
    ),
    "NaN weight": (lambda: FloatDense(np.full((2, 2), math.nan), np.zeros(2)), "model.value", "weights[0][0] is nan"),
    "bias shape": (lambda: FloatDense(np.eye(2), np.zeros(3)), "model.value", "(3,)"),
    "outside the declared range": (
        lambda: quantize(floats(6, 3), np.arange(12).reshape(2, 6), input_range=(0, 9)),
        "quantize.range",
        "[0, 11]",
    ),
    "too wide": (lambda: quantize(floats(6, 3), np.arange(12).reshape(2, 6) * 9000), "quantize.range", "int16 holds"),
    "range with floats": (lambda: quantize(floats(6, 3), samples(), input_range=(0, 9)), "quantize.range", "float64"),
    "no such scheme": (lambda: Scheme(requantize="9-bit"), "usage.scheme", "9-bit"),
    "not a choice": (lambda: Scheme(absorb=1), "usage.scheme", "absorb is 1"),  # type: ignore[arg-type]  # what is tested
    "no scheme": (lambda: quantize(floats(6, 3), samples(), scheme=any_array("int16")), "usage.scheme", "str"),
    "no range": (lambda: quantize(floats(6, 3), samples(), input_range=any_array("0,9")), "usage.option", "'0,9'"),
    "label": (lambda: meaning.error(np.zeros((2, 3)), np.array([0, 3])), "input.range", "[0, 3]"),
    "few labels": (lambda: meaning.error(np.zeros((2, 3)), np.array([0])), "input.shape", "1 labels"),
    "few targets": (lambda: meaning.error(np.zeros((2, 3)), np.zeros((1, 3))), "input.shape", "1 targets"),
    "tiny inputs": (lambda: quantize(floats(6, 3), samples() * 1e-318), "quantize.range", "a step is worth"),
    "huge inputs": (lambda: quantize(floats(6, 3), samples() * 1e160), "quantize.range", "a step is worth"),
    "huge weights": (
        lambda: quantize(FloatNetwork((FloatDense(np.eye(6) * 1e100, np.zeros(6)),)), samples()),
        "quantize.range",
        "up to 1e+100",
    ),
    "complex": (lambda: quantize(floats(6, 3), samples() + 1j), "input.type", "real numbers"),
    "dates": (lambda: quantize(floats(6, 3), samples().astype("M8[s]")), "input.type", "real numbers"),
    "ragged": (lambda: quantize(floats(6, 3), [[1, 2], [1]]), "input.type", "real numbers"),
    "complex weights": (lambda: FloatDense(any_array(np.eye(2) * 1j), np.zeros(2)), "model.value", "weights"),
    "beyond int64": (
        lambda: quantize(floats(6, 3), np.arange(12, dtype=np.uint64).reshape(2, 6) * np.uint64(2**60)),
        "quantize.range",
        "integers within [0, 18446744073709551615]",
    ),
    "labels that are no integers": (
        lambda: meaning.error(np.zeros((2, 3)), np.array([0.0, 1.0])),
        "input.shape",
        "integers (batch,), which are labels",
    ),
    "huge targets": (lambda: meaning.error(np.zeros((1, 1)), np.array([1e160])), "input.range", "1e+160"),
    "NaN target": (lambda: meaning.error(np.zeros((1, 1)), np.array([math.nan])), "input.value", "target[0, 0]"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(case: str) -> None:
    call, code, found = BAD[case]
    with pytest.raises(IntnnError) as caught:
        call()
    assert caught.value.code == code
    assert found in str(caught.value)
    assert caught.value.expected
