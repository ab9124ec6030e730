"""Training on JAX: the forward pass is the interpreter's, gradients are as documented, a seed decides it all."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intnn
from intnn import qat
from intnn.errors import IntnnError
from intnn.floats.meaning import decode, encode
from intnn.floats.network import FloatDense, FloatNetwork, Floats
from intnn.floats.quantize import quantize
from intnn.floats.scheme import Scheme
from intnn.model import Network
from intnn.qat import data as qat_data
from intnn.qat.options import Progress

pytestmark = pytest.mark.frameworks
pytest.importorskip("optax")

RNG = np.random.default_rng(5)
COUNTS = RNG.integers(0, 4096, (4000, 5))  # a 12-bit ADC
TARGETS = np.stack([np.sin(COUNTS[:, 0] / 900), COUNTS[:, 1] * COUNTS[:, 2] / 4e6, np.abs(COUNTS[:, 3] / 2048 - 1)], 1)
QUICK: dict[str, Any] = {"sizes": "5-8-6-3", "float_steps": 200, "qat_steps": 120, "batch": 256, "every": 40}


def network(unit: float = 1200, top: float = np.inf) -> FloatNetwork:
    """5-7-4-3 with random weights, for inputs of about the size of ``unit``."""
    rng = np.random.default_rng(8)
    sizes, layers = [(5, 7), (7, 4), (4, 3)], []
    for n, (i, o) in enumerate(sizes):
        weights = rng.normal(0, 1, (o, i)) / ((unit if n == 0 else 1) * np.sqrt(i))
        layers.append(FloatDense(weights, rng.normal(0, 0.3, o), *((0.0, top) if n < 2 else ())))
    return FloatNetwork(tuple(layers))


def twin_of(source: FloatNetwork, x: Any, scheme: Scheme, limit: int | None = None) -> Any:
    from intnn.qat.twin import Twin
    from intnn.qat.units import relative

    prepared = qat_data.prepare(x, source.run(x), source.sizes, "mse", 0.1, 0)
    return Twin(quantize(source, x, scheme=scheme), relative(source, prepared), limit)


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Most of these trainings are the same to the compiler."""
    import jax

    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    yield
    jax.config.update("jax_compilation_cache_dir", None)


SCHEMES = [
    Scheme(activations=a, requantize=r, per_channel=c)
    for a in ("int8", "uint8", "int16")
    for r in ("8-bit", "power-of-two", "15-bit", "q31")
    for c in (True, False)
]
SPECIAL = [
    Scheme(weights="int4", activations="uint8", output="int8", weight_calibration="squared-error"),
    Scheme(absorb=False, output="uint8", calibration="percentile", bias_correction=False),
    Scheme(absorb=False, activations="int16", requantize="15-bit", per_channel=False),
]


def compare(twin: Any, x: Any, seed: int, run: Any) -> None:
    """The forward pass of training and ``intnn.run`` of the exported network, with parameters off the start's."""
    start = twin.initial()
    params = (start + np.random.default_rng(seed).normal(0, 0.05, start.shape)).astype(np.float32)
    net = twin.network(params)
    given = encode(net, x)
    q, value, _ = run(params, twin.integers(params), given.astype(np.int32))
    expected = intnn.run(net, given)
    assert np.count_nonzero(np.asarray(q) != expected) == 0
    assert len(np.unique(expected)) > 50  # something was computed
    np.testing.assert_allclose(np.asarray(value), decode(net, expected), rtol=3e-7)


@pytest.mark.parametrize("scheme", SCHEMES + SPECIAL, ids=str)
def test_the_forward_pass_is_the_exported_network(scheme: Scheme) -> None:
    """4,000 samples of counts and 4,000 of floats; outputs compared as integers."""
    for seed, (x, unit) in enumerate([(COUNTS, 1200.0), (COUNTS / 1000 - 2, 1.2)]):
        twin = twin_of(network(unit), x, scheme)
        compare(twin, x, seed, twin.outputs)


