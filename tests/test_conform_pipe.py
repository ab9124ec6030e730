"""Devices at the other end of a pipe: those that are right, and those that die, fall silent or talk nonsense."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intnn
from intnn.conform import pipe
from intnn.conform.device import FAILURES, RUN, Answers, Failure, Question
from intnn.conform.pipe import command
from intnn.conform.protocol import LONG
from intnn.conform.replay import replay
from intnn.conform.wire import LINES, Wire
from intnn.errors import IntnnError
from intnn.formats.native import network_hash

QUIET = 0.25
"""Seconds after which a silent device has failed here."""

NET = intnn.Network(  # doubles, and adds one: easy to be right about
    intnn.Activation("int8", min=-60, max=60),
    (
        intnn.Dense([[2]], [1], intnn.Fixed.floor(0), intnn.Activation("int16")),  # type: ignore[arg-type]  # a list will do
    ),
)

# A device for that network. `say` answers, and FAULT, put in its place, runs before the answer to row `x`.
SCRIPT = """\
import os, signal, sys, time
def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\\n")
    sys.stdout.flush()
say("# a device")
rows = 0
while True:
    line = sys.stdin.readline()
    if not line:
        sys.exit()
    id, command, *values = line.split() or ("", "")
    if command == "hello":
        say(id, "intnn/1", "HASH", "63", "run", "layer")
    elif command:
        x = int(values[-1])
        rows += 1
FAULT
        say(id, "ok", 2 * x + 1)
"""
ROWS = np.arange(8)[:, None]


@pytest.fixture(autouse=True)
def _a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting Python may take longer than an answer, and less than this."""
    monkeypatch.setattr(pipe, "START", 5.0)


def script(path: Path, fault: str = "pass", hash: str = "-", source: str = SCRIPT) -> str:
    """The command line of a device with a fault."""
    body = "\n".join(" " * 8 + line for line in fault.splitlines())
    file = Path(tempfile.mkdtemp(dir=path)) / "device.py"
    file.write_text(source.replace("HASH", hash).replace("FAULT", body))
    return f"{sys.executable} -S -E {file}"


def ask(path: Path, fault: str, timeout: float = QUIET, rows: Any = ROWS, **options: Any) -> Answers:
    """What a device with the fault answers to ``rows``; every other answer is verified to be right."""
    with command(NET, script(path, fault), timeout=timeout, **options) as device:
        answers = device.ask(RUN, rows)
    assert set(answers.failures) | set(answers.notes) <= set(range(len(rows)))
    assert {f.kind for f in (*answers.failures.values(), *answers.notes.values())} <= set(FAILURES)
    right = [row for row in range(len(rows)) if row not in answers.failures]
    assert np.array_equal(answers.outputs[right], 2 * rows[right] + 1)
    return answers


def kinds(failures: dict[int, Failure]) -> dict[int, str]:
    return {row: failure.kind for row, failure in failures.items()}


# --- devices that are right


def test_all_is_well(tmp_path: Path) -> None:
    hash = network_hash(NET)[:16]
    with command(NET, script(tmp_path, hash=hash), timeout=5) as device:
        for _ in range(3):
            answers = device.ask(RUN, ROWS)
            assert np.array_equal(answers.outputs, 2 * ROWS + 1)
            assert (answers.failures, answers.notes) == ({}, {})
        assert np.array_equal(device.ask(Question("layer", 0), ROWS[:1]).outputs, [[1]])
        assert device.ask(RUN, np.zeros((0, 1), np.int64)).outputs.shape == (0, 1)
        assert device.operations == {"run", "layer"}
        assert device.facts["model hash"] == hash
        assert device.facts["debug lines"] == "1, the last: 'a device'"
        assert list(device.debug) == ["a device"]


@pytest.mark.parametrize(
    "fault",
    [
        "say('# thinking'); say('#', 'of', x)",
        "sys.stderr.write('chatter\\n' * 5000)",
        "sys.stdout.write('\\n\\r\\n')",
        "sys.stdout.write(f'{id} '); sys.stdout.flush(); time.sleep(0.01); say('ok', 2 * x + 1); continue",
        "sys.stdout.write(f'{id} ok {2 * x + 1} \\r\\n'); sys.stdout.flush(); continue",
        "say(id, 'more', 2 * x + 1); say(id, 'ok'); continue",
        "say(id, 'more'); say(id, 'more')",
    ],
)
def test_what_is_permitted(tmp_path: Path, fault: str) -> None:
    answers = ask(tmp_path, fault, timeout=5)
    assert (answers.failures, answers.notes) == ({}, {})


