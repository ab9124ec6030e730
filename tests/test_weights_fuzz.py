"""Damaged files of weights: each read or refused with a stable code, nothing else; see test_fuzz.py."""

from __future__ import annotations

import io
import json
import random
import re
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from test_fuzz import alarm, cut, flipped, inserted, memory, nested, renumbered, restructured, spliced

from intnn.errors import CODES, IntnnError
from intnn.floats.network import FloatDense, FloatNetwork
from intnn.formats.weights import read_weights, write_weights

CASES = 300  # of each format

Change = Callable[[random.Random, bytes], bytes]


def seed(ending: str, folder: Path) -> bytes:
    """A small valid file."""
    rng = np.random.default_rng(0)
    layers = (
        FloatDense(rng.normal(size=(4, 3)), rng.normal(size=4), 0.0),
        FloatDense(rng.normal(size=(2, 4)), np.zeros(2)),
    )
    net = FloatNetwork(layers, "seed")
    if ending != "safetensors":
        write_weights(net, folder / f"seed.{ending}")
        return (folder / f"seed.{ending}").read_bytes()
    header: dict[str, object] = {"__metadata__": {"format": "np"}}
    values = b""
    for i, layer in enumerate(net.layers):
        for name, array in (("weight", layer.weights.astype("<f4")), ("bias", layer.bias.astype("<f2"))):
            place = [len(values), len(values) + array.nbytes]
            header[f"{i}.{name}"] = {"dtype": f"F{8 * array.itemsize}", "shape": array.shape, "data_offsets": place}
            values += array.tobytes()
    return with_header(json.dumps(header).encode(), values)


def with_header(header: bytes, values: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + values


def any_byte(rng: random.Random, content: bytes) -> bytes:
    return rng.choice((flipped, cut, inserted, spliced))(rng, content)


def any_member(rng: random.Random, content: bytes) -> bytes:
    return rng.choice((restructured, restructured, renumbered, nested))(rng, content)


def damaged_tensors(rng: random.Random, content: bytes) -> bytes:
    size = int.from_bytes(content[:8], "little")
    header, values = content[8 : 8 + size], content[8 + size :]
    match rng.randrange(4):
        case 0:
            return any_byte(rng, content)
        case 1:
            return with_header(header, any_byte(rng, values))
        case _:
            return with_header(any_member(rng, header), values)


def damaged_npz(rng: random.Random, content: bytes) -> bytes:
    if rng.random() < 0.3:
        return any_byte(rng, content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    at = rng.randrange(len(members))
    name, array = members[at]
    match rng.randrange(5):
        case 0:
            members[at] = (re.sub(r"\d", lambda _: rng.choice("0159"), name), array)
        case 1:
            members[at] = (any_byte(rng, name.encode()).decode("latin-1").replace("\0", ""), array)
        case 2:
            del members[at]
        case _:
            members[at] = (name, rng.choice((any_byte, renumbered))(rng, array))
    file = io.BytesIO()
    with zipfile.ZipFile(
        file, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
    ) as archive:
        for name, array in dict(members).items():
            archive.writestr(name or "x", array)
    return file.getvalue()


def damaged_json(rng: random.Random, content: bytes) -> bytes:
    return rng.choice((any_byte, any_member, any_member))(rng, content)


FILES: dict[str, tuple[Change, set[str]]] = {
    "safetensors": (damaged_tensors, {"valid", "file.syntax", "file.field", "weights.layer", "model.value"}),
    "npz": (damaged_npz, {"valid", "file.syntax", "weights.layer"}),
    "json": (damaged_json, {"valid", "file.syntax", "file.field", "file.version", "model.chain"}),
}


@pytest.mark.parametrize("ending", FILES)
def test_damaged_files(tmp_path: Path, ending: str) -> None:
    change, expected = FILES[ending]
    content = seed(ending, tmp_path)
    path = tmp_path / f"damaged.{ending}"
    outcomes: Counter[str] = Counter()
    with memory():
        for case in range(CASES):
            rng = random.Random(f"{ending} {case}")
            damaged = change(rng, content)
            path.write_bytes(damaged)
            try:
                with alarm():
                    outcomes[outcome(path)] += 1
            except Exception as error:
                message = f"{ending} case {case}: {type(error).__name__}: {error}; file: {damaged[:2000]!r}"
                raise AssertionError(message) from error
    print(ending, dict(outcomes))
    assert expected <= outcomes.keys()


def outcome(path: Path) -> str:
    """``valid``, or the code with which the file was refused."""
    try:
        net = read_weights(path).network
    except IntnnError as refusal:
        if refusal.code not in CODES or not str(refusal).startswith(str(path)) or len(str(refusal)) > 2000:
            raise
        return refusal.code
    with np.errstate(over="ignore", invalid="ignore"):  # weights may be as large as float64 is
        assert net.run(np.ones((2, net.sizes[0]))).shape == (2, net.sizes[-1])
    return "valid"


def test_the_seeds_are_valid(tmp_path: Path) -> None:
    for ending in FILES:
        path = tmp_path / f"n.{ending}"
        path.write_bytes(seed(ending, tmp_path))
        assert outcome(path) == "valid"
