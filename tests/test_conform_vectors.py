"""Vectors as files: their content, their bytes, and the C that judges itself, compiled."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intnn
from intnn import Activation, Dense, Fixed, Network
from intnn.conform import protocol
from intnn.conform.vectors import FORMATS, MOST_IN_C, vectors
from intnn.demo.rounding import bundled
from intnn.emit import emit_c
from intnn.errors import IntnnError
from intnn.formats import native
from intnn.targets.compilers import Compiler, find
from intnn.targets.host import HOST_COMPILERS, STRICT
from intnn.version import SPEC_VERSION

# Three inputs, two hidden neurons, one output: the network of spec/20-model.md, whose answer is known by hand.
TINY = native.loads(
    """{"format":"intnn-model/1",
 "input":{"type":"int8","zero_point":-1,"min":-128,"max":127},
 "layers":[
  {"type":"dense","weights":[[127,-5,30],[-64,3,2]],"bias":[100,-200],
   "requantize":{"family":"q31","multiplier":1518500250,"exponent":-7,"rounding":"double"},
   "output":{"type":"int8","zero_point":-128,"min":-128,"max":127}},
  {"type":"dense","weights":[[9,-100]],"bias":[-1000],
   "requantize":{"family":"fixed","multiplier":181,"shift":13,"round":4096,"pre_shift":2,"pre_round":2},
   "output":{"type":"int16","zero_point":0,"min":-32768,"max":32767}}]}"""
)
ROWS = np.array([[100, -20, 7], [-128, 127, 0], [127, 127, 127]])


def wide() -> Network:
    """More inputs and outputs than a line of the protocol holds, of the type with the longest numbers."""
    rng = np.random.default_rng(0)
    kind = Activation("int16")
    return Network(kind, (Dense(rng.integers(-9, 10, (20, 17)), rng.integers(-9, 9, 20), Fixed.half_up(2), kind),))


def wide_rows() -> Any:
    rng = np.random.default_rng(1)
    return np.vstack([np.full((1, 17), -32768), rng.integers(-32768, 32768, (11, 17))])


# --- data ----------------------------------------------------------------------------------------------------------


def test_csv() -> None:
    (name, data), *rest = vectors(TINY, ROWS, "csv", "tiny").items()
    assert (name, rest) == ("tiny_vectors.csv", [])
    comment, *lines = data.decode("ascii").splitlines()
    assert comment == f"# intnn vectors; specification {SPEC_VERSION}; model sha256 {native.network_hash(TINY)}"
    table = list(csv.reader(lines))
    assert table[0] == ["x0", "x1", "x2", "y0"]
    assert table[1] == ["100", "-20", "7", "-2"]
    assert [list(map(int, row[:3])) for row in table[1:]] == ROWS.tolist()
    assert [int(row[3]) for row in table[1:]] == intnn.run(TINY, ROWS)[:, 0].tolist()


def test_json() -> None:
    ((name, data),) = vectors(TINY, ROWS, "json", "tiny").items()
    assert name == "tiny_vectors.json"
    document = json.loads(data)
    assert data == native.canonical(document) + b"\n"
    assert (document["format"], document["spec"]) == ("intnn-vectors/1", SPEC_VERSION)
    assert document["sha256"] == native.network_hash(TINY)
    # as the specification's example of [network.run] has it
    assert document["vectors"][0] == {"x": [100, -20, 7], "acc": [[13262, -6705], [-343]], "y": [[-55, -128], [-2]]}
    for x, vector in zip(ROWS, document["vectors"], strict=True):
        trace = intnn.trace(TINY, x)
        assert vector["x"] == x.tolist()
        assert vector["acc"] == [t.acc.tolist() for t in trace]
        assert vector["y"] == [t.output.tolist() for t in trace]


def test_npz() -> None:
    net, images, _ = bundled()
    ((name, data),) = vectors(net, images[:20], "npz", "digits").items()
    assert name == "digits_vectors.npz"
    with np.load(io.BytesIO(data)) as arrays:
        assert str(arrays["sha256"]) == native.network_hash(net)
        assert str(arrays["spec"]) == SPEC_VERSION
        assert arrays["x"].dtype == arrays["y"].dtype == np.int8
        assert np.array_equal(arrays["x"], images[:20])
        trace = intnn.trace(net, images[:20])
        for k, t in enumerate(trace):
            assert arrays[f"acc{k}"].dtype == np.int32
            assert np.array_equal(arrays[f"acc{k}"], t.acc)
            assert np.array_equal(arrays[f"y{k}"], t.output)
        assert np.array_equal(arrays["y"], trace[-1].output)
        assert set(arrays) == {"x", "y", "acc0", "y0", "acc1", "y1", "sha256", "spec"}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {entry.create_system for entry in archive.infolist()} == {3}


@pytest.mark.parametrize("format", FORMATS)
def test_the_bytes_are_stable_and_named(format: str) -> None:
    files = vectors(TINY, ROWS, format, "tiny")
    assert files == vectors(native.loads(native.dumps(TINY)), ROWS.tolist(), format, "tiny")
    for name, data in files.items():
        assert name.startswith("tiny_vectors")
        if format != "npz":  # which is read above
            text = data.decode("ascii")
            assert native.network_hash(TINY) in text
            assert SPEC_VERSION in text
            assert text.endswith("\n")
    assert vectors(TINY, ROWS[::-1], format, "tiny") != files


def test_the_bytes_are_the_same_on_every_system(monkeypatch: pytest.MonkeyPatch) -> None:
    here = vectors(TINY, ROWS, "npz")
    for system in ("win32", "linux", "darwin"):
        monkeypatch.setattr(zipfile.sys, "platform", system)  # type: ignore[attr-defined]  # what zipfile goes by
        assert vectors(TINY, ROWS, "npz") == here


def test_foreign_networks_have_vectors_too() -> None:
    net = intnn.with_profile(bundled()[0], "fp32even")
    rows = bundled()[1][:3]
    document = json.loads(vectors(net, rows, "json")["net_vectors.json"])
    assert [v["y"][-1] for v in document["vectors"]] == intnn.run(net, rows).tolist()


@pytest.mark.parametrize(
    ("rows", "format", "prefix", "code"),
    [
        (ROWS, "xml", "net", "usage.option"),
        (ROWS, "h", "2net", "emit.prefix"),
        (ROWS, "csv", "a/b", "emit.prefix"),
        (ROWS[:, :2], "csv", "net", "input.shape"),
        (ROWS + 1, "csv", "net", "input.range"),
        (ROWS / 2, "csv", "net", "input.type"),
        (np.zeros((0, 3), int), "csv", "net", "input.shape"),
        (np.zeros((0, 3), int), "h", "net", "input.shape"),
        (np.zeros((MOST_IN_C + 1, 3), int), "h", "net", "input.shape"),
    ],
)
def test_wrong_requests(rows: Any, format: str, prefix: str, code: str) -> None:
    with pytest.raises(IntnnError) as caught:
        vectors(TINY, rows, format, prefix)
    assert caught.value.code == code
    assert caught.value.expected


# --- C -------------------------------------------------------------------------------------------------------------

MAIN = """
#include <stdio.h>
#include "NAME_vectors.h"
static void put(char c) { putchar(c); }
int main(int count, char **words)
{
    (void)words;
    if (count > 1) {
        NAME_vectors_print(put);
    } else {
        int number = NAME_vectors_check();
        printf("%d %d %d %d\\n", number, NAME_vectors_failure.output, NAME_vectors_failure.got,
            NAME_vectors_failure.expected);
    }
    return 0;
}
"""


def compiler() -> Compiler:
    """The first compiler of this machine's; the test is skipped if there is none."""
    for name in HOST_COMPILERS:
        if (tool := find(name)) is not None:
            return tool
    pytest.skip("no compiler: gcc, clang, or zig (pip install ziglang)")