@pytest.mark.parametrize("scheme", [SCHEMES[0], SCHEMES[3], SCHEMES[20], SCHEMES[22]], ids=str)
def test_so_it_is_when_compiled(scheme: Scheme) -> None:
    import jax

    twin = twin_of(network(top=1.5), COUNTS, scheme)
    assert twin.learned == [False, False, True]  # ReLU with an upper end keeps its scale
    compare(twin, COUNTS, 3, jax.jit(twin.outputs))


@pytest.mark.parametrize("scheme", SCHEMES + SPECIAL, ids=str)
def test_training_starts_from_the_quantized_network(scheme: Scheme) -> None:
    twin = twin_of(network(), COUNTS, scheme)
    for ours, start in zip(twin.numbers(twin.initial())[0], twin.start.numbers, strict=True):
        assert (ours.weights == start.weights).all()
        assert (ours.factor == start.factor).all()
        assert (np.abs(ours.bias - start.bias) <= 1 + np.abs(start.bias) * 2.0**-21).all()  # parameters are float32


def test_gradients_of_a_rounded_value() -> None:
    """By hand: step 0.5 and bounds [-2, 3], so that the clip is at [-1, 1.5]."""
    import jax
    import jax.numpy as jnp

    from intnn.qat.twin import stepped

    v = np.array([0.6, 0.9, -5.0, 4.0], np.float32)
    q = np.array([1, 2, -2, 3], np.float32)

    def function(v: Any, step: Any) -> Any:
        return stepped(v, q, step, -2, 3)

    np.testing.assert_array_equal(function(v, 0.5), [0.5, 1.0, -1.0, 1.5])
    by_v, by_step = jax.jacobian(function, argnums=(0, 1))(jnp.asarray(v), jnp.float32(0.5))
    np.testing.assert_array_equal(by_v, np.diag([1.0, 1.0, 0.0, 0.0]))
    np.testing.assert_allclose(by_step, [1 - 1.2, 2 - 1.8, -2, 3], rtol=1e-5)


def test_gradients_are_those_of_the_floats_behind() -> None:
    """With 16-bit vectors rounding is small, and the gradient in weights and biases about that of the float network."""
    import jax
    import jax.numpy as jnp

    twin = twin_of(network(), COUNTS, Scheme(activations="int16", requantize="q31", weight_rounding="nearest"))
    params, x = twin.initial(), COUNTS[:500].astype(np.int32)

    def floats(params: Any) -> Any:
        values = jnp.asarray(x, jnp.float32)
        for (w, b, _, _), unit, layer in zip(twin.split(params), twin.units, twin.start.floats.layers, strict=True):
            sums = ((values - unit.mean) / unit.column) @ w.T * unit.row + b * unit.row
            values = jnp.clip(sums, layer.min, layer.max)
        return jnp.sum(values**2)

    integers = twin.integers(params)
    found = jax.jit(jax.grad(lambda p: jnp.sum(twin.outputs(p, integers, x)[1] ** 2)))(params)
    expected = jax.jit(jax.grad(floats))(params)
    for ours, theirs in zip(twin.split(found), twin.split(expected), strict=True):
        for part in (0, 1):
            assert np.linalg.norm(ours[part] - theirs[part]) < 0.05 * np.linalg.norm(theirs[part])


def trained(**options: Any) -> qat.Trained:
    return qat.train(COUNTS, TARGETS, **(QUICK | options))


@pytest.fixture(scope="module")
def once() -> qat.Trained:
    return trained()


def rmse(net: Network, rows: Any) -> float:
    """In units of each target's standard deviation, which is what the loss is the square of."""
    off = decode(net, intnn.run(net, COUNTS[rows])) - TARGETS[rows]
    return float(np.sqrt(np.mean((off / TARGETS.std(axis=0)) ** 2)))


def test_the_same_seed_gives_the_same_network(once: qat.Trained) -> None:
    assert intnn.dumps(trained().network) == intnn.dumps(once.network)
    assert intnn.dumps(trained(seed=1).network) != intnn.dumps(once.network)


