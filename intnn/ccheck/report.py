"""A verdict as a person reads it, and as JSON."""

from __future__ import annotations

from typing import Any

from intnn.ccheck.cmodel import MODELS
from intnn.ccheck.verify import PROVED, UNPROVED, UNSUPPORTED, WRONG, Verdict
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
        done = f"; proved on {', '.join(verdict.models)}" if verdict.models else ""
        lines.append(f"  on           {verdict.model}{done}")
    lines.append(f"  because      {f'{verdict.where}: ' if verdict.where else ''}{verdict.reason}")
    if verdict.counterexample is not None:
        found = verdict.counterexample
        lines.append(f"  input        {brief(found.x)}")
        lines.append(f"  expected     {brief(found.expected)}")
        lines.append(f"  got          {found.trap if found.got is None else brief(found.got)}")
    return "\n".join(lines)


def document(verdict: Verdict) -> dict[str, Any]:
    """The verdict as plain data."""
    found = verdict.counterexample
    fields = {name: value for name, value in vars(verdict).items() if name != "counterexample"}
    return {**fields, "models": list(verdict.models), "counterexample": vars(found) if found is not None else None}


def brief(values: list[int]) -> str:
    """A vector, shortened in the middle if it is long."""
    shown = [str(v) for v in values]
    if len(shown) > 24:
        shown[20:-3] = [f"... {len(shown) - 23} more ..."]
    return "[" + ", ".join(shown) + "]"