def test_ids_begin_anew(tmp_path: Path) -> None:
    with command(NET, script(tmp_path), timeout=5) as device:
        device._next = 65530
        answers = device.ask(RUN, ROWS)
    assert np.array_equal(answers.outputs, 2 * ROWS + 1)
    assert (answers.failures, answers.notes) == ({}, {})


# --- one row

ROW_3 = {  # what the device does at row 3, and what is then known of that row
    "exits": ("sys.exit(7)", "crash", "status 7"),
    "exits after a word": ("sys.stderr.write('no heap\\n'); sys.exit(1)", "crash", "status 1.*no heap"),
    "raises": ("raise KeyError('weights')", "crash", "status 1.*KeyError.*weights"),
    "ends": ("sys.exit(0)", "closed", "status 0"),
    "closes the pipe": ("os.close(1); time.sleep(60)", "closed", "runs on"),
    "hangs": ("time.sleep(60)", "hang", "no answer within 0.25 s"),
    "loops": ("[0 for _ in iter(int, 1)]", "hang", "no answer within 0.25 s"),
    "only thinks": ("[(say('# thinking'), time.sleep(0.001)) for _ in iter(int, 1)]", "hang", "no answer"),
    "forgets to answer": ("continue", "hang", "no answer"),
    "talks nonsense": ("say('banana'); continue", "garbage", "banana"),
    "talks without end": ("[say('banana') for _ in iter(int, 1)]", "garbage", "banana"),
    "floods": ("[sys.stdout.write('0123456789' * 1000) for _ in iter(int, 1)]", "garbage", "0123456789"),
    "floods with answers": ("[say(id, 'more', 1) for _ in iter(int, 1)]", "hang", "no answer"),
    "sends bytes": ("os.write(1, bytes(range(256)) + b'\\n'); continue", "garbage", r"\\x01\\x02"),
    "forgets the newline": ("sys.stdout.write(f'{id} ok 7'); sys.stdout.flush(); continue", "garbage", "newline"),
    "answers less": ("say(id, 'ok'); continue", "garbage", "0 values where 1"),
    "answers more": ("say(id, 'ok', 7, 7); continue", "garbage", "2 values where 1"),
    "answers a fraction": ("say(id, 'ok', '7.0'); continue", "garbage", "7.0"),
    "answers beyond its type": ("say(id, 'ok', 32768); continue", "garbage", "32768.*int16"),
    "answers another": ("say(60000, 'ok', 7); continue", "garbage", "60000 ok 7.*nothing that was asked"),
    "says hello": ("say(id, 'intnn/1 - 63 run'); continue", "garbage", "hello"),
    "declines": ("say(id, 'skip'); continue", "skip", ""),
    "errs": ("say(id, 'error', 'too hot'); continue", "error", "too hot"),
    "errs in silence": ("say(id, 'error'); continue", "error", ""),
}
if os.name == "posix":
    ROW_3["segfaults"] = ("os.kill(os.getpid(), signal.SIGSEGV)", "crash", "SIGSEGV")
    ROW_3["is killed"] = ("say('# bye'); os.kill(os.getpid(), signal.SIGKILL)", "crash", "SIGKILL")


@pytest.fixture(scope="module")
def row_3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Answers]]]:
    """All of these devices, several at once: most of them only take time."""
    with ThreadPoolExecutor(4) as pool:
        path = tmp_path_factory.mktemp("device")
        yield {name: pool.submit(ask, path, f"if x == 3: {ROW_3[name][0]}") for name in ROW_3}


@pytest.mark.parametrize("name", ROW_3)
def test_one_row_fails(row_3: dict[str, Future[Answers]], name: str) -> None:
    """The others, before and after it, keep their answers."""
    _, kind, text = ROW_3[name]
    answers = row_3[name].result()
    assert kinds(answers.failures) == {3: kind}
    assert re.search(text, answers.failures[3].message), answers.failures[3]
    assert answers.notes == {}


NOTED = {  # the row is answered all the same
    "late": ("time.sleep(0.4)", "late", ""),
    "twice": ("say(id, 'ok', Y)", "twice", "both times 'ok Y'"),
    "twice, differing": ("say(id, 'ok', Y); say(id, 'ok', 8); continue", "twice", "'ok Y', then 'ok 8'"),
    "twice, then an error": ("say(id, 'ok', Y); say(id, 'error'); continue", "twice", "'ok Y', then 'error'"),
    "nonsense first": ("say('banana')", "garbage", "banana"),
    "nonsense": ("say('# banana'); say('banana')", "garbage", "banana"),
}


