"""What the figures are made of: rows of bars that stretch with the page, strips of neurons, and plots of two axes.

Text never stretches: rows and strips place their marks in percent of the width, and a plot is about as wide as it is on
a phone, so that its text has its size everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from intnn.conform.report.figures import safe
from intnn.conform.report.words import count

MINUS = "\u2212"


def number(value: float) -> str:
    """Three significant digits, or all of an integer: ``0.0341``, ``12,549``, ``1.2e-05``."""
    if value == 0 or not math.isfinite(value):
        text = "0" if value == 0 else str(value)
    elif float(value).is_integer() and abs(value) < 1e15:
        text = f"{int(value):,}"
    elif abs(value) >= 1000:
        text = f"{value:,.0f}" if abs(value) < 1e9 else f"{value:.2e}"
    else:
        text = f"{value:.3g}"
    return text.replace("-", MINUS)


def percent(share: float) -> str:
    """A share in percent; only all is ``100 %``, and only nothing ``0 %``."""
    text = f"{100 * share:.1f}" if 0 < share < 1 else f"{100 * share:.0f}"
    if 0 < share < 0.001:
        text = "< 0.1"
    if 0.999 < share < 1:
        text = "> 99.9"
    return f"{text} %"


def power(exponent: int, negative: bool = False) -> str:
    """``2^16`` for SVG, the exponent raised."""
    return f'{MINUS if negative else ""}2<tspan dy="-4" class="exponent">{exponent}</tspan>'


# --- rows of bars --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bar:
    """A bar from ``low`` to ``high``, shares of the width; ``kind`` is its class in the style; ``thin`` goes inside."""

    low: float
    high: float
    kind: str
    thin: bool = False


@dataclass(frozen=True)
class Row:
    """A line of a figure: ``name`` before it, ``value`` after it (both text), ``says`` all of it in words."""

    name: str
    bars: Sequence[Bar]
    value: str
    says: str
    marks: Sequence[float] = ()
    begins: bool = False  # a group of rows


def rows(lines: Iterable[Row], ticks: Sequence[tuple[float, str]]) -> str:
    """Rows above one axis; ``ticks`` are its places, shares of the width, and its labels, SVG text."""
    grid = "".join(f'<line class="grid" x1="{_at(place)}" x2="{_at(place)}" y1="0" y2="100%"/>' for place, _ in ticks)
    body = ""
    for line in lines:
        bars = "".join(_bar(bar) for bar in line.bars)
        marks = "".join(f'<line class="mark" x1="{_at(m)}" x2="{_at(m)}" y1="1" y2="19"/>' for m in line.marks)
        body += (
            f'<div class="line{" begins" if line.begins else ""}"><span class="name">{safe(line.name)}</span>'
            f'<svg width="100%" height="20" role="img" aria-label="{safe(line.says)}">{grid}{bars}{marks}</svg>'
            f'<span class="value">{safe(line.value)}</span></div>'
        )
    return f'<div class="lines">{body}{_axis(ticks)}</div>'


def _bar(bar: Bar) -> str:
    width = max(bar.high - bar.low, 0.003)  # what is there is to be seen
    left = min(bar.low, 1 - width)
    y, height = (7, 6) if bar.thin else (3, 14)
    return f'<rect class="{bar.kind}" x="{_at(left)}" y="{y}" width="{_at(width)}" height="{height}"/>'


def _axis(ticks: Sequence[tuple[float, str]]) -> str:
    labels = "".join(
        f'<text x="{_at(place)}" y="13" text-anchor="{_anchor(place)}">{label}</text>'
        for place, label in ticks
        if label
    )
    return (
        f'<div class="line axis" aria-hidden="true"><span class="name"></span><svg width="100%" height="20">{labels}'
        '</svg><span class="value"></span></div>'
    )


def _anchor(place: float) -> str:
    return "start" if place < 0.02 else "end" if place > 0.98 else "middle"


def _at(share: float) -> str:
    return f"{100 * share:.2f}%"


# --- strips of neurons ---------------------------------------------------------------------------------------------

COLUMNS = 128
"""Columns of a strip; where there are more neurons, neighbours share one."""


@dataclass(frozen=True)
class Column:
    """One neuron, or neighbours, in a strip: bars (low, high, class) on the strip's axis, and in words."""

    bars: Sequence[tuple[float, float, str]]
    says: str


