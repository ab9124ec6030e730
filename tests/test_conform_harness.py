"""The harness sources, compiled by whatever compiler is there, as devices of their own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import intnn
from intnn.conform.device import RUN
from intnn.conform.expected import answers as right_answers
from intnn.conform.harness import harness
from intnn.conform.pipe import command
from intnn.errors import IntnnError
from intnn.golden_protocol import NETWORK, devices
from intnn.model import Network
from intnn.operations import execute
from intnn.targets.compilers import find, require
from intnn.targets.host import STRICT

WIDE = Network(  # rows and outputs that need several short lines
    intnn.Activation("uint8", 7, 0, 200),
    (
        intnn.Dense(np.arange(-60, 60).reshape(4, 30), np.arange(4), intnn.Fixed.half_up(5), intnn.Activation("int8")),
        intnn.Dense(np.eye(40, 4, dtype=np.int8) * 99, np.arange(40), intnn.Fixed.floor(0), intnn.Activation("int16")),
    ),
)
TINY = intnn.loads(intnn.formats.native.canonical(NETWORK))
SHORT_LINES = "LINE 4095", "LINE 63"

RUST_RUN = """\
fn run(x: &[u8; INPUTS], y: &mut [i16; OUTPUTS]) -> bool {
    for (o, v) in y.iter_mut().enumerate() {
        *v = x.iter().enumerate().fold(o as i16, |sum, (i, v)| sum - *v as i16 * ((i + o) % 3) as i16);
    }
    true
}
"""


def rows_of(net: Network) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    ends = [net.input.min, net.input.max, net.input.zero_point]
    rows = [[v] * net.sizes[0] for v in ends]
    return np.concatenate(
        [rows, np.random.default_rng(1).integers(net.input.min, net.input.max + 1, (20, net.sizes[0]))]
    )


def converse(program: Path, lines: list[str]) -> list[str]:
    """What the program answers, but for the text of errors."""
    said = subprocess.run([program], input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=20)
    assert (said.returncode, said.stderr) == (0, "")
    return said.stdout.splitlines()


def conforms(net: Network, program: Path, line: str) -> None:
    with command(net, str(program), timeout=20) as device:
        answers = device.ask(RUN, rows_of(net))
        assert (answers.failures, answers.notes) == ({}, {})
        assert np.array_equal(answers.outputs, right_answers(net, RUN, rows_of(net)))
        assert device.operations == {"run"}
        assert device.facts["model hash"] != "not told"
        assert device.facts["longest line"] == line.split()[1] + " characters"


def follows_the_golden_vectors(program: Path) -> None:
    """Those of TINY that ask for no other operation than run, whatever may be wrong with the request."""
    asked = 0
    for _, args in devices():
        lines = args["lines"]
        if args["model"] == NETWORK and not any(
            word in line for line in lines for word in ("layer", "dense", "requant")
        ):
            expected = [
                text.replace("63 run layer dense requantize", "4095 run") for text in execute("protocol.device", args)
            ]
            assert converse(program, lines) == expected, lines
            asked += 1
    assert asked > 10


# --- C


@pytest.fixture(scope="module")
def compiler() -> str:
    name = next((name for name in ("gcc", "clang", "zig") if find(name)), None)
    if name is None:
        pytest.skip("no C compiler is installed")
    return name


def compiled(path: Path, net: Network, compiler: str, line: str = SHORT_LINES[0], prefix: str = "net") -> Path:
    (path / "harness.c").write_text(harness(net, "c", prefix).replace(SHORT_LINES[0], line))
    (path / "model.c").write_text(intnn.emit_c(net, prefix))
    require(compiler).run(*STRICT, "-O1", "harness.c", "model.c", "-o", "device", folder=path)
    return path / "device"


@pytest.mark.parametrize("line", SHORT_LINES)
def test_c(tmp_path: Path, compiler: str, line: str) -> None:
    conforms(WIDE, compiled(tmp_path, WIDE, compiler, line), line)


def test_c_follows_the_golden_vectors(tmp_path: Path, compiler: str) -> None:
    follows_the_golden_vectors(compiled(tmp_path, TINY, compiler, prefix="tiny"))


@pytest.mark.compilers
@pytest.mark.parametrize("name", ["gcc", "clang", "zig"])
@pytest.mark.parametrize("level", ["-O0", "-O2", "-Os"])
def test_c_with_every_compiler(tmp_path: Path, name: str, level: str) -> None:
    if not find(name):
        pytest.skip(f"{name} is not installed")
    conforms(WIDE, compiled(tmp_path, WIDE, name), SHORT_LINES[0])


def test_c_in_firmware(tmp_path: Path, compiler: str) -> None:
    """Without an operating system only the two hooks, the model, and the compiler's own helpers are left open."""
    (tmp_path / "harness.c").write_text(harness(WIDE, "c", "pose"))
    flags = (*STRICT, "-Os", "-ffreestanding", "-DPOSE_FIRMWARE")
    require(compiler).run(*flags, "-c", "harness.c", "-o", "harness.o", folder=tmp_path)
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("no nm is installed")
    symbols = subprocess.run([nm, "-g", tmp_path / "harness.o"], capture_output=True, text=True, check=True).stdout
    names = {line.split()[-1].lstrip("_") for line in symbols.splitlines() if line}
    assert names - {"memset", "memcpy", "stack_chk_fail", "GLOBAL_OFFSET_TABLE"} == {
        "pose_get",
        "pose_put",
        "pose_run",
        "pose_serve",
    }


