"""Objects that a Python file makes, named FILE.py:NAME: the file is run, as whoever names it asks for."""

from __future__ import annotations

import re
import runpy
import sys
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

from intnn.errors import ForeignModelError
from intnn.formats.native import read_bytes


def named(place: str) -> tuple[str, str] | None:
    """The file and the name of ``FILE.py:NAME``; None if ``place`` is something else."""
    found = re.fullmatch(r"(.+\.py):(\w+)", place, re.DOTALL)
    return (found[1], found[2]) if found else None


def made_by(path: str, name: str) -> Any:
    """What the Python file ``path`` calls ``name`` once it has run; it runs once, however many names are asked for.

    Raises :class:`FileError` ``file.read``, :class:`ForeignModelError` ``weights.file``.
    """
    names = _run(str(Path(path).resolve()), read_bytes(path))
    if name not in names:
        known = ", ".join(n for n in names if not n.startswith("_"))[:200]
        expected = f"one of {known}" if known else "a name that the file defines"
        raise ForeignModelError("weights.file", f"no {name}", expected=expected)
    return names[name]


@cache
def _run(path: str, content: bytes) -> dict[str, Any]:
    """The names of the file ``path``, which holds ``content``; what it prints goes to stderr."""
    folder = str(Path(path).parent)
    sys.path.insert(0, folder)  # as for a script, which imports what lies beside it
    try:
        with redirect_stdout(sys.stderr):
            return runpy.run_path(path, run_name="intnn_weights")
    except SystemExit as error:
        raise ForeignModelError("weights.file", f"it ended with exit code {error.code or 0}") from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever the script raises is its own mistake
        found = f"running it raised {type(error).__name__}: {str(error)[:200]}"
        raise ForeignModelError("weights.file", found, repair=f"python {path} shows where") from None
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