def test_nonsense_between_rows(tmp_path: Path) -> None:
    answers = ask(tmp_path, "if x == 3: say(id, 'ok', 7); say('banana'); continue")
    assert (kinds(answers.failures), kinds(answers.notes)) == ({}, {4: "garbage"})


@pytest.mark.parametrize("name", NOTED)
@pytest.mark.parametrize("row", [3, 7])
def test_one_row_is_answered_oddly(tmp_path: Path, name: str, row: int) -> None:
    fault, kind, text = NOTED[name]
    y = str(2 * row + 1)
    answers = ask(tmp_path, f"if x == {row}: {fault}".replace("Y", y))
    assert answers.failures == {}
    assert kinds(answers.notes) == {row: kind}
    assert re.search(text.replace("Y", y), answers.notes[row].message), answers.notes[row]


@pytest.mark.parametrize("row", [3, 7])
def test_a_death_after_the_answer(tmp_path: Path, row: int) -> None:
    """What has been answered stands. The row that follows may be to blame, so it is not asked again."""
    answers = ask(tmp_path, f"if x == {row}: say(id, 'ok', 2 * x + 1); sys.exit(1)")
    assert (kinds(answers.failures), kinds(answers.notes)) == (({4: "crash"}, {}) if row == 3 else ({}, {7: "crash"}))


def test_late_by_a_row(tmp_path: Path) -> None:
    """The device puts an answer off until it has been asked the next row: that is told by its id."""
    answers = ask(tmp_path, "if x == 3: kept = id; continue\nif x == 4: say(kept, 'ok', 7)")
    assert answers.failures == {}
    assert kinds(answers.notes) == {3: "late"}


# --- every row


def test_too_many_deaths(tmp_path: Path) -> None:
    answers = ask(tmp_path, "sys.exit(1)")
    assert kinds(answers.failures) == dict.fromkeys(range(5), "crash") | dict.fromkeys(range(5, 8), "unasked")


def test_a_hang_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipe, "IN_A_ROW", 3)
    begin = time.monotonic()
    answers = ask(tmp_path, "time.sleep(60)", rows=np.zeros((1000, 1), np.int64))
    assert kinds(answers.failures) == dict.fromkeys(range(3), "hang") | dict.fromkeys(range(3, 1000), "unasked")
    assert time.monotonic() - begin < 30  # of the 60000 s that the device had in mind


def test_deaths_that_are_not_in_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipe, "IN_ALL", 3)
    answers = ask(tmp_path, "if x % 2: sys.exit(1)")
    assert kinds(answers.failures) == {1: "crash", 3: "crash", 5: "crash", 6: "unasked", 7: "unasked"}
    assert "3 deaths" in answers.failures[7].message


def test_counting_devices(tmp_path: Path) -> None:
    """It dies at every third inference since it was started: never twice in a row, however often."""
    answers = ask(tmp_path, "if rows == 3: sys.exit(1)", rows=np.arange(20)[:, None])
    assert kinds(answers.failures) == dict.fromkeys(range(2, 20, 3), "crash")


def test_an_answer_from_a_former_life(tmp_path: Path) -> None:
    """Ids that were asked before a device was started anew mean nothing to it."""
    answers = ask(tmp_path, "if x == 2: sys.exit(1)\nif x == 4: say(2, 'ok', 3)")
    assert (kinds(answers.failures), kinds(answers.notes)) == ({2: "crash"}, {4: "garbage"})


def test_it_cannot_be_started_again(tmp_path: Path) -> None:
    answers = ask(tmp_path, "if x == 2: os.remove(sys.argv[0]); sys.exit(1)")
    assert kinds(answers.failures) == {2: "crash", 3: "closed", 4: "closed", 5: "closed", 6: "closed", 7: "unasked"}
    assert "cannot be started again" in answers.failures[3].message


def test_a_device_that_reads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers what it guesses it is asked; the pipe to it is full one day, which must not block us."""
    source = """\
import sys, time
print("0 intnn/1 - 63 run", flush=True)
for id in range(1, 20000):
    print(id, "ok", 1, flush=True)
