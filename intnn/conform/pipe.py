"""Devices at the other end of a pipe: a program that is kept running, a board on a serial port [protocol.line]."""

from __future__ import annotations

import shlex
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike

import numpy as np

from intnn.conform.device import Answers, Device, Failure, Int64, Question
from intnn.conform.protocol import IDS, SHORT, Reply, parse_reply, quoted, requests
from intnn.conform.replies import output_type, require_model, unfit
from intnn.conform.wire import ClosedError, Port, Process, Wire
from intnn.errors import FileError, UsageError
from intnn.formats.native import network_hash
from intnn.model import Network

IN_A_ROW, IN_ALL = 5, 100
"""So many rows in a row without a sign of life, or so many deaths in all, and a device is asked no more."""

START = 10.0
"""Seconds that a device has at least to say hello after it was started."""

DEBUG = 100
"""How many debug lines are kept."""


def command(net: Network, line: str, timeout: float = 5.0, log: str | PathLike[str] | None = None) -> PipeDevice:
    """The device that the program of the command line ``line`` is, without a shell; stdin and stdout are the pipe.

    ``timeout`` is in seconds, for each line; ``log`` is a file for a transcript. Raises :class:`UsageError`
    ``usage.option``, ``device.start`` or ``device.model``, and :class:`FileError` ``file.write``.
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        words, reason = [], f": {str(error).lower()}"
    else:
        reason = ""
    if not words:
        found, repair = f"{line!r} is no command line{reason}", "name a program and its arguments"
        raise UsageError("usage.option", found, expected='such as --cmd "./program --fast"', repair=repair)
    return PipeDevice(net, line, lambda: Process(words), timeout, log)


def serial(
    net: Network, port: str, baud: int = 115200, timeout: float = 2.0, log: str | PathLike[str] | None = None
) -> PipeDevice:
    """The device on serial port ``port``, as ``/dev/ttyACM0`` or ``COM3``; otherwise as :func:`command`.

    Raises moreover :class:`UsageError` ``usage.extra`` where pyserial is not installed.
    """
    return PipeDevice(net, f"{port} at {baud} baud", lambda: Port(port, baud), timeout, log)


@dataclass(frozen=True, eq=False)
class _Batch:
    """Rows asked together: their ``answers``, how many ``outputs`` each has, and the ``type`` of these."""

    answers: Answers
    outputs: int
    type: str


@dataclass(eq=False)
class _Asked:
    """A line that was sent, and what has come back: for row ``row`` of ``batch``, ``last`` if it is not one of values
    that go before; or, without a batch, a hello."""

    batch: _Batch | None = None
    row: int = 0
    last: bool = True
    values: tuple[int, ...] = ()
    reply: Reply | None = None


class PipeDevice(Device):
    """A device at the other end of a :class:`Wire` that ``connect`` makes, and makes anew after each death.

    ``timeout`` (seconds) is what each line has until its answer; the rest as in :func:`command`. Raises
    :class:`UsageError` ``device.start`` where it does not say hello and ``device.model`` where it holds another
    network, :class:`FileError` ``file.write``, and what ``connect`` raises.
    """

    def __init__(
        self,
        net: Network,
        name: str,
        connect: Callable[[], Wire],
        timeout: float,
        log: str | PathLike[str] | None = None,
    ) -> None:
        super().__init__(name)
        self.debug: deque[str] = deque(maxlen=DEBUG)
        """The last lines of debug output, without their ``#``."""
        self._net, self._connect, self._timeout = net, connect, timeout
        try:
            self._log = None if log is None else open(log, "w", encoding="ascii", buffering=1)  # noqa: SIM115  # closed in close
        except (OSError, ValueError) as error:
            raise FileError("file.write", f"cannot be written: {error}", where=str(log)) from None
        self._wire: Wire | None = None
        self._asked: dict[int, _Asked] = {}
        self._latest: _Asked | None = None
        self._next, self._line = 0, SHORT
        self._garbage = ""  # the last that was heard since a row began
        self._debugged = self._deaths = self._strikes = 0
        try:
            hello = self._begin()
        except BaseException:
            self.close()
            raise
        self.operations = frozenset(hello.operations)
        self.facts["model hash"] = "not told" if hello.text == "-" else hello.text
        self.facts["longest line"] = f"{hello.line} characters"

    def close(self) -> None:
        """End the program, or close the port; and the transcript."""
        self._hang_up(patient=True)
        if self._log:
            self._log.close()

    def ask(self, question: Question, rows: Int64) -> Answers:
        """The answers to ``rows``; see :meth:`Device.ask`.

        What a device says, or its death, is put down to the row that it has not yet answered then. A batch of several
        rows ends with a hello, so that what follows the last answer is known, too.
        """
        outputs = question.size(self._net)[1]
        answers = Answers(np.zeros((len(rows), outputs), np.int64))
        batch = _Batch(answers, outputs, output_type(question, self._net))
        words: tuple[object, ...] = (question.operation, question.layer, question.neuron)
        for row, values in enumerate(rows.tolist()):
            if self._deaths >= IN_ALL or self._strikes >= IN_A_ROW:
                why = f"{IN_A_ROW} rows in a row, no answer" if self._strikes >= IN_A_ROW else f"{IN_ALL} deaths"
                answers.failures[row] = Failure("unasked", why)
            elif question.operation == "requantize":
                self._ask(batch, row, (*words, *values), [])
            else:
                self._ask(batch, row, words[: 1 if question.operation == "run" else 2], values)
        if len(rows) > 1 and self._wire:
            self._look_back()
        if self._debugged:
            self.facts["debug lines"] = f"{self._debugged}, the last: {quoted(self.debug[-1])}"
        if self._deaths:
            self.facts["deaths"] = str(self._deaths)
        return answers

    # --- a row

    def _ask(self, batch: _Batch, row: int, words: tuple[object, ...], values: list[int]) -> None:
        failures = batch.answers.failures
        self._garbage = ""
        try:
            if not self._wire:
                self._begin()
        except UsageError as error:
            failures[row] = Failure("closed", f"it cannot be started again: {error.found}")
            self._deaths += 1
            self._strikes += 1
            return
        lines = requests(self._next, words, values, self._line)
        try:
            for k, line in enumerate(lines, 1):
                self._latest = self._say(line, _Asked(batch, row, k == len(lines)))
                if not self._is_answered(self._latest):
                    break
        except ClosedError:
            self._bury(self._died())
        silent = row in failures and failures[row].kind in ("crash", "hang", "closed")
        self._strikes = self._strikes + 1 if silent or (row in failures and not self._wire) else 0

    def _is_answered(self, asked: _Asked) -> bool:
        """Wait for the answer to ``asked``; whether it came, and the row's next line can follow."""
        assert self._wire
        assert asked.batch
        answers, row, deadline = asked.batch.answers, asked.row, time.monotonic() + self._timeout
        while not asked.reply:
            line = self._hear(deadline)
            if line is None:
                said = f"no answer within {self._timeout:g} s"
                answers.failures[row] = Failure("hang", said)
                if self._wire.partial and not self._wire.waiting():
                    unended = f"{quoted(self._wire.partial.decode('latin-1'))} without a newline"
                    answers.failures[row] = Failure("garbage", f"{unended}, then {said}")
                self._resume()
                return False
            if self._take(line):  # has it lost the thread, or is the answer still to come?
                garbage = Failure("garbage", self._garbage)
                self._resume()
                if asked.reply and asked.last:
                    answers.notes.setdefault(row, garbage)
                else:  # hello has emptied the vector
                    answers.failures.setdefault(row, garbage)
                return False
        if row in answers.failures and not asked.last and asked.reply.kind not in ("skip", "error"):
            self._resume()  # those empty the vector
        return row not in answers.failures

    def _take(self, line: str) -> bool:
        """Give the line to the request that it answers; whether it is garbage instead."""
        reply = parse_reply(line)
        asked = self._asked.get(reply.id) if reply else None
        if not reply or not asked:
            self._garbage = quoted(line) + (", which answers nothing that was asked" if reply else "")
        elif asked.reply:
            self._note_twice(asked, reply)
        elif reply.kind == "more" and asked.batch:
            asked.values = (asked.values + reply.values)[: asked.batch.outputs + 1]  # one too many is enough
        else:
            asked.values += reply.values
            asked.reply = reply
            if asked.batch:
                self._record(asked, asked.batch)
        return not reply or not asked

    def _record(self, asked: _Asked, batch: _Batch) -> None:
        answers, row = batch.answers, asked.row
        late = Failure("late", f"after more than {self._timeout:g} s") if row in answers.failures else None
        assert asked.reply
        failure = unfit(asked.reply, asked.values, batch.outputs if asked.last else 0, batch.type)
        if failure or (late and not asked.last):
            answers.failures[row] = failure or late  # type: ignore[assignment]  # one of them is there
        elif asked.last:
            answers.outputs[row] = asked.values
            if late:
                del answers.failures[row]
                answers.notes[row] = late

    def _note_twice(self, asked: _Asked, reply: Reply) -> None:
        if asked.batch and asked.reply:
            first, second = _words(asked.reply), _words(reply)
            text = f"both times {quoted(first)}" if first == second else f"{quoted(first)}, then {quoted(second)}"
            latest = self._latest
            if latest and latest.batch and latest.batch is not asked.batch:  # those answers are with the referee
                latest.batch.answers.notes.setdefault(latest.row, Failure("twice", f"an earlier request, {text}"))
            else:
                asked.batch.answers.notes[asked.row] = Failure("twice", text)

    # --- the pipe

    def _begin(self) -> Reply:
        """Connect and say hello. Raises :class:`UsageError` ``device.start`` or ``device.model``."""
        self._wire = self._connect()
        self._asked.clear()
        self._latest, self._garbage, self._line = None, "", SHORT
        self._write_log("# the host begins")
        try:
            hello = self._greet(max(self._timeout, START / self._wire.attempts))
            found = "it says no hello" + self._wire.chatter()
        except ClosedError:
            hello, found = None, str(self._wire.died())
        if not hello or not hello.operations:
            heard = f"; it said {self._garbage}" if self._garbage else ""
            if hello:
                found = "it offers no operation"
            self._hang_up(patient=False)
            raise UsageError(
                "device.start",
                found + heard,
                where=self.name,
                expected="an answer to hello, such as: 0 intnn/1 - 63 run",
                repair="see spec/60-protocol.md, or begin with `intnn conform --harness`",
            )
        try:
            require_model(hello, self._net, self.name)
        except UsageError:
            self._hang_up(patient=True)
            raise
        self._line = hello.line
        return hello

    def _greet(self, patience: float) -> Reply | None:
        """Say hello, and hear all until it is answered [protocol.reply]; ``None`` where it is not."""
        assert self._wire
        for _ in range(self._wire.attempts):
            self._write_log("> ")
            self._wire.send("")
            hello = self._say(f"{self._next} hello", _Asked())
            deadline = time.monotonic() + patience
            while not hello.reply and (line := self._hear(deadline)) is not None:
                self._take(line)
            if hello.reply and hello.reply.kind == "hello":
                return hello.reply
        return None

    def _resume(self) -> None:
        """After a disturbance: go on with the device if it says hello, else end it."""
        hello = self._greet(self._timeout)
        if not hello:
            self._deaths += 1
            self._hang_up(patient=False)
        elif hello.text not in ("-", network_hash(self._net)[:16]):
            self._garbage = f"it holds the model {hello.text} now"

    def _look_back(self) -> None:
        """Hear what the device still says to the rows of a batch."""
        self._garbage = ""
        try:
            self._resume()
        except ClosedError:
            self._bury(self._died())
        else:
            if not self._wire:
                self._note(Failure("hang", "after its answer it says no hello"))
        if self._garbage:
            self._note(Failure("garbage", self._garbage))

    def _note(self, failure: Failure) -> None:
        """Something that happened after the answer to the latest row."""
        if self._latest and self._latest.batch and self._latest.row not in self._latest.batch.answers.failures:
            self._latest.batch.answers.notes.setdefault(self._latest.row, failure)

    def _bury(self, failure: Failure) -> None:
        """The device has died while it was asked the latest row, or after that."""
        self._deaths += 1
        self._hang_up(patient=False)
        asked = self._latest
        if asked and asked.batch:
            if asked.last and asked.reply:
                self._note(failure)
            else:
                asked.batch.answers.failures[asked.row] = failure

    def _died(self) -> Failure:
        assert self._wire
        failure = self._wire.died()
        said = self._garbage or (quoted(self._wire.partial.decode("latin-1")) if self._wire.partial else "")
        return Failure(failure.kind, failure.message + (f"; it said {said}" if said else ""))

    def _hang_up(self, patient: bool) -> None:
        if self._wire:
            self._wire.close(patient)
        self._wire = None

    def _say(self, line: str, asked: _Asked) -> _Asked:
        assert self._wire
        self._asked[self._next] = asked
        self._next = (self._next + 1) % IDS
        self._write_log(f"> {line}")
        self._wire.send(line)
        return asked

    def _hear(self, deadline: float) -> str | None:
        """The next line that is no debug output, or ``None`` if time is up. Raises :class:`ClosedError`."""
        assert self._wire
        while (line := self._wire.receive(deadline)) is not None:
            line = line.rstrip("\r ")
            self._write_log(f"< {line}")
            if line and not line.startswith("#"):
                return line
            if line:
                self._debugged += 1
                self.debug.append(line[1:].strip()[:200])
        return None

    def _write_log(self, line: str) -> None:
        if not self._log:
            return
        try:
            self._log.write(ascii(line)[1:-1] + "\n")
        except OSError as error:  # the disk is full
            raise FileError("file.write", f"cannot be written: {error}", where=self._log.name) from None


def _words(reply: Reply) -> str:
    return " ".join(map(str, (reply.kind, *reply.values, *[reply.text] * bool(reply.text))))
