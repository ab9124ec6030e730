"""The optional packages of the targets, imported only where they are needed."""

from __future__ import annotations

import importlib
from typing import Any

from intnn.errors import UsageError


def load(module: str) -> Any:
    """The module by name; raises :class:`UsageError` ``usage.extra`` if its package is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        package = {"elftools": "pyelftools"}.get(module.partition(".")[0], module.partition(".")[0])
        found = f"compiling for other machines and running there needs the package {package}"
        raise UsageError("usage.extra", found, repair="pip install 'intnn[targets]'") from None
