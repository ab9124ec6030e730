"""Boards on a serial port, over a pseudo-terminal: the board is a thread here."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

import intnn
from intnn.conform import pipe
from intnn.conform.device import RUN, Question
from intnn.conform.expected import answers as right_answers
from intnn.conform.pipe import PipeDevice, serial
from intnn.conform.reference import Reference
from intnn.errors import UsageError

pty = pytest.importorskip("pty", reason="no pseudo-terminals here")
pytest.importorskip("serial", reason="pyserial is not installed")
import tty  # noqa: E402  # there where pty is

QUIET = 0.25
Board = Callable[[str], list[str] | None]
"""A line to the lines that answer it, or ``None``: the board is unplugged."""

NET = intnn.Network(
    intnn.Activation("int8", 3),
    (
        intnn.Dense(np.arange(-60, 60).reshape(4, 30), np.arange(4), intnn.Fixed.half_up(5), intnn.Activation("int8")),
        intnn.Dense(np.ones((12, 4), np.int8), np.arange(12), intnn.Fixed.floor(0), intnn.Activation("int16")),
    ),
)
ROWS = np.random.default_rng(1).integers(-128, 128, (5, 30))


@contextmanager
def board(answer: Board) -> Iterator[str]:
    """The name of a port at which the board is."""
    near, far = pty.openpty()
    tty.setraw(far)

    def work() -> None:
        rest = b""
        try:
            while data := os.read(near, 1000):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    assert len(line) <= 63
                    said = answer(line.decode("ascii"))
                    if said is None:
                        return
                    os.write(near, b"".join(text.encode("ascii") + b"\r\n" for text in said))
        except OSError:  # nobody has the other end any more
            pass
        finally:
            os.close(near)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield os.ttyname(far)
    finally:
        os.close(far)
        thread.join(5)
        assert not thread.is_alive()


@contextmanager
def device(answer: Board) -> Iterator[PipeDevice]:
    with board(answer) as port, serial(NET, port, timeout=QUIET) as found:
        yield found


@pytest.mark.parametrize("question", [RUN, Question("layer", 0), Question("dense", 1), Question("requantize", 0, 2)])
def test_a_board(question: Question) -> None:
    rows = ROWS
    if question.operation == "dense":
        rows = ROWS[:, :4]
    elif question.operation == "requantize":
        rows = ROWS[:, :1]
    with device(Reference(NET).answer) as found:
        answers = found.ask(question, rows)
    assert (answers.failures, answers.notes) == ({}, {})
    assert np.array_equal(answers.outputs, right_answers(NET, question, rows))


def test_a_board_without_half_of_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte is lost now and then: the row fails, and the next is right."""
    monkeypatch.setattr(pipe, "START", 1.0)
    reference, heard = Reference(NET), 0

    def answer(line: str) -> list[str]:
        nonlocal heard
        heard += 1
        return [] if heard in (2, 9) else reference.answer(line)

    with device(answer) as found:  # the first hello is lost
        answers = found.ask(RUN, ROWS)
    assert [failure.kind for failure in answers.failures.values()] == ["hang"]
    assert np.array_equal(answers.outputs[answers.answered], right_answers(NET, RUN, ROWS)[answers.answered])


def test_a_board_that_boots() -> None:
    reference, heard = Reference(NET), 0

    def answer(line: str) -> list[str]:
        nonlocal heard
        heard += 1
        return [*(["U-Boot 1.0", "# ready"] if heard == 1 else []), *reference.answer(line)]

    with device(answer) as found:
        answers = found.ask(RUN, ROWS)
        assert (answers.failures, answers.notes) == ({}, {})
        assert list(found.debug) == ["ready"]


def test_a_board_that_is_unplugged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipe, "START", 0.3)
    reference, runs = Reference(NET), 0

    def answer(line: str) -> list[str] | None:
        nonlocal runs
        runs += " run" in line
        return None if runs == 3 else reference.answer(line)

    with device(answer) as found:
        answers = found.ask(RUN, ROWS)
    assert {row: failure.kind for row, failure in answers.failures.items()} == dict.fromkeys(range(2, 5), "closed")
    assert np.array_equal(answers.outputs[:2], right_answers(NET, RUN, ROWS[:2]))


def test_a_port_without_a_board(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipe, "START", 0.3)
    with board(lambda line: []) as port, pytest.raises(UsageError) as raised:
        serial(NET, port, timeout=0.05)
    assert raised.value.code == "device.start"
    assert port in raised.value.where


def test_no_port() -> None:
    with pytest.raises(UsageError) as raised:
        serial(NET, "/dev/no-such-port")
    assert raised.value.code == "device.start"


def test_without_pyserial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(UsageError) as raised:
        serial(NET, "/dev/no-such-port")
    assert raised.value.code == "usage.extra"
    assert "intnn[serial]" in raised.value.repair
