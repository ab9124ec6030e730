"""Code on this machine as a device: a function of a shared library, of a Python module, or of this process.

The first two run in a child process (:mod:`intnn.conform.worker`): a crash, an exit or an endless loop costs one row.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from intnn.conform import frame, worker
from intnn.conform.child import Child, EndedError
from intnn.conform.device import Answers, Device, Failure, Int64, Question
from intnn.conform.frame import Bytes, Frame
from intnn.errors import UsageError
from intnn.model import Network

MOST_DEATHS = 5
"""After so many rows in a row that ended or blocked the device, the rows that follow are not asked. In the next batch
it has one more chance."""

LOADING = 60.0
"""Seconds that loading a library or a module may take."""

_ROWS, _ROOM = 4096, 1 << 22  # the shared file holds as many rows at once, or as many as fit into it; at least one


def library(net: Network, place: str, timeout: float = 5.0) -> Device:
    """The function of a shared library, ``place`` being ``file.so:function``, in a child process.

    The function is ``void function(const IN *x, OUT *y)`` with the types of the network's input and output. ``timeout``
    is in seconds a row. What it writes around its output or over its input, or leaves unwritten, is a failure ``trap``.

    Raises :class:`UsageError`: ``usage.option`` where ``place`` is not of that form or ``timeout`` not positive,
    ``device.start`` where there is no such library or function, or it cannot be loaded.
    """
    file, name = split(place, "file.so:function")
    if not Path(file).is_file():
        raise cannot_start(place, f"there is no file {file}")
    return shared_object(net, file, name, f"{name} of {Path(file).name}", timeout)


def shared_object(
    net: Network,
    file: str,
    function: str,
    name: str,
    timeout: float = 5.0,
    types: tuple[str, str] | None = None,
) -> Device:
    """As :func:`library`, of the shared library ``file``; ``types`` are those of x and y where the function takes
    others than the network's."""
    kinds = types or (net.input.type, net.output.type)
    return _Process(net, name, ("library", str(Path(file).resolve()), function), timeout, kinds)


def python(net: Network, place: str, timeout: float = 5.0) -> Device:
    """The function of a Python module, ``place`` being ``module:function``, in a child process; modules are looked for
    in the working directory too.

    ``function(x)`` takes one input, a one-dimensional array in the dtype of the network's input, and returns as many
    integers as the network has outputs. Instead there may be an object, or a class to make one of, with a method
    ``run(x)``, and perhaps ``layer(layer, x)``, ``dense(layer, x)`` and ``requantize(layer, neuron, acc)``
    (:mod:`intnn.conform.device` says what they are asked). What is raised is a failure ``error``; floats, or a wrong
    number of integers, are ``garbage``.

    Raises :class:`UsageError` as :func:`library`.
    """
    module, name = split(place, "module:function")
    return _Process(net, place, ("module", module, name), timeout, None)


def callable_device(net: Network, function: Any, *, batch: bool = False) -> Device:
    """A Python function in this process, or an object with methods; as :func:`python`, but for crashes and timeouts.

    With ``batch``, the methods take arrays (rows, inputs) and return (rows, outputs); a batch that fails is asked again
    row by row, each an array (1, inputs). Raises :class:`UsageError` ``usage.option`` where it cannot be called.
    """
    return _Callable(net, function, batch)


def split(place: str, form: str) -> tuple[str, str]:
    """The two parts of ``place``, with a colon in between; raises :class:`UsageError` ``usage.option``."""
    before, _, behind = place.rpartition(":")
    if not before or not behind:
        raise UsageError("usage.option", f"{place!r} does not say which function", expected=form)
    return before, behind


def cannot_start(where: str, found: str, expected: str = "", repair: str = "") -> UsageError:
    """The error of a device that is not there."""
    return UsageError("device.start", found, where=where, expected=expected, repair=repair)


def dtype_of(net: Network, question: Question) -> str:
    """The dtype of a row for a Python function."""
    if question.operation == "requantize":
        return "int32"
    return net.inputs[question.layer if question.operation == "dense" else 0].type


def place_of(question: Question) -> list[int]:
    """The arguments that come before the row."""
    return [question.layer, question.neuron][: {"run": 0, "requantize": 2}.get(question.operation, 1)]


