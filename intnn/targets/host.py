"""C on this machine, compiled with whatever compiler is there.

The file becomes a program of its own, which reads rows of inputs and writes rows of outputs: code that crashes cannot
take Python along, and sanitizers, which must be there when a process starts, need nothing special.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from intnn.errors import UsageError
from intnn.targets.compilers import COMPILERS, c_type, find, require

HOST_COMPILERS = ("gcc", "clang", "zig")
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
"""What emitted C compiles under without a warning."""

SECONDS = 60
"""How long a batch may take."""

REPAIR = "intnn verify, or a sanitizer, names loops without end and accesses out of bounds"

# Arrays of the exact sizes, so that a sanitizer sees every access beyond them.
_DRIVER = """
#include <stdint.h>
#include <stdio.h>
void {function}(const {x_type} *x, {y_type} *y);
int main(void) {{
    {x_type} x[{inputs}];
    {y_type} y[{outputs}];
    while (fread(x, sizeof x, 1, stdin) == 1) {{
        {function}(x, y);
        if (fwrite(y, sizeof y, 1, stdout) != 1) return 1;
    }}
    return 0;
}}
"""


def run(
    source: str,
    function: str,
    x: npt.NDArray[Any],
    outputs: int,
    output_type: npt.DTypeLike,
    *,
    compiler: str | None = None,
    flags: Sequence[str] = ("-O2",),
) -> npt.NDArray[Any]:
    """What ``void function(const IN x[], OUT y[])`` in the C text ``source`` computes on this machine.

    ``x`` holds the inputs, of shape (batch, inputs) and in the C type's dtype; the result has shape (batch, outputs)
    and dtype ``output_type``. ``compiler`` is one of :data:`HOST_COMPILERS`; ``None`` takes the first installed.
    ``flags`` apply to ``source``. Raises :class:`UsageError`: ``usage.compiler``, ``usage.extra``, ``target.compile``;
    ``target.run`` where the program fails or a sanitizer speaks.
    """
    if compiler is not None and compiler in COMPILERS and compiler not in HOST_COMPILERS:
        raise UsageError("usage.compiler", f"{compiler} is not for this machine", expected=", ".join(HOST_COMPILERS))
    installed = (name for name in HOST_COMPILERS if find(name))
    tool = require(compiler or next(installed, "zig"))
    kind = np.dtype(output_type)
    sizes = {"inputs": x.shape[1], "outputs": outputs, "x_type": c_type(x.dtype), "y_type": c_type(kind)}
    sanitizers = [flag for flag in flags if flag.startswith("-fsanitize")]  # which need their libraries
    with tempfile.TemporaryDirectory(prefix="intnn-") as name:
        folder = Path(name)
        (folder / "model.c").write_text(source)
        (folder / "driver.c").write_text(_DRIVER.format(function=function, **sizes))
        tool.run(*flags, "-c", "model.c", "-o", "model.o", folder=folder)
        tool.run(*sanitizers, "driver.c", "model.o", "-o", "program", folder=folder)
        data = np.ascontiguousarray(x).tobytes()
        try:
            done = subprocess.run([folder / "program"], input=data, capture_output=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            found = f"it does not end within {SECONDS} seconds"
            raise UsageError("target.run", found, where="the compiled function", repair=REPAIR) from None
    said = done.stderr.decode(errors="replace").strip()
    if done.returncode or said:
        found = f"it fails with status {done.returncode}" + (f": {said[:2000]}" if said else "")
        expected = "a function that only computes"
        raise UsageError("target.run", found, where="the compiled function", expected=expected, repair=REPAIR)
    if len(done.stdout) != len(x) * outputs * kind.itemsize:
        raise UsageError("target.run", "it ends the program", where="the compiled function")
    return np.frombuffer(done.stdout, kind).reshape(len(x), outputs).copy()
