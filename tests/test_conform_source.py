"""C files as devices: evaluated, compiled for this machine, and compiled for the emulated Cortex-M0."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handwritten import NETWORK, SOURCES
from native import FATAL, NETWORKS, ask_fatal, fatal_inputs, host_compiler, inputs, misbehaving, require_right

import intnn
from intnn.conform import source
from intnn.conform.device import RUN
from intnn.conform.source import c_source
from intnn.emit import emit_files
from intnn.errors import FileError, UsageError
from intnn.targets.compilers import find

NET = NETWORKS["int8 fixed"]
WAYS = (None, "zig", "cortex-m0")

Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes C into a file of the working directory; its name."""
    monkeypatch.chdir(tmp_path)

    def put(text: str) -> str:
        Path("model.c").write_text(text)
        return "model.c"

    return put


def need(target: str | None) -> None:
    """Skips where the target's tools are missing."""
    if target is not None and find("zig") is None:
        pytest.skip("needs ziglang (pip install 'intnn[targets]')")
    if target == "cortex-m0":
        pytest.importorskip("unicorn", reason="needs unicorn (pip install 'intnn[targets]')")
        pytest.importorskip("elftools", reason="needs pyelftools (pip install 'intnn[targets]')")


@pytest.mark.parametrize("target", WAYS)
@pytest.mark.parametrize("name", NETWORKS)
def test_emitted_c_is_right(name: str, target: str | None, write: Write) -> None:
    need(target)
    with c_source(NETWORKS[name], write(intnn.emit_c(NETWORKS[name])), target=target) as device:
        assert device.name == "net_run of model.c"
        require_right(device, NETWORKS[name])
        if target is None:
            assert device.facts == {"compiler": "none: evaluated, with 32-bit int"}
        else:
            assert device.facts["compiler"].endswith(" -O2")
            assert ("cycles" in device.facts) == (target == "cortex-m0")


def subset(deeds: dict[str, str]) -> str:
    """As :func:`misbehaving`, in the subset that can be evaluated: it calls static functions only."""
    return misbehaving(NET, deeds).replace("void net_run(", "static void net_run(")


@pytest.mark.parametrize("target", WAYS)
def test_headers(target: str | None, write: Write, tmp_path: Path) -> None:
    need(target)
    written = emit_files(NET, "pose")
    (tmp_path / "pose.h").write_text(written["pose.h"])
    with c_source(NET, write(written["pose.c"]), target=target) as device:
        require_right(device, NET)


@pytest.mark.parametrize("target", WAYS)
def test_wider_types(target: str | None, write: Write) -> None:
    """The arrays have the types that the C declares."""
    need(target)
    wide = """
    void wide(const int32_t *x, int16_t *y);
    void wide(const int32_t *x, int16_t *y) {
        int8_t a[5], b[3];
        for (int i = 0; i < 5; i++) a[i] = (int8_t)x[i];
        net_run(a, b);
        for (int o = 0; o < 3; o++) y[o] = b[o];
    }
    """
    with c_source(NET, write(subset({}) + wide), target=target) as device:
        assert ("evaluated" in device.facts["compiler"]) == (target is None)
        require_right(device, NET)


def test_types_that_nobody_can_know(write: Write) -> None:
    """The compiler at least knows that the network's are not those of C that cannot be evaluated."""
    host_compiler()
    for wrong in (FLOATS.replace("int8_t *x", "int16_t *x"), FLOATS.replace("int8_t *y", "int16_t *y")):
        with pytest.raises(UsageError, match=r"f is not of the form void f\(const int8_t x\[\], int8_t y\[\]\)"):
            c_source(NET, write(wrong), "f")
    c_source(
        NET, write(FLOATS.replace("const int8_t", "signed char").replace("int8_t *y", "signed char *y")), "f"
    ).close()


def test_a_row_without_meaning(write: Write) -> None:
    text = subset({"outside": "y[4] = 0;", "nothing": "", "adds": "y[0] = (int8_t)(2147483647 + x[0]);"})
    expected = {"outside": "access to element 4 of the 3", "nothing": "uninitialised", "adds": "overflow of +"}
    for name, message in expected.items():
        with c_source(NET, write(text), name) as device:
            assert "evaluated" in device.facts["compiler"]
            failure = ask_fatal(device, NET).failures[FATAL]
        assert failure.kind == "trap"
        assert message in failure.message
        assert failure.message.startswith("model.c:") or name == "nothing"


