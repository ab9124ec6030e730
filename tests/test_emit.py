"""The emitted C as text, and where a compiler is installed, as a program. That it is right is proved in test_verify."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import intnn
from intnn import Q31, Activation, Dense, Fixed, Network
from intnn.demo.rounding import bundled
from intnn.emit import emit_c, emit_files
from intnn.emit.selftest import selftest_rows
from intnn.emit.text import RESERVED, WIDTH
from intnn.errors import IntnnError
from intnn.foreign import Foreign
from intnn.formats.native import network_hash
from intnn.strategies import networks

STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
KEYWORDS = {"char", "const", "do", "for", "int", "return", "static", "typedef", "void", "while"}
TYPES = {"int8_t", "uint8_t", "int16_t", "uint16_t", "int32_t"}
TOKEN = re.compile(r"[A-Za-z_]\w*|\d\w*|[-+*&<>=!]=|\+\+|--|->|<<|>>|&&|\|\||\S")
OPERATORS = {*"+-*~<>=?:,;()[]{}", "+=", "-=", "*=", "!=", "==", "++", ">>"}


def random_net(sizes: Sequence[int], rule: Fixed | Q31, *, seed: int = 1, **output: Any) -> Network:
    """Random weights and biases; every layer with ``rule`` and the same output."""
    rng = np.random.default_rng(seed)
    activation = Activation(**output)
    shapes = list(zip(sizes[1:], sizes, strict=False))
    layers = (Dense(rng.integers(-128, 128, s), rng.integers(-999, 999, s[0]), rule, activation) for s in shapes)
    return Network(activation, tuple(layers))


def one_neuron(weights: Sequence[int], bias: int, rule: Fixed | Q31, x: Activation, y: Activation) -> Network:
    return Network(x, (Dense(np.array([weights]), np.array([bias]), rule, y),))


INT16 = Activation("int16")
NEAR_TOP = Activation("int8", zero_point=127, min=120)

# Networks that drive the emitter off its usual path; whether to emit for size; a sign in the C that they did.
SPECIAL: dict[str, tuple[Network, bool, str]] = {
    "a wide high product": (
        one_neuron([127] * 4, 1 << 30, Q31((1 << 31) - 1, 0, "upup"), INT16, INT16),
        False,
        "_wide(acc",
    ),
    "a left shift": (random_net([3, 3], Q31(1 << 30, 5, "single"), zero_point=5), True, "acc * 32"),
    "a half that does not fit": (
        one_neuron([1], 2147483000, Q31((1 << 31) - 1, -31, "single"), Activation(), INT16),
        False,
        "net_asr(acc, 30)",
    ),
    "a zero multiplier": (random_net([3, 3], Q31(0, -3, "double"), zero_point=5), True, "(acc, 0, 0, "),
    "a zero point that the bias cannot hold": (
        one_neuron([-128], 2147482000, Q31(1 << 30, 0, "double"), NEAR_TOP, INT16),
        False,
        "(int32_t)x[i] - 127)",
    ),
    "a rounding constant that the bias cannot hold": (
        one_neuron([-128], 2147482000, Fixed(0, 0, 1, 16, 60), NEAR_TOP, INT16),
        True,
        "acc + 60",
    ),
    "a zero point that the rounding constant cannot hold": (
        one_neuron([127], 0, Fixed(31, 1 << 30), INT16, Activation("int16", 77)),
        True,
        "net_asr(acc, 31) + 77",
    ),
    "a multiplier and a shift for each neuron": (
        random_net([3, 4], Fixed(np.arange(14, 18), 1 << np.arange(13, 17), 40 * np.arange(3, 7))),
        False,
        "(second, weights[8], bias[1], weights[9])",
    ),
    "a bias that does not go through the multiplier": (
        Network(
            NEAR_TOP,
            (
                Dense(
                    np.full((2, 100), -128),
                    np.array([5, 6]),
                    Fixed(np.array([20, 21]), 1 << np.array([19, 20]), 4096),
                    INT16,
                ),
            ),
        ),
        False,
        "acc * 4096 + rounding",
    ),
    "exponents of both signs": (random_net([4, 3], Q31(1 << 30, np.array([-8, 0, 2]), "double")), False, "* away"),
    "several types in a buffer": (
        Network(
            Activation("uint8", 3),
            tuple(
                Dense(np.full((outputs, inputs), 17), np.arange(outputs), Fixed.half_up(8), Activation(kind, 1))
                for inputs, outputs, kind in ((2, 5, "int8"), (5, 3, "int16"), (3, 6, "uint8"), (6, 2, "int8"))
            ),
        ),
        False,
        "uint16_t a[",
    ),
    "too many inputs of 16 bits": (random_net([300, 2], Fixed.half_up(20), type="int16"), False, "int32_t acc = "),
    "one neuron over many inputs": (random_net([129, 1], Fixed.half_up(14)), False, "int32_t acc = "),
    "a bias of 16 bits": (
        one_neuron([-128] * 9, -999, Fixed.half_up(14), Activation("int8", -128), Activation()),
        True,
        "(int32_t)x[i] + 128)",
    ),
    "the smallest number": (
        one_neuron([1], -(1 << 31), Fixed(16, 0), Activation(min=0), INT16),
        True,
        "(-2147483647 - 1)",
    ),
}
ORDINARY = {
    "digits": bundled()[0],
    "odd sizes": random_net([5, 7, 3], Fixed(9, 256, 3, 2, 2)),
    "q31 per neuron": random_net([6, 6, 6], Q31(np.arange(6) + (1 << 30), np.arange(-9, -3), "double"), type="uint8"),
}
NETWORKS = {**ORDINARY, **{name: net for name, (net, _, _) in SPECIAL.items()}}


def texts(net: Network, prefix: str = "net") -> Iterable[str]:
    for size in (False, True):
        yield emit_c(net, prefix, size=size)
        yield from emit_files(net, prefix, size=size, selftest=True).values()


def code_of(text: str) -> str:
    """Without comments and lines of the preprocessor."""
    return re.sub(r"^#.*$", "", re.sub(r"/\*.*?\*/", " ", text, flags=re.S), flags=re.M)


@pytest.mark.parametrize("net", NETWORKS.values(), ids=NETWORKS)
def test_text(net: Network) -> None:
    for text in [*texts(net), *texts(net, "n" * 24)]:
        assert text.isascii()
        assert text.endswith("\n")
        assert [line for line in text.splitlines() if len(line) > WIDTH or line != line.rstrip()] == []
        assert f"sha256 {network_hash(net)}" in text
        assert f"specification {intnn.SPEC_VERSION} " in text


@pytest.mark.parametrize("net", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("size", [False, True])
def test_code_is_of_the_subset(net: Network, size: bool) -> None:
    """No operator, keyword, type, directive or name beyond those that are allowed, and nothing unused."""
    text = emit_c(net, "pre", size=size)
    assert re.findall(r"^#(?!define PRE_[A-Z]+ \d+$).*$", text, re.M) == ["#include <stdint.h>"]
    code = code_of(text)
    tokens = TOKEN.findall(code)
    words = {token for token in tokens if re.match(r"[A-Za-z_]", token)}
    assert {t for t in tokens if not re.match(r"[A-Za-z_]|[0-9]+$", t)} <= OPERATORS
    assert {word for word in words if word in RESERVED or word.endswith("_t")} <= KEYWORDS | TYPES
    globals_ = re.findall(r"^(?:static (?:const )?\w+|typedef char|void) (\w+)[\[(]", code, re.M)
    at_margin = re.findall(r"^[^\s{}].*$", code, re.M)
    assert len(at_margin) == len(globals_)
    assert all(name.startswith("pre_") for name in globals_)
    assert [name for name in set(globals_) if tokens.count(name) < 2 and "_assert_" not in name] == []
    assert [name for name in words - set(globals_) if name.lower().startswith("pre_") and not name.isupper()] == []
    assert code.count("pre_run(") == 2  # prototype and definition


@pytest.mark.parametrize(("net", "size", "sign"), SPECIAL.values(), ids=SPECIAL)
def test_special_networks_are_special(net: Network, size: bool, sign: str) -> None:
    assert sign in emit_c(net, size=size)
    assert all(sign not in emit_c(other, size=size) for other in ORDINARY.values())


def test_bytes_are_stable() -> None:
    """The same from a copy of the model and from another process, whose sets and dicts hash otherwise."""
    net = ORDINARY["q31 per neuron"]
    copy = intnn.loads(intnn.dumps(net))
    assert emit_files(copy, selftest=True) == emit_files(net, selftest=True)
    program = """\
