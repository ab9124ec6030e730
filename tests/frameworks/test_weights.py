"""Float networks from what the frameworks themselves make: the same weights exactly, the same outputs but for rounding.

A framework sums in another order than NumPy, and mostly in float32; so outputs agree to a few units in the last place
of the largest intermediate value, not exactly. Weights that are copied are compared exactly.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intnn.errors import IntnnError
from intnn.floats.network import FloatNetwork, Floats
from intnn.formats.report import Import
from intnn.formats.weights import from_object, read_weights

os.environ["KERAS_BACKEND"] = "jax"  # read when keras is imported; tensorflow need not be there

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras' own, under NumPy 2
]

X = np.random.default_rng(1).normal(0.5, 2.0, (300, 6))


def close(found: Floats, expected: Any, digits: float = 2e-5) -> None:
    """Equal but for rounding: ``digits`` is some hundred times the last place of float32, sums are that long."""
    np.testing.assert_allclose(found, np.asarray(expected, np.float64).reshape(found.shape), rtol=digits, atol=digits)


def texts(imported: Import[FloatNetwork]) -> list[str]:
    return [str(line) for line in imported.report]


# --- scikit-learn --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def learn() -> dict[str, Any]:
    """Estimators fitted for a few rounds: what they learn does not matter."""
    neural = pytest.importorskip("sklearn.neural_network")
    pipeline = pytest.importorskip("sklearn.pipeline")
    scale = pytest.importorskip("sklearn.preprocessing")
    compose = pytest.importorskip("sklearn.compose")
    y = np.stack([X @ np.arange(6), np.abs(X).sum(axis=1), X[:, 0] * 3 + 100], axis=1)
    labels = (X @ [1, -1, 1, -1, 1, -1] > 0).astype(int) + (X[:, 0] > 1)
    few = {"max_iter": 5, "random_state": 0}

    def regressor(**options: Any) -> Any:
        return neural.MLPRegressor(hidden_layer_sizes=(16, 8), **{**few, **options})

    def classifier() -> Any:
        return neural.MLPClassifier(hidden_layer_sizes=(9,), **few)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it did not converge
        return {
            "regressor": regressor().fit(X, y),
            "one output": regressor().fit(X, y[:, 0]),
            "float32": regressor().fit(X.astype(np.float32), y.astype(np.float32)),
            "no hidden layer": neural.MLPRegressor(hidden_layer_sizes=(), **few).fit(X, y),
            "linear": regressor(activation="identity").fit(X, y),
            "tanh": regressor(activation="tanh").fit(X, y),
            "logistic": regressor(activation="logistic").fit(X, y),
            "classes": classifier().fit(X, np.array(["a", "b", "c"])[labels]),
            "two classes": classifier().fit(X, labels > 0),
            "labels": classifier().fit(X, np.stack([labels > 0, labels > 1], axis=1)),
            "standard": pipeline.make_pipeline(scale.StandardScaler(), regressor()).fit(X, y),
            "mean only": pipeline.make_pipeline(scale.StandardScaler(with_std=False), regressor()).fit(X, y),
            "scale only": pipeline.make_pipeline(scale.StandardScaler(with_mean=False), regressor()).fit(X, y),
            "min max": pipeline.make_pipeline(scale.MinMaxScaler((-1, 1)), "passthrough", regressor()).fit(X, y),
            "both": pipeline.make_pipeline(scale.MinMaxScaler(), scale.StandardScaler(), regressor()).fit(X, y),
            "clip": pipeline.make_pipeline(scale.MinMaxScaler(clip=True), regressor()).fit(X, y),
            "robust": pipeline.make_pipeline(scale.RobustScaler(), regressor()).fit(X, y),
            "scaled classes": pipeline.make_pipeline(scale.StandardScaler(), classifier()).fit(X, labels),
            "target": compose.TransformedTargetRegressor(
                pipeline.make_pipeline(scale.StandardScaler(), regressor()), transformer=scale.StandardScaler()
            ).fit(X, y),
            "target min max": compose.TransformedTargetRegressor(regressor(), transformer=scale.MinMaxScaler()).fit(
                X, y
            ),
            "target log": compose.TransformedTargetRegressor(
                regressor(), func=np.cbrt, inverse_func=lambda v: v**3
            ).fit(X, y),
            "not fitted": regressor(),
        }


@pytest.mark.parametrize("kind", ["regressor", "one output", "float32", "no hidden layer", "linear"])
def test_regressors(learn: dict[str, Any], kind: str) -> None:
    model = learn[kind]
    imported = from_object(model, name="pose")
    for layer, weights, bias in zip(imported.network.layers, model.coefs_, model.intercepts_, strict=True):
        np.testing.assert_array_equal(layer.weights, weights.T)
        np.testing.assert_array_equal(layer.bias, bias)
    x = X.astype(np.float32) if kind == "float32" else X
    close(imported.network.run(x), model.predict(x), 2e-5 if kind == "float32" else 1e-12)
    assert {line.how for line in imported.report} == {"exact"}
    assert imported.network.name == "pose"


@pytest.mark.parametrize("kind", ["classes", "scaled classes"])
def test_classifiers(learn: dict[str, Any], kind: str) -> None:
    model = learn[kind]
    scores = from_object(model).network.run(X)
    close(np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True), model.predict_proba(X), 1e-12)
    np.testing.assert_array_equal(model.classes_[scores.argmax(axis=1)], model.predict(X))


def test_what_a_classifier_gives(learn: dict[str, Any]) -> None:
    report = texts(from_object(learn["classes"]))
    assert "outputs: note: the largest is that of the class: a, b, c" in report
    assert any(line.startswith("MLPClassifier: note: softmax is left off") for line in report)


def test_two_classes(learn: dict[str, Any]) -> None:
    imported = from_object(learn["two classes"])
    score = imported.network.run(X)[:, 0]
    close(1 / (1 + np.exp(-score)), learn["two classes"].predict_proba(X)[:, 1], 1e-12)
    np.testing.assert_array_equal(score > 0, learn["two classes"].predict(X))
    assert "outputs: note: above 0 for the second class: False, True" in texts(imported)


def test_labels(learn: dict[str, Any]) -> None:
    imported = from_object(learn["labels"])
    np.testing.assert_array_equal(imported.network.run(X) > 0, learn["labels"].predict(X))
    assert "outputs: note: each above 0 where its class applies: 0, 1" in texts(imported)


@pytest.mark.parametrize("kind", ["standard", "mean only", "scale only", "min max", "both", "target", "target min max"])
def test_scalings(learn: dict[str, Any], kind: str) -> None:
    imported = from_object(learn[kind])
    close(imported.network.run(X), learn[kind].predict(X), 1e-10)
    assert any(line.how == "re-derived" and "Scaler folded in" in line.text for line in imported.report)
    exact = [line.where for line in imported.report if line.how == "exact" and "weights" in line.where]
    assert exact == {"target": ["layer 1 weights"], "target min max": ["layer 0 weights", "layer 1 weights"]}.get(
        kind, ["layer 1 weights", "layer 2 weights"]
    )


@pytest.mark.parametrize(
    ("kind", "code", "parts"),
    [
        ("tanh", "weights.layer", ["MLPRegressor", "activation tanh", "relu"]),
        ("logistic", "weights.layer", ["MLPRegressor", "logistic", "within the network"]),
        ("clip", "weights.layer", ["MinMaxScaler", "clip=True"]),
        ("robust", "weights.layer", ["RobustScaler", "StandardScaler"]),
        ("target log", "weights.layer", ["FunctionTransformer"]),
        ("not fitted", "weights.file", ["MLPRegressor", "not fitted"]),
    ],
)
def test_refused_estimators(learn: dict[str, Any], kind: str, code: str, parts: list[str]) -> None:
    with pytest.raises(IntnnError) as refusal:
        from_object(learn[kind])
    assert refusal.value.code == code
    assert [part for part in parts if part not in str(refusal.value)] == []


# --- Keras ---------------------------------------------------------------------------------------------------------


def keras_model(name: str) -> Any:
    keras = pytest.importorskip("keras")
    layers = keras.layers
    keras.utils.set_random_seed(7)
    start = [keras.Input((6,))]
    models: dict[str, list[Any]] = {
        "plain": [layers.Dense(16, activation="relu"), layers.Dense(8, activation="relu6"), layers.Dense(3)],
        "separate": [layers.Dense(16), layers.ReLU(), layers.Dense(8), layers.Activation("relu"), layers.Dense(3)],
        "capped": [layers.Dense(16), layers.ReLU(max_value=1.5), layers.Dropout(0.5), layers.Dense(3)],
        "no bias": [layers.Dense(16, activation="relu", use_bias=False), layers.Dense(3)],
        "flatten": [layers.Flatten(), layers.Dense(3, activation=keras.activations.relu)],
        "nested": [keras.Sequential([keras.Input((6,)), layers.Dense(4, "relu")]), layers.Dense(3)],
        "normalized": [layers.Dense(16), layers.BatchNormalization(), layers.ReLU(), layers.Dense(3)],
        "normalized after": [layers.Dense(16, "relu"), layers.BatchNormalization(), layers.Dense(3)],
        "normalized first": [layers.BatchNormalization(scale=False), layers.Dense(16, "relu"), layers.Dense(3)],
        "normalized last": [layers.Dense(16, "relu"), layers.Dense(3), layers.BatchNormalization(center=False)],
        "softmax": [layers.Dense(16, "relu"), layers.Dense(3, "softmax")],
        "tanh": [layers.Dense(16, "tanh"), layers.Dense(3)],
        "sigmoid": [layers.Dense(16, "sigmoid"), layers.Dense(3)],
        "leaky": [layers.Dense(16), layers.LeakyReLU(), layers.Dense(3)],
        "slope": [layers.Dense(16), layers.ReLU(negative_slope=0.1), layers.Dense(3)],
        "convolution": [layers.Reshape((6, 1)), layers.Conv1D(2, 2), layers.Flatten(), layers.Dense(3)],
        "lost": [layers.Dense(3, "relu"), layers.BatchNormalization()],
        "between": [layers.Dense(3, "relu"), layers.BatchNormalization(), layers.ReLU(), layers.Dense(3)],
        "own function": [layers.Dense(3, activation=keras.activations.silu)],
    }
    model = keras.Sequential(start + models[name])
    rng = np.random.default_rng(3)
    model.set_weights([rng.uniform(0.1, 1.0, w.shape) - 0.4 * (w.ndim > 1) for w in model.get_weights()])
    return model


KERAS = ["plain", "separate", "capped", "no bias", "flatten", "nested"]


@pytest.mark.parametrize("name", KERAS)
def test_keras(name: str) -> None:
    model = keras_model(name)
    imported = from_object(model)
    close(imported.network.run(X), model(X.astype(np.float32)))
    kernels = [w for w in model.get_weights() if w.ndim == 2]
    for layer, kernel in zip(imported.network.layers, kernels, strict=True):
        np.testing.assert_array_equal(layer.weights, kernel.T)
    assert {line.how for line in imported.report} <= {"exact", "passed over"}


@pytest.mark.parametrize("name", ["normalized", "normalized after", "normalized first", "normalized last"])
def test_keras_batch_normalization(name: str) -> None:
    model = keras_model(name)
    imported = from_object(model)
    close(imported.network.run(X), model(X.astype(np.float32), training=False), 1e-4)
    assert sum(line.how == "re-derived" for line in imported.report) == 2  # weights and bias of one layer


def test_keras_softmax() -> None:
    model = keras_model("softmax")
    imported = from_object(model)
    scores = imported.network.run(X)
    close(np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True), model(X.astype(np.float32)))
    assert any("softmax is left off" in line for line in texts(imported))


def test_keras_get_weights() -> None:
    model = keras_model("plain")
    imported = from_object(model.get_weights(), activations=["relu", "relu6", "none"])
    close(imported.network.run(X), model(X.astype(np.float32)))


def functional(kind: str) -> Any:
    keras = pytest.importorskip("keras")
    layers = keras.layers
    first = keras.Input((6,))
    hidden = layers.Dense(6, "relu")
    x = hidden(first)
    ends: dict[str, Callable[[], Any]] = {
        "chain": lambda: layers.Dense(3)(x),
        "again": lambda: layers.Dense(3)(hidden(x)),
        "beside": lambda: [layers.Dense(6)(x), layers.Dense(6)(x)],
        "around": lambda: layers.Dense(3)(layers.Add()([layers.Dense(6)(x), x])),
    }
    return keras.Model(first, ends[kind]())


def test_keras_functional() -> None:
    model = functional("chain")
    close(from_object(model).network.run(X), model(X.astype(np.float32)))


@pytest.mark.parametrize("kind", ["again", "beside", "around"])
def test_keras_functional_that_is_no_chain(kind: str) -> None:
    with pytest.raises(IntnnError, match=r"does not take what|used once|layer Add") as refusal:
        from_object(functional(kind))
    assert refusal.value.code == "weights.layer"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("tanh", ["dense", "activation tanh"]),
        ("sigmoid", ["dense", "sigmoid within the network"]),
        ("leaky", ["leaky_re_lu", "a layer LeakyReLU"]),
        ("slope", ["re_lu", "negative_slope"]),
        ("convolution", ["reshape", "a layer Reshape"]),
        ("lost", ["batch_normalization", "after the last activation"]),
        ("between", ["re_lu", "comes after batch normalization"]),
        ("own function", ["dense", "activation silu"]),
    ],
)
def test_refused_keras_layers(name: str, parts: list[str]) -> None:
    with pytest.raises(IntnnError) as refusal:
        from_object(keras_model(name))
    assert refusal.value.code == "weights.layer"
    assert [part for part in parts if part not in str(refusal.value)] == []


def test_keras_without_weights() -> None:
    keras = pytest.importorskip("keras")
    with pytest.raises(IntnnError, match="build the model"):
        from_object(keras.Sequential([keras.layers.Dense(3)]))


# --- JAX and Flax --------------------------------------------------------------------------------------------------


def test_flax_linen() -> None:
    """Twelve layers, so that Dense_10 must come after Dense_2."""
    linen: Any = pytest.importorskip("flax.linen")
    jax = pytest.importorskip("jax")

    class Net(linen.Module):  # type: ignore[misc]  # flax is not known to mypy
        @linen.compact  # type: ignore[untyped-decorator]  # as above
        def __call__(self, x: Any) -> Any:
            for size in [7] * 11:
                x = linen.relu(linen.Dense(size)(x))
            return linen.Dense(3)(x)

    params = Net().init(jax.random.key(0), X[:1])
    for tree in (params, params["params"], jax.tree.map(np.asarray, params)):
        imported = from_object(tree)
        assert imported.network.sizes == (6, *[7] * 11, 3)
        close(imported.network.run(X), Net().apply(params, X))
        for i, layer in enumerate(imported.network.layers):
            np.testing.assert_array_equal(layer.weights, np.asarray(params["params"][f"Dense_{i}"]["kernel"]).T)
            np.testing.assert_array_equal(layer.bias, np.asarray(params["params"][f"Dense_{i}"]["bias"]))
    half = from_object(jax.tree.map(lambda a: a.astype("bfloat16"), params))  # each is a float64, exactly
    expected = np.asarray(params["params"]["Dense_3"]["kernel"].astype("bfloat16").astype("float32")).T
    np.testing.assert_array_equal(half.network.layers[3].weights, expected)


def test_flax_nnx() -> None:
    nnx = pytest.importorskip("flax.nnx")
    rngs = nnx.Rngs(0)
    model = nnx.Sequential(nnx.Linear(6, 9, rngs=rngs), nnx.relu, nnx.Linear(9, 3, rngs=rngs))
    for tree in (nnx.state(model), nnx.to_pure_dict(nnx.state(model))):
        imported = from_object(tree)
        close(imported.network.run(X), model(X))
        np.testing.assert_array_equal(imported.network.layers[0].weights, np.asarray(model.layers[0].kernel[...]).T)
    assert "layer 0 activation: note: relu, taken for hidden layers: the source does not say" in texts(imported)


def test_flax_nnx_with_more_than_layers() -> None:
    nnx = pytest.importorskip("flax.nnx")
    rngs = nnx.Rngs(0)
    model = nnx.Sequential(nnx.Linear(6, 9, rngs=rngs), nnx.Dropout(0.5, rngs=rngs), nnx.Linear(9, 3, rngs=rngs))
    assert from_object(nnx.state(model, nnx.Param)).network.sizes == (6, 9, 3)
    with pytest.raises(IntnnError, match=r"layers\.1\.rngs") as refusal:
        from_object(nnx.state(model))
    assert refusal.value.code == "weights.layer"
    with pytest.raises(IntnnError, match=r"nnx\.state\(model, nnx\.Param\)"):
        from_object(model)
    model = nnx.Sequential(nnx.Linear(6, 9, rngs=rngs), nnx.BatchNorm(9, rngs=rngs), nnx.Linear(9, 3, rngs=rngs))
    with pytest.raises(IntnnError, match=r"layers\.1\.(mean|scale|var)"):
        from_object(nnx.state(model))


def test_jax_pairs() -> None:
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    keys = jax.random.split(jax.random.key(1), 2)
    params = [(jax.random.normal(k, (m, n)), jnp.ones(n)) for k, m, n in zip(keys, (6, 8), (8, 3), strict=True)]
    x = jnp.asarray(X, jnp.float32)
    expected = jax.nn.relu(x @ params[0][0] + params[0][1]) @ params[1][0] + params[1][1]
    close(from_object(params).network.run(X), expected)


# --- safetensors ---------------------------------------------------------------------------------------------------


def test_safetensors(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    rng = np.random.default_rng(5)
    sizes = (6, 12, 12, 3)
    arrays = {}
    for i, type_ in enumerate((np.float32, np.float16, np.float64)):
        arrays[f"net.{2 * i}.weight"] = rng.normal(size=(sizes[i + 1], sizes[i])).astype(type_)
        arrays[f"net.{2 * i}.bias"] = rng.normal(size=sizes[i + 1]).astype(type_)
    path = tmp_path / "pose.safetensors"
    safetensors.save_file(arrays, path, metadata={"made by": "a test"})
    imported = read_weights(path)
    assert (imported.network.sizes, imported.network.name) == (sizes, "pose")
    for i, layer in enumerate(imported.network.layers):
        np.testing.assert_array_equal(layer.weights, arrays[f"net.{2 * i}.weight"])
        np.testing.assert_array_equal(layer.bias, arrays[f"net.{2 * i}.bias"])


def test_safetensors_bfloat16(tmp_path: Path) -> None:
    jax, flax = pytest.importorskip("jax"), pytest.importorskip("safetensors.flax")
    weight = jax.random.normal(jax.random.key(2), (3, 6)).astype("bfloat16")
    flax.save_file({"weight": weight}, tmp_path / "b.safetensors")
    (layer,) = read_weights(tmp_path / "b.safetensors").network.layers
    np.testing.assert_array_equal(layer.weights, np.asarray(weight.astype("float32")))
