"""C compilers: which are there, their version, and one way to run them.

``gcc``, ``clang`` and ``arm-none-eabi-gcc`` are looked for on the PATH; ``zig``, the clang and linker of the zig
tool chain, is the PyPI package ``ziglang``, which compiles for every target of :mod:`intnn.targets.emulate`.
"""

from __future__ import annotations

import functools
import importlib.util
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from intnn.errors import UsageError
from intnn.targets.extra import load

COMPILERS = ("gcc", "clang", "arm-none-eabi-gcc", "zig")

FREESTANDING = ("-std=c99", "-ffreestanding", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables")
"""What every freestanding compilation gets. Unwind tables would be flash that firmware in C does not carry."""


@dataclass(frozen=True)
class Compiler:
    """A compiler that is there: its ``name`` (one of :data:`COMPILERS`), the ``command`` that starts it, and the
    ``version`` it states of itself (``12.2.1``; zig's with that of its clang: ``0.17.1, clang 22.1.8``)."""

    name: str
    command: tuple[str, ...]
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    def level(self, name: str) -> tuple[str, ...]:
        """The options for level ``name``, as in -O1. Of itself, zig takes -O1 and -O3 for -O2, and -Oz for -Os."""
        return (f"-O{name}", "-Xclang", f"-O{name}") if self.name == "zig" else (f"-O{name}",)

    def run(self, *arguments: str, folder: Path) -> None:
        """Run the compiler in ``folder``; raises :class:`UsageError` ``target.compile`` with what it says."""
        if self.name == "zig":  # which makes a debug build trap on undefined behaviour, and so need a runtime
            arguments = ("-fno-sanitize=undefined", *arguments)
        done = subprocess.run((*self.command, *arguments), cwd=folder, capture_output=True, text=True, errors="replace")
        if done.returncode:
            said = "\n".join(done.stderr.strip().splitlines()[:12])
            raise UsageError(
                "target.compile",
                f"{self} cannot compile this: {said}",
                expected="one C99 file that includes <stdint.h> only and defines the function asked for",
            )

    def link(self, *arguments: str, folder: Path) -> None:
        """Link without start files; with the compiler's helper functions only if the objects need any.

        Asking for them in vain costs zig the five seconds of building its library for a new target and level.
        """
        group = ("-Wl,--start-group", "-lgcc", *self._libc, "-Wl,--end-group")
        helpers = ("-nostartfiles",) if self.name == "zig" else ("-nostdlib", *group)
        try:
            self.run("-nostdlib", *arguments, folder=folder)
        except UsageError:
            self.run(*arguments, *helpers, folder=folder)

    @property
    def _libc(self) -> tuple[str, ...]:
        """memcpy and memset, which gcc may call from any code, are in a libc that a bare gcc lacks."""
        answer = subprocess.run((*self.command, "-print-file-name=libc.a"), capture_output=True, text=True).stdout
        return ("-lc",) if Path(answer.strip()).is_absolute() else ()


def c_type(dtype: npt.DTypeLike) -> str:
    """The C type of an integer dtype: ``int8_t``, ``uint8_t``, ..."""
    return f"{np.dtype(dtype).name}_t"


@functools.cache
def find(name: str) -> Compiler | None:
    """The compiler ``name``, or ``None`` if it is not installed; ``usage.compiler`` if there is no such compiler."""
    if name not in COMPILERS:
        raise UsageError("usage.compiler", f"no compiler {name!r}", expected=f"one of {', '.join(COMPILERS)}")
    if name == "zig":
        if importlib.util.find_spec("ziglang") is None:
            return None
        command: tuple[str, ...] = (sys.executable, "-m", "ziglang", "cc")
        return Compiler(name, command, f"{_ask(*command[:-1], 'version')}, clang {_ask(*command, '--version')}")
    path = shutil.which(name)
    return Compiler(name, (path,), _ask(path, "--version")) if path else None


def require(name: str) -> Compiler:
    """The compiler ``name``; raises :class:`UsageError` ``usage.compiler``, or ``usage.extra`` if zig is missing."""
    compiler = find(name)
    if compiler is None and name == "zig":
        load("ziglang")  # for its error
    if compiler is None:
        raise UsageError("usage.compiler", f"{name} is not on the PATH", repair="install it, or use another compiler")
    return compiler


def _ask(*command: str) -> str:
    """The version in the first line that ``command`` prints: its last number with two dots or more."""
    line = (subprocess.run(command, capture_output=True, text=True).stdout.splitlines() or [""])[0]
    numbers: list[str] = re.findall(r"\d+(?:\.\d+){2,}", line)
    return numbers[-1] if numbers else line or "of unknown version"
