"""A report for a terminal: what matters first, a line for each thing to know."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator

from intnn.conform.report import words
from intnn.conform.verdict import Report

MOST = 6
"""Groups, and names, that are listed before the rest is only counted."""

_COLORS = {"pass": "32", "mismatch": "31", "died": "35"}
_LABEL = 10


def render(report: Report, *, color: bool = False, width: int = 100) -> str:
    """``report`` as text in lines of at most ``width`` columns (40 or more), ASCII; the last line ends with a newline.

    ``color`` adds ANSI colours. The command that reproduces the campaign stands on a line of its own, never broken.
    """
    width = max(40, width)
    head = textwrap.wrap(_ascii(f"{words.word(report)}: {words.headline(report)}"), width, subsequent_indent="  ")
    lines = [_paint(line, f"1;{_COLORS[report.outcome]}", color) for line in head]
    for label, text in rows(report):
        first = _paint(f"  {label:<{_LABEL}} ", "2", color)
        indent = " " * (_LABEL + 3)
        wrapped = textwrap.wrap(_ascii(text), width - len(indent), break_on_hyphens=False)
        lines.append(first + wrapped[0])
        lines += [indent + line for line in wrapped[1:]]
    if report.command:
        lines.append(_paint("  reproduce", "2", color))
        lines.append(f"    {_ascii(words.printable(report.command))}")
    return "\n".join(lines) + "\n"


def show(report: Report) -> None:
    """Print ``report`` on stdout: with rich if that is installed and stdout is a terminal, else as plain text."""
    if sys.stdout.isatty():
        try:
            _show_rich(report)
        except ImportError:  # an optional package; without it the same text without a frame
            print(render(report, width=shutil.get_terminal_size().columns), end="")
    else:
        print(render(report), end="")


def _show_rich(report: Report) -> None:
    from rich.console import Console
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    style = {"pass": "green", "mismatch": "red", "died": "magenta"}[report.outcome]
    head = Text(words.headline(report))
    console.print(Panel(head, title=Text(words.word(report), f"bold {style}"), title_align="left", border_style=style))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in rows(report):
        grid.add_row(label, Text(text))
    console.print(grid)
    if report.command:
        console.print(Text("reproduce", "dim"))
        console.print(Text(words.printable(report.command), "bold"), soft_wrap=True)


def rows(report: Report) -> Iterator[tuple[str, str]]:
    """What there is to say below the headline: (label, text); a label is empty where the one before goes on."""
    mismatch = report.mismatch
    if mismatch is not None:
        yield "input", f"{words.vector(mismatch.x)}, the smallest {words.asked(mismatch)} found to fail"
        yield "expected", words.vector(mismatch.expected)
        yield "got", words.vector(mismatch.got)
        if len(mismatch.expected) > 1:
            yield "differs", words.differences(mismatch)
        if mismatch.location is not None:
            yield "where", words.place(mismatch.location)
            yield "there", words.arithmetic(mismatch.location)
    yield from _list("diagnosis", words.diagnosis(report))
    if mismatch is not None:
        yield "found", words.found(mismatch, report.diagnosis)
    if report.flaky is not None:
        yield "flaky", words.flaky_line(report.flaky)
    yield from _list("failures", words.failure_lines(report.failures))
    yield from _list("protocol", words.failure_lines(report.notes))
    yield from _list("coverage", words.coverage_lines(report.events))
    notable = [group for group in report.groups if not group.passed or group.name in report.expected_failures]
    notable.sort(key=lambda group: (group.passed, group.name in report.expected_failures))  # what counts comes first
    lines = [f"{words.printable(group.name)}: {words.group_line(group, report)}" for group in notable]
    lines += [f"{words.printable(name)}: expected to fail, but not a group here" for name in _missing(report)]
    rest = [f"and {words.count(len(lines) - MOST, 'more group')}"] if len(lines) > MOST else []
    yield from _list("groups", [*lines[:MOST], *rest])
    model = [words.printable(report.model), "-".join(map(str, report.sizes)), f"sha256 {report.sha256[:16]}"]
    yield "model", ", ".join(model)
    facts = [f"{words.printable(name)}: {words.printable(value)}" for name, value in report.facts.items()]
    yield "device", "; ".join([words.printable(report.device), f"offers {', '.join(report.operations)}", *facts])


def _missing(report: Report) -> tuple[str, ...]:
    return words.missing_expectations(report)


def _list(label: str, lines: list[str]) -> Iterator[tuple[str, str]]:
    yield from zip([label, *[""] * (len(lines) - 1)], lines, strict=False)


def _paint(text: str, code: str, color: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if color else text


def _ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode("ascii")
