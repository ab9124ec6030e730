"""The child process that runs code under test: it loads it, answers batches in shared memory, and may die of it.

:mod:`intnn.conform.process` starts this file as a script, so that it imports nothing of the package and is there soon.
Commands are JSON lines on its standard input; what it says is JSON lines on what was its standard output. What the code
under test prints goes to standard error, where its complaints go as well.

Rows lie in a file that both processes map: number ``row`` of a batch has its input at ``x + row * x_stride`` and its
output at ``y + row * y_stride``. The file begins with the number of the row at hand (int64), so that the parent knows
which row it was that ended the process.
"""

from __future__ import annotations

import ctypes
import importlib
import inspect
import json
import mmap
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

OPERATIONS = ("run", "layer", "dense", "requantize")


class Batch(NamedTuple):
    """A command: ``first`` to ``rows`` of a batch, the ``operation`` with its ``place`` (layer; neuron), and where the
    vectors lie: offset, stride in bytes, NumPy dtype and length."""

    operation: str
    place: list[int]
    first: int
    rows: int
    x: int
    x_stride: int
    x_type: str
    x_size: int
    y: int
    y_stride: int
    y_type: str
    y_size: int


Say = Callable[[dict[str, Any]], None]


class NoAnswerError(Exception):
    """What a function returned is no answer."""


def methods(target: Any) -> dict[str, Callable[..., Any]]:
    """What ``target`` offers, by operation: the methods of an object (of a new one, if it is a class) that has ``run``;
    else it is itself ``run``."""
    if inspect.isclass(target):
        target = target()
    if callable(getattr(target, "run", None)):
        return {name: getattr(target, name) for name in OPERATIONS if callable(getattr(target, name, None))}
    return {"run": target} if callable(target) else {}


def integers(result: Any, shape: tuple[int, ...]) -> Any:
    """``result`` as an int64 array of ``shape``; raises :class:`NoAnswerError`. One integer may be no array."""
    import numpy as np

    expected = f"where {' x '.join(map(str, shape))} integers are expected"
    try:
        array = np.asarray(result)
    except (ValueError, OverflowError):
        raise NoAnswerError(f"no rectangular array, {expected}") from None
    if array.dtype.kind not in "iu":
        kind = type(result).__name__ if array.dtype.kind == "O" else f"an array of {array.dtype}"
        raise NoAnswerError(f"{kind}, {expected}")
    if array.shape != shape and not (array.shape == () and shape == (1,)):
        raise NoAnswerError(f"an array of shape {array.shape}, {expected}")
    if array.size and int(array.max()) >= 1 << 63:
        raise NoAnswerError(f"{int(array.max())}, which no output type holds")
    return array.astype(np.int64).reshape(shape)


def brief(error: BaseException) -> str:
    """An exception in one line, and the place it was raised at: ``ValueError: too small (model.py, line 3)``."""
    said = " ".join(traceback.format_exception_only(error)[-1].split())[:300]
    frames = traceback.extract_tb(error.__traceback__)
    ours = (__file__, ctypes.__file__, importlib.__file__)
    own = [frame for frame in frames if frame.filename not in ours and not frame.filename.startswith("<frozen ")]
    return f"{said} ({os.path.basename(own[-1].filename)}, line {own[-1].lineno})" if own else said


class Library:
    """``void function(const IN *x, OUT *y)`` in a shared library."""

    operations = ("run",)

    def __init__(self, path: str, name: str) -> None:
        self._function = getattr(ctypes.CDLL(path), name)
        self._function.argtypes, self._function.restype = (ctypes.c_void_p, ctypes.c_void_p), None

    def answer(self, batch: Batch, shared: mmap.mmap, say: Say) -> None:
        """Call the function for each row, on addresses in the shared file."""
        row, function = ctypes.c_int64.from_buffer(shared), self._function
        base = ctypes.addressof(row)
        x, y, x_stride, y_stride = base + batch.x, base + batch.y, batch.x_stride, batch.y_stride
        for number in range(batch.first, batch.rows):  # kept short: this is the time an inference takes
            row.value = number
            function(x + number * x_stride, y + number * y_stride)
        row.value = batch.rows


class Module:
    """A Python function, or an object with methods."""

    def __init__(self, module: str, name: str) -> None:
        sys.path.insert(0, os.getcwd())
        target = importlib.import_module(module)
        for part in name.split("."):
            target = getattr(target, part)
        self._methods = methods(target)
        self.operations = tuple(self._methods)

    def answer(self, batch: Batch, shared: mmap.mmap, say: Say) -> None:
        """Call the function for each row, on an array of its own."""
        import numpy as np

        row = ctypes.c_int64.from_buffer(shared)
        for number in range(batch.first, batch.rows):
            row.value = number
            x: Any = np.frombuffer(shared, batch.x_type, batch.x_size, batch.x + number * batch.x_stride).copy()
            y = np.frombuffer(shared, batch.y_type, batch.y_size, batch.y + number * batch.y_stride)
            if batch.operation == "requantize":
                x = int(x[0])
            try:
                y[:] = integers(self._methods[batch.operation](*batch.place, x), y.shape)
            except NoAnswerError as error:
                say({"row": number, "kind": "garbage", "message": str(error)})
            except Exception as error:  # whatever it raises is the answer to this row
                say({"row": number, "kind": "error", "message": brief(error)})
        row.value = batch.rows


def main(kind: str, place: str, name: str, path: str) -> None:
    """Serve commands until standard input ends, which it does with the parent."""
    with suppress(ImportError, ValueError, OSError):  # not on every system
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # crashes are to be expected; their core files are of no use
    said = os.fdopen(os.dup(1), "w", encoding="ascii")
    asked = os.fdopen(os.dup(0), encoding="ascii")
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    commands: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in asked:
            commands.put(line)
        os._exit(0)  # the parent is gone, whatever the code under test is doing

    def say(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=said, flush=True)

    threading.Thread(target=listen, daemon=True).start()
    try:
        under_test: Library | Module = (Library if kind == "library" else Module)(place, name)
    except (Exception, SystemExit) as error:
        say({"failed": brief(error), "error": type(error).__name__})
        return
    say({"operations": under_test.operations})
    with open(path, "r+b") as file:
        shared = mmap.mmap(file.fileno(), 0)
    while True:
        under_test.answer(Batch(*json.loads(commands.get())), shared, say)
        say({"done": True})


if __name__ == "__main__":
    main(*sys.argv[1:])
