"""Code on this machine as a device: whatever it does, the right failure for the right row, and all others answered."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from native import FATAL, NETWORKS, ask_fatal, host_compiler, inputs, misbehaving, require_right

import intnn
from intnn.conform.child import status
from intnn.conform.device import RUN, Device, Failure, Question
from intnn.conform.process import MOST_DEATHS, callable_device, library, python
from intnn.conform.source import build
from intnn.errors import UsageError

NET = NETWORKS["int8 fixed"]

# On an input that begins with 100, 101: what the function does, and the failure.
DEEDS = {
    "null": ("*(volatile int *)0 = 1;", "crash", "SIGSEGV"),
    "aborts": ("abort();", "crash", "SIGABRT"),
    "leaves": ("exit(0);", "crash", "exit status 0"),
    "leaves3": ("_exit(3);", "crash", "exit status 3"),
    "says": (
        'fputs("bad row\\nreally bad\\n", stderr); exit(9);',
        "crash",
        "exit status 9; it said: bad row | really bad",
    ),
    "recurs": ("y[0] = (int8_t)deep(1);", "crash", "SIGSEGV"),
    "loops": ("for (;;) counter++;", "hang", "none within 0.8 s"),
    "beyond": ("net_run(x, y); y[3] = 0; y[4] = 0;", "trap", "it wrote 2 bytes beyond its output"),
    "far": ("memset(y, 0, 3000);", "trap", "it wrote at least 108 bytes beyond its output"),  # all that is watched
    "before": ("net_run(x, y); y[-1] = 0;", "trap", "it wrote 1 byte before its output"),
    "nothing": ("", "trap", "it did not write output 0"),
    "partly": ("y[0] = y[2] = 1;", "trap", "it did not write output 1"),
    "input": ("net_run(x, y); ((int8_t *)x)[0] = 0;", "trap", "it wrote over its input, or around it"),
    "prints": ('net_run(x, y); printf("{\\"done\\": true}\\n"); fflush(stdout);', "", ""),
    "intrudes": (  # 3 is the first descriptor that the worker opens
        'dprintf(3, "{\\"done\\": true}\\n"); for (;;) counter++;',
        "garbage",
        "it wrote into a pipe that is not its own: \"{'done': True}\"",
    ),
    "closes": ("for (int i = 0; i < 64; i++) close(i); for (;;) counter++;", "crash", "it closed its pipes"),
}
HELPERS = """
static volatile int counter;
static int deep(volatile int n) { volatile int room[1000]; room[n % 1000] = n; return deep(n + 1) + room[n % 1000]; }
void often(const int8_t *x, int8_t *y);
void often(const int8_t *x, int8_t *y) { if (x[0] > 0) abort(); net_run(x, y); }
void poison(const int8_t *x, int8_t *y);
void poison(const int8_t *x, int8_t *y) { y[0] = y[1] = y[2] = (int8_t)(x[0] - x[0] + (x[1] > 0 ? 0xA5 : 0x5A) - 256); }
"""
INCLUDES = "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <unistd.h>"


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Shared libraries: of each network, and of what misbehaves."""
    compiler = host_compiler()
    sources = {name: intnn.emit_c(net) for name, net in NETWORKS.items()}
    sources["bad"] = misbehaving(NET, {name: deed for name, (deed, _, _) in DEEDS.items()}, INCLUDES, HELPERS)
    folders = {name: tmp_path_factory.mktemp("library") for name in sources}
    return {name: str(build(text, compiler, "1", folders[name])) for name, text in sources.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_library_is_right(name: str, libraries: dict[str, str]) -> None:
    with library(NETWORKS[name], f"{libraries[name]}:net_run") as device:
        require_right(device, NETWORKS[name], 5000)  # more than one batch


@pytest.mark.parametrize("deed", DEEDS)
def test_a_library_misbehaves(deed: str, libraries: dict[str, str]) -> None:
    _, kind, message = DEEDS[deed]
    with library(NET, f"{libraries['bad']}:{deed}", timeout=0.8 if kind == "hang" else 60) as device:
        answers = ask_fatal(device, NET)
        assert answers.failures == ({FATAL: Failure(kind, message)} if kind else {})
        again = ask_fatal(device, NET)  # the device is as good as new
        assert again.failures == answers.failures


def test_an_output_may_look_unwritten(libraries: dict[str, str]) -> None:
    x = inputs(NET)
    with library(NET, f"{libraries['bad']}:poison") as device:
        answers = device.ask(RUN, x)
    expected = np.where(x[:, 1:2] > 0, 0xA5 - 256, 0x5A - 256).astype(np.int8)
    assert answers.failures == {}
    assert (answers.outputs == expected).all()


def test_deaths_in_a_row(libraries: dict[str, str]) -> None:
    """After five, the rest of the batch is not asked; the next batch has one more chance."""
    good, bad = np.full((1, 5), -3), np.full((1, 5), 3)
    with library(NET, f"{libraries['bad']}:often") as device:
        x = np.concatenate([bad] * (MOST_DEATHS - 1) + [good] + [bad] * MOST_DEATHS + [good])
        failures = device.ask(RUN, x).failures
        kinds = [failures[row].kind if row in failures else "" for row in range(len(x))]
        assert kinds == ["crash"] * (MOST_DEATHS - 1) + [""] + ["crash"] * MOST_DEATHS + ["unasked"]
        failures = device.ask(RUN, np.concatenate([bad, good])).failures
        assert {row: failure.kind for row, failure in failures.items()} == {0: "crash", 1: "unasked"}
        assert device.ask(RUN, good).failures == {}
        failures = device.ask(RUN, np.concatenate([bad, good])).failures
        assert {row: failure.kind for row, failure in failures.items()} == {0: "crash"}


def test_nothing_is_asked(libraries: dict[str, str]) -> None:
    with library(NET, f"{libraries['int8 fixed']}:net_run") as device:
        assert device.ask(RUN, np.zeros((0, 5), np.int64)).outputs.shape == (0, 3)
        assert device.operations == {"run"}


def test_the_child_ends_with_its_parent(libraries: dict[str, str], tmp_path: Path) -> None:
    """Even while the code under test loops."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("needs /proc to see whether a process still runs")
    model = tmp_path / "net.json"
    intnn.dump(NET, model)
    code = f"""
import os, threading, time, intnn, numpy as np
from intnn.conform.device import RUN
from intnn.conform.process import library
device = library(intnn.load({str(model)!r}), {libraries["bad"] + ":loops"!r}, timeout=60)
print(device._child._process.pid, flush=True)
threading.Timer(0.3, lambda: os.kill(os.getpid(), 9)).start()
device.ask(RUN, np.array([[100, 101, 0, 0, 0]]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    pid = int(done.stdout)
    assert done.returncode == -9
    deadline = time.monotonic() + 10
    while _runs(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


MODULE = """
import os, sys, time
import numpy as np
import intnn
print("imported")
net = intnn.load("net.json")

def right(x):
    print("row", x.tolist())
    assert x.shape == (5,) and x.dtype == np.int8
    return intnn.run(net, x)

def lists(x):
    return [int(v) for v in intnn.run(net, x)]

def fail(y):
    raise ValueError("no such row")

DEEDS = {
    "raises": fail,
    "floats": lambda y: y / 2,
    "short": lambda y: y[:2],
    "none": lambda y: None,
    "ragged": lambda y: [[1], [2, 3], 4],
    "huge": lambda y: [1 << 70, 0, 0],
    "large": lambda y: np.array([1 << 63, 0, 0], np.uint64),
    "flags": lambda y: y > 0,
    "recurs": lambda y: DEEDS["recurs"](y),
    "leaves": lambda y: sys.exit(4),
    "dies": lambda y: os._exit(5),
    "sleeps": lambda y: time.sleep(60),
}

def many(x):
    y = intnn.run(net, x)
    return [*DEEDS.values()][x[2]](y) if tuple(x[:2]) == (100, 101) else y

class Layers:
    def run(self, x):
        return intnn.run(net, x)
    def layer(self, layer, x):
        assert x.dtype == np.int8
        return intnn.trace(net, x)[layer].output
    def dense(self, layer, x):
        assert x.dtype == np.int8
        return intnn.run(intnn.Network(net.inputs[layer], (net.layers[layer],)), x)
    def requantize(self, layer, neuron, acc):
        assert type(acc) is int
        return 10 * layer + neuron + acc

number = 3
"""
RAISES = 1 + MODULE.split("\n").index('    raise ValueError("no such row")')
PYTHON_DEEDS = {
    "raises": ("error", f"ValueError: no such row (mine.py, line {RAISES})"),
    "floats": ("garbage", "an array of float64, where 3 integers are expected"),
    "short": ("garbage", "an array of shape (2,), where 3 integers are expected"),
    "none": ("garbage", "NoneType, where 3 integers are expected"),
    "ragged": ("garbage", "no rectangular array, where 3 integers are expected"),
    "huge": ("garbage", "list, where 3 integers are expected"),
    "large": ("garbage", "9223372036854775808, which no output type holds"),
    "flags": ("garbage", "an array of bool, where 3 integers are expected"),
    "recurs": ("error", "RecursionError: "),
    "leaves": ("crash", "exit status 4; it said: imported"),
    "dies": ("crash", "exit status 5; it said: imported"),
    "sleeps": ("hang", "none within 1 s; it said: imported"),
}


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    intnn.dump(NET, "net.json")
    Path("mine.py").write_text(MODULE)
    Path("broken.py").write_text("1 / 0")
    Path("leaving.py").write_text("raise SystemExit(3)")
    Path("dying.py").write_text("import os\nprint('I die')\nos._exit(7)")


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize("name", ["right", "lists"])
def test_a_python_function(name: str) -> None:
    with python(NET, f"mine:{name}") as device:
        require_right(device, NET, 20)
        assert device.operations == {"run"}


@pytest.mark.usefixtures("module")
def test_a_python_function_misbehaves() -> None:
    """In all ways it can, every third row."""
    x = inputs(NET, 3 * len(PYTHON_DEEDS))
    for deed in range(len(PYTHON_DEEDS)):
        x[3 * deed + 1, :3] = 100, 101, deed
    with python(NET, "mine:many", timeout=1) as device:
        answers = device.ask(RUN, x)
    assert list(answers.failures) == [3 * deed + 1 for deed in range(len(PYTHON_DEEDS))]
    for failure, (kind, message) in zip(answers.failures.values(), PYTHON_DEEDS.values(), strict=True):
        assert (failure.kind, failure.message[: len(message)]) == (kind, message)
    expected = intnn.run(NET, x)
    expected[list(answers.failures)] = 0
    assert answers.outputs.tolist() == expected.tolist()


def require_layers(device: Device) -> None:
    assert device.operations == {"run", "layer", "dense", "requantize"}
    x = inputs(NET, 20)
    require_right(device, NET, 20)
    trace = intnn.trace(NET, x)
    assert device.ask(Question("layer", 0), x).outputs.tolist() == trace[0].output.tolist()
    hidden = trace[0].output.astype(np.int64)
    assert device.ask(Question("dense", 1), hidden).outputs.tolist() == trace[1].output.tolist()
    acc = np.array([[-(1 << 20)], [5], [1 << 20]])
    assert device.ask(Question("requantize", 1, 2), acc).outputs.tolist() == (acc + 12).tolist()


@pytest.mark.usefixtures("module")
def test_a_python_object() -> None:
    with python(NET, "mine:Layers") as device:
        require_layers(device)


MISTAKES = [
    ("lib", "net_run", "usage.option", "which function"),
    ("lib", "file.so:", "usage.option", "which function"),
    ("lib", "none.so:net_run", "device.start", "there is no file"),
    ("lib", "mine.py:run", "device.start", "OSError"),
    ("lib", "GOOD:nothing", "device.start", "nothing"),
    ("python", "mine", "usage.option", "which function"),
    ("python", "nowhere:run", "device.start", "nowhere:run: ModuleNotFoundError: No module named 'nowhere'\n"),
    ("python", "mine:nothing", "device.start", "has no attribute 'nothing'"),
    ("python", "mine:number", "device.start", "it is no function"),
    ("python", "broken:run", "device.start", "ZeroDivisionError: division by zero (broken.py, line 1)"),
    ("python", "leaving:run", "device.start", "SystemExit: 3"),
    ("python", "dying:run", "device.start", "exit status 7; it said: I die"),
]


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(("kind", "place", "code", "message"), MISTAKES)
def test_mistakes(kind: str, place: str, code: str, message: str, request: pytest.FixtureRequest) -> None:
    if "GOOD" in place:
        place = place.replace("GOOD", request.getfixturevalue("libraries")["int8 fixed"])
    with pytest.raises(UsageError) as caught:
        (library if kind == "lib" else python)(NET, place)
    assert caught.value.code == code
    assert message in str(caught.value)


@pytest.mark.usefixtures("module")
def test_no_time_at_all() -> None:
    for timeout in (0.0, -1.0, float("nan")):
        with pytest.raises(UsageError, match="timeout"):
            python(NET, "mine:right", timeout=timeout)


def test_callables() -> None:
    def fails(x: Any) -> Any:
        if (x == [100, 101, *x[2:]]).all():
            raise KeyError("lost")
        return intnn.run(NET, x)

    found = ask_fatal(callable_device(NET, fails), NET).failures[FATAL]
    assert (found.kind, found.message.split(" (")[0]) == ("error", "KeyError: 'lost'")
    require_right(callable_device(NET, lambda x: intnn.run(NET, x)), NET)
    shapes = []

    def batches(x: Any) -> Any:
        shapes.append(x.shape)
        if (x[:, :2] == [100, 101]).all(axis=1).any():
            return "nonsense"
        return intnn.run(NET, x)

    require_right(callable_device(NET, batches, batch=True), NET)
    assert shapes == [(200, 5)]
    found = ask_fatal(callable_device(NET, batches, batch=True), NET).failures[FATAL]
    assert found == Failure("garbage", "an array of <U8, where 1 x 3 integers are expected")

    with pytest.raises(UsageError, match="cannot be called"):
        callable_device(NET, 3)

    def leaves(x: Any) -> Any:
        sys.exit(2)

    assert callable_device(NET, leaves).ask(RUN, inputs(NET, 2)).failures[1].kind == "error"


def test_callable_layers() -> None:
    class Layers:
        def run(self, x: Any) -> Any:
            return intnn.run(NET, x)

        def layer(self, layer: int, x: Any) -> Any:
            return intnn.trace(NET, x)[layer].output

        def dense(self, layer: int, x: Any) -> Any:
            return intnn.run(intnn.Network(NET.inputs[layer], (NET.layers[layer],)), x)

        def requantize(self, layer: int, neuron: int, acc: int) -> int:
            return 10 * layer + neuron + acc

    require_layers(callable_device(NET, Layers))


def test_how_a_process_ended() -> None:
    assert [status(code) for code in (0, 3, -11, -250, 0xC0000005)] == [
        "exit status 0",
        "exit status 3",
        "SIGSEGV",
        "signal 250",
        "exit status 0xc0000005",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no process groups")
def test_what_the_child_starts_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "import subprocess\ndef f(x):\n    open('pid', 'w').write(str(subprocess.Popen(['sleep', '60']).pid))\n"
    (tmp_path / "starts_others.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    with python(NET, "starts_others:f") as device:
        device.ask(RUN, np.zeros((1, NET.sizes[0]), np.int64))
    pid, deadline = int((tmp_path / "pid").read_text()), time.monotonic() + 5
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(pid)
