"""What training refuses before it computes anything, and what needs no JAX."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intnn import qat
from intnn.errors import IntnnError
from intnn.floats.network import FloatDense, FloatNetwork
from intnn.floats.scheme import Scheme
from intnn.model import Activation, Dense, Fixed, Network
from intnn.qat.data import prepare
from intnn.qat.options import Options
from intnn.qat.state import Checkpoint, State

X = np.random.default_rng(0).integers(0, 4096, (50, 3))
Y = X[:, :2] / 4096
START = FloatNetwork((FloatDense(np.ones((2, 3)), np.zeros(2)),))
HARD_TANH = FloatNetwork((FloatDense(np.ones((2, 3)), np.zeros(2), -1.0, 1.0),))
NAN = np.where(np.arange(50)[:, None] == 7, np.nan, Y)


def refused(code: str, *parts: str, x: Any = X, y: Any = Y, **options: Any) -> None:
    with pytest.raises(IntnnError) as error:
        qat.train(x, y, **({"sizes": "3-4-2"} | options))
    assert error.value.code == code
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("code", "parts", "data"),
    [
        ("input.value", ["y[7, 0] is nan", "finite"], {"y": NAN}),
        ("input.value", ["x[0, 0] is inf", "leave out the 50 rows"], {"x": np.full((50, 3), np.inf)}),
        ("input.shape", ["x has shape (50, 2)", "(batch, 3)"], {"x": X[:, :2]}),
        ("input.shape", ["y has shape (50, 3)", "(batch, 2)"], {"y": X}),
        ("input.shape", ["50 rows of x and 49 of y"], {"y": Y[1:]}),
        ("input.shape", ["at least one row"], {"x": X[:0], "y": Y[:0]}),
        ("input.type", ["y is not rectangular"], {"y": [[1, 2], [3]]}),
        ("input.type", ["x does not hold real numbers"], {"x": np.full((50, 3), "a")}),
        ("train.data", ["one row"], {"x": X[:1], "y": Y[:1]}),
        ("train.data", ["all 45 rows of x to train on are equal"], {"x": np.ones((50, 3))}),
        ("train.data", ["all 45 rows of y to train on are equal"], {"y": np.ones((50, 2))}),
        ("train.data", ["every label is 1"], {"y": np.ones(50, np.int64)}),
        ("input.range", ["labels within [0, 2]", "[0, 1]"], {"y": np.arange(50) % 3}),
        ("input.type", ["y of float64", "labels"], {"loss": "cross-entropy"}),
        ("quantize.range", ["integers within [0, 131071]", "shift the samples"], {"x": X * 30}),
        ("quantize.range", ["samples within [11, 4084]", "[0, 10]"], {"input_range": (0, 10)}),
        ("quantize.range", ["0,10 with samples of type float64"], {"x": X / 2, "input_range": (0, 10)}),
        ("model.value", ["layer 0", "clamp [-1.0, 1.0]"], {"sizes": None, "start": HARD_TANH}),
        ("input.shape", ["one output"], {"y": np.arange(50) % 2, "sizes": "3-1", "loss": "cross-entropy"}),
    ],
)
def test_data_that_cannot_be_learnt_from(code: str, parts: list[str], data: dict[str, Any]) -> None:
    refused(code, *parts, **data)


@pytest.mark.parametrize(
    ("parts", "options"),
    [
        (["neither sizes nor a start"], {"sizes": None}),
        (["both sizes and a start"], {"start": START}),
        (["sizes is '3-x-2'", "6-32-32-6"], {"sizes": "3-x-2"}),
        (["sizes is (3, 0, 2)"], {"sizes": (3, 0, 2)}),
        (["sizes is '3'"], {"sizes": "3"}),
        (["qat_steps is -1", "at least 0"], {"qat_steps": -1}),
        (["batch is 0"], {"batch": 0}),
        (["patience is 0"], {"patience": 0}),
        (["seed is 1.5"], {"seed": 1.5}),
        (["validation is 1", "(0, 1)"], {"validation": 1}),
        (["learning_rate is 0"], {"learning_rate": 0}),
        (["qat_learning_rate is nan"], {"qat_learning_rate": float("nan")}),
        (["loss is 'hinge'", "cross-entropy"], {"loss": "hinge"}),
        (["lanes with int16"], {"lanes": True, "scheme": Scheme(activations="int16")}),
        ([".npz"], {"state": "state.json"}),
    ],
)
def test_options_that_make_no_sense(parts: list[str], options: dict[str, Any]) -> None:
    refused("usage.option", *parts, **options)


def test_without_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)  # the import fails
    refused("usage.extra", "jax", "pip install 'intnn[train]'")
    monkeypatch.setitem(sys.modules, "jax", sys)
    monkeypatch.setitem(sys.modules, "optax", None)
    refused("usage.extra", "optax")


def test_jax_is_imported_for_training_only() -> None:
    code = "import sys, intnn, intnn.qat; sys.exit('jax' in sys.modules or 'optax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_rows_are_split_and_each_epoch_takes_every_row_once() -> None:
    data = prepare(X, Y, (3, 2), None, 0.2, seed=3)
    assert sorted([*data.training, *data.validation]) == list(range(50))
    assert len(data.validation) == 10
    batches = list(data.batches(3, 0, 10, 0, 8))
    for epoch in (batches[:4], batches[4:]):
        assert sorted(np.concatenate(epoch)) == sorted(data.training)
    assert not np.array_equal(batches[0], batches[4])
    for a, b in zip(batches[3:], data.batches(3, 0, 10, 3, 5), strict=True):  # from anywhere the same
        assert np.array_equal(a, b)
    assert not np.array_equal(batches[0], next(data.batches(3, 1, 10, 0, 1)))


def test_integers_of_one_dimension_are_labels_unless_there_is_one_output() -> None:
    labels = np.arange(50) % 2
    assert prepare(X, labels, (3, 2), None, 0.2, 0).loss == "cross-entropy"
    assert prepare(X, labels, (3, 1), None, 0.2, 0).loss == "mse"
    assert prepare(X, Y, (3, 2), None, 0.2, 0).loss == "mse"


def test_columns_that_hardly_vary_are_not_blown_up() -> None:
    x = np.column_stack([X[:, 0] * 1.0, X[:, 1] / 1e6, np.full(50, 3.0)])
    data = prepare(x, Y, (3, 2), None, 0.2, 0)
    assert data.x_spread[1] == data.x_spread[2] == 0.1 * data.x_spread[0]


def test_lane_use_by_hand() -> None:
    layers = (
        Dense(np.array([[1, -2], [3, 100]]), np.zeros(2, int), Fixed(0, 0), Activation("uint8", 10, 0, 250)),
        Dense(np.array([[-5, 5]]), np.zeros(1, int), Fixed(0, 0), Activation()),
    )
    used = qat.lane_use(Network(Activation("int8", -128, -128, 127), layers))
    assert [u.tolist() for u in used] == [[3 * 255, 103 * 255], [10 * 240]]


STATE = State(
    step=3,
    params=np.arange(4, dtype=np.float32),
    optimizer=(np.array(3, np.int32), np.ones(4, np.float32)),
    best=np.arange(4, dtype=np.float32) + 1,
    least=0.25,
    stale=2,
    history=np.array([[3, 0.5, 0.25]]),
)


def test_the_state_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    Checkpoint(path, "mark").keep("float", STATE)
    [(name, found)] = Checkpoint(path, "mark").phases.items()
    assert name == "float"
    assert (found.step, found.least, found.stale) == (3, 0.25, 2)
    for a, b in zip(
        [found.params, *found.optimizer, found.best, found.history],
        [STATE.params, *STATE.optimizer, STATE.best, STATE.history],
        strict=True,
    ):
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)
    assert [p.name for p in tmp_path.iterdir()] == ["state.npz"]


@pytest.mark.parametrize(
    ("content", "code"), [(b"", "file.syntax"), (b"PK\3\4 damaged", "file.syntax"), (None, "file.read")]
)
def test_a_file_that_is_no_state(content: bytes | None, code: str, tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(IntnnError) as error:
        Checkpoint(path, "mark")
    assert error.value.code == code
    assert str(path) in str(error.value)


def test_the_state_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    np.savez(path, weights=np.ones(3))
    with pytest.raises(IntnnError, match="not the state of a training") as error:
        Checkpoint(path, "mark")
    assert error.value.code == "train.state"
    Checkpoint(tmp_path / "other.npz", "mark").keep("float", STATE)
    with pytest.raises(IntnnError, match="other data or options") as error:
        Checkpoint(tmp_path / "other.npz", "another mark")
    assert error.value.code == "train.state"


CHANGES: dict[str, Callable[[Any], Any]] = {
    "float.step": lambda v: v + 1,
    "float.params": lambda v: v[:-1],
    "float.best": lambda v: v * np.nan,
    "float.least": lambda v: np.array("a"),
    "float.history": lambda v: None,
    "float.optimizer.0": lambda v: None,
}


@pytest.mark.parametrize("member", CHANGES)
def test_a_state_that_was_changed(member: str, tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    Checkpoint(path, "mark").keep("float", STATE)
    with np.load(path) as data:
        arrays = dict(data)
    changed = CHANGES[member](arrays.pop(member))
    np.savez(path, **arrays, **({} if changed is None else {member: changed}))
    with pytest.raises(IntnnError) as error:
        Checkpoint(path, "mark")
    assert error.value.code in ("train.state", "weights.layer")


def test_a_state_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(IntnnError) as error:
        Checkpoint(tmp_path / "no folder" / "state.npz", "mark").keep("float", STATE)
    assert error.value.code == "file.write"


def test_every_option_decides_the_fingerprint() -> None:
    data = prepare(X, Y, (3, 2), None, 0.2, 0)
    plain = qat._checkpoint(data, (3, 2), None, Options(), None).fingerprint
    changed = Options(lanes=True), Options(seed=1), Options(batch=7), Options(input_range=(0, 4095))
    marks = {qat._checkpoint(data, (3, 2), None, options, None).fingerprint for options in changed}
    other = prepare(X, Y + 1e-9, (3, 2), None, 0.2, 0)
    marks |= {qat._checkpoint(other, (3, 2), None, Options(), None).fingerprint}
    marks |= {qat._checkpoint(data, (3, 2), START, Options(), None).fingerprint}
    assert len(marks | {plain}) == 7