import sys, intnn, intnn.emit
print(intnn.emit.emit_files(intnn.loads(sys.stdin.read()), selftest=True))
"""
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, input=intnn.dumps(net), capture_output=True, check=True, env=environment)
        assert done.stdout.decode().strip() == repr(emit_files(net, selftest=True))


def test_files() -> None:
    net = ORDINARY["digits"]
    assert list(emit_files(net, "d")) == ["d.c", "d.h"]
    files = emit_files(net, "d", selftest=True)
    assert list(files) == ["d.c", "d.h", "d_selftest.c"]
    assert "d_selftest" in files["d.h"]
    assert "selftest" not in emit_files(net, "d")["d.h"] + files["d.c"]
    definitions = files["d.c"][files["d.c"].index("typedef") :]
    assert emit_c(net, "d").endswith(definitions)
    declarations = files["d.h"][files["d.h"].index("/* The model's number") : files["d.h"].index("/* How many rows")]
    assert declarations in emit_c(net, "d")


HOSTILE = ["*/ int evil; /*", "ends in a \\", "// still", "??/", "*" + "/" * 80, "/" * 200, "x" * 200, "%s {0} \"'"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_stays_in_its_comment(name: str) -> None:
    net = ORDINARY["odd sizes"]
    plain, hostile = texts(net), texts(replace(net, name=name, source=name))
    for before, after in zip(plain, hostile, strict=True):
        assert "\\" not in after
        assert "?" + "?" not in after
        for comment in re.findall(r"/\*(.*?)\*/", after, re.S):
            assert "/*" not in comment
            assert "//" not in comment
        # The number of the model is the one thing in the code that depends on its name.
        assert re.sub(r"\d{5,9}", "N", code_of(after)) == re.sub(r"\d{5,9}", "N", code_of(before))


NOT_NAMES = ["", "1net", "net-1", "n\u00e9t", "net x", "net\n", "*/", None, 7]
NOT_OURS = ["_net", "_Bool", "my__net", "int", "restrict", "class", "main", "int8_t", "uint_fast16_t", "INT32_MAX"]


@pytest.mark.parametrize("prefix", [*NOT_NAMES, *NOT_OURS, "net_", "n" * 25])
def test_bad_prefixes(prefix: Any) -> None:
    for emit in (emit_c, emit_files):
        with pytest.raises(IntnnError) as caught:
            emit(ORDINARY["odd sizes"], prefix)
        assert caught.value.code == "emit.prefix"


@pytest.mark.parametrize("prefix", ["n", "N", "pose_net2", "int8", "x", "acc", "n" * 24])
def test_good_prefixes(prefix: str) -> None:
    assert f"void {prefix}_run(" in emit_c(ORDINARY["odd sizes"], prefix)


def test_errors() -> None:
    net = ORDINARY["digits"]
    foreign = intnn.with_profile(net, "fp32even")
    assert isinstance(foreign.layers[0].requantize, Foreign)
    overflowing = one_neuron([127] * 6, 2147483647, Fixed(0, 0), Activation(), Activation())
    for wrong, code in ((foreign, "model.host-only"), (overflowing, "model.overflow")):
        for size in (False, True):
            with pytest.raises(IntnnError) as caught:
                emit_c(wrong, size=size)
            assert caught.value.code == code


def test_selftest_rows() -> None:
    for net in NETWORKS.values():
        rows = selftest_rows(net)
        assert rows.shape == (32, net.sizes[0])
        assert rows.min() == net.input.min
        assert rows.max() == net.input.max
        assert (rows[0] == net.input.min).all()
        assert (rows[1] == net.input.max).all()
    assert len(np.unique(selftest_rows(ORDINARY["digits"]), axis=0)) == 32
    for x in (Activation(min=0, max=0), Activation("int16", 5)):  # one input; one value
        assert selftest_rows(replace(ORDINARY["digits"], input=x)).shape == (32, 64)
        assert selftest_rows(one_neuron([1], 0, Fixed(8, 0), x, x)).shape == (32, 1)


# What follows compiles.


def compiler(*names: str) -> str:
    found = next((name for name in names if shutil.which(name)), None)
    if found is None:
        pytest.skip(f"none of these compilers is installed: {', '.join(names)}")
    return found


def compile_files(folder: Path, command: Sequence[str], files: dict[str, str]) -> subprocess.CompletedProcess[str]:
    for name, text in files.items():
        (folder / name).write_text(text)
    sources = [name for name in files if name.endswith(".c")]
    return subprocess.run([*command, *STRICT, *sources, "-o", "t"], cwd=folder, capture_output=True, text=True)


def selftests(nets: Sequence[Network], size: bool) -> dict[str, str]:
    """Files of one program that returns how many rows fail, or 99 for more."""
    files: dict[str, str] = {}
    for i, net in enumerate(nets):
        files |= emit_files(net, f"n{i}", size=size, selftest=True)
    names = [f"n{i}" for i in range(len(nets))]
    main = "".join(f'#include "{name}.h"\n' for name in names)
    main += (
        f"int main(void) {{ int f = {' + '.join(f'{name}_selftest()' for name in names)}; return f > 99 ? 99 : f; }}\n"
    )
    return files | {"main.c": main}


@pytest.mark.parametrize(
    "command",
    [["gcc", "-std=c99", "-O2"], ["clang", "-std=c99", "-O1"], ["g++", "-std=c++11", "-xc++"]],
    ids=lambda command: command[0],
)
@pytest.mark.parametrize("size", [False, True])
def test_compiles_and_passes_its_selftest(command: list[str], size: bool, tmp_path: Path) -> None:
    built = compile_files(tmp_path, [compiler(command[0]), *command[1:]], selftests(list(NETWORKS.values()), size))
    assert built.returncode == 0, built.stderr
    assert subprocess.run([tmp_path / "t"]).returncode == 0


@settings(max_examples=4)
@given(st.lists(networks(), min_size=6, max_size=6), st.booleans())
def test_any_network(nets: list[Network], size: bool) -> None:
    command = [compiler("gcc", "clang"), "-std=c99", "-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all"]
    with tempfile.TemporaryDirectory() as folder:
        built = compile_files(Path(folder), command, selftests(nets, size))
        assert built.returncode == 0, built.stderr
        assert subprocess.run([Path(folder) / "t"], capture_output=True).returncode == 0


def test_the_selftest_can_fail(tmp_path: Path) -> None:
    net = ORDINARY["odd sizes"]
    files = selftests([net], False)
    last = net.layers[-1]
    other = replace(net, layers=(*net.layers[:-1], replace(last, bias=last.bias + 5000)))
    tables = re.search(r"static const int16_t n0_bias1.*?;", emit_files(other, "n0")["n0.c"], re.S)
    assert tables
    files["n0.c"] = re.sub(r"static const int16_t n0_bias1.*?;", tables[0], files["n0.c"], flags=re.S)
    built = compile_files(tmp_path, [compiler("gcc", "clang"), "-std=c99"], files)
    assert built.returncode == 0, built.stderr
    assert subprocess.run([tmp_path / "t"]).returncode > 0


def test_a_header_of_another_model_does_not_compile(tmp_path: Path) -> None:
    net = ORDINARY["odd sizes"]
    files = emit_files(net) | {"net.h": emit_files(replace(net, name="other"))["net.h"]}
    built = compile_files(tmp_path, [compiler("gcc", "clang"), "-std=c99", "-c"], files)
    assert built.returncode != 0
    assert "net_assert_model" in built.stderr
