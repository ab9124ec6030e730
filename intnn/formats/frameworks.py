"""The steps of models as scikit-learn, Keras and PyTorch hold them, known by the names of their classes.

No framework is imported: what an object is, its class says; what it holds, it is asked for by its public members.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from intnn.errors import ForeignModelError
from intnn.formats.report import Line
from intnn.formats.steps import Affine, Clip, Linear, Skipped, Step, left_off, member, unsupported
from intnn.formats.tensors import Tensors, normalization, read_tensors

_CLIPS = {"relu": (0.0, np.inf), "relu6": (0.0, 6.0)}
_NONE = ("linear", "identity", "None")
_SCORES = ("softmax", "log_softmax", "logsoftmax", "sigmoid", "logistic")
_SUPPORTED = "relu, relu6 or none, after the last layer also softmax or sigmoid"
_NO_EFFECT = "has no effect once trained"


def read_model(model: Any) -> Tensors | None:
    """The steps of a fitted scikit-learn estimator, a Keras model or a PyTorch module; ``None`` for anything else.

    Raises :class:`ForeignModelError` ``weights.file`` or ``weights.layer``.
    """
    if _is(model, *_ESTIMATORS):
        return Tensors(list(_estimator(model)), True, _classes(model))
    if hasattr(model, "layers") and hasattr(model, "get_weights"):
        return Tensors(list(_keras(model)), True, [])
    if callable(getattr(model, "state_dict", None)):
        return _module(model)
    return None


def _is(value: Any, *names: str) -> bool:
    return any(c.__name__ in names for c in type(value).__mro__)


def _activation(place: str, name: str) -> list[Step]:
    """The activation a framework calls ``name``."""
    if name in _NONE:
        return []
    if name in _CLIPS:
        return [Clip(place, *_CLIPS[name])]
    if name in _SCORES:
        return [left_off(place, name)]
    raise unsupported(place, f"activation {name}", _SUPPORTED)


# --- scikit-learn --------------------------------------------------------------------------------------------------

_ESTIMATORS = ("MLPClassifier", "MLPRegressor", "Pipeline", "TransformedTargetRegressor")


def _estimator(model: Any) -> Iterator[Step]:
    name = type(model).__name__
    if _is(model, "Pipeline"):
        for _, step in model.steps:
            yield from _estimator(step)
    elif _is(model, "TransformedTargetRegressor"):
        _require_fitted(model, "regressor_")
        yield from _estimator(model.regressor_)
        if model.transformer_ is not None:
            factor, offset = _scaler(model.transformer_)
            yield Affine(f"the inverse of {type(model.transformer_).__name__}", 1 / factor, -offset / factor)
    elif _is(model, "StandardScaler", "MinMaxScaler"):
        yield Affine(name, *_scaler(model))
    elif _is(model, "MLPClassifier", "MLPRegressor"):
        _require_fitted(model, "coefs_")
        last = len(model.coefs_) - 1
        for i, (weights, bias) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
            yield Linear(member(f"coefs_[{i}]", weights), member(f"intercepts_[{i}]", bias), False)
            yield from _activation(name, model.out_activation_ if i == last else model.activation)
    elif model in (None, "passthrough"):
        yield Skipped("passthrough", "has no effect")
    else:
        raise unsupported(name, "a step", "StandardScaler, MinMaxScaler, MLPClassifier, MLPRegressor")


def _scaler(scaler: Any) -> tuple[Any, Any]:
    """Factor and offset of a fitted scaler, float64 (channels,)."""
    name = type(scaler).__name__
    if _is(scaler, "StandardScaler"):
        _require_fitted(scaler, "scale_")
        some = scaler.mean_ if scaler.scale_ is None else scaler.scale_
        if some is None:
            raise unsupported(name, "with neither mean nor scale", "leave it out")
        factor = 1 / np.asarray(scaler.scale_, np.float64) if scaler.with_std else np.ones(len(some))
        return factor, -np.asarray(scaler.mean_, np.float64) * factor if scaler.with_mean else np.zeros(len(some))
    if _is(scaler, "MinMaxScaler") and not scaler.clip:
        _require_fitted(scaler, "min_")
        return np.asarray(scaler.scale_, np.float64), np.asarray(scaler.min_, np.float64)
    found = "with clip=True" if _is(scaler, "MinMaxScaler") else "a scaling"
    raise unsupported(name, found, "StandardScaler, or MinMaxScaler without clip")


def _require_fitted(model: Any, attribute: str) -> None:
    if not hasattr(model, attribute):
        name = type(model).__name__
        raise ForeignModelError("weights.file", f"{name} is not fitted", expected=f"its {attribute}", repair="fit it")


def _classes(model: Any) -> list[Line]:
    """What the outputs of a classifier mean."""
    classes = getattr(model, "classes_", None)
    if classes is None:
        return []
    last = model.steps[-1][1] if _is(model, "Pipeline") else model
    names = ", ".join(str(c) for c in np.asarray(classes).tolist())
    if last.out_activation_ == "softmax":
        return [Line("outputs", "note", f"the largest is that of the class: {names}")]
    meaning = "above 0 for the second class" if last.n_outputs_ == 1 else "each above 0 where its class applies"
    return [Line("outputs", "note", f"{meaning}: {names}")]


# --- Keras ---------------------------------------------------------------------------------------------------------


def _keras(model: Any) -> Iterator[Step]:
    if not _is(model, "Sequential", "Functional"):
        found = "a model whose layers do not say how they are connected"
        raise unsupported(type(model).__name__, found, "Sequential or Functional", "pass model.get_weights()")
    if not _is(model, "Sequential"):
        _require_connected(model)
    for layer in model.layers:
        yield from _layer(layer)


def _require_connected(model: Any) -> None:
    """Each layer of a Functional model takes what the one before gives, and nothing else."""
    for before, after in pairwise(model.layers):
        if not _joined(before, after):
            found = f"layer {after.name} does not take what {before.name} gives, and only that"
            raise unsupported(type(model).__name__, found, "a chain of layers, each used once")


def _joined(before: Any, after: Any) -> bool:
    try:
        return after.input is before.output
    except (AttributeError, ValueError, RuntimeError):  # used more than once
        return False


def _layer(layer: Any) -> Iterator[Step]:
    kind, name = type(layer).__name__, str(layer.name)
    config = layer.get_config()
    match kind:
        case "Sequential":
            yield from _keras(layer)
        case "Dense":
            kernel, bias = _weights(layer, ("kernel", "bias") if config["use_bias"] else ("kernel",), 2)
            yield Linear(
                member(f"{name}.kernel", kernel), None if bias is None else member(f"{name}.bias", bias), False
            )
            yield from _activation(name, _called(config["activation"]))
        case "Activation":
            yield from _activation(name, _called(config["activation"]))
        case "ReLU":
            if config["negative_slope"] or config["threshold"]:
                raise unsupported(name, "ReLU with negative_slope or threshold", "both 0")
            yield Clip(name, 0.0, np.inf if config["max_value"] is None else float(config["max_value"]))
        case "BatchNormalization":
            parts = [part for part, on in (("weight", config["scale"]), ("bias", config["center"])) if on]
            names = (*parts, "mean", "variance")
            values = dict(zip(names, _weights(layer, names, len(names)), strict=True))
            yield normalization(f"batch normalization {name}", values, float(config["epsilon"]))
        case "InputLayer" | "Flatten":
            yield Skipped(name, f"{kind} moves no values")
        case "Dropout":
            yield Skipped(name, f"{kind} {_NO_EFFECT}")
        case _:
            raise unsupported(name, f"a layer {kind}", "Dense, ReLU, Activation, BatchNormalization, Dropout, Flatten")


def _weights(layer: Any, names: tuple[str, ...], count: int) -> list[Any]:
    """The arrays of a layer that go by ``names``, filled up with ``None`` to ``count``."""
    arrays = layer.get_weights()
    if len(arrays) != len(names):
        repair = "" if arrays else "build the model, or call it once, so that it has weights"
        raise unsupported(str(layer.name), f"{len(arrays)} arrays of weights", ", ".join(names), repair)
    return [*arrays, *[None] * (count - len(arrays))]


def _called(activation: Any) -> str:
    """The name of an activation in a configuration, where functions of one's own are objects."""
    if isinstance(activation, dict):
        inner = activation.get("config")
        return inner if isinstance(inner, str) else str(activation.get("class_name"))
    return str(activation)


