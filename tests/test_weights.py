"""Float networks from files and arrays: what is read, what is refused. The frameworks' own objects: frameworks/."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from intnn.errors import CODES, IntnnError
from intnn.floats.network import FloatDense, FloatNetwork
from intnn.formats.weights import from_object, read_weights, write_weights

SCHEMA = json.loads((Path(__file__).parents[1] / "spec" / "schema" / "weights.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
RNG = np.random.default_rng(0)


def a(*shape: int) -> Any:
    return RNG.normal(size=shape).astype(np.float32)


W, B = a(5, 6), a(5)  # (outputs, inputs) and bias
V, C = a(3, 5), a(3)
S, T = a(5, 5), a(5)  # square
NETWORK = FloatNetwork((FloatDense(W, B, 0.0), FloatDense(V, C, -0.1, 6.0)), "two layers")


def same(net: FloatNetwork, *layers: tuple[Any, Any]) -> None:
    """The layers of ``net`` have these weights and biases, bit for bit."""
    assert len(net.layers) == len(layers)
    for layer, (weights, bias) in zip(net.layers, layers, strict=True):
        np.testing.assert_array_equal(layer.weights, weights)
        np.testing.assert_array_equal(layer.bias, bias)


def refusal(load: Callable[[], Any]) -> IntnnError:
    with pytest.raises(IntnnError) as found:
        load()
    assert found.value.code in CODES
    return found.value


# --- arrays: whose, which way round, in what order -----------------------------------------------------------------

TWO: dict[str, Any] = {
    "own": {"weights0": W, "bias0": B, "weights1": V, "bias1": C},
    "PyTorch": {"net.0.weight": W, "net.0.bias": B, "net.2.weight": V, "net.2.bias": C},
    "as saved": {"net.0.bias": B, "net.0.weight": W, "net.10.bias": C, "net.10.weight": V},
    "Flax": {"params": {"Dense_0": {"kernel": W.T, "bias": B}, "Dense_1": {"kernel": V.T, "bias": C}}},
    "Flax, flat": {"p/Dense_2/kernel": W.T, "p/Dense_2/bias": B, "p/Dense_10/kernel": V.T, "p/Dense_10/bias": C},
    "Keras": {"dense/kernel:0": W.T, "dense/bias:0": B, "dense_1/kernel:0": V.T, "dense_1/bias:0": C},
    "scikit-learn": {"coefs_": [W.T, V.T], "intercepts_": [B, C]},
    "scikit-learn, flat": {"intercepts_0": B, "intercepts_1": C, "coefs_0": W.T, "coefs_1": V.T},
    "W, b": {"W0": W, "W1": V, "b0": B, "b1": C},
    "W, b, transposed": {"W_1": W.T, "W_2": V.T, "b_1": B, "b_2": C},
    "w, b in lists": [{"w": W.T, "b": B}, {"w": V.T, "b": C}],
    "numpy.savez": {"arr_0": W, "arr_1": B, "arr_2": V, "arr_3": C},
    "list": [W, B, V, C],
    "list, transposed": [W.T, B, V.T, C],
    "list in a mapping": {"params": {"layers": [W, B, V, C]}},
    "pairs": [(W, B), (V, C)],
    "pairs, transposed": ((W.T, B), (), (V.T, C)),
    "Python numbers": [(W.tolist(), B.tolist()), (V.tolist(), C.tolist())],
    "words": {"out.weight": V, "out.bias": C, "hidden.weight": W, "hidden.bias": B},
    "the source's order": {"encode.weight": W, "encode.bias": B, "decode.weight": V, "decode.bias": C},
    "the only order": {"adder.bias": C, "adder.weight": V, "basis.bias": B, "basis.weight": W},
    "mixed types": {"0.weight": W, "0.bias": B.astype(np.float64), "1.weight": V, "1.bias": C},
}  # fmt: skip


@pytest.mark.parametrize("source", TWO)
def test_named_arrays(source: str) -> None:
    imported = from_object(TWO[source], name="n")
    same(imported.network, (W, B), (V, C))
    assert [(layer.min, layer.max) for layer in imported.network.layers] == [(0, np.inf), (-np.inf, np.inf)]
    assert imported.network.name == "n"
    how = {line.where: line.how for line in imported.report if line.where != "layers"}
    exact = {f"layer {i} {part}": "exact" for i in (0, 1) for part in ("weights", "bias")}
    assert how == {**exact, "layer 0 activation": "note", "layer 1 activation": "note"}


def test_an_order_that_no_number_gives_is_reported() -> None:
    for source, text in (
        ("the source's order", "encode, decode"),
        ("the only order", "only order that chains: basis, adder"),
    ):
        assert any(text in str(line) for line in from_object(TWO[source]).report)


def test_square_weights() -> None:
    """A square layer is read as the others are; alone, or among square ones, only its name can tell."""
    same(from_object([W, B, S, T, V, C]).network, (W, B), (S, T), (V, C))
    same(from_object([W.T, B, S, T, V.T, C]).network, (W, B), (S.T, T), (V, C))
    same(from_object({"0.w": W.T, "0.b": B, "1.weight": S, "1.b": T}).network, (W, B), (S, T))
    same(from_object({"kernel": S, "bias": T}).network, (S.T, T))
    same(from_object({"weight": S, "bias": T}).network, (S, T))
    for source in ([S, T], [S, T, S], {"W0": S, "b0": T}, [W, W.T]):
        error = refusal(lambda s=source: from_object(s))  # type: ignore[misc]  # mypy cannot infer a lambda with defaults
        assert error.code == "weights.file"
        assert "chain both" in error.found
        assert '"kernel"' in error.repair


def test_without_bias() -> None:
    imported = from_object({"0.weight": W, "2.weight": V, "2.bias": C})
    same(imported.network, (W, np.zeros(5)), (V, C))
    assert "layer 0 bias: exact: absent, so zero" in [str(line) for line in imported.report]


def test_ten_layers_are_in_the_order_of_their_numbers() -> None:
    layers = {f"Dense_{i}": {"kernel": a(4, 4), "bias": a(4)} for i in range(12)}
    shuffled = {name: layers[name] for name in sorted(layers)}
    assert list(shuffled)[:3] == ["Dense_0", "Dense_1", "Dense_10"]
    same(from_object({"params": shuffled}).network, *((d["kernel"].T, d["bias"]) for d in layers.values()))


def test_activations() -> None:
    source = TWO["PyTorch"]
    layers = from_object(source, activations=["relu6", "relu"]).network.layers
    assert [(layer.min, layer.max) for layer in layers] == [(0, 6), (0, np.inf)]
    stated = {**TWO["own"], "min0": np.float32(-1), "max1": 2.5}
    imported = from_object(stated)
    assert [(layer.min, layer.max) for layer in imported.network.layers] == [(-1, np.inf), (-np.inf, 2.5)]
    assert "layer 0 activation: exact: min -1, max inf" in [str(line) for line in imported.report]
    asked = from_object(stated, activations=("none", "relu"))
    assert [(layer.min, layer.max) for layer in asked.network.layers] == [(-np.inf, np.inf), (0, np.inf)]
    assert "layer 0 activation: note: none, as asked for, not min -1, max inf" in [str(line) for line in asked.report]


@pytest.mark.parametrize("given", [["relu"], ["relu", "tanh"], ["relu"] * 3, "relu", "no"])
def test_activations_that_do_not_fit(given: Any) -> None:
    assert refusal(lambda: from_object(TWO["own"], activations=given)).code == "usage.option"


def normalized(index: int = 1) -> dict[str, Any]:
    return {
        "0.weight": W,
        "0.bias": B,
        f"{index}.weight": np.array([1, 2, 3, 4, 5], np.float32),
        f"{index}.bias": np.array([5, 4, 3, 2, 1], np.float32),
        f"{index}.running_mean": np.array([0, 1, 0, 1, 0], np.float32),
        f"{index}.running_var": np.array([1, 2, 3, 4, 5], np.float32),
        f"{index}.num_batches_tracked": np.int64(7),
        "3.weight": V,
        "3.bias": C,
    }


def test_batch_normalization() -> None:
    imported = from_object(normalized())
    x = RNG.normal(size=(50, 6))
    hidden = x @ W.T.astype(np.float64) + B
    hidden = (hidden - [0, 1, 0, 1, 0]) / np.sqrt(np.arange(1, 6) + 1e-5) * np.arange(1, 6) + [5, 4, 3, 2, 1]
    np.testing.assert_allclose(imported.network.run(x), np.maximum(hidden, 0) @ V.T.astype(np.float64) + C, rtol=1e-12)
    assert [line.where for line in imported.report if line.how == "re-derived"] == ["layer 0 weights", "layer 0 bias"]
    assert any("epsilon 1e-05" in line.text for line in imported.report if line.how == "note")
    error = refusal(lambda: from_object(normalized(index=2)))
    assert (error.code, error.repair) == ("weights.layer", "pass the module itself, an nn.Sequential")


def test_a_float_network_itself() -> None:
    assert from_object(NETWORK).network is NETWORK
    assert from_object(NETWORK, name="other").network.name == "other"


NAN = W.copy()
NAN[3, 4] = np.nan
CYCLE: list[Any] = [W]
CYCLE.append(CYCLE)
REFUSED: dict[str, tuple[Any, str, list[str]]] = {
    "nothing": ({}, "weights.file", ["no arrays"]),
    "no weights": ({"bias": B}, "weights.layer", ["bias", "0 arrays of weights"]),
    "number": (3, "weights.file", ["type int"]),
    "path": ("net.npz", "weights.file", ["read_weights(path)"]),
    "function": (print, "weights.file", ["builtin_function_or_method"]),
    "chain": ({"0.weight": W, "1.weight": a(3, 4)}, "model.chain", ["1.weight, [3, 4]", "takes 4", "gives 5"]),
    "turned": ({"weights0": W.T, "bias0": B}, "model.chain", ["bias0, [5]", "each of 6 outputs", '"kernel"']),
    "turned kernel": ({"0.kernel": W, "1.kernel": V}, "model.chain", ["takes 3", '"weight"']),
    "list": ([W, V, V], "model.chain", ["array"]),
    "bias": ({"weight": W, "bias": C}, "model.chain", ["bias, [3]"]),
    "two biases": ([W, B, B], "weights.layer", ["array 2", "[5]"]),
    "convolution": ({"conv.weight": a(2, 2, 3)}, "weights.layer", ["conv.weight", "[2, 2, 3]", "convolution"]),
    "normalization": ({"0.weight": W, "1.weight": B}, "weights.layer", ["1.weight", "[5]", "normalization"]),
    "scale": ({"Dense_0": {"kernel": W.T}, "LayerNorm_0": {"scale": B}}, "weights.layer", ["LayerNorm_0.scale", "[5]"]),
    "recurrent": ({"rnn.weight_ih_l0": W}, "weights.layer", ["rnn.weight_ih_l0"]),
    "twice": ({"0.weight": W, "0.kernel": W.T}, "weights.layer", ["2 arrays of weights"]),
    "twice alike": ({"0.W": W, "0.w": W}, "weights.layer", ["stands beside 0.W"]),
    "order": ({"dec.weight": a(5, 3), "enc.weight": V}, "weights.file", ["dec, enc", "2 orders", "number"]),
    "cycle": (CYCLE, "weights.layer", ["nested more than 30 times"]),
    "long name": ({"a" * 200 + ".weight": W}, "weights.layer", ["a name of 207 characters"]),
    "control character": ({"\x1b[31m.weight": W}, "weights.layer", ["all printable"]),
    "superscript": ({"\u00b2.weight": W, "\u00b3.weight": W}, "weights.file", ["no orders", "number"]),
    "text": ({"weight": "abc"}, "weights.layer", ["weight", "<U3"]),
    "objects": ({"weight": np.array([[None]])}, "weights.layer", ["object"]),
    "ragged": ({"weight": [[1.0, 2.0], [3.0]]}, "weights.layer", ["weight"]),
    "complex": ({"weight": W + 1j}, "weights.layer", ["complex64"]),
    "integers": ({"weight": np.array([[2**53 + 1]])}, "weights.layer", ["int64"]),
    "large integers": ({"weight": np.array([[2**64 - 1]])}, "weights.layer", ["uint64"]),
    "signalling": ({"weight": np.array([[0x7F800001]], np.uint32).view(np.float32)}, "model.value", ["weight[0, 0]"]),
    "NaN": ({"0.weight": NAN, "0.bias": B}, "model.value", ["layer 0", "0.weight[3, 4] is nan"]),
    "NaN, transposed": ({"0.kernel": W.T, "1.kernel": NAN.T[:5]}, "model.value", ["layer 1", "1.kernel[4, 3] is nan"]),
    "infinite bias": ({"weight": W, "bias": np.full(5, np.inf)}, "model.value", ["layer 0", "bias[0] is inf"]),
    "empty clip": ({"weight": W, "min": 1, "max": 1}, "model.value", ["layer 0", "min"]),
    "NaN clip": ({"weight": W, "min": np.nan}, "weights.layer", ["min", "NaN"]),
    "two clips": ({"weight": W, "min": [0.0, 1.0]}, "weights.layer", ["min", "[2]"]),
    "variance": (normalized() | {"1.running_var": -np.ones(5)}, "model.value", ["layer 0 (0.weight)", "nan"]),
    "half a normalization": ({"0.weight": W, "1.running_mean": B}, "weights.layer", ["1", "running_var"]),
    "long normalization": (normalized() | {"1.running_mean": C}, "weights.layer", ["mean of shape [3]"]),
    "wide normalization": ({"0.weight": W, "1.running_mean": C, "1.running_var": C * C}, "model.chain", ["gives 5"]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_arrays(case: str) -> None:
    source, code, parts = REFUSED[case]
    error = refusal(lambda: from_object(source))
    assert error.code == code
    assert [part for part in parts if part not in str(error)] == []


# --- files ---------------------------------------------------------------------------------------------------------


def alike(one: FloatNetwork, other: FloatNetwork) -> bool:
    return one.name == other.name and all(
        np.array_equal(m.weights, n.weights) and np.array_equal(m.bias, n.bias) and (m.min, m.max) == (n.min, n.max)
        for m, n in zip(one.layers, other.layers, strict=True)
    )


@pytest.mark.parametrize("ending", ["npz", "json"])
def test_what_is_written_is_read_back(tmp_path: Path, ending: str) -> None:
    extreme = FloatDense(np.array([[5e-324, -0.0, 1.7976931348623157e308, 1 / 3]]), np.array([-1e-300]))
    for net in (NETWORK, FloatNetwork((extreme,)), FloatNetwork(NETWORK.layers[:1], "x" * 200)):
        path = tmp_path / f"file.{ending}"
        write_weights(net, path)
        first = path.read_bytes()
        imported = read_weights(path, name=None if net.name else "")
        assert alike(imported.network, net)
        assert np.signbit(imported.network.layers[0].weights).tolist() == np.signbit(net.layers[0].weights).tolist()
        assert {line.how for line in imported.report} == {"exact"}
        write_weights(net, path)
        assert path.read_bytes() == first
        assert read_weights(path, name="mine").network.name == "mine"


def test_an_npz_is_the_same_on_every_day(tmp_path: Path) -> None:
    write_weights(NETWORK, tmp_path / "n.npz")
    with zipfile.ZipFile(tmp_path / "n.npz") as archive:
        assert {(e.date_time, e.create_system, e.compress_type) for e in archive.infolist()} == {
            ((1980, 1, 1, 0, 0, 0), 3, 0)
        }
    with np.load(tmp_path / "n.npz", allow_pickle=False) as arrays:
        assert list(arrays) == ["name", *(f"{part}{i}" for i in (0, 1) for part in ("weights", "bias", "min", "max"))]
        np.testing.assert_array_equal(arrays["weights1"], V)


def test_json_follows_its_schema(tmp_path: Path) -> None:
    write_weights(NETWORK, tmp_path / "n.json")
    document = json.loads((tmp_path / "n.json").read_bytes())
    VALIDATOR.validate(document)
    assert document["layers"][0]["min"] == 0.0
    assert document["layers"][0]["max"] is None


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_saves(tmp_path: Path, save: Any) -> None:
    for source in ("own", "PyTorch", "Flax, flat", "W, b", "numpy.savez", "the source's order"):
        save(tmp_path / "n.npz", **TWO[source])
        imported = read_weights(tmp_path / "n.npz")
        same(imported.network, (W, B), (V, C))
        assert imported.network.name == "n"
    types = {
        "weights0": np.asfortranarray(W.astype(">f8")),
        "bias0": B.astype(np.float16),
        "weights1": V,
        "bias1": np.arange(3),
    }
    save(tmp_path / "n.npz", **types)
    same(read_weights(tmp_path / "n.npz").network, (W, B.astype(np.float16)), (V, np.arange(3)))


def tensors_file(
    arrays: dict[str, tuple[str, Any]], *, header: dict[str, Any] | None = None, tail: bytes = b""
) -> bytes:
    """A .safetensors file: 8 bytes of length, the header, the values. ``header`` replaces members of its entries."""
    entries: dict[str, Any] = {}
    values = b""
    for name, (type_, array) in arrays.items():
        entries[name] = {
            "dtype": type_,
            "shape": list(array.shape),
            "data_offsets": [len(values), len(values) + array.nbytes],
        }
        values += array.tobytes()
    for name, members in (header or {}).items():
        entries[name] = {**entries.get(name, {}), **members} if isinstance(members, dict) else members
    text = json.dumps({"__metadata__": {"format": "np"}, **entries}).encode()
    return len(text).to_bytes(8, "little") + text + values + tail


PLAIN = {"b.weight": ("F32", W), "b.bias": ("F32", B)}


def test_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "n.safetensors"
    brain = np.array([[0x3F80, 0xC049, 0x0001]], "<u2")  # 1, -3.140625, 2^-133 in bfloat16
    for arrays, weights, bias in (
        (PLAIN, W, B),
        ({"weight": ("F64", W.astype(np.float64)), "bias": ("F16", B.astype(np.float16))}, W, B.astype(np.float16)),
        ({"weight": ("BF16", brain)}, [[1, -3.140625, 2.0**-133]], [0]),
    ):
        path.write_bytes(tensors_file(arrays))
        same(read_weights(path).network, (weights, bias))
    state = {
        name: ("I64" if array.dtype == np.int64 else "F32", np.asarray(array)) for name, array in normalized().items()
    }
    path.write_bytes(tensors_file(state))
    assert alike(read_weights(path, name="").network, from_object(normalized()).network)


def test_the_order_in_a_safetensors_file_says_nothing(tmp_path: Path) -> None:
    """Writers sort it, by type and by name."""
    path = tmp_path / "n.safetensors"
    path.write_bytes(tensors_file({"enc.weight": ("F64", W.T.astype(float)), "dec.weight": ("F32", W)}))
    error = refusal(lambda: read_weights(path))
    assert (error.code, "2 orders" in error.found) == ("weights.file", True)


def weight_with(**members: Any) -> bytes:
    return tensors_file(PLAIN, header={"b.weight": members})


OVERLAP = {"c.bias": {"dtype": "F32", "shape": [5], "data_offsets": [100, 120]}}
HOLE = {"b.bias": {"data_offsets": [124, 144]}}
DAMAGED: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", "file.syntax", "file of 0"),
    "length": (b"\xff" * 8 + b"{}", "file.syntax", "18446744073709551615"),
    "cut": (tensors_file(PLAIN)[:-1], "file.field", "139 bytes of values"),
    "tail": (tensors_file(PLAIN, tail=b"\0"), "file.field", "141 bytes of values"),
    "overlap": (tensors_file(PLAIN, header=OVERLAP), "file.field", "data_offsets begin at 100"),
    "hole": (tensors_file(PLAIN, header=HOLE, tail=b"\0" * 4), "file.field", "begin at 124"),
    "backwards": (weight_with(data_offsets=[140, 20]), "file.field", "120 bytes for F32"),
    "three ends": (weight_with(data_offsets=[0, 60, 120]), "file.field", "3 data_offsets"),
    "large": (weight_with(shape=[10**17, 6]), "file.field", "bytes for F32"),
    "many dimensions": (weight_with(shape=[1] * 99), "file.field", "at most 8"),
    "empty array": (weight_with(shape=[0, 6]), "file.field", "shape [0, 6]"),
    "negative": (weight_with(shape=[-5, -6]), "file.field", "shape"),
    "fraction": (weight_with(shape=[5.0, 6]), "file.syntax", "5.0"),
    "true": (weight_with(shape=[True, 30]), "file.field", "shape"),
    "type": (weight_with(dtype="I32"), "weights.layer", "I32"),
    "float8": (weight_with(dtype="F8_E4M3"), "weights.layer", "F8_E4M3"),
    "no type": (weight_with(dtype=None), "weights.layer", "None"),
    "member": (weight_with(more=1), "file.field", "dtype, shape, data_offsets"),
    "no entry": (tensors_file(PLAIN, header={"b.weight": 5}), "file.field", "b.weight"),
    "no JSON": ((9).to_bytes(8, "little") + b"\x80\x02ctorch\n", "file.syntax", "header"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_safetensors(tmp_path: Path, case: str) -> None:
    content, code, part = DAMAGED[case]
    path = tmp_path / "n.safetensors"
    path.write_bytes(content)
    error = refusal(lambda: read_weights(path))
    assert error.code == code
    assert part in str(error)
    assert str(error).startswith(str(path))


def npz(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy" if "." not in name else name, content)
    return file.getvalue()


def npy(header: str, values: bytes = b"", version: int = 1) -> bytes:
    size = len(header).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + header.encode() + values


class Danger:
    """Pickled, it would write a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    np.savez(tmp_path / "n.npz", weight=np.array([Danger(touched)], object), allow_pickle=True)
    error = refusal(lambda: read_weights(tmp_path / "n.npz"))
    assert (error.code, "intnn.quantize(model, x)" in error.repair) == ("weights.layer", True)
    (tmp_path / "n.npz").write_bytes(npz(**{"archive/data.pkl": pickle.dumps(Danger(touched))}))  # as torch.save does
    assert refusal(lambda: read_weights(tmp_path / "n.npz")).code == "weights.layer"
    for ending in ("pkl", "pickle", "pt", "pth", "joblib", "h5", "keras", "npy", "onnx", "tflite", "py", "txt", ""):
        path = tmp_path / f"n.{ending}".rstrip(".")
        path.write_bytes(pickle.dumps(Danger(touched)))
        error = refusal(lambda p=path: read_weights(p))  # type: ignore[misc]  # mypy cannot infer a lambda with defaults
        assert (error.code, bool(error.repair)) == ("weights.file", ending not in ("txt", ""))
        assert ".npz, .json, .safetensors" in error.expected
    assert not touched.exists()
    pickle.loads(pickle.dumps(Danger(touched)))  # the danger is real
    assert touched.exists()