time.sleep(60)
"""
    monkeypatch.setattr(pipe, "IN_A_ROW", 2)
    line = script(tmp_path, source=source)
    monkeypatch.setattr(pipe, "START", 0.4)
    with command(NET, line, timeout=QUIET) as device:
        answers = device.ask(RUN, np.zeros((50000, 1), np.int64))
    assert len(answers.failures) > 25000
    assert "unasked" in set(kinds(answers.failures).values())


def test_a_flood_is_not_kept() -> None:
    """Whatever comes without a newline, or without being taken, what we hold of it is bounded."""

    class Flood(Wire):
        said = 0

        def _read(self) -> bytes:
            self.said += 1
            assert len(self.partial) <= LONG
            return b"0" * 10000 if self.said < 10000 else b""

        def _write(self, data: bytes) -> None:
            pass

    flood = Flood()
    first = flood.receive(time.monotonic() + 5)
    assert first == "0" * (LONG + 1)
    time.sleep(0.1)
    assert flood.said * 10000 < (LINES + 10) * (LONG + 1)  # and not the 10 ** 8 that there are
    flood.close()


# --- long rows

WIDE = intnn.Network(
    intnn.Activation("int16"),
    (intnn.Dense(np.eye(40, dtype=np.int8), np.zeros(40, np.int64), intnn.Fixed.floor(0), intnn.Activation("int16")),),
)
WIDE_SCRIPT = """\
import sys, time
vector = []
def say(*words):
    print(*words, flush=True)
for line in sys.stdin:
    assert len(line) <= 64
    id, command, *values = line.split() or ("", "")
    if command == "hello":
        vector = []
        say(id, "intnn/1 - 63 run")
    elif command:
        vector += values
FAULT
        if command == "x":
            say(id, "ok")
            continue
        for at in range(0, 35, 7):
            say(id, "more", *vector[at:at + 7])
        say(id, "ok", *vector[35:])
        vector = []
