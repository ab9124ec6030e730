"""The figure of a search: every scheme tried, its error against flash and against cycles."""

from __future__ import annotations

from collections.abc import Sequence

from intnn.conform.report.figures import safe
from intnn.floats.auto import Candidate
from intnn.formats.native import network_hash
from intnn.model import Network
from intnn.pictures import marks
from intnn.pictures.marks import Axis, Plot, number

Place = tuple[float, float]


def section(candidates: Sequence[Candidate], net: Network) -> str:
    """Two plots, error against flash and against cycles; the Pareto front is numbered, its schemes in a list."""
    front = [c for c in candidates if c.pareto]
    chosen = {id(c) for c in candidates if network_hash(c.quantized.network) == network_hash(net)}
    plots = [_plot(candidates, front, what, unit, chosen) for what, unit in (("flash", ", bytes"), ("cycles", ""))]
    names = {id(c): f"{c.scheme}{', this model' if id(c) in chosen else ''}" for c in candidates}
    listed = "".join(
        f"<li>{safe(names[id(c)])}: error {number(c.error)}, {c.flash:,} bytes, {c.cycles:,} cycles</li>" for c in front
    )
    body = [
        (str(front.index(c) + 1) if c.pareto else "", names[id(c)], number(c.error), c.flash, c.ram, c.cycles)
        for c in candidates
    ]
    table = marks.table(f"All {len(candidates)} schemes", ("", "scheme", "error", "flash", "RAM", "cycles"), body)
    drawn = "".join(f"<div>{plot}</div>" for plot in plots)
    return f'<div class="plots">{drawn}</div><ol class="front">{listed}</ol>{table}'


def _plot(candidates: Sequence[Candidate], front: Sequence[Candidate], what: str, unit: str, chosen: set[int]) -> str:
    errors = [c.error for c in candidates]
    log = min(errors) > 0 and max(errors) > 5 * min(errors)
    axis = Axis.around((getattr(c, what) for c in candidates), what + unit)
    plot = Plot(axis, Axis.around(errors, "error", log=log), height=270, right=16)

    def place(c: Candidate) -> Place:
        return plot.px(getattr(c, what)), plot.py(c.error)

    rest = [c for c in candidates if not c.pareto]
    content = plot.points(((getattr(c, what), c.error) for c in rest), "quiet medium")
    content += plot.points(((getattr(c, what), c.error) for c in front), "integer large")
    for x, y in (place(c) for c in candidates if id(c) in chosen):
        content += f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="8"><title>this model</title></circle>'
    taken = [place(c) for c in front]
    for i, c in enumerate(front, 1):
        x, y = _beside(place(c), taken, plot)
        taken.append((x, y))
        content += f'<text class="strong" x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle">{i}</text>'
    says = f"error against {what} of {len(candidates)} schemes, {len(front)} of them on the Pareto front"
    return plot.svg(content, says)


def _beside(dot: Place, taken: Sequence[Place], plot: Plot) -> Place:
    """Where the number of ``dot`` goes: near it, within the plot, and off the places ``taken`` if that can be."""
    around = ((0, -1), (1, 0), (-1, 0), (0, 1), (1, -1), (-1, 1), (1, 1), (-1, -1))
    places = [(dot[0] + r * dx, dot[1] + r * dy) for r in (14, 19, 25) for dx, dy in around]
    for x, y in places:
        inside = plot.left + 6 < x < plot.width - 4 and plot.top < y < plot.height - plot.bottom - 6
        if inside and all(abs(x - a) > 12 or abs(y - b) > 10 for a, b in taken if (a, b) != dot):
            return x, y
    return places[0]
