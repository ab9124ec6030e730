"""What ``intnn quantize`` and ``intnn train`` print, from the documents that --json gives."""

from __future__ import annotations

from typing import Any

from intnn.floats.scheme import Scheme


def quantized(document: dict[str, Any]) -> str:
    """What ``intnn quantize`` prints: the scheme, what each step cost, the proof, and the C."""
    lines = _head(document)
    if document["candidates"]:
        lines += ["", *_pareto(document), ""]
    lines += [*_steps(document), _proved(document)]
    if "c" in document:
        c = document["c"]
        lines.append(
            f"{c['file']}: {c['status']}: computes {document['model']}, for every input, on {', '.join(c['models'])}"
        )
    if "cost" in document:
        c = document["cost"]
        lines.append(
            f"  {c['flash']} bytes of flash, {c['ram']} bytes of RAM, {c['cycles']} cycles on a {c['target']}, "
            f"by {c['compiler']} {c['version']} -O{c['optimize']}"
        )
    return "\n".join(lines)


def _steps(document: dict[str, Any]) -> list[str]:
    """The attribution as a table: each step's error, and what it added."""
    metric, against = document["metric"], document["reference"]
    first = document["steps"][0]["error"]
    head = f"{metric} against the {against}, {document['samples']:,} samples"
    # Where there is no target, the outputs' standard deviation says how much an error is.
    base = first or (document["spread"] if metric == "RMSE" else 0)
    relative = ("of float" if first else "of spread") if base else ""
    rows = [("after this step", metric, "change", relative)]
    before = None
    for step in document["steps"]:
        error = step["error"]
        change = "" if before is None else f"{_figure(metric, error - before, '+')}"
        share = f"{error / base:.3f}" if base else ""
        rows.append((step["name"], _figure(metric, error), change, share))
        before = error
    widths = [max(len(row[c]) for row in rows) for c in range(4)]
    table = [f"  {a:{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}".rstrip() for a, b, c, d in rows]
    return [f"  what it cost: {head}", *table]


def _pareto(document: dict[str, Any]) -> list[str]:
    """The candidates that no other beats, as a table."""
    metric, tried = document["metric"], document["candidates"]
    lines = [
        f"  {len(tried)} schemes tried; the others are no better than one of these in error, flash and cycles; * taken",
        f"    {metric:>10}  {'flash':>6}  {'RAM':>5}  {'cycles':>7}  scheme",
    ]
    for c in tried:
        if c["pareto"] or c["chosen"]:
            mark, error = "*" if c["chosen"] else " ", _figure(metric, c["error"])
            figures = f"{error:>10}  {c['flash']:>6}  {c['ram']:>5}  {c['cycles']:>7}"
            lines.append(f"  {mark} {figures}  {Scheme(**c['scheme'])}")
    return lines


def _figure(metric: str, value: float, sign: str = "") -> str:
    return f"{100 * value:{sign}.2f} %" if metric == "error rate" else f"{value:{sign}.5g}"


def trained(document: dict[str, Any]) -> str:
    """What ``intnn train`` prints: the errors of floats, of the quantized network and of the trained one."""
    first = document["errors"]["floats"]
    lines = [
        *_head(document),
        f"  {document['metric']} on {document['rows']['validation']:,} rows held back, "
        f"of {sum(document['rows'].values()):,}",
    ]
    for name, error in document["errors"].items():
        share = f"  {error / first:.3f} of float" if first and name != "floats" else ""
        lines.append(f"  {name:20}{_figure(document['metric'], error):>10}{share}")
    return "\n".join([*lines, _proved(document)])


def _head(document: dict[str, Any]) -> list[str]:
    size = "-".join(map(str, document["sizes"]))
    return [f"{document['model']}: {size}: {Scheme(**document['scheme'])}", f"  sha256 {document['sha256']}"]


def _proved(document: dict[str, Any]) -> str:
    bits = ", ".join(f"{bits} bits in layer {i}" for i, bits in enumerate(document["headroom_bits"]))
    return f"  proved: no value leaves int32, for any input in the declared range; headroom {bits}"