F8 = "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }\n"
BIG = npy(F8.replace("2, 3", "1048576,"), bytes(8 << 20))
BROKEN: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", "file.syntax", "not a zip file"),
    "no array": (npz(), "weights.file", "no arrays"),
    "no .npy": (npz(weight=b"abc"), "file.syntax", "weight: not in NumPy's"),
    "version": (npz(weight=npy(F8, bytes(48), version=9)), "file.syntax", "not in NumPy's"),
    "header": (npz(weight=npy("{'shape': (2, 3)}", bytes(48))), "file.syntax", "header"),
    "code": (npz(weight=npy(F8.replace("(2, 3)", "(2, int(3))"), bytes(48))), "file.syntax", "header"),
    "long header": (npz(weight=npy(F8 + " " * 20000, bytes(48), version=2)), "file.syntax", "header"),
    "cut": (npz(weight=npy(F8, bytes(47))), "file.syntax", "47 bytes of values for float64 [2, 3]"),
    "claim": (npz(weight=npy(F8.replace("2, 3", f"{10**17}, {10**17}"), bytes(48))), "file.syntax", "48 bytes"),
    "zero": (npz(weight=npy(F8.replace("2", "0"))), "file.syntax", "0 bytes of values"),
    "structure": (npz(weight=npy(F8.replace("'<f8'", "[('a', '<f8')]"), bytes(48))), "file.syntax", "header"),
    "type": (npz(weight=npy(F8.replace("<f8", "<q9"), bytes(48))), "file.syntax", "type"),
    "text": (npz(weight=npy(F8.replace("<f8", "<U2"), bytes(48))), "weights.layer", "<U2"),
    "bomb": (npz(weight=bytes(64 << 20)), "file.syntax", "more than it may hold"),
    "two bombs": (npz(a=BIG, b=BIG), "file.syntax", "more than it may hold"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_broken_npz(tmp_path: Path, case: str) -> None:
    content, code, part = BROKEN[case]
    (tmp_path / "n.npz").write_bytes(content)
    error = refusal(lambda: read_weights(tmp_path / "n.npz"))
    assert error.code == code
    assert part in str(error)


def document(**members: Any) -> dict[str, Any]:
    return {"format": "intnn-weights/1", "layers": [{"weights": [[1, 2.5]], "bias": [0], **members}]}


WRONG_JSON: dict[str, tuple[Any, str, str]] = {
    "format": ({"layers": []}, "file.version", "intnn-weights/1"),
    "a model": ({"format": "intnn-model/1", "layers": []}, "file.version", "intnn-model/1"),
    "no layers": ({"format": "intnn-weights/1", "layers": []}, "file.field", "layers"),
    "no object": ({"format": "intnn-weights/1", "layers": [3]}, "file.field", "layers.0"),
    "missing": ({"format": "intnn-weights/1", "layers": [{"weights": [[1]]}]}, "file.field", "bias"),
    "unknown": (document(activation="relu"), "file.field", "activation"),
    "name": ({**document(), "name": 5}, "file.field", "name"),
    "rows": (document(weights=[1, 2]), "file.field", "layers.0.weights"),
    "ragged": (document(weights=[[1, 2], [3]], bias=[0, 0]), "file.field", "layers.0.weights[1]"),
    "empty row": (document(weights=[[]]), "file.field", "layers.0.weights[0]"),
    "text": (document(weights=[["1", 2]]), "file.field", "layers.0.weights[0]"),
    "true": (document(bias=[True]), "file.field", "layers.0.bias"),
    "bias": (document(bias=[1, 2]), "file.field", "layers.0.bias"),
    "min": (document(min="0"), "file.field", "layers.0.min"),
    "clip": (document(min=1, max=0), "model.value", "min"),
    "chain": ({"format": "intnn-weights/1", "layers": document()["layers"] * 2}, "model.chain", "takes 2"),
    "NaN": (document(bias=[float("nan")]), "file.syntax", "NaN"),
    "large": ('{"format":"intnn-weights/1","layers":[{"weights":[[1e999]],"bias":[0]}]}', "model.value", "is inf"),
    "twice": ('{"format":"intnn-weights/1","format":"intnn-weights/1"}', "file.syntax", "twice"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_JSON)
def test_wrong_json(tmp_path: Path, case: str) -> None:
    content, code, part = WRONG_JSON[case]
    (tmp_path / "n.json").write_text(content if isinstance(content, str) else json.dumps(content))
    error = refusal(lambda: read_weights(tmp_path / "n.json"))
    assert error.code == code
    assert part in str(error)


@pytest.mark.parametrize(
    "case", [case for case, (_, code, _) in WRONG_JSON.items() if code in ("file.version", "file.field")]
)
def test_the_schema_refuses_the_same(case: str) -> None:
    content = WRONG_JSON[case][0]
    assert not VALIDATOR.is_valid(content) or case in ("ragged", "bias")  # lengths are beyond a schema


def test_json_by_hand(tmp_path: Path) -> None:
    (tmp_path / "n.json").write_text(json.dumps({**document(min=None, max=6), "name": "by hand"}))
    imported = read_weights(tmp_path / "n.json")
    same(imported.network, ([[1, 2.5]], [0]))
    assert (imported.network.name, imported.network.layers[0].min, imported.network.layers[0].max) == (
        "by hand",
        -np.inf,
        6,
    )


# --- FILE.py:NAME --------------------------------------------------------------------------------------------------


def test_a_model_in_a_python_file(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("import numpy as np\nones = np.ones((2, 3))\n")
    script = tmp_path / "make.py"
    script.write_text(
        "from helper import ones\nnet = {'weight': ones}\nif __name__ == '__main__':\n    raise ValueError\n"
    )
    imported = read_weights(f"{script}:net")
    same(imported.network, (np.ones((2, 3)), np.zeros(2)))
    assert imported.network.name == "net"


@pytest.mark.parametrize(
    ("text", "name", "code", "parts"),
    [
        ("net = 5", "net", "weights.file", ["make.py:net", "type int"]),
        ("net = 5", "ned", "weights.file", ["no ned", "one of net"]),
        ("1 / 0", "net", "weights.file", ["ZeroDivisionError", "division by zero"]),
        ("raise SystemExit(3)", "net", "weights.file", ["exit code 3"]),
        ("net =", "net", "weights.file", ["SyntaxError"]),
        (None, "net", "file.read", ["make.py"]),
    ],
)  # fmt: skip
def test_python_files_that_do_not_work(
    tmp_path: Path, text: str | None, name: str, code: str, parts: list[str]
) -> None:
    script = tmp_path / "make.py"
    if text is not None:
        script.write_text(text)
    error = refusal(lambda: read_weights(f"{script}:{name}"))
    assert error.code == code
    assert [part for part in parts if part not in str(error)] == []


def test_files_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    assert refusal(lambda: read_weights(tmp_path / "none.npz")).code == "file.read"
    assert refusal(lambda: write_weights(NETWORK, tmp_path / "no" / "n.npz")).code == "file.write"
    assert refusal(lambda: write_weights(NETWORK, tmp_path / "n.pt")).code == "weights.file"
