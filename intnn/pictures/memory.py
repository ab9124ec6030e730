"""The memory map: what fills flash and RAM, by the emitted C and what its compiler made of it."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from intnn import emit
from intnn.conform.report.figures import safe
from intnn.conform.report.words import count
from intnn.errors import IntnnError
from intnn.model import Network
from intnn.pictures import marks
from intnn.pictures.marks import Bar, Row, percent
from intnn.targets.cost import Budget, Cost


class Part(NamedTuple):
    """Something in memory, by name, and its ``size`` in bytes."""

    name: str
    size: int


_BYTES = {"int8_t": 1, "uint8_t": 1, "int16_t": 2, "uint16_t": 2, "int32_t": 4, "uint32_t": 4}


def tables(source: str, net: Network) -> list[Part]:
    """The constant tables of the C ``source`` emitted for ``net`` with the prefix ``net``, as it declares them.

    For each layer: its weights, a byte each; its biases; and the rest, numbers of requantization, which may lie among
    the weights, and the zeros that fill up what a kernel takes at a time.
    """
    sizes = {"weights": [0] * len(net.layers), "bias": [0] * len(net.layers), "": [0] * len(net.layers)}
    for kind, name, number, dimensions in re.findall(
        r"^static const (\w+) net_([a-z_]+)(\d+)((?:\[\d+\])+) = ", source, re.M
    ):
        size = _BYTES[kind] * math.prod(int(n) for n in re.findall(r"\d+", dimensions))
        sizes[name if name in sizes else ""][int(number)] += size
    parts = []
    for k, layer in enumerate(net.layers):
        weights, bias, rest = (of[k] for of in sizes.values())
        own = min(weights, layer.weights.size)
        parts += [Part(f"layer {k} weights", own), Part(f"layer {k} biases", bias)]
        parts.append(Part(f"layer {k} requantization, padding", rest + weights - own))
    return [part for part in parts if part.size]


def buffers(source: str) -> int:
    """Bytes of the vectors that ``net_run`` keeps on its stack."""
    body = source[source.rindex("net_run(") :]
    return sum(_BYTES[kind] * int(n) for kind, n in re.findall(r"^    (\w+_t) \w+\[(\d+)\];", body, re.M))


def section(net: Network, cost: Cost | str, budget: Budget) -> str:
    """Flash and RAM against ``budget``; only the tables where the cost is not known, and why."""
    try:
        source = emit.emit_c(net, "net")
    except IntnnError as error:
        return f'<p class="note">No C can be emitted, so there is no map: {safe(error.found)}.</p>'
    parts, kept = tables(source, net), buffers(source)
    if isinstance(cost, str):
        note = f'<p class="note">Code, stack and cycles are not known here: {safe(cost)}.</p>'
        return note + _map("Flash", parts, budget.flash, "constant tables alone")
    flash = list(parts)
    rest = cost.tables - sum(part.size for part in parts)
    if rest > 0:
        flash.append(Part("padding and constants of the compiler", rest))
    elif rest < 0:  # a table may have been folded into the code
        flash = [Part("tables", cost.tables)]
    flash += [Part("code", cost.code), Part("compiler's helpers", cost.helpers), Part("initial values", cost.data)]
    ram = [
        Part("variables", cost.data + cost.bss),
        Part("stack: vectors between layers", min(kept, cost.stack)),
        Part("stack: all else", cost.stack - min(kept, cost.stack)),
    ]
    by = f"{cost.target}, {cost.compiler} {cost.version}, -O{cost.optimize}"
    text = f'<p class="note">Measured on {safe(by)}. Not counted: what calls the network, its input and its output.</p>'
    return text + _map("Flash", flash, budget.flash) + _map("RAM", ram, budget.ram) + _cycles(cost)


def _map(name: str, parts: list[Part], given: int, what: str = "") -> str:
    """A bar of all against what is given, and below it each part, to the scale of all."""
    parts = [part for part in parts if part.size]
    total = sum(part.size for part in parts)
    share = total / given if given else 1.0
    over = share > 1
    whole = Row(
        what or "all",
        [Bar(0, min(share, 1), "missed" if over else "shown")],
        percent(share),
        f"{name}: {total:,} of {given:,} bytes",
        marks=(1.0,),
    )
    ticks = [(0.0, "0"), (0.25, ""), (0.5, f"{given // 2:,}"), (0.75, ""), (1.0, f"{given:,} bytes")]
    lines, begin = [], 0
    for part in parts:
        bar = Bar(begin / total, (begin + part.size) / total, "reached")
        lines.append(Row(part.name, [bar], f"{part.size:,}", f"{name}: {part.name}, {count(part.size, 'byte')}"))
        begin += part.size
    scale = [(0.0, "0"), (0.25, ""), (0.5, ""), (0.75, ""), (1.0, f"{total:,} bytes")]
    detail = marks.rows(lines, scale)
    body = [(part.name, part.size, percent(part.size / total)) for part in parts]
    table = marks.table(f"{name}, part by part", ("part", "bytes", "share"), body)
    excess = f'<p class="note">{total - given:,} bytes too many.</p>' if over else ""
    return (
        f"<h3>{name} <span>{total:,} of {given:,} bytes</span></h3>{marks.rows([whole], ticks)}{excess}{detail}{table}"
    )


def _cycles(cost: Cost) -> str:
    """What each layer takes of an inference's cycles."""
    told = [(layer.name, layer.cycles, layer.macs) for layer in cost.layers if layer.cycles is not None]
    if not told or not cost.cycles:
        return ""
    lines, begin = [], 0
    for name, cycles, macs in told:
        bar = Bar(begin / cost.cycles, (begin + cycles) / cost.cycles, "reached")
        each = f", {cycles / macs:.2f} a multiply-accumulate" if macs else ""
        lines.append(Row(name, [bar], f"{cycles:,}", f"{name}: {cycles:,} cycles{each}"))
        begin += cycles
    ticks = [(0.0, "0"), (0.25, ""), (0.5, ""), (0.75, ""), (1.0, f"{cost.cycles:,} cycles")]
    body = [(name, cycles, macs, f"{cycles / macs:.2f}" if macs else "") for name, cycles, macs in told]
    head = ("layer", "cycles", "multiply-accumulates", "cycles each")
    table = marks.table("Cycles, layer by layer", head, body)
    return f"<h3>Cycles <span>{cost.cycles:,} an inference</span></h3>{marks.rows(lines, ticks)}{table}"
