"""Lines over streams that may block: a program's pipes, a serial port.

Threads read and write, so that nothing a device does or leaves undone can block the referee, on any platform. What has
been read and not been taken is bounded; beyond that the device is not read, and blocks by itself.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import queue
import signal
import subprocess
import threading
import time
import weakref
from collections import deque
from typing import Any

from intnn.conform.device import Failure
from intnn.conform.protocol import LONG, quoted
from intnn.errors import UsageError

CHUNK = 1 << 14
LINES = 1024
"""How many lines are read ahead at most."""

GRACE = 0.5
"""Seconds that a program whose input has ended has to end by itself."""

CHATTER = 8
"""How many of the last lines of a program's stderr a message quotes."""

BROKEN = (OSError, ValueError, TypeError)
"""What reading or writing raises when a stream ends, or is closed meanwhile: each library has its own way."""


class ClosedError(Exception):
    """The stream has ended."""


class Wire:
    """Lines to and from a device. ``attempts`` is how often to ask for a sign of life: a wire may lose bytes, a pipe
    does not."""

    attempts = 1

    def __init__(self) -> None:
        self.partial = b""
        """What has come after the last newline."""
        self._incoming: queue.Queue[str | None] = queue.Queue(LINES)
        self._outgoing: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read_all, self._write_all)]
        for thread in self._threads:
            thread.start()

    def send(self, text: str) -> None:
        """Send a line; ``text`` is ASCII."""
        self._outgoing.put(text.encode("ascii") + b"\n")

    def receive(self, deadline: float) -> str | None:
        """The next line, without newline, or ``None`` if there is none before ``deadline`` (of time.monotonic).

        Of a line longer than :data:`intnn.conform.protocol.LONG` come parts. Raises :class:`ClosedError` at the end.
        """
        left = deadline - time.monotonic()
        try:
            line = self._incoming.get(timeout=left) if left > 0 else ""
        except queue.Empty:
            return None
        if left <= 0:
            return None
        if line is None:
            self._incoming.put(None)  # the end stays the end
            raise ClosedError
        return line

    def waiting(self) -> bool:
        """Whether a line, or the end, has come."""
        return not self._incoming.empty()

    def died(self) -> Failure:
        """Why the stream has ended."""
        return Failure("closed", "the stream has ended")

    def chatter(self) -> str:
        """What the device said beside the protocol, as the end of a message."""
        return ""

    def close(self, patient: bool = True) -> None:
        """Let go of the stream, and end what is at its other end; if ``patient``, let that end by itself first."""
        self._closed.set()
        self._outgoing.put(b"")

    def _read(self) -> bytes:
        """What has come, at least a byte; none at the end."""
        raise NotImplementedError

    def _write(self, data: bytes) -> None:
        """Write all of ``data``; none is the end."""
        raise NotImplementedError

    def _read_all(self) -> None:
        with contextlib.suppress(*BROKEN):
            while chunk := self._read():
                *lines, rest = (self.partial + chunk).split(b"\n")
                for line in lines:
                    self._keep(line)
                while len(rest) > LONG:
                    self._keep(rest[: LONG + 1])
                    rest = rest[LONG + 1 :]
                self.partial = rest
        self._keep(None)

    def _keep(self, line: bytes | None) -> None:
        text = None if line is None else line.decode("latin-1")
        while not self._closed.is_set():
            with contextlib.suppress(queue.Full):
                self._incoming.put(text, timeout=0.1)
                return

    def _write_all(self) -> None:
        with contextlib.suppress(*BROKEN):  # the reader finds the end
            while data := self._outgoing.get():
                self._write(data)
        with contextlib.suppress(*BROKEN):
            self._write(b"")


