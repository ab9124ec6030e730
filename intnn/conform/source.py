"""A C file as a device: evaluated as C defines it, without a compiler, or compiled and run."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from intnn import firmware
from intnn.ccheck import batch
from intnn.ccheck.cmodel import MODELS
from intnn.ccheck.source import NotInSubset, Source, read
from intnn.conform import elf, process
from intnn.conform.device import Answers, Device, Failure, Int64, Question
from intnn.errors import UsageError
from intnn.model import Network
from intnn.targets import cost
from intnn.targets.compilers import Compiler, c_type, find, require
from intnn.targets.host import HOST_COMPILERS

TARGETS = (*HOST_COMPILERS, "cortex-m0")

_SUFFIX = {"win32": ".dll", "darwin": ".dylib"}

# The compiler says whether the function takes what it will be given; the file may have any name for the types.
_CHECK = """
#include <stdint.h>
_Static_assert(
    _Generic(&{name}, void (*)(const {x} *, {y} *): 1, void (*)({x} *, {y} *): 1, default: 0),
    "{name} is not of the form void {name}(const {x} x[], {y} y[])");
"""


def c_source(
    net: Network,
    path: str,
    function: str | None = None,
    target: str | None = None,
    optimize: str = "2",
    timeout: float = 5.0,
) -> Device:
    """The C file ``path`` and the headers beside it. ``function`` is its name, if not the only one that is not static.

    Without a ``target`` it is evaluated as on a machine with 32-bit int, where an input to which C gives no meaning
    is a failure ``trap``; what C leaves to the implementation is as compilers for ARM have it; C that cannot be
    evaluated is compiled by the first compiler of this machine instead. With a target it is compiled at level
    ``optimize``: by ``gcc``, ``clang`` or ``zig``, and run as :func:`intnn.conform.process.library` with ``timeout``
    seconds a row; or for ``cortex-m0``, and run as :func:`intnn.conform.elf.elf`. :attr:`Device.facts` say which way
    it went, and why.

    Raises :class:`FileError` ``file.read``; :class:`UsageError`: ``usage.target``, ``usage.option``,
    ``usage.compiler``, ``usage.extra``, ``target.compile``, ``device.start``; ``c.subset`` where the C cannot be
    evaluated and no compiler is there, or where the function has to be named.
    """
    if target is not None and target not in TARGETS:
        raise UsageError("usage.target", f"no target {target!r}", expected=f"one of {', '.join(TARGETS)}")
    firmware.check_level(optimize)
    text, headers = firmware.read_c(path)
    if target is None:
        try:
            return _Evaluated(net, path, read(text, path, headers), function)
        except NotInSubset as refusal:
            found = next((compiler for compiler in HOST_COMPILERS if find(compiler)), None)
            if found is None:
                raise UsageError(
                    "c.subset",
                    refusal.message,
                    where=refusal.where or path,
                    expected="C in the subset of docs/verifying-c.md, or a compiler",
                    repair="install gcc, clang or the PyPI package ziglang",
                ) from None
            why = f"; it cannot be evaluated without one: {refusal.where or path}: {refusal.message}"
    else:
        found, why = target, ""
    name, types = firmware.signature(text, headers, path, net, function)
    source, label = firmware.one_file(text, headers), f"{name} of {Path(path).name}"
    if types == (net.input.type, net.output.type):  # perhaps only assumed
        source += _CHECK.format(name=name, x=c_type(types[0]), y=c_type(types[1]))
    if found == "cortex-m0":
        tool = find("arm-none-eabi-gcc") or require("zig")
        image = cost.build(source, name, tool, optimize)
        device: Device = elf.Emulated(net, label, image, image.symbols[name][0], types=types)
        del device.facts["start code"]  # there is none
    else:
        tool = require(found)
        device = _Compiled(net, label, source, name, tool, optimize, timeout, types)
    device.facts["compiler"] = f"{tool} -O{optimize}{why}"
    return device


class _Evaluated(Device):
    """C in the verifier's subset. Raises :class:`NotInSubset`, and as :func:`intnn.ccheck.batch.find_entry`."""

    def __init__(self, net: Network, path: str, source: Source, function: str | None) -> None:
        self._net, self._source, self._model = net, source, MODELS["int32"]._replace(usual=True)
        entry = batch.entry_of(source, net, self._model, function)
        super().__init__(f"{entry.name} of {Path(path).name}")
        self._function, self._refusal = entry.name, ""
        ends = np.tile([[net.input.min], [net.input.max]], net.sizes[0])
        batch.evaluate(source, net, ends, self._model, entry.name)  # some refusals show in execution only
        self.facts["compiler"] = "none: evaluated, with 32-bit int"

    def ask(self, question: Question, rows: Int64) -> Answers:
        """See :class:`Device`."""
        nothing = np.zeros((len(rows), self._net.sizes[-1]), np.int64)
        if not self._refusal:
            try:
                result = batch.evaluate(self._source, self._net, rows, self._model, self._function)
            except NotInSubset as refusal:
                self._refusal = f"{refusal.where}: {refusal.message}; --target compiles it"
            else:
                failures = {
                    row: Failure("trap", f"{trap.where}: {trap.kind}" if trap.where else trap.kind)
                    for row, trap in result.traps.items()
                }
                if len(failures) == len(rows):  # there are no outputs
                    return Answers(nothing, failures)
                result.outputs[list(failures)] = 0
                return Answers(result.outputs, failures)
        return Answers(nothing, {row: Failure("error", self._refusal) for row in range(len(rows))})


class _Compiled(Device):
    """C that a compiler of this machine has made a shared library of, and the process that runs it."""

    def __init__(
        self,
        net: Network,
        name: str,
        source: str,
        function: str,
        compiler: Compiler,
        optimize: str,
        timeout: float,
        types: tuple[str, str],
    ) -> None:
        super().__init__(name)
        self._folder = tempfile.TemporaryDirectory(prefix="intnn-", ignore_cleanup_errors=True)
        folder = Path(self._folder.name)
        try:
            file = build(source, compiler, optimize, folder)
            self._library = process.shared_object(net, str(file), function, name, timeout, types)
        except BaseException:
            self._folder.cleanup()
            raise

    def ask(self, question: Question, rows: Int64) -> Answers:
        """See :class:`Device`."""
        return self._library.ask(question, rows)

    def close(self) -> None:
        """See :class:`Device`."""
        self._library.close()
        self._folder.cleanup()


def build(source: str, compiler: Compiler, optimize: str, folder: Path) -> Path:
    """The shared library in ``folder`` that ``compiler`` makes of C text. Raises :class:`UsageError`
    ``target.compile``."""
    name = f"model{_SUFFIX.get(sys.platform, '.so')}"
    (folder / "model.c").write_text(source, encoding="utf-8")
    position = () if sys.platform == "win32" else ("-fPIC",)
    compiler.run(*compiler.level(optimize), "-shared", *position, "model.c", "-o", name, folder=folder)
    return folder / name
