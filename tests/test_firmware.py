"""The commands that deal in C: outputs, exit codes, and a message for every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from handwritten import NETWORK, SOURCES
from test_cli import call

import intnn
from intnn.firmware import network_cost
from intnn.targets.cost import Cost

RIGHT = SOURCES["plain loops"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a model, C for it and wrong C."""
    monkeypatch.chdir(tmp_path)
    intnn.dump(NETWORK, "net.json")
    foreign = intnn.Dense(np.ones((1, 1), int), np.zeros(1, int), intnn.Fixed(0, 0), intnn.Activation())
    scaled = intnn.Network(
        intnn.Activation(),
        (intnn.Dense(foreign.weights, foreign.bias, foreign.requantize, foreign.output, intnn.Scales(0.5, 0.5, 0.5)),),
    )
    intnn.dump(intnn.with_profile(scaled, "fp32even"), "foreign.json")
    Path("right.c").write_text(RIGHT)
    Path("wrong.c").write_text(RIGHT.replace("int32_t acc = b1[o];", "int32_t acc = b1[o] + 1;"))
    Path("float.c").write_text(RIGHT.replace("int32_t acc = b0[o];", "float acc = b0[o];"))
    Path("two.c").write_text("void one(const int8_t x[], int8_t y[]) {}\nvoid two(const int8_t x[], int8_t y[]) {}\n")
    Path("trap.c").write_text(RIGHT.replace("acc * m +", "acc * m * 1024 +"))
    Path("latin.c").write_bytes(b"/* \xe9 */")
    np.save("x.npy", np.random.default_rng(0).integers(-128, 128, (50, 6)))
    np.save("one.npy", np.arange(6))
    np.save("wide.npy", np.zeros((1, 7), int))
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_emit(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("emit net.json", capsys) == (0, intnn.emit_c(NETWORK), "")
    assert call("emit net.json -o - --prefix pose --size", capsys)[1] == intnn.emit_c(NETWORK, "pose", size=True)
    code, out, err = call("emit net.json -o some/folder --prefix pose --selftest", capsys)
    assert (code, out) == (0, "")
    written = sorted(path.name for path in Path("some/folder").iterdir())
    assert written == ["pose.c", "pose.h", "pose_selftest.c"]
    assert [line.split(":")[0] for line in err.splitlines()] == [f"some/folder/{name}" for name in err_order(err)]
    assert call("verify some/folder/pose.c --model net.json", capsys)[0] == 0


def err_order(err: str) -> list[str]:
    return [Path(line.split(":")[0]).name for line in err.splitlines()]


@pytest.mark.usefixtures("folder")
def test_verify(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call("verify right.c --model net.json", capsys)
    assert (code, err) == (0, "")
    assert out.startswith("right.c: proved: run computes net.json, for every input")
    code, out, err = call("verify wrong.c --model net.json", capsys)
    assert code == 1
    assert out.startswith("wrong.c: WRONG\n")
    assert err.startswith("error[c.wrong]: wrong.c: layer 1, neuron ")
    code, out, err = call("verify float.c --model net.json", capsys)
    line = 1 + Path("float.c").read_text().split("\n").index("        float acc = b0[o];")
    assert code == 4
    assert err.startswith(f"error[c.subset]: float.c:{line}: floating point\n  expected: C in the subset")
    assert "not in the subset" in out


@pytest.mark.usefixtures("folder")
def test_verify_says_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call("verify right.c --model net.json --json --int-bits 32", capsys)
    document = json.loads(out)
    assert (code, document["status"], document["proved_on"]) == (0, "proved", ["int32", "lp64"])
    code, out, _ = call("verify wrong.c --model net.json --json", capsys)
    found = json.loads(out)["counterexample"]
    assert intnn.run(NETWORK, found["x"]).tolist() == found["expected"] != found["got"]


@pytest.mark.usefixtures("folder")
def test_c_that_runs(capsys: pytest.CaptureFixture[str]) -> None:
    wanted = intnn.run(NETWORK, np.load("x.npy"))
    code, _, err = call("run right.c --model net.json --input x.npy --output y.npy", capsys)
    assert (code, err) == (0, "y.npy: int8 (50, 3)\n")
    assert np.load("y.npy").dtype == np.int8
    assert np.load("y.npy").tolist() == wanted.tolist()
    code, out, _ = call("run right.c --model net.json --input one.npy", capsys)
    assert out.split() == [str(v) for v in intnn.run(NETWORK, np.arange(6))]
    code, out, err = call("run trap.c --model net.json --input x.npy", capsys)
    assert (code, out) == (2, "")
    assert err.startswith("error[c.trap]: trap.c:")
    assert "overflow of *" in err


@pytest.mark.usefixtures("folder")
def test_c_that_is_compiled(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("unicorn", reason="needs the targets: pip install -e '.[targets]'")
    wanted = intnn.run(NETWORK, np.load("x.npy"))
    call("emit net.json -o fw --prefix pose", capsys)
    for line in ("fw/pose.c --target mips32", "right.c --target zig -O s"):
        code, out, err = call(f"run {line} --model net.json --input x.npy", capsys)
        assert (code, err) == (0, "")
        assert np.fromstring(out, int, sep=" ").reshape(50, 3).tolist() == wanted.tolist()
    Path("divides.c").write_text(RIGHT.replace("acc * m +", "acc * 2 * m / 2 +"))  # cannot be proved, but run
    code, out, err = call("run divides.c --function run --target zig --model net.json --input x.npy", capsys)
    assert (code, err) == (0, "")
    assert np.fromstring(out, int, sep=" ").reshape(50, 3).tolist() == wanted.tolist()


MISTAKES = {
    "emit nothing.json": "file.read",
    "emit foreign.json": "model.host-only",
    "emit net.json --prefix int": "emit.prefix",
    "emit net.json --selftest": "usage.option",
    "emit net.json -o net.json": "file.write",
    "verify nothing.c --model net.json": "file.read",
    "verify latin.c --model net.json": "file.syntax",
    "verify right.c --model nothing.json": "file.read",
    "verify right.c --model foreign.json": "model.host-only",
    "verify right.c": "usage.option",
    "verify right.c --model net.json --int-bits 8": "usage.option",
    "run right.c --input x.npy": "usage.option",
    "run right.c --model net.json --input wide.npy": "input.shape",
    "run right.c --model net.json --input x.npy --trace t.npz": "usage.option",
    "run right.c --model net.json --input x.npy --output right.c": "usage.option",
    "run net.json --input x.npy --target gcc": "usage.option",
    "run right.c --model net.json --input x.npy --target z80": "usage.target",
    "run two.c --model net.json --input x.npy --target zig": "c.subset",
    "run right.c --model net.json --input x.npy --target zig -O 9": "usage.option",
    "verify right.c --model net.json --function nothing": "usage.option",
    "cost net.json --budget=": "usage.budget",
    "emit net.json --prefix stdint": "emit.prefix",
    "run float.c --model net.json --input x.npy": "c.subset",
    "cost foreign.json": "model.host-only",
    "cost net.json --budget 32": "usage.budget",
    "cost net.json --target z80": "usage.target",
    "cost net.json --compiler tcc": "usage.compiler",
    "cost net.json -O 9": "usage.option",
}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("line", MISTAKES)
def test_every_mistake_has_a_message(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code, out, err = call(line, capsys)
    except SystemExit as exit_:  # what argparse finds
        out, err = capsys.readouterr()
        code = int(str(exit_.code))
    assert (code, out) == (2, "")
    assert f"error[{MISTAKES[line]}]: " in err
    assert "Traceback" not in err


@pytest.mark.usefixtures("folder")
def test_cost(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("unicorn", reason="costs need the targets: pip install -e '.[targets]'")
    pytest.importorskip("ziglang", reason="as above")
    code, out, err = call("cost net.json --compiler zig --json --budget 32k,16k", capsys)
    assert (code, err) == (0, "")
    figures = json.loads(out)
    assert figures["macs"] == 45
    assert figures["flash"] >= 45 + 8
    assert sum(layer["cycles"] for layer in figures["layers"]) == figures["cycles"]
    code, out, err = call(f"cost net.json --compiler zig --budget {figures['flash'] - 1},16k", capsys)
    assert code == 1
    assert err.startswith(f"error[target.budget]: flash: {figures['flash']} bytes needed")
    assert str(figures["cycles"]) in out
    small = json.loads(call("cost net.json --compiler zig --json --size", capsys)[1])
    assert small["flash"] < figures["flash"]


def test_a_compilers_fault_is_seen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What was measured is compared with the specification."""
    pytest.importorskip("unicorn", reason="costs need the targets: pip install -e '.[targets]'")

    def faulty(net: intnn.Network, source: str, **options: object) -> Cost:
        result: Cost = network_cost(net, source, compiler="zig")
        result.outputs[2, 0] += 1
        return result

    monkeypatch.setattr("intnn.firmware.network_cost", faulty)
    path = Path(__file__).parents[1] / "docs" / "examples" / "hand.json"
    code, _, err = call(["cost", str(path)], capsys)
    assert code == 1
    assert err.startswith("error[target.mismatch]: 1 of 8 rows differ")
