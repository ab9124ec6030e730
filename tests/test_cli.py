"""The command line: what goes where, which exit code, and no traceback whatever the user does."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tflite_builder import Layer, Model, build

import intnn
from intnn import golden
from intnn.__main__ import main
from intnn.formats import native


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a model, inputs and some wrong files."""
    monkeypatch.chdir(tmp_path)
    layer = intnn.Dense(np.array([[3, -2], [1, 1]]), np.array([5, -7]), intnn.Fixed.half_up(2), intnn.Activation())
    net = intnn.Network(intnn.Activation("int8", -1, -100, 100), (layer,), "tiny")
    intnn.dump(net, "net.json")
    np.save("x.npy", np.array([[1, 2], [-100, 100]]))
    np.save("one.npy", np.array([1, 2], np.int8))
    np.save("none.npy", np.zeros((0, 2), np.int8))
    np.save("float.npy", np.zeros((1, 2)))
    np.save("wide.npy", np.zeros((1, 3), int))
    np.save("large.npy", np.array([[1, 101]]))
    np.save("pickled.npy", np.array([{}], object), allow_pickle=True)
    np.savez("x.npz", np.zeros(2))
    Path("cut.npy").write_bytes(Path("x.npy").read_bytes()[:-9])
    header = b"\x93NUMPY\x01\x00v\x00{'descr': '<i8', 'fortran_order': False, 'shape': (999999999999, 2), }"
    Path("claim.npy").write_bytes(header.ljust(127) + b"\n" + b"\0" * 64)
    Path("text.npy").write_text("1 2")
    Path("zip.npy").write_bytes(b"PK\x03\x04" + bytes(90))
    for name, shape in (("shape", "(1" + "0" * 30 + ",)"), ("minus", "(" + "-" * 9000 + "1,)"), ("none", "(0, 2)")):
        text = ("{'descr': '|S0', 'fortran_order': False, 'shape': " + shape + ", }\n").encode()
        Path(f"{name}.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    bad = json.loads(Path("net.json").read_text())
    bad["layers"][0]["bias"][1] = 2147483647
    del bad["sha256"]
    Path("bad.json").write_text(json.dumps(bad))
    layers = (Layer(np.array([[90, -20]], np.int8), 0.01, 0.05, -128, np.array([100]), "RELU"),)
    Path("model.tflite").write_bytes(build(Model(0.03, layers, input_zero_point=-3)))
    return tmp_path


def call(arguments: str | Sequence[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main(arguments.split() if isinstance(arguments, str) else arguments)
    out, err = capsys.readouterr()
    return code, out, err


def test_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = intnn.run(intnn.load("net.json"), np.load("x.npy"))
    for engine in ("reference", "fast", "checked"):
        code, out, err = call(f"run net.json --input x.npy --engine {engine}", capsys)
        assert (code, err) == (0, "")
        assert np.array_equal(np.loadtxt(io.StringIO(out), int), expected)
    code, out, err = call("run net.json --input x.npy --output y.npy --trace t.npz", capsys)
    assert (code, out, err) == (0, "", "y.npy: int8 (2, 2)\n")
    assert np.load("y.npy").dtype == np.int8
    assert np.array_equal(np.load("y.npy"), expected)
    with np.load("t.npz") as parts:
        assert parts["acc0"].dtype == np.int32
        assert np.array_equal(parts["output0"], expected)
    code, out, _ = call("run net.json --input one.npy", capsys)
    assert (code, out.split()) == (0, [str(v) for v in expected[0]])
    assert call("run net.json --input none.npy", capsys)[:2] == (0, "")


def test_check(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call("check net.json", capsys)
    assert (code, err) == (0, "")
    assert "valid" in out
    assert native.network_hash(intnn.load("net.json")) in out
    code, out, err = call("check net.json --json", capsys)
    document = json.loads(out)
    proof = intnn.prove(intnn.load("net.json")).layers[0]
    assert document["valid"] is True
    assert document["layers"][0]["acc_high"] == proof.acc_high.tolist()
    assert document["layers"][0]["headroom_bits"] == proof.headroom


def test_check_of_an_invalid_model_shows_a_witness(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call("check bad.json", capsys)
    assert code == 1
    assert "NOT valid" in out
    assert err.startswith("error[model.overflow]: bad.json: layer 0, neuron 1: ")
    assert "witness: layer input [100 x 2]" in err
    code, out, err = call("check bad.json --json", capsys)
    assert code == 1
    overflow = json.loads(out)["overflow"]
    assert (overflow["layer"], overflow["neuron"], overflow["witness"]) == (0, 1, [100, 100])


def test_import_and_profiles(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call("import model.tflite --profile double -o model.json", capsys)
    assert (code, out) == (0, "")
    assert "re-derived" in err
    assert "exact" in err
    code, out, _ = call("import model.tflite --profile double", capsys)
    assert (code, out) == (0, Path("model.json").read_text())
    assert call("check model.tflite --profile fp32even", capsys)[0] == 0
    for profile in ("single", "trunc0"):  # from the file's scales, and from the scales the model file carries
        once = call(f"run model.tflite --profile {profile} --input x.npy", capsys)
        assert once[0] == 0
        assert once == call(f"run model.json --profile {profile} --input x.npy", capsys)


def test_demo_and_golden(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call("demo", capsys)
    assert (code, err) == (0, "")
    assert len(out.splitlines()) <= 30
    monkeypatch.setattr(golden, "oracle_folder", lambda: None)  # the README's golden --check, which is run, has it
    code, out, err = call("golden --check", capsys)
    assert (code, err) == (0, "")
    assert "interpreter and manifest: all pass" in out


REFUSED = {
    "run nowhere.json --input x.npy": "file.read",
    "run . --input x.npy": "file.read",
    "run x.npy --input x.npy": "file.syntax",
    "run bad.json --input x.npy": "model.overflow",
    "run net.json --input nowhere.npy": "file.read",
    "run net.json --input float.npy": "input.type",
    "run net.json --input wide.npy": "input.shape",
    "run net.json --input large.npy": "input.range",
    "run net.json --input pickled.npy": "file.array",
    "run net.json --input x.npz": "file.array",
    "run net.json --input cut.npy": "file.array",
    "run net.json --input claim.npy": "file.array",
    "run net.json --input text.npy": "file.array",
    "run net.json --input zip.npy": "file.array",
    "run net.json --input shape.npy": "file.array",
    "run net.json --input minus.npy": "file.array",
    "run net.json --input net.json": "file.array",
    "run net.json --input x.npy --output no/y.npy": "file.write",
    "run net.json --input x.npy --trace no/t.npz": "file.write",
    "run net.json --input x.npy --profile double": "model.value",
    "run net.json --input x.npy --profile nearest": "usage.profile",
    "run model.tflite --input x.npy": "usage.option",
    "check model.tflite --profile nearest": "usage.profile",
    "import nowhere.tflite --profile double": "file.read",
    "import net.json --profile double": "tflite.file",
    "import model.tflite --profile nearest": "usage.profile",
    "import model.tflite --profile double -o no/m.json": "file.write",
    "golden --check --folder nowhere": "golden.missing",
    "import model.tflite --profile double -o model.tflite": "usage.option",
    "run net.json --input x.npy --output ./net.json": "usage.option",
    "run net.json --input x.npy --trace x.npy": "usage.option",
}


@pytest.mark.parametrize("arguments", REFUSED)
def test_a_users_mistake_gets_a_code(arguments: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(arguments, capsys)
    assert (code, out) == (2, "")
    assert f"error[{REFUSED[arguments]}]: " in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "arguments", ["", "fly", "run", "golden", "golden --check --write", "run n --input x --engine e"]
)
def test_usage(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments.split())
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("usage: intnn")
    assert "error[usage.option]: " in err


def test_a_full_disk_is_no_verdict(folder: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "intnn", "check", "net.json"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error[file.write]: standard output")


def test_golden_problems_go_to_stderr(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(golden.default_folder(), "golden")
    Path("golden/arithmetic.add.json").write_text("{}")
    code, out, err = call("golden --check --folder golden", capsys)
    assert code == 1
    assert out.startswith("golden: ")
    assert "error[golden.mismatch]: golden/arithmetic.add.json" in err


def test_as_a_program(folder: Path) -> None:
    """Through ``python -m intnn``, with the reader of its output leaving early."""
    base = [sys.executable, "-m", "intnn"]
    done = subprocess.run([*base, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("intnn ")
    np.save("many.npy", np.zeros((200000, 2), int))
    command = f"{sys.executable} -m intnn run net.json --input many.npy | head -n 1"
    piped = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert len(piped.stdout.splitlines()) == 1
    assert "Traceback" not in piped.stderr


def test_interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("intnn.demo.story.story", interrupted)
    assert call("demo", capsys) == (130, "", "")


def test_closed_output(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        code = main(["demo"])
    assert code == 2
    assert capsys.readouterr().err.startswith("error[file.write]: standard output: it is closed")