class _Process(Device):
    """A child process and what it runs: ``task`` is what :func:`intnn.conform.worker.main` takes; ``types`` are those
    of a C function, ``None`` for Python."""

    def __init__(
        self, net: Network, name: str, task: tuple[str, str, str], timeout: float, types: tuple[str, str] | None
    ) -> None:
        super().__init__(name)
        if not timeout > 0:
            raise UsageError("usage.option", f"a timeout of {timeout} seconds", expected="more than 0")
        self._net, self._task, self._timeout, self._types = net, task, timeout, types
        self._deaths = 0
        self._folder = tempfile.TemporaryDirectory(prefix="intnn-", ignore_cleanup_errors=True)
        widest = Frame(np.dtype(np.int64), max(net.sizes)).stride
        self._path = Path(self._folder.name) / "rows"
        self._memory: Bytes = np.memmap(self._path, np.uint8, "w+", shape=(64 + max(_ROOM, 2 * widest),))
        self._child: Child | None = None
        try:
            self._started()
        except BaseException:
            self.close()
            raise

    def ask(self, question: Question, rows: Int64) -> Answers:
        """See :class:`Device`."""
        inputs, outputs = question.size(self._net)
        x_type, y_type = self._types or (dtype_of(self._net, question), "int64")
        x, y = Frame(np.dtype(x_type), inputs), Frame(np.dtype(y_type), outputs)
        most = min(_ROWS, (self._memory.size - 64) // (x.stride + y.stride))
        x_area, y_area = self._area(64, most, x), self._area(64 + most * x.stride, most, y)

        def execute(count: int) -> dict[int, Failure]:
            return self._execute(question, count, x, y, 64, 64 + most * x.stride)

        self._deaths = min(self._deaths, MOST_DEATHS - 1)
        return frame.answers(rows, x, y, x_area, y_area, execute)

    def close(self) -> None:
        """See :class:`Device`."""
        if self._child is not None:
            self._child.end()
        self._child = None
        self._memory = np.zeros(0, np.uint8)
        self._folder.cleanup()

    def _area(self, at: int, rows: int, vector: Frame) -> Bytes:
        return self._memory[at : at + rows * vector.stride].reshape(rows, vector.stride)

    def _started(self) -> Child:
        """The child; a new one where there is none. Raises :class:`UsageError` ``device.start``."""
        if self._child is not None:
            return self._child
        self._child = child = Child([*self._task, str(self._path)])
        where = ":".join(self._task[1:])
        try:
            said = child.hear(LOADING, lambda: 0)
            if not isinstance(said, dict) or not said.keys() & {"failed", "operations"}:
                raise child.nonsense(said)
        except EndedError as end:
            self._child = None
            doing = "loading it" if end.failure.kind != "hang" else f"loading it takes more than {LOADING:g} seconds"
            raise cannot_start(where, f"{doing}: {end.failure.message}") from None
        if not said.get("operations"):
            child.end()
            self._child = None
            raise self._not_loaded(where, said)
        self.operations = frozenset(said["operations"])
        return child

    def _not_loaded(self, where: str, said: dict[str, Any]) -> UsageError:
        if "failed" not in said:
            return cannot_start(where, "it is no function", "a function, or an object with a method run")
        expected = "a module on the path or in the working directory, with the function"
        if self._task[0] == "library":
            expected = "a shared library for this machine, with the function in its dynamic symbols (nm -D lists them)"
        return cannot_start(where, said["failed"], expected)

    def _execute(self, question: Question, count: int, x: Frame, y: Frame, x_at: int, y_at: int) -> dict[int, Failure]:
        """Run rows 0 to ``count`` of the shared file; the failures."""
        failures: dict[int, Failure] = {}
        first = 0
        row = self._memory[:8].view(np.int64)
        while first < count:
            if self._deaths >= MOST_DEATHS:
                return failures | {number: Failure("unasked", "") for number in range(first, count)}
            try:
                child = self._started()
            except UsageError as error:  # it was there before
                return failures | {number: Failure("unasked", error.found) for number in range(first, count)}
            row[0] = first
            where = (x_at + x.start, x.stride, x.kind.name, x.length, y_at + y.start, y.stride, y.kind.name, y.length)
            try:
                child.tell(json.dumps([question.operation, place_of(question), first, count, *where]))
                while True:
                    match child.hear(self._timeout, lambda: int(row[0])):
                        case {"done": True} if row[0] == count:
                            break
                        case {"row": int(at), "kind": "error" | "garbage" as kind, "message": str(text)} if (
                            first <= at < count
                        ):
                            failures[at] = Failure(kind, text)
                        case said:
                            raise child.nonsense(said)
            except EndedError as end:
                self._child = None
                at = min(max(int(row[0]), first), count - 1)  # within the batch, even if it overwrote the number
                failures[at] = end.failure
                self._deaths = self._deaths + 1 if at == first else 1
                first = at + 1
            else:
                self._deaths, first = 0, count
        return failures


class _Callable(Device):
    def __init__(self, net: Network, target: Any, batch: bool) -> None:
        super().__init__(getattr(target, "__qualname__", type(target).__name__))
        self._net, self._batch, self._methods = net, batch, worker.methods(target)
        if not self._methods:
            raise UsageError("usage.option", f"{self.name} cannot be called", expected="a function of one argument")
        self.operations = frozenset(self._methods)

    def ask(self, question: Question, rows: Int64) -> Answers:
        """See :class:`Device`."""
        size = question.size(self._net)[1]
        kind = dtype_of(self._net, question)
        method, place = self._methods[question.operation], place_of(question)
        if self._batch:
            try:
                return Answers(worker.integers(method(*place, rows.astype(kind)), (len(rows), size)))
            except Exception:  # whatever it raises: the rows one by one say which of them it was
                pass
        answers = Answers(np.zeros((len(rows), size), np.int64))
        for number, row in enumerate(rows.astype(kind)):
            x: Any = row[np.newaxis] if self._batch else int(row[0]) if question.operation == "requantize" else row
            shape = (1, size) if self._batch else (size,)
            try:
                answers.outputs[number] = worker.integers(method(*place, x), shape)
            except worker.NoAnswerError as error:
                answers.failures[number] = Failure("garbage", str(error))
            except (Exception, SystemExit) as error:
                answers.failures[number] = Failure("error", worker.brief(error))
        return answers