# --- Rust


def rust(path: Path, source: str, *flags: str) -> Path:
    rustc = shutil.which("rustc")
    if rustc is None:
        pytest.skip("rustc is not installed")
    (path / "harness.rs").write_text(source)
    done = subprocess.run([rustc, "-D", "warnings", *flags, "harness.rs"], cwd=path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return path / "harness"


def filled_in(net: Network, body: str) -> str:
    """The harness with a function in the marked place."""
    text = harness(net, "rust")
    begin = text.index("fn run(")
    return text[:begin] + body + text[text.index("\n}\n", begin) + 3 :]


RUST_NET = Network(
    intnn.Activation("uint8", 0, 0, 100),
    (
        intnn.Dense(
            -((np.arange(30) + np.arange(40)[:, None]) % 3),
            np.arange(40),
            intnn.Fixed.floor(0),
            intnn.Activation("int16"),
        ),
    ),
)
"""What :data:`RUST_RUN` computes."""


@pytest.mark.parametrize("line", SHORT_LINES)
def test_rust(tmp_path: Path, line: str) -> None:
    source = filled_in(RUST_NET, RUST_RUN).replace("LINE: usize = 4095", f"LINE: usize = {line.split()[1]}")
    conforms(RUST_NET, rust(tmp_path, source), line)


def test_rust_follows_the_golden_vectors(tmp_path: Path) -> None:
    """Its function is a table of the inputs that these have."""
    cases = {tuple(map(int, x)): int(intnn.run(TINY, np.array(x))[0]) for x in INPUTS}
    arms = "".join(f"        [{', '.join(map(str, x))}] => {y},\n" for x, y in cases.items())
    body = "fn run(x: &[i8; INPUTS], y: &mut [i16; OUTPUTS]) -> bool {\n"
    body += f"    y[0] = match *x {{\n{arms}        _ => 0,\n    }};\n    true\n}}\n"
    follows_the_golden_vectors(rust(tmp_path, filled_in(TINY, body), "--edition", "2021"))


INPUTS = ([1, 2, 3], [5, 1, 2], [100, -20, 7], [-128, -128, -128], [127, -128, 127])
"""Every input of the golden vectors' devices that is complete."""


def test_rust_that_is_not_filled_in(tmp_path: Path) -> None:
    """It compiles without a warning, in every edition, and says that it cannot answer."""
    program = rust(tmp_path, harness(TINY, "rust"), "--edition", "2021")
    assert converse(program, ["1 run 1 2 3", "2 run 1", "3 layer 0 1 2 3"]) == ["1 skip", "2 error", "3 skip"]


def test_rust_without_std(tmp_path: Path) -> None:
    text = harness(WIDE, "rust")
    core = "#![no_std]\n" + text[: text.index("fn main()")]
    rust(tmp_path, core, "--crate-type", "lib", "--edition", "2021")


# --- both


@pytest.mark.parametrize("language", ["c", "rust"])
def test_sources_are_plain(language: str) -> None:
    net = Network(WIDE.input, WIDE.layers, name="*/ \\ ??/ `x`")
    text = harness(net, language)
    assert text.isascii()
    assert "@" not in text
    assert max(map(len, text.splitlines())) <= 120
    assert text.count("to be filled in") + text.count("To be filled in") == 3 + (language == "rust")
    assert text.count("*/") == text.count("/*")


@pytest.mark.parametrize(("language", "prefix", "code"), [("ada", "net", "usage.option"), ("c", "int", "emit.prefix")])
def test_what_is_refused(language: str, prefix: str, code: str) -> None:
    with pytest.raises(IntnnError) as raised:
        harness(TINY, language, prefix)
    assert raised.value.code == code