def test_the_best_on_the_rows_held_back_is_kept(once: qat.Trained) -> None:
    assert len(once.validation) == 400
    assert not np.intersect1d(once.training, once.validation).size
    assert once.history[:, 0].tolist() == [40, 80, 120]
    assert rmse(once.network, once.validation) ** 2 == pytest.approx(once.history[:, 2].min(), rel=0.01)
    assert rmse(once.network, once.validation) < rmse(once.start.network, once.validation)
    assert intnn.prove(once.network).valid


def test_tuning_mends_what_coarse_weights_cost() -> None:
    floats = qat.train_float(COUNTS, TARGETS, sizes="5-16-3", steps=1500)
    scheme = Scheme(weights="int4", activations="int16", weight_rounding="nearest")
    result = qat.train(COUNTS, TARGETS, start=floats, scheme=scheme, qat_steps=500, qat_learning_rate=0.02)
    error = float(np.sqrt(np.mean(((floats.run(COUNTS) - TARGETS) / TARGETS.std(axis=0)) ** 2)))
    quantized, tuned = (rmse(net, slice(None)) for net in (result.start.network, result.network))
    assert quantized > 1.2 * error
    assert tuned - error < 0.7 * (quantized - error)


def test_labels_are_learnt_by_cross_entropy() -> None:
    labels = (COUNTS[:, 0] > 2048) + (COUNTS[:, 1] > 2048).astype(np.int64)
    result = qat.train(COUNTS / 4096.0, labels, sizes="5-8-3", float_steps=400, qat_steps=100, every=50)
    x = encode(result.network, COUNTS[result.validation] / 4096.0)
    assert np.mean(intnn.run(result.network, x).argmax(axis=1) == labels[result.validation]) > 0.95


class InterruptedTrainingError(Exception):
    """Raised from where progress is told."""


@pytest.mark.parametrize(("phase", "step"), [("float", 80), ("integer", 40), ("integer", 120)])
def test_an_interrupted_training_goes_on(phase: str, step: int, once: qat.Trained, tmp_path: Path) -> None:
    state = tmp_path / "state.npz"
    seen: list[Progress] = []

    def interrupt(p: Progress) -> None:
        if (p.phase, p.step) == (phase, step):
            raise InterruptedTrainingError

    with pytest.raises(InterruptedTrainingError):
        trained(state=state, progress=interrupt)
    result = trained(state=state, progress=seen.append)
    assert (phase, step) < (seen[0].phase, seen[0].step) if seen else (phase, step) == ("integer", 120)
    assert intnn.dumps(result.network) == intnn.dumps(once.network)
    assert np.array_equal(result.history, once.history)
    assert np.array_equal(result.float_history, once.float_history)