# --- PyTorch -------------------------------------------------------------------------------------------------------


_SKIPPED = {"Identity": "has no effect", "Dropout": _NO_EFFECT, "Flatten": "moves no values"}
_SCORED = ("Softmax", "LogSoftmax", "Sigmoid")


def _module(model: Any) -> Tensors:
    if _in_order(model) or type(model).__name__ == "Linear":
        return Tensors(list(_modules(model, "")), True, [])
    name, children = type(model).__name__, list(model.children())
    if len(children) == 1 and not list(model.parameters(recurse=False)):
        inner = _module(children[0])
        text = "what is not in its only module, such as functions called in forward, is not seen"
        return inner._replace(report=[Line(name, "note", text), *inner.report])
    for leaf in (m for m in model.modules() if not list(m.children())):
        if type(leaf).__name__ not in ("Linear", "BatchNorm1d", "ReLU", *_SKIPPED):
            found = f"a module {type(leaf).__name__}, and a forward that does not say where it stands"
            raise unsupported(name, found, "Linear, BatchNorm1d, ReLU", "pass an nn.Sequential")
    tensors = read_tensors(model.state_dict())
    note = Line(name, "note", "its forward is not seen: its layers are taken one after another")
    return tensors._replace(report=[note, *tensors.report])


def _in_order(model: Any) -> bool:
    """Whether this is an nn.Sequential with its own forward: its modules one after another."""
    base: Any = next((c for c in type(model).__mro__ if c.__name__ == "Sequential"), None)
    return base is not None and type(model).forward is base.forward


def _modules(model: Any, path: str) -> Iterator[Step]:
    kind, name = type(model).__name__, path.rstrip(".")
    if _in_order(model):
        for i, child in enumerate(model):
            yield from _modules(child, f"{path}{i}.")
    elif kind == "Linear":
        bias = None if model.bias is None else member(f"{path}bias", model.bias)
        yield Linear(member(f"{path}weight", model.weight), bias, True)
    elif kind == "BatchNorm1d":
        parts = {"mean": model.running_mean, "variance": model.running_var, "weight": model.weight, "bias": model.bias}
        if model.running_mean is None:
            raise unsupported(name, "BatchNorm1d without running statistics", "track_running_stats=True")
        values = {part: member(f"{path}{part}", value).values for part, value in parts.items() if value is not None}
        yield normalization(f"batch normalization {name}", values, float(model.eps))
    elif kind in ("ReLU", "ReLU6", *_SCORED):
        yield from _activation(name, kind.lower())
    elif kind in _SKIPPED:
        yield Skipped(name, f"{kind} {_SKIPPED[kind]}")
    else:
        expected = ", ".join(("Linear", "BatchNorm1d", "ReLU", "ReLU6", *_SKIPPED, *_SCORED))
        raise unsupported(name, f"a module {kind}", expected)
