"""A progress bar on stderr, where that is a terminal and rich is installed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(before: str, during: str) -> Iterator[Callable[[int, int], None]]:
    """Gives a function to tell how many of how many are done; the bar is called ``before`` until it is first called,
    then ``during``."""
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:
        terminal = False
    else:
        terminal = sys.stderr.isatty()
    if not terminal:
        yield lambda done, of: None
        return
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(before, total=None)
        yield lambda done, of: bar.update(task, description=during, completed=done, total=of)