KILLED = """
import os, signal, sys
from tests.frameworks.test_qat import trained
def kill(p):
    if (p.phase, p.step) == ("integer", 80):
        os.kill(os.getpid(), signal.SIGKILL)
trained(state=sys.argv[1], progress=kill)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL, which this system does not have")
def test_so_does_a_killed_one(once: qat.Trained, tmp_path: Path) -> None:
    state = tmp_path / "state.npz"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", KILLED, str(state)], cwd=root, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert intnn.dumps(trained(state=state).network) == intnn.dumps(once.network)


def test_the_state_of_another_training_is_refused(tmp_path: Path) -> None:
    options: dict[str, Any] = {"float_steps": 40, "qat_steps": 40, "state": tmp_path / "state.npz"}
    trained(**options)
    changes: list[dict[str, Any]] = [{"seed": 1}, {"qat_steps": 41}, {"scheme": Scheme(activations="int16")}]
    for change in changes:
        with pytest.raises(IntnnError) as error:
            trained(**(options | change))
        assert error.value.code == "train.state"
        assert "state.npz" in str(error.value)


def test_lanes_are_kept() -> None:
    options: dict[str, Any] = {"scheme": Scheme(activations="uint8"), "qat_steps": 200}
    x = (COUNTS >> 4).astype(np.uint8)
    plain, lanes = (qat.train(x, TARGETS, **(QUICK | options), lanes=on) for on in (False, True))

    def largest(net: Network) -> int:
        spans = [max(a.max - a.zero_point, a.zero_point - a.min) for a in net.inputs]
        return max(int(np.abs(n.weights.astype(int)).sum(1).max()) * s for n, s in zip(net.layers, spans, strict=True))

    assert largest(plain.network) > 65535 >= largest(lanes.network)
    assert largest(lanes.network) == max(int(used.max()) for used in qat.lane_use(lanes.network))
    off = decode(lanes.network, intnn.run(lanes.network, x)) - TARGETS
    assert np.sqrt(np.mean(off**2)) < 0.5 * TARGETS.std()


def test_rows_over_their_budget_are_drawn_back() -> None:
    """The gradient of the excess shrinks weights where a row exceeds the limit, and is 0 elsewhere."""
    import jax

    loose, tight = (twin_of(network(), COUNTS, Scheme(), limit) for limit in (None, 4095 * 120))
    x = COUNTS.astype(np.int32)
    for twin, over in ((loose, False), (tight, True)):
        params = twin.initial()
        compute = jax.jit(jax.value_and_grad(lambda params, given, of=twin: of.outputs(params, given, x)[2]))
        excess, gradient = compute(params, twin.integers(params))
        w, pull = twin.split(params)[0][0], twin.split(gradient)[0][0]
        assert (excess > 0) == over
        assert (np.abs(pull).max() > 0) == over
        assert (pull * w >= 0).all()


def test_patience_ends_a_phase() -> None:
    result = trained(qat_learning_rate=1e-9, patience=1)
    assert len(result.history) == 1


def test_dead_neurons_and_constant_columns() -> None:
    x = np.column_stack([COUNTS, np.full(len(COUNTS), 7)])
    start = FloatNetwork(
        (
            FloatDense(np.vstack([np.zeros((2, 6)), np.full((3, 6), 1e-4)]), np.array([-1.0, 2.0, 0, 0, 0]), 0.0),
            FloatDense(np.ones((3, 5)), np.zeros(3)),
        )
    )
    for per_channel in (True, False):
        result = qat.train(x, TARGETS, start=start, scheme=Scheme(per_channel=per_channel), qat_steps=40, every=40)
        assert intnn.prove(result.network).valid


def test_a_loss_that_is_no_longer_finite() -> None:
    from intnn.qat import phase
    from intnn.qat.options import Options
    from intnn.qat.state import Checkpoint

    def advance(params: Any, moments: Any, first: int, count: int) -> Any:
        return params, moments, float("nan") if first else 1.0

    optimizer = phase.adam(0.1, 100)
    with pytest.raises(IntnnError) as error:
        phase.run(
            "float",
            100,
            np.zeros(3, np.float32),
            optimizer,
            advance,
            lambda params: 1.0,
            Options(every=50),
            Checkpoint(None, ""),
            None,
        )
    assert error.value.code == "train.diverged"
    assert "after 100 float steps" in str(error.value)


def test_a_start_is_trained_further_on_request() -> None:
    start = qat.train_float(COUNTS, TARGETS, sizes="5-8-3", steps=100)
    further = qat.train_float(COUNTS, TARGETS, start=start, steps=300)

    def error(net: FloatNetwork) -> float:
        off: Floats = net.run(COUNTS) - TARGETS
        return float(np.mean(off**2))

    assert error(further) < 0.9 * error(start)
    kept = qat.train_float(COUNTS, TARGETS, start=start, steps=1, learning_rate=1e-9)
    np.testing.assert_allclose(kept.run(COUNTS), start.run(COUNTS), rtol=1e-3, atol=1e-4)


def test_parameters_that_are_no_longer_finite() -> None:
    twin = twin_of(network(), COUNTS, Scheme())
    params = twin.initial()
    params[3] = np.nan
    with pytest.raises(IntnnError) as error:
        twin.integers(params)
    assert error.value.code == "train.diverged"


@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_a_training_gone_astray_is_still_a_network(activations: str) -> None:
    """At an absurd rate step sizes go out of bounds, and are not followed there."""
    result = trained(float_steps=40, qat_learning_rate=0.9, scheme=Scheme(activations=activations))
    assert intnn.prove(result.network).valid