def build(tool: Compiler, folder: Path, net: Network, rows: Any, run_c: str, prefix: str = "net") -> Path:
    """A program of the vectors and of ``run_c``, which is not compiled strictly; the vectors are."""
    for name, data in vectors(net, rows, "h", prefix).items():
        (folder / name).write_bytes(data)
    (folder / "run.c").write_text(run_c)
    (folder / "main.c").write_text(MAIN.replace("NAME", prefix))
    sources = [f"{prefix}_vectors_check.c", f"{prefix}_vectors_print.c", "main.c"]
    tool.run(*STRICT, "-c", *sources, folder=folder)
    tool.run("-c", "run.c", folder=folder)
    tool.run(*(name.replace(".c", ".o") for name in [*sources, "run.c"]), "-o", "program", folder=folder)
    return folder / "program"


def said(program: Path, *words: str) -> str:
    return subprocess.run([program, *words], capture_output=True, text=True, check=True, timeout=20).stdout


def test_emitted_c_passes(tmp_path: Path) -> None:
    program = build(compiler(), tmp_path, TINY, ROWS, emit_c(TINY, "tiny"), "tiny")
    assert said(program) == "0 0 0 0\n"


def test_the_first_wrong_vector_is_named(tmp_path: Path) -> None:
    net, rows = wide(), wide_rows()
    right = intnn.run(net, rows)
    # wrong from the ninth vector on, in output 13 and those after it
    wrong = """
static int calls;
void wrapped(const int16_t x[], int16_t y[]);
void net_run(const int16_t x[], int16_t y[])
{
    wrapped(x, y);
    if (calls++ >= 8) for (int o = 13; o < 20; o++) y[o] = (int16_t)(y[o] ^ 1);
}
"""
    program = build(compiler(), tmp_path, net, rows, emit_c(net, "net").replace("net_run", "wrapped") + wrong)
    assert said(program) == f"9 13 {right[8, 13] ^ 1} {right[8, 13]}\n"


