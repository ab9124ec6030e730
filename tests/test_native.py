"""Model files: one canonical form, nothing lost, and every kind of damage refused with its place."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings

import intnn
from intnn import Q31, Activation, Dense, Fixed, Network, Scales
from intnn.errors import FileError, IntnnError
from intnn.formats import native
from intnn.strategies import cases

SCHEMA = json.loads((Path(__file__).parents[1] / "spec" / "schema" / "model.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def small() -> Network:
    layers = (
        Dense(np.array([[1, -2], [3, 4]]), np.array([5, 6]), Fixed.half_up(3), Activation("uint8", 7)),
        Dense(
            np.array([[1, 1]]),
            np.array([-9]),
            Q31(np.array([1 << 30]), np.array([-2]), "double"),
            Activation("int16", 0, -5, 5),
            Scales(0.5, np.array([0.25]), 3.0),
        ),
    )
    return Network(Activation("int8", 1, -10, 10), layers, "small", "made by hand")


def document() -> dict[str, Any]:
    loaded = json.loads(intnn.dumps(small()))
    assert isinstance(loaded, dict)
    return loaded


@given(cases(foreign=True))
@settings(max_examples=150)
def test_round_trip(case: tuple[Network, np.ndarray]) -> None:
    net, x = case
    data = intnn.dumps(net)
    again = intnn.loads(data)
    assert intnn.dumps(again) == data
    assert intnn.run(again, x).tolist() == intnn.run(net, x).tolist()
    VALIDATOR.validate(json.loads(data))


def test_the_bytes_are_canonical_and_hashed() -> None:
    data = intnn.dumps(small())
    members = json.loads(data)
    stated = members.pop("sha256")
    plain = json.dumps(members, sort_keys=True, separators=(",", ":")).encode()
    assert stated == hashlib.sha256(plain).hexdigest() == native.network_hash(small())
    assert data == json.dumps({**members, "sha256": stated}, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    assert json.loads(data)["layers"][1]["scales"] == {"input": "0x1p-1", "weights": ["0x1p-2"], "output": "0x1.8p+1"}


def test_layout_does_not_matter_content_does() -> None:
    pretty = json.dumps(dict(reversed(document().items())), indent=3)
    assert intnn.dumps(intnn.loads(pretty)) == intnn.dumps(small())
    changed = document()
    changed["layers"][0]["bias"][0] += 1
    with pytest.raises(FileError) as caught:
        intnn.loads(json.dumps(changed))
    assert caught.value.code == "file.hash"
    del changed["sha256"]
    intnn.loads(json.dumps(changed))


def put(path: str, value: Any) -> str:
    """The small model as JSON with the member at ``path`` set, or deleted where ``value`` is ``...``; no hash."""
    whole = document()
    del whole["sha256"]
    *parents, last = [int(p) if p.isdigit() else p for p in path.split("/")]
    place: Any = whole
    for parent in parents:
        place = place[parent]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return json.dumps(whole)


DAMAGE: dict[str, tuple[str | bytes, str, str]] = {
    "empty": ("", "file.syntax", "line 1, column 1"),
    "not JSON": ("{'a': 1}", "file.syntax", "line 1, column 2"),
    "cut": (intnn.dumps(small())[:50], "file.syntax", "not JSON"),
    "not UTF-8": (b'{"format": "\xff"}', "file.syntax", "byte 12"),
    "array": ("[]", "file.syntax", "an array"),
    "null": ("null", "file.syntax", "null"),
    "deep": ("[" * 100_000, "file.syntax", "nested too deeply"),
    "NaN": (put("layers/0/bias/0", float("nan")), "file.syntax", "NaN"),
    "float": (put("layers/0/bias/0", 5.0), "file.syntax", "5.0"),
    "exponent": (put("layers/0/bias/0", 0).replace("[0, 6]", "[1e400, 6]"), "file.syntax", "1e400"),
    "long integer": (put("layers/0/bias/0", 777).replace("777", "9" * 5000), "file.syntax", "9999"),
    "twice": (put("name", "x").replace('"name"', '"name": "y", "name"'), "file.syntax", "'name' stands twice"),
    "format": (put("format", "intnn-model/9"), "file.version", "intnn-model/9"),
    "no format": (put("format", ...), "file.version", "null"),
    "no layers": (put("layers", ...), "file.field", "layers: missing"),
    "empty layers": (put("layers", []), "model.value", "layers is none"),
    "layers no array": (put("layers", {}), "file.field", "layers: an object"),
    "layer no object": (put("layers/1", 5), "file.field", "layers[1]: an integer"),
    "unknown member": (put("extra", 1), "file.field", "extra: unknown"),
    "unknown in layer": (put("layers/0/extra", 1), "file.field", "layers[0].extra: unknown"),
    "layer type": (put("layers/0/type", "conv"), "file.field", 'layers[0].type: "conv"'),
    "bool": (put("layers/0/bias/0", True), "file.field", "layers[0].bias[0]: true or false"),
    "null weight": (put("layers/0/weights/1/0", None), "file.field", "layers[0].weights[1][0]: null"),
    "ragged": (put("layers/0/weights/1", [1]), "file.field", "layers[0].weights[1]: 1 weights"),
    "no rows": (put("layers/0/weights", []), "model.value", "shape (0, 0)"),
    "weight range": (put("layers/0/weights/1/1", 128), "model.value", "layers[0]: weights[1][1] is 128"),
    "bias range": (put("layers/0/bias/1", 1 << 31), "model.value", "layers[0]: bias[1] is 2147483648"),
    "chain": (put("layers/1/weights/0", [1, 1, 1]), "model.chain", "layer 1 takes 3 inputs"),
    "family": (put("layers/0/requantize/family", "f"), "file.field", "layers[0].requantize.family"),
    "rule member": (put("layers/0/requantize/shift", ...), "file.field", "layers[0].requantize.shift: missing"),
    "rule value": (put("layers/0/requantize/shift", 32), "model.value", "layers[0]: shift is 32"),
    "rule string": (put("layers/0/requantize/shift", "3"), "file.field", "layers[0].requantize.shift: a string"),
    "profile": (put("layers/0/requantize", {"family": "foreign", "profile": "x"}), "model.value", "profile is 'x'"),
    "no scales": (put("layers/0/requantize", {"family": "foreign", "profile": "trunc0"}), "model.value", "no scales"),
    "scale number": (put("layers/1/scales/input", 1), "file.field", "layers[1].scales.input: an integer"),
    "scale text": (put("layers/1/scales/weights/0", "0.5"), "file.field", "layers[1].scales.weights[0]"),
    "scale zeros": (put("layers/1/scales/input", "0x1.80p+0"), "file.field", "layers[1].scales.input"),
    "scale huge": (put("layers/1/scales/input", "0x1p+9999"), "file.field", "float32"),
    "scale double": (put("layers/1/scales/input", "0x1.0000001p+0"), "model.value", "float32"),
    "empty name": (put("name", ""), "model.value", "name is empty"),
    "name": (put("name", "é"), "model.value", "name is"),
    "name kind": (put("name", 3), "file.field", "name: an integer"),
    "input": (put("input/zero_point", 200), "model.value", "input: zero_point is 200"),
    "overflow": (put("layers/0/bias/0", 2147483647), "model.overflow", "layer 0, neuron 0"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_refused_with_its_place(case: str) -> None:
    text, code, words = DAMAGE[case]
    with pytest.raises(IntnnError) as caught:
        intnn.loads(text, where="net.json")
    assert caught.value.code == code
    assert str(caught.value).startswith("net.json: ")
    assert words in str(caught.value)


BEYOND_SCHEMA = ("ragged", "scale huge")  # a JSON Schema cannot compare lengths, nor read numbers in strings


@pytest.mark.parametrize("case", [c for c, (_, code, _) in DAMAGE.items() if code in ("file.field", "file.version")])
def test_the_schema_refuses_the_same(case: str) -> None:
    assert VALIDATOR.is_valid(json.loads(DAMAGE[case][0])) is (case in BEYOND_SCHEMA)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    intnn.dump(small(), path)
    assert intnn.dumps(intnn.load(path)) == path.read_bytes()
    for bad in (tmp_path / "nowhere.json", tmp_path):
        with pytest.raises(FileError) as caught:
            intnn.load(bad)
        assert caught.value.code == "file.read"
    with pytest.raises(FileError) as caught:
        intnn.dump(small(), tmp_path / "no" / "folder.json")
    assert caught.value.code == "file.write"


def test_a_large_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "MAX_BYTES", 10)
    (tmp_path / "large.json").write_bytes(b" " * 11)
    with pytest.raises(FileError, match="too large"):
        intnn.load(tmp_path / "large.json")


def test_damage_in_a_large_file_is_found_quickly() -> None:
    """Twice the members, about twice the time: a member that stands twice is found in one walk."""
    members = ",".join(f'"m{i}":0' for i in range(200_000))
    started = time.process_time()
    with pytest.raises(FileError, match="'m199999' stands twice"):
        intnn.loads("{" + members + ',"m199999":0}')
    assert time.process_time() - started < 5  # it took minutes


def test_a_document_is_a_copy() -> None:
    net = small()
    native.document_of(net)["input"]["max"] = 99
    assert net.input.max == 10


@pytest.mark.parametrize("wrong", [None, 5, ["{}"]])
def test_not_text(wrong: Any) -> None:
    with pytest.raises(FileError, match="an object of type"):
        intnn.loads(wrong)


def test_a_path_with_nul() -> None:
    for act in (intnn.load, lambda path: intnn.dump(small(), path), lambda p: intnn.import_tflite(p, profile="single")):
        with pytest.raises(FileError) as caught:
            act("a\0b")
        assert caught.value.code in ("file.read", "file.write")


def test_an_invalid_network_is_not_written() -> None:
    net = Network(Activation(), (Dense(np.array([[1]]), np.array([2147483647]), Fixed.floor(0), Activation()),))
    with pytest.raises(IntnnError) as caught:
        intnn.dumps(net)
    assert caught.value.code == "model.overflow"
