"""The commands that judge implementations: exit codes, what they write, and a message for every mistake."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from handwritten import NETWORK, SOURCES

import intnn
from intnn.__main__ import main
from intnn.conform import pipe
from intnn.conform.report import json as documents
from intnn.referee import row_text
from intnn.testing import assert_conforms

RIGHT = SOURCES["plain loops"]
WRONG = RIGHT.replace("int32_t acc = b1[o];", "int32_t acc = b1[o] + (o == 2);")
PYTHON = """
import numpy as np
import intnn
net = intnn.load("net.json")
wrong = intnn.load("wrong.json")
def right(x): return intnn.run(net, x)
def off(x): return intnn.run(wrong, x)
def crashes(x):
    import os
    if x[0] == 127: os._exit(9)
    return intnn.run(net, x)
"""


def call(line: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command line."""
    try:
        code = main(shlex.split(line))
    except SystemExit as end:  # of argparse
        code = int(end.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a model and implementations of it."""
    monkeypatch.chdir(tmp_path)
    intnn.dump(NETWORK, "net.json")
    first, *rest = NETWORK.layers
    bias = first.bias.copy()
    bias[1] += 1
    wrong = intnn.Dense(first.weights, bias, first.requantize, first.output)
    intnn.dump(intnn.Network(NETWORK.input, (wrong, *rest)), "wrong.json")
    Path("right.c").write_text(RIGHT)
    Path("wrong.c").write_text(WRONG)
    Path("mine.py").write_text(PYTHON)
    Path("names.txt").write_text("# known\nlayer 1 steps\n\n")
    np.save("x.npy", np.random.default_rng(0).integers(-128, 128, (50, NETWORK.sizes[0])))
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_right_c_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert RIGHT != WRONG
    code, out, err = call("conform net.json --c right.c --count 500", capsys)
    assert (code, err) == (0, "")
    assert "pass" in out.splitlines()[0].lower()


@pytest.mark.usefixtures("folder")
def test_wrong_c_is_found_named_and_reproduced(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call("conform net.json --c wrong.c --count 500 -o f.json --junit f.xml --html f.html", capsys)
    assert code == 1
    assert "layer 1" in out
    assert "the bias of neuron 2 one too large" in out
    assert "intnn explain f.json" in out
    document = json.loads(Path("f.json").read_text())
    report = documents.load(document)
    assert report.mismatch is not None
    x = np.array(report.mismatch.x)
    assert report.mismatch.expected == tuple(intnn.run(NETWORK, x))

    again = shlex.split(report.command)  # the line that reproduces it asks this input alone
    assert again[:2] == ["intnn", "conform"]
    assert f"--x={row_text(report.mismatch.x)}" in again
    assert report.command in out
    code, out, _ = call(shlex.join([*again[1:], "--json"]), capsys)
    repeated = documents.load(json.loads(out))
    assert code == 1
    assert repeated.mismatch is not None
    assert (repeated.mismatch.x, repeated.mismatch.got) == (report.mismatch.x, report.mismatch.got)

    assert ET.parse("f.xml").getroot() is not None
    assert "bias of neuron 2" in Path("f.html").read_text()
    code, out, _ = call("explain f.json", capsys)
    assert code == 0
    assert str(report.mismatch.location.acc if report.mismatch.location else None) in out


@pytest.mark.usefixtures("folder")
def test_expected_failures(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call("conform net.json --c wrong.c --count 300 --json", capsys)
    failing = [group["name"] for group in json.loads(out)["groups"] if group["wrong"]]
    Path("known.txt").write_text("# not yet repaired\n" + "\n".join(failing) + "\n")
    assert (code, call("conform net.json --c wrong.c --count 300 --expect-failures known.txt", capsys)[0]) == (1, 0)
    code, out, _ = call("conform net.json --c right.c --count 300 --expect-failures known.txt", capsys)
    assert code == 0
    assert all(name in out for name in failing[:1])


@pytest.mark.usefixtures("folder")
def test_python_functions(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("conform net.json --python mine:right --count 200", capsys)[0] == 0
    code, out, _ = call("conform net.json --python mine:off --count 200 --json", capsys)
    explanations = json.loads(out)["diagnosis"]["explanations"]
    assert code == 1
    assert explanations[0]["faults"] == ["bias.plus-one@0[1]"]
    code, out, _ = call("conform net.json --python mine:crashes --count 100", capsys)
    assert code == 3
    assert "died" in out


@pytest.mark.usefixtures("folder")
def test_a_program_that_speaks_the_protocol_is_recorded_and_replayed(capsys: pytest.CaptureFixture[str]) -> None:
    Path("device.py").write_text(
        "import sys, intnn\nfrom intnn.conform.reference import Reference\n"
        "device = Reference(intnn.load('net.json'))\n"
        "for line in sys.stdin:\n    print(*device.answer(line.rstrip('\\n')), sep='\\n', flush=True)\n"
    )
    program = shlex.quote(f"{sys.executable} device.py")
    code, out, err = call(f"conform net.json --cmd {program} --count 60 --log said.txt", capsys)
    assert code == 0, out + err
    code, out, err = call("conform net.json --replay said.txt", capsys)
    assert code == 0, out + err
    code, out, _ = call("conform wrong.json --replay said.txt", capsys)
    assert code in (1, 2)  # the recording is of another network: seen in its hello, or in its answers


@pytest.mark.usefixtures("folder")
def test_harness_and_vectors(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call("conform net.json --harness c --prefix pose", capsys)
    assert code == 0
    assert "pose_run" in out
    assert "fn main" in call("conform net.json --harness rust", capsys)[1]
    code, out, _ = call("vectors net.json --format csv --count 20", capsys)
    assert code == 0
    assert len([line for line in out.splitlines() if line[:1] in "-0123456789"]) == 20
    code, _, err = call("vectors net.json --format h --count 20 -o some/where --prefix pose", capsys)
    assert code == 0
    assert all(Path(line.rpartition(": ")[0]).is_file() for line in err.splitlines())


@pytest.mark.usefixtures("folder")
def test_identify(capsys: pytest.CaptureFixture[str]) -> None:
    scaled = intnn.Network(
        intnn.Activation(),
        (
            intnn.Dense(
                np.array([[90, -20, 7], [-128, 50, 3]]),
                np.array([100, -50]),
                intnn.Fixed(0, 0),
                intnn.Activation(),
                intnn.Scales(float(np.float32(0.03)), float(np.float32(0.01)), float(np.float32(0.05))),
            ),
        ),
    )
    intnn.dump(intnn.with_profile(scaled, "double"), "scaled.json")
    x = np.random.default_rng(1).integers(-128, 128, (20_000, 3))
    np.save("many.npy", x)
    np.save("y.npy", intnn.run(intnn.with_profile(scaled, "upup"), x))
    code, out, _ = call("identify scaled.json --input many.npy --output y.npy", capsys)
    assert code == 0
    assert "upup" in out.splitlines()[0]
    np.save("y.npy", np.zeros((20_000, 2), np.int8))
    assert call("identify scaled.json --input many.npy --output y.npy", capsys)[0] == 1


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("conform net.json", "usage.option"),
        ("conform net.json --c right.c --python mine:right", "usage.option"),
        ("conform missing.json --c right.c", "file.read"),
        ("conform net.json --c missing.c", "file.read"),
        ("conform net.json --lib missing.so:f", "device.start"),
        ("conform net.json --lib missing.so", "usage.option"),
        ("conform net.json --elf missing.elf:f", "device.start"),
        ("conform net.json --elf net.json:f", "device.start"),
        ("conform net.json --cmd ./no-such-program", "device.start"),
        ("conform net.json --cmd ''", "usage.option"),
        ("conform net.json --python nothing:f", "device.start"),
        ("conform net.json --python mine:nothing", "device.start"),
        ("conform net.json --replay net.json", "file.log"),
        ("conform net.json --replay missing.log", "file.read"),
        ("conform net.json --serial /dev/no-such-port", "device.start"),
        ("conform net.json --c right.c --baud 9600", "usage.option"),
        ("conform net.json --python mine:right -O2", "usage.option"),
        ("conform net.json --c right.c --target z80", "usage.target"),
        ("conform net.json --c right.c --function nothing", "usage.option"),
        ("conform net.json --c right.c --x=1,2", "input.shape"),
        ("conform net.json --c right.c --x=1,2,x,4,5,6", "usage.option"),
        ("conform net.json --c right.c --x=6*200", "input.range"),
        ("conform net.json --c right.c --x=9999999*1", "input.shape"),
        ("conform net.json --c right.c --count 0", "usage.option"),
        ("conform net.json --c right.c --count many", "usage.option"),
        ("conform net.json --c right.c --seed -1", "usage.option"),
        ("conform net.json --c right.c --timeout 0", "usage.option"),
        ("conform net.json --c right.c --timeout nan", "usage.option"),
        ("conform net.json --c right.c --expect-failures missing.txt", "file.read"),
        ("conform net.json --c right.c --count 10 -o no/such/folder/f.json", "file.write"),
        ("conform net.json --c right.c -o net.json", "usage.option"),
        ("conform net.json --c right.c -o right.c", "usage.option"),
        ("conform net.json --c right.c -o f --html f", "usage.option"),
        ("conform net.json --harness c --prefix 9x", "emit.prefix"),
        ("explain missing.json", "file.read"),
        ("explain net.json", "file.version"),
        ("explain right.c", "file.syntax"),
        ("vectors net.json --format npz", "usage.option"),
        ("vectors net.json --format xml", "usage.option"),
        ("identify net.json --input x.npy --output x.npy", "input.shape"),
        ("identify net.json --input missing.npy --output x.npy", "file.read"),
    ],
)
def test_mistakes(line: str, code: str, capsys: pytest.CaptureFixture[str]) -> None:
    exit_code, out, err = call(line, capsys)
    assert (exit_code, out) == (2, "")
    assert f"error[{code}]" in err
    assert "Traceback" not in err


def test_rows_are_written_as_they_are_read() -> None:
    assert row_text((1, 1, 1, -2, 0, 0)) == "3*1,-2,0,0"


@pytest.mark.usefixtures("folder")
def test_rows_are_read_as_reports_show_them(capsys: pytest.CaptureFixture[str]) -> None:
    given = [1, 1, 1, -2, 0, 0]
    assert len(given) == NETWORK.sizes[0]
    for text in ("1,1,1,-2,0,0", "3*1,-2,2*0", "[1 x 3, -2, 0 x 2]"):
        code, out, _ = call(f"conform net.json --python math:factorial '--x={text}' --json", capsys)
        failures = json.loads(out)["failures"]  # which show what was asked
        assert (code, [failure["input"] for failure in failures]) == (3, [given])


def test_assert_conforms() -> None:
    assert assert_conforms(NETWORK, lambda x: intnn.run(NETWORK, x), count=200).outcome == "pass"
    with pytest.raises(AssertionError, match="MISMATCH"):
        assert_conforms(NETWORK, lambda x: np.minimum(intnn.run(NETWORK, x) + 1, 127), count=200)


@pytest.mark.skipif(os.name != "posix", reason="needs a signal that kills")
@pytest.mark.usefixtures("folder")
def test_nothing_is_left_running(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A device that hangs is killed, and its process is gone afterwards."""
    monkeypatch.setattr(pipe, "START", 2.0)
    Path("sleeps.py").write_text("import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(600)\n")
    program = shlex.quote(f"{sys.executable} sleeps.py")
    code, _, err = call(f"conform net.json --cmd {program} --timeout 1 --count 10", capsys)
    assert code in (2, 3)
    assert "error[device.start]" in err or code == 3
    with pytest.raises(ProcessLookupError):
        os.kill(int(Path("pid").read_text()), 0)


@pytest.mark.skipif(os.name != "posix", reason="needs a signal that asks to end")
def test_a_signal_leaves_nothing_behind(folder: Path) -> None:
    """As a CI system ends what takes too long: no process and no folder stays."""
    Path("waits.py").write_text(
        "import os, time\ndef run(x):\n    open('pid', 'w').write(str(os.getpid()))\n    time.sleep(600)\n"
    )
    (folder / "temporary").mkdir()
    words = [sys.executable, "-m", "intnn", "conform", "net.json", "--python", "waits:run", "--count", "5"]
    environment = {**os.environ, "TMPDIR": str(folder / "temporary")}
    with subprocess.Popen([*words, "--timeout", "600"], env=environment) as process:
        deadline = time.monotonic() + 60
        while not (Path("pid").is_file() and Path("pid").read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert [*(folder / "temporary").iterdir()]
        process.terminate()
        assert process.wait(timeout=30) == 143
    assert not [*(folder / "temporary").iterdir()]
    with pytest.raises(ProcessLookupError):
        os.kill(int(Path("pid").read_text()), 0)