def test_an_output_that_is_not_written_is_found(tmp_path: Path) -> None:
    lazy = "void net_run(const signed char x[], signed char y[]) { (void)x; (void)y; }\n"
    kind = Activation("int8")
    for value in (0, 1, 7):
        net = Network(kind, (Dense(np.array([[0, 0]]), np.array([value]), Fixed.half_up(0), kind),))
        (folder := tmp_path / str(value)).mkdir()
        number, output, got, expected = map(int, said(build(compiler(), folder, net, [[0, 0]], lazy)).split())
        assert (number, output, expected) == (1, 0, value)
        assert got != value


@pytest.mark.parametrize("name", ["tiny", "net"])
def test_what_is_printed_is_the_protocol(name: str, tmp_path: Path) -> None:
    net, rows = (TINY, ROWS) if name == "tiny" else (wide(), wide_rows())
    lines = said(build(compiler(), tmp_path, net, rows, emit_c(net, name), name), "print").splitlines()
    assert max(map(len, lines)) <= protocol.SHORT
    assert lines[0] == "0 hello"
    hello = protocol.parse_reply(lines[1])
    assert hello is not None
    assert (hello.kind, hello.text, hello.operations) == ("hello", native.network_hash(net)[:16], ("run",))

    held: list[int] = []
    answers: list[tuple[list[int], list[int]]] = []
    pending: protocol.Request | None = None
    y: list[int] = []
    number = 0
    for line in lines[2:]:
        if pending is None:
            pending = protocol.parse_request(line)
            number += 1
            assert pending is not None
            assert pending.id == number
            held += pending.numbers or ()
            continue
        reply = protocol.parse_reply(line)
        assert reply is not None
        assert reply.id == pending.id
        y += reply.values
        if reply.kind == "ok":
            if pending.command == "run":
                answers.append((held, y))
                held = []
            else:
                assert (pending.command, y) == ("x", [])
            pending, y = None, []
    assert pending is None
    assert [x for x, _ in answers] == rows.tolist()
    assert [y for _, y in answers] == intnn.run(net, rows).tolist()


def test_ids_begin_again_at_0(tmp_path: Path) -> None:
    kind = Activation("int8")
    net = Network(kind, (Dense(np.ones((1, 8), int), np.array([0]), Fixed.half_up(1), kind),))
    rows = (np.arange(22000 * 8) % 251 - 125).reshape(-1, 8)  # three requests each
    lines = said(build(compiler(), tmp_path, net, rows, emit_c(net)), "print").splitlines()
    assert lines[-1] == f"{3 * 22000 % 65536} ok {intnn.run(net, rows[-1])[0]}"
    assert lines.count("0 run") + sum(line.startswith("0 x") for line in lines) == 1
