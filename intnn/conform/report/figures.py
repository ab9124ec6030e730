"""The drawings of the HTML page: coverage by layer and event, and the heat map of layers and neurons."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from html import escape

from intnn.conform.report import words
from intnn.conform.verdict import Event, Report

COLUMNS = 64
"""Neurons side by side in the heat map; a phone still shows as many."""

_CELL, _MARGIN = 10, 26

FATES = {
    "shown": "reached, and the output shows it",
    "reached": "reached, but the output does not show it",
    "missed": "not reached",
    "unreachable": "provably unreachable",
}


def safe(value: object) -> str:
    """Text of a file or a device for HTML: escaped, on one line."""
    return escape(words.printable(str(value)))


# --- coverage ------------------------------------------------------------------------------------------------------


def coverage(events: Sequence[Event]) -> str:
    """A table, events by layers, with a bar a cell, and what was not reached by name."""
    cells: dict[tuple[str, int], list[Event]] = defaultdict(list)
    for event in events:
        cells[event.name, event.layer].append(event)
    names, layers = list(dict.fromkeys(name for name, _ in cells)), sorted({layer for _, layer in cells})
    head = "".join(f"<th>layer {layer}</th>" for layer in layers)
    body = "".join(
        f"<tr><td>{safe(name)}</td>" + "".join(_cell(cells.get((name, layer), [])) for layer in layers) + "</tr>"
        for name in names
    )
    by_layer = [[event for event in events if event.layer == layer] for layer in layers]
    total = "".join(_cell(mine) for mine in by_layer)
    key = "".join(f'<span><i class="{fate}"></i>{text}</span>' for fate, text in FATES.items())
    table = f"<tr><th>event</th>{head}</tr>{body}<tr><td><strong>all</strong></td>{total}</tr>"
    lines = "".join(f"<p>{safe(line)}</p>" for line in words.coverage_lines(events))
    note = '<p class="soft">The numbers: neurons where it was reached, of those where it is not proved unreachable.</p>'
    return f'{lines}<p class="key">{key}</p><div class="scroll"><table class="matrix">{table}</table></div>{note}' + (
        _missed(events)
    )


def _cell(events: Sequence[Event]) -> str:
    if not events:
        return "<td></td>"
    c = words.cover(events)
    bars, left = "", 0.0
    for fate, number in c._asdict().items():
        width = 100 * number / len(events)
        bars += f'<rect class="{fate}" x="{left:.2f}" y="0" width="{width:.2f}" height="8"/>' if number else ""
        left += width
    words_ = ", ".join(f"{number} {FATES[fate]}" for fate, number in c._asdict().items() if number)
    svg = f'<svg viewBox="0 0 100 8" preserveAspectRatio="none" role="img"><title>{words_}</title>{bars}</svg>'
    number = f"{c.shown + c.reached:,}/{c.possible:,}" if c.possible else "none"
    return f'<td>{svg}<span class="number">{number}</span></td>'


def _missed(events: Sequence[Event], most: int = 12) -> str:
    """The events that were not reached though nothing proves them unreachable: their neurons, as ranges."""
    neurons: dict[tuple[int, str], list[int]] = defaultdict(list)
    for event in events:
        if not event.reached and not event.unreachable:
            neurons[event.layer, event.name].append(event.neuron)
    if not neurons:
        return ""
    items = [
        f"<li>layer {layer}, {safe(name)}: {'neuron' if len(where) == 1 else 'neurons'} {ranges(where)}</li>"
        for (layer, name), where in neurons.items()
    ]
    rest = f"<li>and {len(items) - most:,} more</li>" if len(items) > most else ""
    return f"<p>Not reached:</p><ul>{''.join(items[:most])}{rest}</ul>"


def ranges(numbers: Sequence[int], most: int = 12) -> str:
    """``0 to 3, 7``: neighbours together, at most ``most`` ranges."""
    runs: list[list[int]] = []
    for n in sorted(numbers):
        if runs and runs[-1][1] == n - 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    shown = [f"{a}" if a == b else f"{a} to {b}" for a, b in runs[:most]]
    left = sum(b - a + 1 for a, b in runs[most:])
    return ", ".join(shown) + (f" and {left:,} more" if left else "")


# --- the heat map --------------------------------------------------------------------------------------------------


def heat(report: Report) -> str:
    """A block a layer: a cell a neuron, darker the more inputs it differs on, and the neurons that differ most."""
    top = max((v for row in report.heat for v in row), default=0)
    limits = levels(top)
    key = '<span><i class="h0"></i>none</span>'
    for level, (low, high) in enumerate(zip(limits, [*(v - 1 for v in limits[1:]), top], strict=True), 1):
        if low <= high:
            text = f"{low:,}" if low == high else f"{low:,} to {high:,}"
            key += f'<span><i class="h{level}"></i>{text}</span>'
    layers = "".join(
        _layer(k, size, row, observed, limits)
        for k, (size, row, observed) in enumerate(
            zip(report.sizes[1:], report.heat, report.heat_observed, strict=False)
        )
    )
    return f'<p class="key">inputs on which a neuron differs: {key}</p>{layers}'


def levels(top: int) -> list[int]:
    """The least count of each of the five shades, a factor of three apart below ``top``, the largest count."""
    return [1, *(max(shade, top // divisor + 1) for shade, divisor in ((2, 81), (3, 27), (4, 9), (5, 3)))]


def _layer(k: int, size: int, row: Sequence[int], observed: bool, limits: Sequence[int]) -> str:
    title = f"layer {k} <span>{words.count(size, 'neuron')}, "
    if not row:
        unknown = "unknown: the device does not show it, and no explanation tells"
        return f'<div class="layer"><h3>{title}{unknown}</span></h3></div>'
    how = "observed" if observed else "inferred from the best explanation"
    differ = sorted((-count, neuron) for neuron, count in enumerate(row) if count)
    most = ", ".join(f"neuron {neuron} on {-count:,}" for count, neuron in differ[:4])
    text = f"{len(differ):,} {'differs' if len(differ) == 1 else 'differ'}: {most}" if differ else "none differs"
    if len(differ) > 4:
        text += ", ..."
    columns, lines = min(COLUMNS, size), -(-size // COLUMNS)
    width, height = _MARGIN + columns * _CELL, lines * _CELL
    numbers = "".join(f'<text x="0" y="{line * _CELL + 8}">{line * COLUMNS}</text>' for line in range(lines))
    equal, cells = "", ""
    for neuron, times in enumerate(row):
        x, y = _MARGIN + neuron % COLUMNS * _CELL, neuron // COLUMNS * _CELL
        if not times:
            equal += f"M{x} {y}h9v9h-9z"
            continue
        shade = sum(times >= low for low in limits)
        tip = f"neuron {neuron}: differs on {words.count(times, 'input')}"
        cells += f'<rect class="h{shade}" x="{x}" y="{y}" width="9" height="9"><title>{tip}</title></rect>'
    svg = (
        f'<svg viewBox="0 0 {width} {height}" width="{width * 1.4:.0f}" role="img" aria-label="layer {k}: {text}">'
        f'{numbers}<path class="h0" d="{equal}"/>{cells}</svg>'
    )
    kind = "" if observed else " inferred"
    return f'<div class="layer{kind}"><h3>{title}{how}; {text}</span></h3>{svg}</div>'
