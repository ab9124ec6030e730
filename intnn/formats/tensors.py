"""Layers from named arrays: whose weights, which way round, in what order.

One reader for the state of a PyTorch module, the parameters of JAX and Flax, the members of an .npz or .safetensors
file and plain lists. Names decide where they say something: `kernel` and `coefs` are (inputs, outputs), `weight` is
(outputs, inputs), numbers give the order of layers. Otherwise the shapes decide, if only one reading chains.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise, permutations
from numbers import Real
from string import digits
from typing import Any, NamedTuple

import numpy as np

from intnn.errors import ForeignModelError
from intnn.formats.chain import ways
from intnn.formats.report import Line
from intnn.formats.steps import Affine, Clip, Linear, Member, Step, member, unsupported

_ROLES = {
    "weight": ("weight", "weights"),
    "kernel": ("kernel", "kernels", "coef", "coefs"),
    "w": ("w",),
    "bias": ("bias", "biases", "b", "intercept", "intercepts"),
    "min": ("min",),
    "max": ("max",),
    "mean": ("running_mean",),
    "variance": ("running_var",),
    "count": ("num_batches_tracked",),
}
"""What an array is, by the last part of its name."""

_OUTPUTS_FIRST = {"weight": True, "kernel": False, "w": None}
_ROLE = {name: role for role, names in _ROLES.items() for name in names}
_NAME = re.compile(rf"(?:(.*)[._/])?({'|'.join(_ROLE)})[._/]*(\d*)(?::0)?", re.IGNORECASE)
_UNNAMED = re.compile(r"(?:.*[./])?(?:arr_)?\d+")
_FIRST, _LAST = {"in", "input", "first"}, {"out", "output", "head", "last", "final", "logits", "classifier"}
_EPSILON = 1e-5  # of PyTorch's BatchNorm1d, unless it was made with another

_LONG = 120  # the longest name
_DEEP = 30  # mappings and sequences within each other
_MANY = 7  # layers whose orders are tried
_EXPECTED = "names that end in weight, kernel, coefs, w, bias, b or intercepts, and perhaps a number"


class Tensors(NamedTuple):
    """The steps that named arrays are, whether they state the activations, and lines about their reading."""

    steps: list[Step]
    stated: bool
    report: list[Line]


def read_tensors(source: Any) -> Tensors:
    """The layers in a nest of mappings and sequences with arrays as leaves.

    Raises :class:`ForeignModelError` ``weights.file`` or ``weights.layer``.
    """
    leaves = list(_leaves(source, ()))
    for name, _ in leaves:
        if len(name) > _LONG or not name.isprintable():
            raise unsupported(name[:40], f"a name of {len(name)} characters", f"{_LONG}, all printable")
    members = [member(name, leaf) for name, leaf in leaves]
    if not members:
        raise ForeignModelError("weights.file", "no arrays", expected="weights and biases of dense layers")
    if all(_UNNAMED.fullmatch(m.name) and not _NAME.fullmatch(m.name) for m in members):
        return Tensors(_by_dimensions(sorted(members, key=lambda m: _natural(m.name))), False, [])
    layers = _by_name(members)
    order, report = _order(layers, [m.name for m in members])
    steps: list[Step] = []
    for previous, name in pairwise(["", *order]):
        if layers[name].keys() & {"mean", "variance"}:
            steps.append(_normalization(name, layers[name], steps, previous))
            text = f"taken to come right after {previous}, with epsilon {_EPSILON:g}: the names do not say"
            report.append(Line(name, "note", text))
        else:
            steps += _dense(name, layers[name])
    return Tensors(steps, any("min" in layer or "max" in layer for layer in layers.values()), report)


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Every array with its name: the keys on the way to it, joined by dots."""
    if len(path) > _DEEP:
        raise unsupported(".".join(path)[:40], f"nested more than {_DEEP} times", "mappings and sequences of arrays")
    if isinstance(value, Mapping):
        for key in value:
            yield from _leaves(value[key], (*path, str(key)))
    elif isinstance(value, list | tuple) and not _is_array(value):
        for i, item in enumerate(value):
            yield from _leaves(item, (*path, str(i)))
    else:
        yield ".".join(path), value


def _is_array(value: list[Any] | tuple[Any, ...]) -> bool:
    """Whether nested lists are the rows of a matrix, or the values of a vector."""
    rows = value if all(isinstance(row, list | tuple) for row in value) else [value]
    return bool(value) and all(row and all(isinstance(item, Real) for item in row) for row in rows)


def _by_dimensions(members: list[Member]) -> list[Step]:
    """Arrays without names that say what they are: weights have two dimensions, the bias after them one."""
    steps: list[Step] = []
    for m in members:
        before = steps[-1] if steps else None
        array = m._replace(name=f"array {m.name}")
        if m.values.ndim == 2:
            steps.append(Linear(array, None, None))
        elif m.values.ndim == 1 and isinstance(before, Linear) and before.bias is None:
            steps[-1] = Linear(before.weights, array, None)
        else:
            expected = "weights of two dimensions, each perhaps followed by a bias of one"
            raise unsupported(array.name, f"of shape {list(m.values.shape)}", expected)
    return steps


# --- named arrays --------------------------------------------------------------------------------------------------