@pytest.mark.parametrize("target", ["zig", "cortex-m0"])
def test_compiled_c_misbehaves(target: str, write: Write) -> None:
    need(target)
    text = misbehaving(NET, {"null": "*(volatile int *)0x10 = 1;"})
    with c_source(NET, write(text), "null", target=target, optimize="s") as device:
        failure = ask_fatal(device, NET).failures[FATAL]
    assert failure.kind == "crash"
    assert ("SIGSEGV" if target == "zig" else "it writes 4 bytes at 0x10") in failure.message


FLOATS = """#include <stdint.h>
void f(const int8_t *x, int8_t *y) { for (int i = 0; i < 3; i++) y[i] = (int8_t)(x[i] * 1.0f); }
"""


def test_c_outside_the_subset_is_compiled(write: Write) -> None:
    compiler = host_compiler()
    with c_source(NET, write(FLOATS), "f") as device:
        x = inputs(NET, 10)
        assert device.ask(RUN, x).outputs.tolist() == x[:, :3].tolist()
        assert device.facts["compiler"].startswith(
            f"{compiler} -O2; it cannot be evaluated without one: model.c:2: the constant 1.0f"
        )


def test_refusals_that_show_late(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that an input makes too long is refused only when that input comes; a failure then, and no search anew."""
    text = subset({"slow": "for (int i = 0; i < 100000; i++) y[0] = (int8_t)(i & 7);"})
    monkeypatch.setattr("intnn.ccheck.statements.STEPS", 1000)
    with c_source(NET, write(text), "slow") as device:
        good = inputs(NET, 4)
        assert device.ask(RUN, good).failures == {}
        answers = device.ask(RUN, fatal_inputs(NET))
        assert {failure.kind for failure in answers.failures.values()} == {"error"}
        assert len(answers.failures) == len(answers.outputs)
        assert "more than 1000 loop iterations; --target compiles it" in answers.failures[0].message
        assert set(device.ask(RUN, good).failures) == {0, 1, 2, 3}


def test_mistakes(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = write(intnn.emit_c(NET))
    (tmp_path / "floats.c").write_text(FLOATS)
    (tmp_path / "latin.c").write_bytes(b"/* \xe9 */")

    def mistake(path: str, function: str | None = None, **options: Any) -> str:
        with pytest.raises((UsageError, FileError)) as caught:
            c_source(NET, path, function, **options)
        return caught.value.code

    assert mistake("none.c") == "file.read"
    assert mistake("latin.c") == "file.syntax"
    assert mistake(good, "nothing") == "usage.option"
    assert mistake(good, target="z80") == "usage.target"
    assert mistake(good, optimize="9") == "usage.option"
    (tmp_path / "two.c").write_text(FLOATS + FLOATS.replace(" f(", " h("))
    assert mistake("two.c") == "c.subset"  # which function?
    if find("zig") is not None:
        assert mistake("floats.c", "g", target="zig") == "target.compile"
        (tmp_path / "broken.c").write_text("void f(")
        assert mistake("broken.c", "f", target="zig") == "target.compile"
        with pytest.raises(UsageError, match="timeout"):
            c_source(NET, good, target="zig", timeout=0)
    monkeypatch.setattr(source, "find", lambda name: None)
    with pytest.raises(UsageError, match=r"1\.0f") as caught:
        c_source(NET, "floats.c", "f")
    assert caught.value.code == "c.subset"
    assert "install" in caught.value.repair


@pytest.mark.parametrize("name", ["plain loops"])
def test_c_by_hand(name: str, write: Write) -> None:
    with c_source(NETWORK, write(SOURCES[name])) as device:
        x = np.random.default_rng(0).integers(-128, 128, (50, 6))
        assert device.ask(RUN, x).outputs.tolist() == intnn.run(NETWORK, x).tolist()


def test_c_that_gives_no_input_a_meaning(write: Write) -> None:
    """Every row traps: each is a failure, whatever the number of outputs."""
    broken = SOURCES["plain loops"].replace("i < 6", "i <= 6")
    assert broken != SOURCES["plain loops"]
    with c_source(NETWORK, write(broken)) as device:
        answers = device.ask(RUN, np.zeros((3, NETWORK.sizes[0]), np.int64))
    assert answers.outputs.shape == (3, NETWORK.sizes[-1])
    assert [answers.failures[row].kind for row in range(3)] == ["trap"] * 3
