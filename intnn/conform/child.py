"""The process that :mod:`intnn.conform.worker` is, seen from its parent: messages with deadlines, and how it ended."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import IO, Any

from intnn.conform import worker
from intnn.conform.device import Failure


class EndedError(Exception):
    """The child is gone: how it looks as a ``failure``."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


class Child:
    """The process. Two threads read its pipes, because a pipe that is waited for with a deadline is not portable."""

    def __init__(self, task: list[str]) -> None:
        command = [sys.executable, "-P", worker.__file__, *task]
        options: dict[str, Any] = {"start_new_session": True} if os.name == "posix" else {}
        self._process = subprocess.Popen(  # in a group of its own, so that what it starts can be ended, too
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, **options
        )
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._tail = b""
        self._threads = [threading.Thread(target=read, daemon=True) for read in (self._listen, self._overhear)]
        for thread in self._threads:
            thread.start()

    def _listen(self) -> None:
        pipe = self._pipe(self._process.stdout)
        rest = b""
        while piece := pipe.read(65536):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                self._lines.put(line)
        self._lines.put(b"")

    def _overhear(self) -> None:
        pipe = self._pipe(self._process.stderr)
        while piece := pipe.read(65536):
            self._tail = (self._tail + piece)[-2000:]

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        return pipe

    def tell(self, line: str) -> None:
        """Send a line. Raises :class:`EndedError`."""
        try:
            self._pipe(self._process.stdin).write(line.encode("ascii") + b"\n")
        except OSError:
            raise self._ended("crash") from None

    def hear(self, timeout: float, progress: Callable[[], int]) -> Any:
        """The next message. Raises :class:`EndedError` where the process ends, writes no JSON, or neither says
        anything nor makes ``progress`` for ``timeout`` seconds."""
        seen, since = progress(), time.monotonic()
        while True:
            try:
                line = self._lines.get(timeout=min(timeout / 4, 0.2))
            except queue.Empty:
                now = progress()
                if now > seen:  # code that forks may count twice, from an earlier row
                    seen, since = now, time.monotonic()
                elif time.monotonic() - since > timeout:
                    raise self._ended("hang", f"none within {timeout:g} s") from None
                elif (
                    self._process.poll() is not None and self._lines.empty()
                ):  # its own children may keep the pipe open
                    raise self._ended("crash") from None
                continue
            if not line:
                raise self._ended("crash")
            try:
                return json.loads(line)
            except ValueError:
                raise self.nonsense(line.decode(errors="replace")) from None

    def nonsense(self, said: Any) -> EndedError:
        """The end of a child whose message is none of the worker's."""
        return self._ended("garbage", f"it wrote into a pipe that is not its own: {str(said)[:60]!r}")

    def _ended(self, kind: str, message: str = "") -> EndedError:
        if kind == "crash":
            try:
                self._process.wait(1)
            except subprocess.TimeoutExpired:
                message = "it closed its pipes"
            else:
                message = status(self._process.returncode)
        self.end()
        said = " | ".join(self._tail.decode(errors="replace").strip().splitlines()[-3:])
        return EndedError(Failure(kind, message + (f"; it said: {said[-300:]}" if said else "")))

    def end(self) -> None:
        """End it and everything that belongs to it."""
        if os.name == "posix":
            with contextlib.suppress(ProcessLookupError, PermissionError):  # all of the group have ended
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        for thread in self._threads:
            thread.join(1)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            self._pipe(pipe).close()


def status(code: int) -> str:
    """How a process ended: the name of a signal, or its exit status."""
    if code >= 0:
        return f"exit status {code if code < 256 else hex(code)}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