def _by_name(members: list[Member]) -> dict[str, dict[str, Member]]:
    """For each layer, in the order of the source, its arrays by role."""
    layers: dict[str, dict[str, Member]] = {}
    for m in members:
        match = _NAME.fullmatch(m.name)
        if match is None:
            raise unsupported(
                m.name, f"an array of shape {list(m.values.shape)} that is none of a dense layer", _EXPECTED
            )
        layer = layers.setdefault(".".join(part for part in (match[1], match[3]) if part), {})
        role = _ROLE[match[2].lower()]
        if role in layer:
            raise unsupported(m.name, f"stands beside {layer[role].name}", "one of them")
        layer[role] = m
    return layers


def _dense(name: str, layer: dict[str, Member]) -> list[Step]:
    """The steps of one layer."""
    roles = [role for role in _OUTPUTS_FIRST if role in layer]
    if len(roles) != 1:
        first = next(iter(layer.values()))
        raise unsupported(first.name, f"{len(roles)} arrays of weights beside it", "one")
    weights = layer[roles[0]]
    if weights.values.ndim != 2:
        kind = "perhaps of a normalization" if weights.values.ndim == 1 else "perhaps of a convolution"
        found = f"weights of shape {list(weights.values.shape)}, {kind}"
        raise unsupported(weights.name, found, "dense layers, whose weights have two dimensions")
    steps: list[Step] = [Linear(weights, layer.get("bias"), _OUTPUTS_FIRST[roles[0]])]
    if layer.keys() & {"min", "max"}:
        steps.append(Clip(name, _scalar(layer.get("min"), -np.inf), _scalar(layer.get("max"), np.inf)))
    return steps


def _scalar(m: Member | None, default: float) -> float:
    if m is None:
        return default
    if m.values.size != 1 or np.isnan(m.values).any():
        raise unsupported(m.name, f"of shape {list(m.values.shape)}, or NaN", "one number")
    return float(m.values.reshape(()))


def _normalization(name: str, layer: dict[str, Member], before: list[Step], previous: str) -> Affine:
    """BatchNorm1d right after a dense layer, as far as names can tell: numbers leave no room for an activation."""
    stem, stem_before = name.rstrip(digits), previous.rstrip(digits)
    number, number_before = name[len(stem) :], previous[len(stem_before) :]
    apart = stem == stem_before and number and number_before and int(number) != int(number_before) + 1
    if apart or not before or not isinstance(before[-1], Linear):
        found = f"batch normalization after {previous or 'nothing'}, perhaps with an activation between"
        raise unsupported(name, found, "right after a dense layer", "pass the module itself, an nn.Sequential")
    if not {"mean", "variance"} <= layer.keys() <= {"mean", "variance", "weight", "bias", "count"}:
        raise unsupported(name, "batch normalization with " + ", ".join(layer), "running_mean and running_var")
    return normalization(f"batch normalization {name}", {role: m.values for role, m in layer.items()}, _EPSILON)


def normalization(name: str, values: Mapping[str, Any], epsilon: float) -> Affine:
    """(x - mean) / sqrt(variance + epsilon) * weight + bias, from arrays by these names, the last two optional."""
    default = {"weight": np.ones_like(values["mean"]), "bias": np.zeros_like(values["mean"])}
    with np.errstate(all="ignore"):  # what is not finite afterwards is refused with its layer
        parts = {
            role: np.asarray(array, np.float64) for role, array in {**default, **values}.items() if role != "count"
        }
        if parts["mean"].ndim != 1 or any(part.shape != parts["mean"].shape for part in parts.values()):
            found = ", ".join(f"{role} of shape {list(part.shape)}" for role, part in parts.items())
            raise unsupported(name, found, "one value a channel each")
        factor = parts["weight"] / np.sqrt(parts["variance"] + epsilon)
        return Affine(name, factor, parts["bias"] - parts["mean"] * factor)


# --- order ---------------------------------------------------------------------------------------------------------


def _natural(name: str) -> list[tuple[int, int, int, str]]:
    """A key in which Dense_2 comes before Dense_10, and words for the first and the last layer come first and last."""
    words = re.findall(r"[0-9]+|[^\W\d_]+", name.lower())
    return [(0, 0, int(w), "") if w[0] in digits else ((w in _LAST) - (w in _FIRST), 1, 0, w) for w in words]


def _told(one: str, other: str) -> bool:
    """Whether two names, the first before the second, differ first by a number, a telling word or one part more."""
    for a, b in zip(_natural(one), _natural(other), strict=False):
        if a != b:
            return a[0] != b[0] or (a[1] == b[1] == 0)
    return True


def _order(layers: dict[str, dict[str, Member]], names: list[str]) -> tuple[list[str], list[Line]]:
    """The names of the layers in order: by number if names have them, else as in the source unless that is the
    alphabet's order, which says nothing, else the only order that chains."""
    by_name = sorted(layers, key=_natural)
    if all(_told(one, other) for one, other in pairwise(by_name)):
        return by_name, []
    if names != sorted(names):
        return list(layers), [Line("layers", "note", "in the order of the source: " + ", ".join(layers))]
    fitting: list[tuple[str, ...]] = []
    if len(layers) <= _MANY and not any("mean" in layer for layer in layers.values()):
        dense = {name: [s for s in _dense(name, layer) if isinstance(s, Linear)] for name, layer in layers.items()}
        fitting = [order for order in permutations(dense) if ways([step for name in order for step in dense[name]])]
    if len(fitting) != 1:
        some = len(fitting) or "no"
        found = f"layers {', '.join(by_name)}: their names do not give the order, and {some} orders are known to chain"
        repair = 'number the names of the layers: "0.weight", "0.bias", "1.weight", ...'
        raise ForeignModelError("weights.file", found, expected="one order", repair=repair)
    return list(fitting[0]), [Line("layers", "note", "in the only order that chains: " + ", ".join(fitting[0]))]
