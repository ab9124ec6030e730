"""Derivations and foreign rules against plain Python, and the table that separates the profiles."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intnn import Activation, Dense, Network, Scales, prove, run, with_profile
from intnn.errors import ModelError, UsageError
from intnn.foreign import FOREIGN, Foreign
from intnn.model import Q31, Fixed
from intnn.profiles import INT32_PROFILES, PROFILES, activation_bounds, quantize_multiplier, requantization

ORACLE = oracle.Oracle()
F32 = st.floats(2.0**-20, 2.0**10, width=32)


@given(st.floats(2.0**-34, 2.0**29))
def test_quantize_multiplier_is_the_nearest(real: float) -> None:
    m, e = quantize_multiplier(real)
    if m == 0:
        assert real < 2.0**-32
        return
    assert 1 << 30 <= m < 1 << 31
    step = Fraction(2) ** (e - 31)
    assert abs(Fraction(real) - m * step) <= step / 2
    assert (Fraction(real) / step) % 1 != Fraction(1, 2) or m == math.ceil(Fraction(real) / step)


@pytest.mark.parametrize("real", [0.0, -1.0, math.inf, math.nan, 2.0**30])
def test_quantize_multiplier_refuses(real: float) -> None:
    with pytest.raises(ModelError) as caught:
        quantize_multiplier(real)
    assert caught.value.code == "model.value"


@given(F32, F32, F32)
def test_the_float32_product_is_part_of_the_profile(source: float, weights: float, output: float) -> None:
    exact = Fraction(source) * Fraction(weights) / Fraction(output)
    if not 2.0**-31 < exact < 2.0**30:
        return
    scales = Scales(source, weights, output)
    double, upup = requantization("double", scales), requantization("upup", scales)
    assert isinstance(double, Q31)
    assert isinstance(upup, Q31)
    assert (double.multiplier, double.exponent) == quantize_multiplier(source * weights / output)
    assert (upup.multiplier, upup.exponent) == quantize_multiplier(float(np.float32(source * weights)) / output)
    old = requantization("double-f32", scales)
    assert isinstance(old, Q31)
    assert (old.multiplier, old.exponent, old.rounding) == (upup.multiplier, upup.exponent, "double")
    per_channel = requantization("upup", Scales(source, np.array([weights]), output))
    assert isinstance(per_channel, Q31)
    assert np.asarray(per_channel.multiplier).tolist() == [double.multiplier]


def test_a_float32_product_can_matter() -> None:
    scales = Scales(*(float(np.float32(v)) for v in (1.1, 1.3, 1.7)))
    pair = [requantization(profile, scales) for profile in ("double", "double-f32")]
    assert all(isinstance(rule, Q31) for rule in pair)
    assert pair[0].multiplier != pair[1].multiplier  # type: ignore[union-attr]  # both are Q31, asserted above


@given(st.sampled_from(sorted(FOREIGN)), st.integers(-(1 << 30), 1 << 30), F32, F32, F32, st.integers(-128, 127))
def test_foreign_rules_are_the_oracles(
    profile: str, acc: int, source: float, weights: float, output: float, zero: int
) -> None:
    scales = Scales(source, weights, output)
    args = {"acc": acc, **{k: oracle.to_hex(Fraction(v)) for k, v in vars(scales).items()}}
    if profile == "microflow":
        args |= {"bias": acc // 3, "zero_point": zero}
    try:
        expected = ORACLE.run(f"foreign.{profile}", args)
    except oracle.RejectedError:
        with pytest.raises(ModelError, match="input scale"):
            Dense(np.array([[1]]), np.array([acc // 3]), Foreign(profile), Activation("int8", zero), scales)
        return
    layer = Dense(np.array([[1]]), np.array([acc // 3]), Foreign(profile), Activation("int8", zero), scales)
    assert Foreign(profile).rescale(np.array([[acc]], np.int32), layer).tolist() == [[expected]]


SEPARATING = {  # accumulator, multiplier, exponent: floor, trunc0, single, double, upup, f64away, fp32even
    (1, 1 << 30, -1): (0, 0, 0, 1, 1, 0, 0),
    (1, 1 << 30, 0): (0, 0, 1, 1, 1, 1, 0),
    (-1, 1 << 30, 0): (-1, 0, 0, 0, 0, -1, 0),
    (-3, 1 << 30, 0): (-2, -1, -1, -1, -1, -2, -2),
    (-3, 1 << 30, -1): (-1, 0, -1, -1, 0, -1, -1),
    (-6, 1 << 30, -1): (-2, -1, -1, -2, -1, -2, -2),
    (-13, 1 << 30, -2): (-2, -1, -2, -2, -1, -2, -2),
    (7984, 1583594044, -9): (11, 11, 11, 12, 12, 11, 11),
    (-17241, 1289204782, -2): (-2588, -2587, -2588, -2588, -2587, -2588, -2588),
    (-3159, 1914719981, -1): (-1409, -1408, -1408, -1409, -1408, -1408, -1408),
    (50331647, 1 << 30, -24): (1, 1, 1, 2, 2, 1, 2),
}


@pytest.mark.parametrize("row", SEPARATING)
def test_the_separating_table(row: tuple[int, int, int]) -> None:
    """Every profile on every row, through whole one-neuron networks that carry real scales."""
    acc, m, e = row
    scales = Scales(
        1.0, float(np.float32(m)) if float(np.float32(m)) == m else 1.0, 2.0 ** (31 - e) if e > -90 else 1.0
    )
    floor, *expected = SEPARATING[row]
    assert math.floor(Fraction(acc * m, 1 << (31 - e))) == floor
    got = []
    for profile in ("trunc0", "single", "double", "upup", "f64away", "fp32even"):
        rule = Q31(m, e, profile) if profile in INT32_PROFILES else Foreign(profile)
        if profile not in INT32_PROFILES and scales.weights != m:  # the multiplier is no float32: by definition instead
            got.append(_by_definition(profile, Fraction(acc * m, 1 << (31 - e))))
            continue
        layer = Dense(np.array([[0]]), np.array([acc]), rule, Activation("int16"), scales)
        net = Network(Activation("int8", 0, 0, 0), (layer,))
        assert prove(net).valid
        got.append(int(run(net, [0])[0]))
    assert got == expected


def _by_definition(profile: str, exact: Fraction) -> int:
    """Where no tie and no float error is near, the foreign rules are plain roundings of the exact value."""
    assert abs(exact % 1 - Fraction(1, 2)) > Fraction(1, 10000)
    return math.trunc(exact) if profile == "trunc0" else math.floor(exact + Fraction(1, 2))


def test_with_profile() -> None:
    scales = Scales(0.5, 0.25, 1.0)
    layer = Dense(np.array([[1, 1]]), np.array([0]), Fixed.floor(3), Activation(), scales)
    net = Network(Activation(), (layer,))
    answers = {profile: int(run(with_profile(net, profile), [-20, 8])[0]) for profile in PROFILES}  # -12 / 8 = -1.5
    assert answers == {
        "single": -1, "double": -2, "double-f32": -2, "upup": -1, "reduced15": -1,
        "f64away": -2, "fp32even": -2, "rndnu": -1, "trunc0": -1, "microflow": -2,
    }  # fmt: skip
    assert with_profile(net, "double").int32_only
    assert not with_profile(net, "trunc0").int32_only


def test_what_profiles_refuse() -> None:
    layer = Dense(np.array([[1]]), np.array([0]), Fixed.floor(3), Activation())
    net = Network(Activation(), (layer,))
    with pytest.raises(ModelError, match="layer 0: no scales"):
        with_profile(net, "double")
    with pytest.raises(UsageError, match="no profile 'nearest'") as caught:
        requantization("nearest", Scales(1.0, 1.0, 1.0))
    assert caught.value.code == "usage.profile"
    with pytest.raises(ModelError, match="profile is 'nearest'"):
        Foreign("nearest")
    with pytest.raises(ModelError, match="input scale"):
        Dense(np.array([[1]]), np.array([0]), Foreign("fp32even"), Activation(), Scales(256.0, 1.0, 1.0))
    with pytest.raises(ModelError, match="no scales"):
        Dense(np.array([[1]]), np.array([0]), Foreign("fp32even"), Activation())


def test_a_relu6_bound_is_part_of_the_profile() -> None:
    """6 / 4 = 1.5: rounded away it is 2, with zero point -1 rounded to even it is 0."""
    assert activation_bounds("double", "RELU6", "int8", -1, 4.0) == (-1, 1)
    assert activation_bounds("fp32even", "RELU6", "int8", -1, 4.0) == (-1, 0)
    scales = Scales(1.0, 1.0, 4.0)
    layer = Dense(np.array([[1]]), np.array([0]), Fixed.floor(2), Activation("int8", -1, -1, 1), scales)
    net = Network(Activation(), (layer,))
    assert with_profile(net, "upup").layers[0].output.max == 1
    with pytest.raises(ModelError, match="ReLU6 bound that fp32even rounds to 0"):
        with_profile(net, "fp32even")


def test_another_activation_is_refused() -> None:
    with pytest.raises(ModelError, match="activation is 'TANH'"):
        activation_bounds("double", "TANH", "int8", 0, 1.0)


def test_bounds_at_the_ends_of_a_type() -> None:
    assert activation_bounds("double", "RELU6", "int16", -32768, 1e-9) == (-32768, 32767)
    scales = Scales(1.0, 1.0, 4.0)
    assert activation_bounds("fp32even", "RELU6", "int8", 125, 4.0)[1] == 126
    assert activation_bounds("double", "RELU6", "int8", 125, 4.0)[1] == 127
    layer = Dense(np.array([[1]]), np.array([0]), Fixed.floor(2), Activation("int8", 125, 125, 127), scales)
    with_profile(Network(Activation(), (layer,)), "fp32even")  # 127 is the type's own bound, no sign of a ReLU6
