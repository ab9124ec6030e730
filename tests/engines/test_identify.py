"""`identify` names the profile of each running engine from its outputs on one model, for inputs made to tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tflite_builder import Layer, Model, build

from engines.test_engines import INT8, Engine, require
from intnn import run
from intnn.conform.identify import identify
from intnn.formats.tflite import parse_tflite

pytestmark = pytest.mark.engines

Array = NDArray[Any]


def model(engine: Engine) -> Model:
    """Two layers; scales at which ties are frequent, and one of which the product is no float32."""
    rng = np.random.default_rng(11)
    layers = []
    for (inputs, outputs), weight_scale, scale in (((6, 10), 0.0078125, 0.125), ((10, 5), 0.0123, 0.037)):
        bias = None if engine.bias is None else rng.integers(-400, 400, outputs).astype(engine.bias)
        weights = rng.integers(-127, 128, (outputs, inputs)).astype(np.int8)
        layers.append(Layer(weights, float(np.float32(weight_scale)), float(np.float32(scale)), 3, bias=bias))
    return Model(0.03125, tuple(layers), input_zero_point=-4)


@pytest.mark.parametrize("engine", [e for e in INT8 if "tosa" not in e.name], ids=str)
def test_identify_names_the_engine(engine: Engine, tmp_path: Any) -> None:
    """First on random rows, then also on those that decide between what is left. What remains besides the engine's
    own profile no input that was tried tells from it."""
    require(*engine.packages)
    made = model(engine)
    data = build(made)
    path = tmp_path / "model.tflite"
    path.write_bytes(data)
    x = np.random.default_rng(1).integers(-128, 128, (200, 6)).astype(np.int8)
    found = identify(path, x, engine.call(data, made, x))
    assert engine.profile in found.winners
    assert found.refuting
    if found.deciding:
        x = np.concatenate([x, np.array([d.x for d in found.deciding], np.int8)])
        found = identify(path, x, engine.call(data, made, x))
    assert engine.profile in found.winners
    probe = np.random.default_rng(2).integers(-128, 128, (20_000, 6))
    own = run(parse_tflite(data, profile=engine.profile).network, probe, engine="fast")
    for other in found.winners:
        assert np.array_equal(run(parse_tflite(data, profile=other).network, probe, engine="fast"), own), other