def columns(neurons: int) -> list[range]:
    """The neurons of each column of a strip."""
    each = -(-neurons // COLUMNS)
    return [range(i, min(i + each, neurons)) for i in range(0, neurons, each)]


def neuron(which: range) -> str:
    """``neuron 3``, ``neurons 4 to 7``."""
    return f"neuron {which[0]}" if len(which) == 1 else f"neurons {which[0]} to {which[-1]}"


def strip(
    content: Sequence[Column],
    neurons: int,
    axis: tuple[float, float],
    ticks: Sequence[tuple[float, str]],
    says: str,
    *,
    beside: str = "",
    height: int = 110,
) -> str:
    """Columns side by side on an upright ``axis`` (least, most) with ``ticks``; ``beside`` is a :func:`margin`."""
    low, high = axis

    def y(value: float) -> float:
        return height * (high - value) / (high - low)

    grid = ""
    for value, label in ticks:
        up = y(value)
        grid += f'<line class="grid" x1="0" x2="100%" y1="{up:.1f}" y2="{up:.1f}"/>'
        grid += f'<text x="-6" y="{min(max(up + 4, 8), height):.1f}" text-anchor="end">{label}</text>'
    width = "wide" if len(content) <= 24 else "middling" if len(content) <= 48 else "narrow"
    marks = ""
    for i, column in enumerate(content):
        bars = ""
        for bottom, top, kind in column.bars:
            size = max(y(bottom) - y(top), 1.0)
            begin = min(y(top), height - size)
            at = _at((i + 0.5) / len(content))
            bars += f'<line class="bar {kind}" x1="{at}" x2="{at}" y1="{begin:.1f}" y2="{begin + size:.1f}"/>'
        marks += f"<g><title>{safe(column.says)}</title>{bars}</g>"
    first, last = f'<text x="0" y="{height + 14}">neuron 0</text>', ""
    if neurons > 1:
        last = f'<text x="100%" y="{height + 14}" text-anchor="end">{neurons - 1}</text>'
    svg = (
        f'<svg class="{width}" width="100%" height="{height + 18}" role="img" aria-label="{safe(says)}">'
        f"{grid}{marks}{first}{last}</svg>"
    )
    return f'<div class="strip">{svg}{beside}</div>'


def margin(counts: Sequence[float], says: str, *, height: int = 110) -> str:
    """How often each value occurs, lying on its side beside a strip: ``counts`` from the least value to the most.

    Lengths are square roots, so that a clamp at which half of all values lie does not hide the others.
    """
    most, size = max(counts), height / len(counts)
    path = "".join(
        f"M0 {height - (i + 1) * size:.2f}h{72 * math.sqrt(count / most):.2f}v{size:.2f}H0z"
        for i, count in enumerate(counts)
        if count
    )
    return (
        f'<svg class="margin" width="72" height="{height + 18}" role="img" aria-label="{safe(says)}">'
        f'<path class="shown" d="{path}"/><text x="0" y="{height + 14}">how often, √</text></svg>'
    )


# --- plots of two axes ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Axis:
    """One axis of a plot: from ``low`` to ``high``, logarithmic or not, and what it measures."""

    low: float
    high: float
    title: str
    log: bool = False
    labelled: tuple[float, ...] = ()

    def share(self, value: float) -> float:
        """Where ``value`` lies, 0 at ``low``, 1 at ``high``."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    @property
    def ticks(self) -> list[float]:
        """The values ``labelled``, else round ones within the axis, about five."""
        if self.labelled:
            return list(self.labelled)
        if not self.log:
            return nice(self.low, self.high)
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for steps in ((1,), (1, 3), (1, 2, 5)):
            found = [s * 10.0**d for d in decades for s in steps if self.low <= s * 10.0**d <= self.high]
            if len(found) >= 3:
                return found
        return found

    @classmethod
    def around(cls, values: Iterable[float], title: str, *, log: bool = False, zero: bool = False) -> Axis:
        """An axis that holds ``values`` with some room; ``zero``: and 0 at its lower end."""
        held = [float(v) for v in values]
        low, high = min(held), max(held)
        if log:
            room = max((high / low) ** 0.1, 1.1)
            return cls(low / room, high * room, title, log=True)
        if zero:
            return cls(0.0, high * 1.06 or 1.0, title)
        room = 0.05 * (high - low) or abs(high) * 0.05 or 1.0
        return cls(low - room, high + room, title)


def nice(low: float, high: float, about: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten within [``low``, ``high``], about so many."""
    step = 10.0 ** math.floor(math.log10((high - low) / about))
    step *= next(m for m in (1, 2, 5, 10) if (high - low) / (m * step) <= about + 0.5)
    return [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


@dataclass(frozen=True)
class Plot:
    """A plot of fixed proportions; places are given in the units of its axes."""

    x: Axis
    y: Axis
    width: int = 330
    height: int = 230
    left: int = 46
    right: int = 12
    top: int = 24

    bottom = 40

    def px(self, value: float) -> float:
        """The place of ``value`` on the horizontal axis."""
        return self.left + (self.width - self.left - self.right) * self.x.share(value)

    def py(self, value: float) -> float:
        """The place of ``value`` on the upright axis."""
        return self.height - self.bottom - (self.height - self.top - self.bottom) * self.y.share(value)

    def text(self, x: float, y: float, text: str, *, anchor: str = "start", kind: str = "", dx: float = 0) -> str:
        """``text`` beside the place (x, y)."""
        name = f' class="{kind}"' if kind else ""
        return (
            f'<text{name} x="{self.px(x) + dx:.1f}" y="{self.py(y) + 4:.1f}" text-anchor="{anchor}">{safe(text)}</text>'
        )

    def points(self, pairs: Iterable[tuple[float, float]], kind: str) -> str:
        """Dots, as one path: each a line without length and with round ends."""
        spots = dict.fromkeys(f"M{self.px(x):.1f} {self.py(y):.1f}h0" for x, y in pairs)  # dots on one spot are one
        return f'<path class="dots {kind}" d="{"".join(spots)}"/>'

    def curve(self, pairs: Iterable[tuple[float, float]], kind: str) -> str:
        """A line through the places."""
        d = "L".join(f"{self.px(x):.1f} {self.py(y):.1f}" for x, y in pairs)
        return f'<path class="curve {kind}" d="M{d}"/>'

    def svg(self, content: str, says: str, *, upright: bool = True) -> str:
        """The plot with its axes; ``upright`` is whether the upright axis shows its ticks."""
        base, end = self.height - self.bottom, self.width - self.right
        axes = f'<line class="rule" x1="{self.left}" x2="{end}" y1="{base}" y2="{base}"/>'
        for value in self.x.ticks:
            at = self.px(value)
            axes += f'<line class="rule" x1="{at:.1f}" x2="{at:.1f}" y1="{base}" y2="{base + 4}"/>'
            axes += f'<text x="{at:.1f}" y="{base + 16}" text-anchor="middle">{number(round(value, 12))}</text>'
        for value in self.y.ticks if upright else ():
            at = self.py(value)
            axes += f'<line class="grid" x1="{self.left}" x2="{end}" y1="{at:.1f}" y2="{at:.1f}"/>'
            axes += f'<text x="{self.left - 6}" y="{at + 4:.1f}" text-anchor="end">{number(round(value, 12))}</text>'
        titles = f'<text class="title" x="{end}" y="{base + 33}" text-anchor="end">{safe(self.x.title)}</text>'
        titles += f'<text class="title" x="2" y="12">{safe(self.y.title)}</text>'
        return (
            f'<svg class="plot" viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{safe(says)}">'
            f"{axes}{content}{titles}</svg>"
        )


# --- tables --------------------------------------------------------------------------------------------------------


LINES = 300
"""Lines of a table; what is left out is counted."""


def table(summary: str, head: Sequence[str], body: Iterable[Sequence[str | float]]) -> str:
    """The figures of a section, folded away: text to the left, numbers to the right."""
    lines = [list(line) for line in body]
    right = [all(isinstance(line[i], int | float) for line in lines) for i in range(len(head))]
    kinds = [' class="number"' if r else "" for r in right]
    cells = "".join(f"<th{kind}>{safe(name)}</th>" for name, kind in zip(head, kinds, strict=True))
    content = "".join(
        "<tr>"
        + "".join(
            f"<td{kind}>{safe(cell) if isinstance(cell, str) else number(cell)}</td>"
            for cell, kind in zip(line, kinds, strict=True)
        )
        + "</tr>"
        for line in lines[:LINES]
    )
    if len(lines) > LINES:
        content += f'<tr><td colspan="{len(head)}">and {count(len(lines) - LINES, "more line")}</td></tr>'
    return (
        f"<details><summary>{safe(summary)}</summary>"
        f'<div class="scroll"><table><tr>{cells}</tr>{content}</table></div></details>'
    )
