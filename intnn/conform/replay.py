"""What a device said before, in a log: a transcript of intnn, or a terminal's, with whatever stands around the lines.

A message is looked for at the end of each line, so that timestamps and prompts before it do no harm. A log can answer
what it holds and nothing else; :meth:`ReplayDevice.rows` says what that is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike

import numpy as np

from intnn.bounds import require_valid
from intnn.conform.device import Answers, Device, Failure, Int64, Question
from intnn.conform.protocol import ARGUMENTS, VERSION, Reply, Request, parse_reply, parse_request
from intnn.conform.replies import output_type, require_model, unfit
from intnn.errors import FileError
from intnn.model import Network

MOST = 1 << 16  # characters of a line

_KINDS = "|".join((*ARGUMENTS, "ok", "more", "skip", "error", VERSION))
_BEGINNING = re.compile(rf"(?<![0-9A-Za-z.:_-])[0-9]{{1,5}} (?:{_KINDS})(?![0-9A-Za-z_])")
_DEBUG = re.compile(r"(?:[<>] )?#")  # as the host has it, too: nothing in such a line is a message


def replay(net: Network, path: str | PathLike[str]) -> ReplayDevice:
    """The device whose log the file ``path`` is.

    Raises :class:`FileError` ``file.read``, ``file.log`` where no request stands in it together with its answer, and
    :class:`intnn.errors.UsageError` ``device.model`` where the device said hello with another network.
    """
    return ReplayDevice(net, path)


@dataclass(eq=False)
class _Asked:
    """A request, and what the log has of its answer. Without a question it is a hello, an x, or cannot be judged."""

    request: Request
    question: Question | None = None
    row: tuple[int, ...] = ()
    values: tuple[int, ...] = ()
    reply: Reply | None = None
    twice: bool = False

    def outcome(self, net: Network) -> tuple[int, ...] | Failure:
        """The answer, or why there is none."""
        assert self.question
        if not self.reply:
            return Failure("hang", "the log has no answer to this")
        outputs, kind = self.question.size(net)[1], output_type(self.question, net)
        return unfit(self.reply, self.values, outputs, kind) or self.values


class ReplayDevice(Device):
    """The device of a log; see :func:`replay`."""

    def __init__(self, net: Network, path: str | PathLike[str]) -> None:
        super().__init__(f"the log {path}")
        self._net, self._proof = net, require_valid(net).layers
        self._vector: list[int] = []
        self._asked: dict[int, _Asked] = {}
        self._known: dict[Question, dict[tuple[int, ...], list[_Asked]]] = {}
        lines = strange = 0
        try:
            with open(path, "rb") as file:
                for line in iter(lambda: file.readline(MOST), b""):
                    lines += 1
                    strange += not self._understand(line.decode("latin-1").rstrip("\r\n "))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise FileError("file.read", f"cannot be read: {reason}", where=str(path)) from None
        asked = [one for rows in self._known.values() for some in rows.values() for one in some]
        if not any(one.reply for one in asked):
            found = f"{len(asked)} requests and no answer to any" if asked else "no request"
            raise FileError(
                "file.log",
                f"{found} in {lines} lines",
                where=str(path),
                expected="requests with their answers, such as the lines `7 run 1 2 3` and `7 ok -2`",
                repair="log both directions: intnn conform --log writes such a file",
            )
        self.operations = frozenset(question.operation for question in self._known)
        self.facts["log"] = f"{lines} lines, {strange} of them not understood; {len(asked)} requests"

    def rows(self, question: Question) -> Int64:
        """The rows that the log can answer for, (n, size), in its order and each once."""
        rows = self._known.get(question, {})
        return np.array([*rows], np.int64).reshape(len(rows), question.size(self._net)[0])

    def ask(self, question: Question, rows: Int64) -> Answers:
        """What the log has of ``rows``: the first answer where it has several; see :meth:`Device.ask`."""
        answers = Answers(np.zeros((len(rows), question.size(self._net)[1]), np.int64))
        known = self._known.get(question, {})
        for i, row in enumerate(map(tuple, rows.tolist())):
            if row not in known:
                answers.failures[i] = Failure("skip", "the log does not have this input")
                continue
            outcomes = [asked.outcome(self._net) for asked in known[row]]
            if isinstance(outcomes[0], Failure):
                answers.failures[i] = outcomes[0]
            else:
                answers.outputs[i] = outcomes[0]
            other = next((outcome for outcome in outcomes if outcome != outcomes[0]), None)
            if other is not None:
                answers.notes[i] = Failure("twice", f"first {_shown(outcomes[0])}, then {_shown(other)}")
            elif any(asked.twice for asked in known[row]):
                answers.notes[i] = Failure("twice", f"both times {_shown(outcomes[0])}")
        return answers

    def _understand(self, line: str) -> bool:
        """Whether the line is a message, or debug output, or empty."""
        if _DEBUG.match(line):
            return True
        for text in _messages(line):
            request = parse_request(text)
            if request and request.numbers is not None and request.command in ARGUMENTS:
                if len(request.numbers) >= ARGUMENTS[request.command]:
                    self._hear_request(request)
                    return True
            elif reply := parse_reply(text):
                return self._hear_reply(reply)
        return not line or line in (">", "<")

    def _hear_request(self, request: Request) -> None:
        assert request.numbers is not None
        before = self._asked.get(request.id)
        if before and before.request == request and not before.reply:
            return  # the echo of a terminal
        asked = self._asked[request.id] = _Asked(request)
        count = ARGUMENTS[request.command]
        self._vector += request.numbers[count:]
        if request.command == "x":
            return
        row, self._vector = tuple(self._vector), []
        layer, neuron, *acc = (*request.numbers[:count], 0, 0)[: max(count, 2)]
        if request.command == "hello" or not 0 <= layer < len(self._net.layers):
            return
        question = Question(request.command, layer, neuron if acc else 0)
        if acc and not row:
            row = (acc[0],)
        if self._is_askable(question, row):
            asked.question, asked.row = question, row
            self._known.setdefault(question, {}).setdefault(row, []).append(asked)

    def _is_askable(self, question: Question, row: tuple[int, ...]) -> bool:
        """Whether the specification has an answer to this."""
        if question.operation == "requantize":
            proof = self._proof[question.layer]
            if len(row) != 1 or not 0 <= question.neuron < len(proof.acc_low):
                return False
            return bool(proof.acc_low[question.neuron] <= row[0] <= proof.acc_high[question.neuron])
        source = self._net.inputs[question.layer if question.operation == "dense" else 0]
        return len(row) == question.size(self._net)[0] and all(source.min <= v <= source.max for v in row)

    def _hear_reply(self, reply: Reply) -> bool:
        """Whether the reply answers something."""
        asked = self._asked.get(reply.id)
        if not asked:
            return False
        if asked.reply:
            asked.twice = True
            if asked.question and (reply.kind, reply.values) != (asked.reply.kind, asked.values):
                again = _Asked(asked.request, asked.question, asked.row, reply.values, reply)
                self._known[asked.question][asked.row].append(again)
            return True
        asked.values += reply.values
        if reply.kind != "more":
            asked.reply = reply
            if reply.kind == "hello":
                require_model(reply, self._net, self.name)
            elif asked.request.command == "x" and reply.kind != "ok":
                self._vector = []
        return True


def _messages(line: str) -> Iterator[str]:
    """What may be a message, at the end of the line."""
    return (line[found.start() :] for found in _BEGINNING.finditer(line))


def _shown(outcome: tuple[int, ...] | Failure) -> str:
    return str(outcome) if isinstance(outcome, Failure) else " ".join(map(str, outcome))