class Process(Wire):
    """The pipes of a program, which runs as long as the wire is open; ``words`` are the program and its arguments.

    Raises :class:`UsageError` ``device.start`` where it cannot be started.
    """

    def __init__(self, words: list[str]) -> None:
        options: dict[str, Any] = {"start_new_session": True} if os.name == "posix" else {"creationflags": 0x200}
        try:  # in a group of its own, so that what it starts can be ended, too
            self._process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, **options
            )
        except (OSError, ValueError) as error:
            reason = str((isinstance(error, OSError) and error.strerror) or error)
            expected = "a program that is found from here or on the PATH"
            raise UsageError(
                "device.start", f"cannot be started: {reason}", where=words[0], expected=expected
            ) from None
        self._end = weakref.finalize(self, _kill, self._process)  # at our end, if nobody closes the wire
        self._said: deque[str] = deque(maxlen=CHATTER)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        super().__init__()

    def died(self) -> Failure:
        """A crash, or an end without one; with what the program last wrote to stderr."""
        try:
            status = self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            return Failure("closed", "it closed its output and runs on" + self.chatter())
        if status == 0:
            return Failure("closed", "it ended with status 0" + self.chatter())
        names = {int(number): number.name for number in signal.Signals}
        how = f"status {status}" if status > 0 else f"signal {names.get(-status, -status)}"
        return Failure("crash", f"it ended with {how}" + self.chatter())

    def chatter(self) -> str:
        """What the program last wrote to stderr."""
        if self._process.poll() is not None:
            self._listener.join(GRACE)
        said = " / ".join(line for line in [*self._said] if line.strip())
        return f"; its stderr: {quoted(said[-400:], 400)}" if said else ""

    def close(self, patient: bool = True) -> None:
        """End the program's input, give it a moment if ``patient``, then kill it and what it has started."""
        super().close()
        if patient:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE)
        self._end()
        for thread in (*self._threads, self._listener):
            thread.join(GRACE)

    def _read(self) -> bytes:
        assert self._process.stdout
        data: bytes = self._process.stdout.read(CHUNK)
        if not data:
            self._process.stdout.close()
        return data

    def _write(self, data: bytes) -> None:
        assert self._process.stdin
        if not data:
            self._process.stdin.close()
        while data:
            data = data[self._process.stdin.write(data) :]

    def _listen(self) -> None:
        assert self._process.stderr
        rest = b""
        with contextlib.suppress(*BROKEN), self._process.stderr as stream:
            while chunk := stream.read(CHUNK):
                *lines, rest = (rest[-CHUNK:] + chunk).split(b"\n")
                self._said.extend(line[-200:].decode("latin-1").rstrip("\r") for line in lines)
            self._said.append(rest[-200:].decode("latin-1"))


def _kill(process: subprocess.Popen[bytes]) -> None:
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError, PermissionError):  # all of the group have ended
            os.killpg(process.pid, signal.SIGKILL)
    elif process.poll() is None:
        process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)


class Port(Wire):
    """A serial port, ``baud`` bits a second, 8 data bits, no parity.

    Raises :class:`UsageError` ``device.start`` where it cannot be opened, ``usage.extra`` without pyserial.
    """

    attempts = 3

    def __init__(self, port: str, baud: int) -> None:
        try:
            serial = importlib.import_module("serial")
        except ImportError:
            found, repair = "a serial port needs the package pyserial", "pip install 'intnn[serial]'"
            raise UsageError("usage.extra", found, repair=repair) from None
        try:
            self._port = serial.Serial(port, baud, timeout=0.1, write_timeout=1)
        except (OSError, ValueError) as error:
            found = f"cannot be opened: {error}"
            raise UsageError(
                "device.start", found, where=port, expected="a serial port that nobody else uses"
            ) from None
        super().__init__()

    def died(self) -> Failure:
        """A port that is no longer there."""
        return Failure("closed", "the port is gone")

    def close(self, patient: bool = True) -> None:
        """Close the port."""
        super().close()
        for thread in self._threads:
            thread.join(1.5)
        self._port.close()

    def _read(self) -> bytes:
        while not self._closed.is_set():
            data: bytes = self._port.read(max(1, self._port.in_waiting))
            if data:
                return data
        return b""

    def _write(self, data: bytes) -> None:
        if data:
            self._port.write(data)
