"""The fast engine: its float forms are accepted only if exact, and every way it can take is taken and compared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from intnn import Q31, Activation, Dense, Fixed, Network, Scales, fast, prove, run, trace
from intnn.foreign import FOREIGN, Foreign


def wide(
    rule: Any, *, output: Activation | None = None, inputs: int = 40, outputs: int = 24, reach: int = 127
) -> Network:
    rng = np.random.default_rng(11)
    weights = rng.integers(-reach - 1, reach + 1, (outputs, inputs))
    bias = rng.integers(-20000, 20000, outputs)
    scales = Scales(0.5, np.geomspace(0.001, 0.02, outputs).astype(np.float32).astype(float), 1.0)
    layer = Dense(weights, bias, rule, output or Activation("int8", 3), scales)
    return Network(Activation("int8", -7), (layer,))


def rows(net: Network, count: int = 400) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(5)
    low, high = net.input.min, net.input.max
    some = rng.integers(low, high + 1, (count, net.sizes[0]))
    ends = rng.choice([low, high], (count, net.sizes[0]))
    return np.concatenate([some, ends])


RULES: dict[str, Any] = {
    "single": Q31(1518500250, -8, "single"),
    "double": Q31(1518500250, -8, "double"),
    "upup": Q31(1518500250, -8, "upup"),
    "double, large steps": Q31(1 << 30, -2, "double"),
    "per channel": Q31(np.linspace(1 << 30, (1 << 31) - 1, 24).astype(int), np.arange(24) % 9 - 10, "double"),
    "multiplier 0": Q31(0, 0, "single"),
    "fixed": Fixed.half_up(14, 181, 2),
    "fixed, floor": Fixed.floor(11),
    **{name: Foreign(name) for name in FOREIGN},
}


@pytest.mark.parametrize("name", RULES)
def test_fast_is_bit_identical(name: str) -> None:
    net = wide(RULES[name])
    x = rows(net)
    assert np.array_equal(run(net, x, engine="fast"), run(net, x))


@pytest.mark.parametrize("name", RULES)
def test_the_form_agrees_on_every_reachable_accumulator(name: str) -> None:
    """The claim behind the engine, tried exhaustively: not only at the steps."""
    from intnn.interpreter import requantize

    net = wide(RULES[name], inputs=3, outputs=24)
    proof = prove(net).layers[0]
    run(net, rows(net, 1), engine="fast")
    (stage,) = fast._stages[net]
    low, high = int(proof.acc_low.min()), int(proof.acc_high.max())
    acc = np.arange(low, high + 1, dtype=np.int32)[:, None] + np.zeros(24, np.int32)
    expected = requantize(acc, net.layers[0])
    got = stage.form.apply((acc - stage.offset).astype(stage.weights.dtype)) + stage.centre
    reachable = (acc >= proof.acc_low) & (acc <= proof.acc_high)
    reachable[:, stage.exact] = False
    assert reachable.any() or len(stage.exact) == 24
    assert np.array_equal(got[reachable], expected[reachable])


def stage_of(net: Network) -> fast.Stage:
    run(net, rows(net, 1), engine="fast")
    return fast._stages[net][0]


def test_every_path_is_taken() -> None:
    """float32, float64, a bend, the exact fallback for some neurons and for wide outputs."""
    assert stage_of(wide(RULES["fixed, floor"])).form.a.dtype == np.float32
    assert stage_of(wide(RULES["double"])).form.bend is not None
    assert len(stage_of(wide(RULES["double, large steps"], output=Activation("int16"), outputs=24)).exact) == 24
    weights = np.full((1, 1033), 127)  # 1033 * 127 * 127 is below 2^24, 1033 * 127 * 128 is not
    edge = Network(Activation(), (Dense(weights, np.array([0]), Q31(1 << 30, -17, "upup"), Activation()),))
    assert stage_of(edge).weights.dtype == np.float64
    large = wide(RULES["upup"], inputs=3000)
    assert stage_of(large).weights.dtype == np.float64
    x = rows(large)
    assert np.array_equal(run(large, x, engine="fast"), run(large, x))


def test_a_wrong_form_is_not_accepted() -> None:
    """One constant moved by a fraction of a step, and the check of both sides of every step says so."""
    net = wide(RULES["single"])
    layer, proof = net.layers[0], prove(net).layers[0]
    stage = stage_of(net)
    steps = fast._Steps(layer, proof, stage.offset)
    assert steps.hold(stage.form).all()
    flat = wide(RULES["multiplier 0"])
    level = stage_of(flat).form
    flat_steps = fast._Steps(flat.layers[0], prove(flat).layers[0], stage_of(flat).offset)
    assert flat_steps.hold(level).all()
    assert not flat_steps.hold(replace(level, c=np.asarray(1, np.float32))).any()
    for delta in (-0.02, 0.02):
        assert not steps.hold(replace(stage.form, c=np.asarray(delta, np.float32))).all()


def test_blocks_join(monkeypatch: pytest.MonkeyPatch) -> None:
    """More rows than fit a block: the same as one by one."""
    monkeypatch.setattr(fast, "_BLOCK", 600 * 90)
    net = wide(RULES["upup"], inputs=600, reach=20)
    x = rows(net, 500)
    whole = run(net, x, engine="fast")
    assert np.array_equal(whole[::97], np.concatenate([run(net, r[None], engine="fast") for r in x[::97]]))
    assert np.array_equal(whole, trace(net, x)[-1].output)