"""
WIDE_ROWS = np.random.default_rng(1).integers(-32768, 32768, (4, 40))


@pytest.mark.parametrize(
    ("fault", "failures", "notes"),
    [
        ("pass", {}, {}),
        ("if 9 < len(vector) < 19 and vector[0] == FIRST: time.sleep(0.4)", {1: "late"}, {}),
        ("if 9 < len(vector) < 19 and vector[0] == FIRST: continue", {1: "hang"}, {}),
        ("if command == 'x' and vector[0] == FIRST: say(id, 'error full'); vector = []; continue", {1: "error"}, {}),
        ("if command == 'x' and vector[0] == FIRST: say(id, 'ok 5'); continue", {1: "garbage"}, {}),
        ("if command == 'x' and vector[0] == FIRST: say('banana')", {1: "garbage"}, {}),
        ("if command == 'run' and vector[0] == FIRST: say('banana')", {}, {1: "garbage"}),
        ("if command == 'run' and vector[0] == FIRST: time.sleep(0.4)", {}, {1: "late"}),
        ("if command == 'x' and vector[0] == FIRST: say(id, 'ok')", {}, {1: "twice"}),
        ("if command == 'x' and vector[0] == FIRST: sys.exit(1)", {1: "crash"}, {}),
    ],
)
def test_long_rows(tmp_path: Path, fault: str, failures: dict[int, str], notes: dict[int, str]) -> None:
    line = script(tmp_path, fault.replace("FIRST", repr(str(WIDE_ROWS[1, 0]))), source=WIDE_SCRIPT)
    with command(WIDE, line, timeout=QUIET) as device:
        answers = device.ask(RUN, WIDE_ROWS)
    assert (kinds(answers.failures), kinds(answers.notes)) == (failures, notes)
    right = answers.answered
    assert np.array_equal(answers.outputs[right], WIDE_ROWS[right])


# --- the beginning


def refused(line: str, net: intnn.Network = NET, **options: Any) -> IntnnError:
    with pytest.raises(IntnnError) as raised:
        command(net, line, **{"timeout": QUIET, **options})
    return raised.value


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("import time; time.sleep(60)", "no hello"),
        ("while True: print('# booting')", "no hello"),
        ("while True: print('banana')", "no hello.*banana"),
        ("import sys; sys.exit('no such board')", "status 1.*no such board"),
        ("pass", "status 0"),
        ("[print(line.split()[0], 'skip', flush=True) for line in open(0) if line != '\\n']", "no hello"),
        ("[print('0 intnn/1 - 63', flush=True) for line in open(0) if line != '\\n']", "no operation"),
        ("[print('0 intnn/2 - 63 run', flush=True) for line in open(0) if line != '\\n']", "no hello.*intnn/2"),
    ],
)
def test_no_hello(tmp_path: Path, source: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipe, "START", 0.4)
    error = refused(script(tmp_path, source=source))
    assert error.code == "device.start"
    assert re.search(text, error.found), error.found
    assert error.repair


def test_banners_do_no_harm(tmp_path: Path) -> None:
    """Nor does a start that takes longer than an answer may."""
    boot = "import time; print('Booting v1.0 ...', flush=True); time.sleep(0.5)"
    with command(NET, script(tmp_path, source=f"{boot}\n{SCRIPT}"), timeout=QUIET) as device:
        assert device.ask(RUN, ROWS).failures == {}


def test_another_model(tmp_path: Path) -> None:
    error = refused(script(tmp_path, hash="0123456789abcdef"))
    assert error.code == "device.model"
    assert "0123456789abcdef" in error.found
    assert network_hash(NET)[:16] in error.expected


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("./no-such-program", "device.start"),
        (os.fspath(Path(__file__).parent), "device.start"),
        ("", "usage.option"),
        ("'unclosed", "usage.option"),
    ],
)
def test_what_is_no_program(line: str, code: str) -> None:
    assert refused(line).code == code


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    error = refused(script(tmp_path), log=tmp_path / "none" / "log")
    assert error.code == "file.write"


def test_no_shell(tmp_path: Path) -> None:
    refused(f"{sys.executable} -c pass > {tmp_path / 'file'}")
    assert not (tmp_path / "file").exists()


def test_the_log(tmp_path: Path) -> None:
    ask(tmp_path, "if x == 3: say('ba\\x01nana'); continue", log=tmp_path / "log", rows=ROWS[2:4])
    assert (tmp_path / "log").read_text().splitlines() == [
        "# the host begins",
        "> ",
        "> 0 hello",
        "< # a device",
        "< 0 intnn/1 - 63 run layer",
        "> 1 run 2",
        "< 1 ok 5",
        "> 2 run 3",
        "< ba\\x01nana",
        "> ",
        "> 3 hello",
        "< 3 intnn/1 - 63 run layer",
        "> ",
        "> 4 hello",
        "< 4 intnn/1 - 63 run layer",
    ]


@pytest.mark.skipif(os.name != "posix", reason="looks for processes as POSIX has them")
@pytest.mark.parametrize("fault", ["pass", "time.sleep(60)", "os.close(0); time.sleep(60)"])
def test_nothing_survives(tmp_path: Path, fault: str) -> None:
    """Neither the program nor what it has started."""
    child = "import subprocess; child = subprocess.Popen(['sleep', '60']); say('# pids', os.getpid(), child.pid)"
    with command(NET, script(tmp_path, f"{child}\n{fault}"), timeout=QUIET) as device:
        device.ask(RUN, ROWS[:1])
        pids = [int(word) for line in device.debug if line.startswith("pids") for word in line.split()[1:]]
        assert len(pids) == 2
    deadline = time.monotonic() + 5
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(is_running, pids))


def is_running(pid: int) -> bool:
    """A child of the killed program may have nobody to bury it: what is dead does not run."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_log_is_replayed(tmp_path: Path) -> None:
    """It gives the same answers, failures and notes, but for the time they took."""
    faults = ["if x == 1: say('banana')", "if x == 2: say(id, 'ok', 5); say(id, 'ok', 6); continue"]
    faults += ["if x == 3: time.sleep(0.4)", "if x == 4: sys.exit(1)", "if x == 5: say(id, 'skip'); continue"]
    said = ask(tmp_path, "\n".join(faults), log=tmp_path / "log")
    found = replay(NET, tmp_path / "log")
    again = found.ask(RUN, ROWS)
    assert np.array_equal(found.rows(RUN), ROWS)
    assert np.array_equal(again.outputs, said.outputs)
    assert (kinds(said.failures), kinds(said.notes)) == ({4: "crash", 5: "skip"}, {1: "garbage", 2: "twice", 3: "late"})
    assert (kinds(again.failures), kinds(again.notes)) == ({4: "hang", 5: "skip"}, {2: "twice"})
    assert "1 of them not understood" in found.facts["log"]


def test_an_answer_to_an_earlier_batch(tmp_path: Path) -> None:
    """Its own notes are with the referee, so it is put down to the row at hand."""
    fault = "if rows == 9: say(first, 'ok', 1)\nif rows == 1: first = id"
    with command(NET, script(tmp_path, fault), timeout=5) as device:
        assert not device.ask(RUN, ROWS).notes
        answers = device.ask(RUN, ROWS)
    assert not answers.failures
    assert {row: note.kind for row, note in answers.notes.items()} == {0: "twice"}
    assert "an earlier request" in answers.notes[0].message


def test_another_model_later(tmp_path: Path) -> None:
    source = SCRIPT.replace('"HASH"', '"-" if not rows else "0" * 16')
    with command(NET, script(tmp_path, source=source), timeout=5) as device:
        answers = device.ask(RUN, ROWS)
    assert answers.notes == {7: Failure("garbage", "it holds the model 0000000000000000 now")}
