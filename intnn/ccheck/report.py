"""A verdict as a person reads it, and as JSON."""

from __future__ import annotations

from typing import Any

from intnn.ccheck.cmodel import MODELS
from intnn.ccheck.verify import PROVED, UNPROVED, UNSUPPORTED, WRONG, Verdict
from intnn.errors import UsageError
from intnn.model import Network
from intnn.version import SPEC_VERSION


def text(verdict: Verdict, path: str, model: str, net: Network) -> str:
    """What was found out about the C file ``path``, and relative to what; a few lines."""
    if verdict.status == PROVED:
        names = ", ".join(f"{m} (int {MODELS[m].int_bits}, long {MODELS[m].long_bits})" for m in verdict.models)
        neurons, weights = sum(net.sizes[1:]), sum(layer.weights.size for layer in net.layers)
        return "\n".join(
            [
                f"{path}: proved: {verdict.function} computes {model}, for every input in the declared range",
                f"  outputs      equal the specification's, through {neurons} neurons and {weights} weights",
                "  absent       overflow, shifts or conversions out of range, reads out of bounds or of nothing,",
                "               whatever else C leaves undefined or to the implementation",
                f"  on           {names}",
                f"  relative to  specification {SPEC_VERSION}, this checker and pycparser; not to what compilers do",
            ]
        )
    head = {
        WRONG: "WRONG",
        UNPROVED: "not proved, and no input found that shows it wrong",
        UNSUPPORTED: "not in the subset",
    }
    lines = [f"{path}: {head[verdict.status]}"]
    if verdict.model:
        done = f"; on {', '.join(verdict.models)} it is proved" if verdict.models else ""
        lines.append(f"  on           {verdict.model}{done}")
    lines.append(f"  because      {f'{verdict.where}: ' if verdict.where else ''}{verdict.reason}")
    if verdict.counterexample is not None:
        found = verdict.counterexample
        lines.append(f"  input        {brief(found.x)}")
        lines.append(f"  expected     {brief(found.expected)}")
        lines.append(f"  got          {found.trap if found.got is None else brief(found.got)}")
    return "\n".join(lines)


HINTS = {
    "shifted right (impl": "x < 0 ? ~(~x >> s) : x >> s is the same shift, and compilers make one instruction of it",
    "long ": "use int32_t: long has 64 bits on LP64; or --int-bits 16",
}
"""Repairs, by a part of the reason."""


def document(verdict: Verdict, path: str, model: str) -> dict[str, Any]:
    """The verdict as plain data."""
    found = verdict.counterexample
    return {
        "file": path,
        "model": model,
        "status": verdict.status,
        "code": verdict.code,
        "function": verdict.function,
        "proved_on": list(verdict.models),
        "failed_on": verdict.model,
        "where": verdict.where,
        "reason": verdict.reason,
        "counterexample": vars(found) if found is not None else None,
    }


def error(verdict: Verdict, path: str) -> UsageError:
    """A verdict other than "proved" as an error with its repair."""
    expected, repair = {
        WRONG: ("", ""),
        UNPROVED: (
            "C that can be followed to the specification's activations",
            "compute and store each in one place",
        ),
        UNSUPPORTED: ("C in the subset of docs/verifying-c.md", "write it in the subset, or test it with run --target"),
    }[verdict.status]
    for kind, hint in HINTS.items():
        if kind in verdict.reason:
            repair = hint
            break
    else:
        if verdict.model == "int16" and verdict.models:
            repair = "use int32_t before it overflows; if no target has a 16-bit int, --int-bits 32"
    return UsageError(verdict.code, verdict.reason, where=verdict.where or path, expected=expected, repair=repair)


def brief(values: list[int]) -> str:
    """A vector, shortened in the middle if it is long."""
    shown = [str(v) for v in values]
    if len(shown) > 24:
        shown[20:-3] = [f"... {len(shown) - 23} more ..."]
    return "[" + ", ".join(shown) + "]"
