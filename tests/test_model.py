"""What a network may hold, and what is refused with which words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest

from intnn import Q31, Activation, Dense, Fixed, Network, Scales
from intnn.errors import ModelError

RULE = Fixed.half_up(3)


def dense(**changes: Any) -> Dense:
    fields: dict[str, Any] = {
        "weights": [[1, 2, 3], [4, 5, 6]],
        "bias": [7, 8],
        "requantize": RULE,
        "output": Activation(),
    }
    return Dense(**{**fields, **changes})


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "unknown type": (lambda: Activation("int4"), "type is 'int4'"),
    "zero point": (lambda: Activation("uint8", -1), "zero_point is -1"),
    "min above max": (lambda: Activation("int8", 0, 5, 4), "min is 5, above max 4"),
    "max beyond type": (lambda: Activation("int8", 0, 0, 128), "max is 128"),
    "float zero point": (lambda: Activation("int8", 0.0), "zero_point is of type float64"),  # type: ignore[arg-type]  # on purpose
    "bool zero point": (lambda: Activation("int8", True), "zero_point is of type bool"),
    "array zero point": (lambda: Activation("int8", [0]), "zero_point is of shape (1,)"),  # type: ignore[arg-type]  # on purpose
    "shift": (lambda: Fixed(32, 0), "shift is 32"),
    "pre_shift": (lambda: Fixed(1, 1, 1, -1), "pre_shift is -1"),
    "multiplier 0": (lambda: Fixed(1, 1, 0), "multiplier is 0"),
    "multiplier 2^31": (lambda: Fixed(1, 1, 1 << 31), "multiplier is 2147483648"),
    "round": (lambda: Fixed(3, 8), "round is 8"),
    "round without shift": (lambda: Fixed(0, 1), "round is 1"),
    "pre_round": (lambda: Fixed(0, 0, 1, 2, 4), "pre_round is 4"),
    "one round too large": (lambda: Fixed(np.array([3, 2]), 4), "round is 4"),
    "lengths differ": (lambda: Fixed(np.array([3, 2]), np.array([1, 1, 1])), "round is of shape (3,)"),
    "q31 multiplier": (lambda: Q31((1 << 30) - 1, 0, "single"), "multiplier is 1073741823"),
    "one of the multipliers": (lambda: Q31(np.array([1 << 30, 5]), 0, "single"), "multiplier is 5"),
    "exponent": (lambda: Q31(1 << 30, 31, "single"), "exponent is 31"),
    "rounding": (lambda: Q31(1 << 30, 0, "round"), "rounding is 'round'"),
    "weights type": (lambda: dense(weights=np.ones((2, 3))), "weights is of type float64"),
    "weights range": (lambda: dense(weights=[[1, 2, 3], [4, -129, 6]]), "weights[1][1] is -129"),
    "ragged weights": (lambda: dense(weights=[[1, 2], [3]]), "weights is not a rectangular array"),
    "weights shape": (lambda: dense(weights=[1, 2]), "weights is of shape (2,)"),
    "no inputs": (lambda: dense(weights=np.zeros((2, 0), int)), "weights is of shape (2, 0)"),
    "bias shape": (lambda: dense(bias=[1]), "bias is of shape (1,)"),
    "bias range": (lambda: dense(bias=[1, 1 << 31]), "bias[1] is 2147483648"),
    "huge bias": (lambda: dense(bias=[1, 1 << 80]), "bias is of type object"),
    "per channel": (lambda: dense(requantize=Fixed(np.array([1, 2, 3]), 0)), "shift is 3 values"),
    "scales": (lambda: dense(scales=Scales(1.0, np.array([1.0]), 1.0)), "scales.weights is 1 values"),
    "scale 0": (lambda: Scales(0.0, 1.0, 1.0), "input is 0.0"),
    "scale NaN": (lambda: Scales(1.0, float("nan"), 1.0), "weights is nan"),
    "scale infinite": (lambda: Scales(1.0, 1.0, float("inf")), "output is inf"),
    "scale too large": (lambda: Scales(1.0, 1.0, 1e300), "output is 1e+300"),
    "scale not float32": (lambda: Scales(0.1, 1.0, 1.0), "input is 0.1"),
    "array of input scales": (lambda: Scales(np.array([1.0]), 1.0, 1.0), "input is [1.]"),  # type: ignore[arg-type]  # on purpose
    "rounding preset": (lambda: Fixed.half_up(-1), "shift is -1"),
    "float shift": (lambda: Fixed.half_up(2.5), "shift is of type float64"),  # type: ignore[arg-type]  # on purpose
    "type of type": (lambda: Activation([]), "type is []"),  # type: ignore[arg-type]  # on purpose
    "scale text": (lambda: Scales("a", 1.0, 1.0), "input is 'a'"),  # type: ignore[arg-type]  # on purpose
    "scale complex": (lambda: Scales(1j, 1.0, 1.0), "input is 1j"),  # type: ignore[arg-type]  # on purpose
    "no rule": (lambda: dense(requantize=None), "requantize is of type NoneType"),
    "rule by name": (lambda: dense(requantize="double"), "requantize is of type str"),
    "output by name": (lambda: dense(output="int8"), "output is of type str"),
    "scales number": (lambda: dense(scales=5), "scales is of type int"),
    "empty multiplier": (lambda: Q31([], 0, "single"), "multiplier is an empty array"),  # type: ignore[arg-type]  # on purpose
    "input by name": (lambda: Network("int8", (dense(),)), "input is of type str"),  # type: ignore[arg-type]  # on purpose
    "one layer bare": (lambda: Network(Activation(), dense()), "layers is of type Dense"),  # type: ignore[arg-type]  # on purpose
    "layers of ints": (lambda: Network(Activation(), (1,)), "layers[0] is of type int"),  # type: ignore[arg-type]  # on purpose
    "no layers": (lambda: Network(Activation(), ()), "layers is none"),
    "name": (lambda: Network(Activation(), (dense(),), name="a\nb"), "name is 'a\\nb'"),
    "long source": (lambda: Network(Activation(), (dense(),), source="x" * 201), "source is"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    build, words = REFUSED[case]
    with pytest.raises(ModelError) as caught:
        build()
    assert caught.value.code == "model.value"
    assert words in caught.value.found
    assert caught.value.expected


def test_layers_must_chain() -> None:
    with pytest.raises(ModelError, match="layer 1 takes 3 inputs, layer 0 has 2 outputs") as caught:
        Network(Activation(), (dense(), dense()))
    assert caught.value.code == "model.chain"


def test_limits_are_included() -> None:
    Activation("int16", -32768, -32768, 32767)
    Fixed(31, (1 << 31) - 1, (1 << 31) - 1, 31, (1 << 31) - 1)
    Q31(0, -31, "upup")
    Q31((1 << 31) - 1, 30, "double")
    dense(bias=[-(1 << 31), (1 << 31) - 1], weights=[[-128, 127, 0], [0, 0, 0]])


def test_presets() -> None:
    up, down = Fixed.half_up(5, 181, 2), Fixed.floor(5)
    assert (up.round, up.pre_round, down.round, down.pre_round) == (16, 2, 0, 0)
    assert Fixed.half_up(0).round == 0


def test_networks_are_frozen_to_the_arrays() -> None:
    weights = np.array([[1, 2, 3], [4, 5, 6]])
    layer = dense(weights=weights)
    weights[0, 0] = 99
    assert layer.weights[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        layer.weights[0, 0] = 2
    with pytest.raises(ValueError, match="read-only"):
        layer.bias[0] = 2
    with pytest.raises(FrozenInstanceError):
        layer.output.min = 3  # type: ignore[misc]  # frozen: that is what is tested


def test_scalars_are_ints_and_arrays_int32() -> None:
    rule = Q31(np.array(1 << 30), np.array([-1, 2], np.int8), "single")
    assert type(rule.multiplier) is int
    assert np.asarray(rule.exponent).dtype == np.int32
