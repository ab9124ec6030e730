"""Float networks from what people have: files of weights, and models of scikit-learn, PyTorch, Keras and JAX.

Weights are taken bit for bit, never unpickled; where scalings are folded in or something is assumed, the report says
so, and what is not understood is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from intnn.errors import FileError, ForeignModelError, IntnnError
from intnn.floats.network import FloatNetwork
from intnn.formats.chain import assemble
from intnn.formats.flatbuffer import printable
from intnn.formats.frameworks import read_model
from intnn.formats.native import canonical, parse, read_bytes
from intnn.formats.npz import read_npz, write_npz
from intnn.formats.report import Import, Line
from intnn.formats.safetensors import read_safetensors
from intnn.formats.script import made_by, named
from intnn.formats.tensors import read_tensors

FORMAT = "intnn-weights/1"

_KINDS = ".npz, .json, .safetensors, or FILE.py:NAME for a model that Python file makes"
_PICKLED = (".pkl", ".pickle", ".pt", ".pth", ".joblib", ".ckpt", ".bin")
_ELSEWHERE = {
    **dict.fromkeys(
        _PICKLED,
        "in Python: intnn.quantize(model, x) or, of PyTorch, (model.state_dict(), x); or save .safetensors or .npz",
    ),
    **dict.fromkeys((".h5", ".hdf5", ".keras"), "in Python: intnn.quantize(keras.models.load_model(path), x)"),
    ".npy": "numpy.savez(path, weights0=..., bias0=..., weights1=...)",
    ".onnx": "intnn.formats.onnx reads it",
    ".tflite": "it holds integers already: intnn import",
    ".py": "FILE.py:NAME, with the name of the model in that file",
}


def read_weights(
    path: str | Path, *, name: str | None = None, activations: Sequence[str] | None = None
) -> Import[FloatNetwork]:
    """The float network in the file ``path``, and the report of how each of its fields came about.

    ``path`` ends in .npz, .json or .safetensors, or is ``FILE.py:NAME``: that Python file is run, and the object it
    then holds by that name is taken as by :func:`from_object`. ``name`` is for the network, else the file's.
    ``activations`` are "relu", "relu6" or "none", one a layer, where the file does not say them.

    Raises :class:`FileError` ``file.read``, ``file.syntax``, ``file.field`` or ``file.version``;
    :class:`ForeignModelError` ``weights.file`` or ``weights.layer``; :class:`ModelError` ``model.chain`` or
    ``model.value``; :class:`UsageError` ``usage.option`` for ``activations``.
    """
    try:
        return _read(str(path), name, activations)
    except IntnnError as error:
        raise error if error.where.startswith(str(path)) else error.within(str(path)) from None


def _read(path: str, name: str | None, activations: Sequence[str] | None) -> Import[FloatNetwork]:
    if script := named(path):
        chosen = script[1] if name is None else name
        return from_object(made_by(*script), name=chosen, activations=activations)
    suffix = Path(path).suffix.lower()
    if suffix not in (".npz", ".json", ".safetensors"):
        repair = _ELSEWHERE.get(suffix, "")
        raise ForeignModelError("weights.file", f"{suffix or 'no ending'} is not read", expected=_KINDS, repair=repair)
    arrays, stored = _contents(read_bytes(path), suffix)
    chosen = next(n for n in (name, stored, printable(Path(path).stem)) if n is not None)
    return from_object(arrays, name=chosen, activations=activations)


def _contents(data: bytes, suffix: str) -> tuple[dict[str, Any], str | None]:
    """The arrays in a file by name, and the name of the network if the file has one."""
    if suffix == ".safetensors":
        return dict(sorted(read_safetensors(data).items())), None  # their order in the file says nothing
    if suffix == ".json":
        document = parse(data, floats=True)
        return _arrays_of(document), printable(document["name"]) if "name" in document else None
    arrays = read_npz(data)
    if "name" in arrays and arrays["name"].dtype.kind == "S" and arrays["name"].shape == ():
        return arrays, printable(arrays.pop("name").item().decode("latin-1"))
    return arrays, None


def from_object(model: Any, *, name: str = "", activations: Sequence[str] | None = None) -> Import[FloatNetwork]:
    """The float network that ``model`` is, and the report of how each of its fields came about.

    ``model`` is a fitted scikit-learn MLPClassifier or MLPRegressor, or a Pipeline with StandardScaler or MinMaxScaler
    before it; a Keras model of Dense layers, or its ``get_weights()``; a PyTorch ``nn.Sequential``, another module, or
    its ``state_dict()``; parameters of JAX or Flax; a mapping of names to arrays, a sequence of (weights, bias); or a
    :class:`FloatNetwork`. No framework is imported. Raises as :func:`read_weights`, but no :class:`FileError`.
    """
    if isinstance(model, FloatNetwork):
        network = FloatNetwork(model.layers, name) if name else model
        return Import(network, (Line("network", "exact", "a FloatNetwork, as it is"),))
    tensors = read_model(model)
    if tensors is None:
        if not isinstance(model, Mapping | list | tuple):
            expected = "a model of scikit-learn, Keras or PyTorch, or arrays in mappings and sequences"
            repair = "of JAX or Flax, the parameters: params, or nnx.state(model, nnx.Param)"
            repair = "read_weights(path) reads files" if isinstance(model, str | Path) else repair
            found = f"an object of type {type(model).__name__}"
            raise ForeignModelError("weights.file", found, expected=expected, repair=repair)
        tensors = read_tensors(model)
    return assemble(tensors.steps, name=name, stated=tensors.stated, activations=activations, report=tensors.report)


# --- JSON ----------------------------------------------------------------------------------------------------------


def _arrays_of(document: dict[str, Any]) -> dict[str, Any]:
    """The arrays of the document of a .json file, by name; ``min`` and ``max`` in every layer, as they are stated."""
    if (found := document.get("format")) != FORMAT:
        shown = printable(found) if isinstance(found, str) else "no string"
        raise FileError("file.version", f"format is {shown}", expected=f'"{FORMAT}"')
    _require_members(document, "the file", ("format", "layers"), ("name",))
    layers = document["layers"]
    if not isinstance(layers, list) or not layers or not isinstance(document.get("name", ""), str):
        raise FileError("file.field", "layers or name", expected="layers an array of at least one, name a string")
    arrays: dict[str, Any] = {}
    for i, layer in enumerate(layers):
        place = f"layers.{i}"
        _require_members(layer, place, ("weights", "bias"), ("min", "max"))
        rows = layer["weights"]
        if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
            raise FileError(
                "file.field", "not an array of rows", where=f"{place}.weights", expected="one row an output"
            )
        values = [_numbers(row, f"{place}.weights[{r}]", len(rows[0])) for r, row in enumerate(rows)]
        arrays[f"{place}.weights"] = np.array(values, np.float64)
        arrays[f"{place}.bias"] = np.array(_numbers(layer["bias"], f"{place}.bias", len(rows)), np.float64)
        for end, open_ in (("min", -np.inf), ("max", np.inf)):
            value = layer.get(end)
            arrays[f"{place}.{end}"] = np.array(open_ if value is None else _numbers([value], f"{place}.{end}", 1)[0])
    return arrays


def _require_members(value: Any, place: str, needed: tuple[str, ...], optional: tuple[str, ...]) -> None:
    if not isinstance(value, dict) or not set(needed) <= set(value) <= {*needed, *optional}:
        found = f"members {', '.join(value)[:60]}" if isinstance(value, dict) else "not an object"
        expected = f"{', '.join(needed)}, perhaps {', '.join(optional)}"
        raise FileError("file.field", found, where=place, expected=expected)


def _numbers(values: Any, place: str, count: int) -> list[float]:
    right = isinstance(values, list) and len(values) == count and all(type(v) in (int, float) for v in values)
    if not right or not count:
        raise FileError("file.field", "not an array of numbers of that length", where=place, expected=f"{count or 1}")
    return [float(v) for v in values]


def write_weights(network: FloatNetwork, path: str | Path) -> None:
    """Write ``network`` to ``path``, an .npz or .json file; the same network gives the same bytes, and is read back
    exactly (its name if that is printable ASCII).

    Raises :class:`FileError` ``file.write``; :class:`ForeignModelError` ``weights.file`` for another ending.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".json":
        data = canonical(_document_of(network)) + b"\n"
    elif suffix == ".npz":
        data = write_npz(_arrays(network))
    else:
        raise ForeignModelError(
            "weights.file", f"{suffix or 'no ending'} is not written", where=str(path), expected=".npz or .json"
        )
    try:
        Path(path).write_bytes(data)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        reason = getattr(error, "strerror", None) or str(error)
        raise FileError("file.write", f"cannot be written: {reason}", where=str(path)) from None


def _arrays(network: FloatNetwork) -> dict[str, Any]:
    arrays: dict[str, Any] = {"name": np.array(network.name.encode("latin-1", "replace"))} if network.name else {}
    for i, layer in enumerate(network.layers):
        members = {
            "weights": layer.weights,
            "bias": layer.bias,
            "min": np.float64(layer.min),
            "max": np.float64(layer.max),
        }
        arrays |= {f"{name}{i}": np.asarray(value) for name, value in members.items()}
    return arrays


def _document_of(network: FloatNetwork) -> dict[str, Any]:
    layers = [
        {
            "weights": layer.weights.tolist(),
            "bias": layer.bias.tolist(),
            "min": layer.min if np.isfinite(layer.min) else None,
            "max": layer.max if np.isfinite(layer.max) else None,
        }
        for layer in network.layers
    ]
    return {"format": FORMAT, "layers": layers} | ({"name": network.name} if network.name else {})
