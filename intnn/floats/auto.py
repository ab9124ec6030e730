"""The search for a scheme: every combination worth a look, its error measured, its C compiled, its cycles counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt

from intnn import emit, engines
from intnn.errors import IntnnError, UsageError
from intnn.firmware import network_cost
from intnn.floats.meaning import decode, encode, error
from intnn.floats.network import FloatNetwork
from intnn.floats.quantize import Quantized, quantize
from intnn.floats.scheme import Scheme
from intnn.targets.cost import Budget

ACTIVATIONS = ("int8", "int16")  # uint8 is int8 with another zero point after ReLU: the same numbers, the same cost
REQUANTIZE = ("power-of-two", "8-bit", "15-bit", "q31")


@dataclass(frozen=True, eq=False)
class Candidate:
    """A scheme tried: its ``error`` on the data, ``flash`` and ``ram`` in bytes, ``cycles`` on a Cortex-M0.

    ``pareto``: no other candidate is at least as good in error, flash and cycles, and better in one.
    """

    scheme: Scheme
    quantized: Quantized
    error: float
    flash: int
    ram: int
    cycles: int
    pareto: bool = False


def schemes(base: Scheme) -> Iterator[Scheme]:
    """The schemes to try: all activations, grains and requantizations; other choices as ``base`` has them."""
    for activations, weights, per_channel, requantize in product(
        ACTIVATIONS, ("int8", "int4"), (True, False), REQUANTIZE
    ):
        yield replace(base, activations=activations, weights=weights, per_channel=per_channel, requantize=requantize)


def search(
    source: FloatNetwork,
    calib: npt.ArrayLike,
    x: npt.ArrayLike,
    target: npt.ArrayLike,
    *,
    base: Scheme = Scheme(),  # noqa: B008  # frozen
    input_range: tuple[int, int] | None = None,
    compiler: str | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> tuple[tuple[Candidate, ...], tuple[tuple[Scheme, IntnnError], ...]]:
    """Every scheme of :func:`schemes`, the least error first, and those that the network does not admit, with the
    reason.

    Errors are measured on ``x`` (batch, inputs) against ``target``; costs are those of ``intnn cost`` with
    ``compiler``. ``progress`` is told how many of how many schemes are done. Raises as
    :func:`intnn.floats.quantize.quantize` for bad samples, and :class:`UsageError` ``usage.compiler`` or
    ``usage.extra`` where nothing can compile.
    """
    found: list[Candidate] = []
    refused: list[tuple[Scheme, IntnnError]] = []
    tried = list(schemes(base))
    for done, scheme in enumerate(tried):
        progress(done, len(tried))
        try:
            q = quantize(source, calib, scheme=scheme, input_range=input_range)
        except IntnnError as problem:
            if problem.code != "quantize.overflow":
                raise
            refused.append((scheme, problem))
            continue
        net = q.network
        y = decode(net, engines.run(net, encode(net, np.asarray(x)), engine="fast"))
        cost = network_cost(net, emit.emit_c(net, "net"), compiler=compiler)
        found.append(Candidate(scheme, q, error(y, target), cost.flash, cost.ram, cost.cycles))
    ordered = sorted(found, key=lambda c: (c.error, c.cycles, c.flash))
    return tuple(replace(c, pareto=not any(_dominates(other, c) for other in found)) for c in ordered), tuple(refused)


def choose(candidates: tuple[Candidate, ...], budget: Budget) -> Candidate:
    """The candidate of least error within ``budget``. Raises :class:`UsageError` ``quantize.budget``."""
    fitting = [c for c in candidates if c.flash <= budget.flash and c.ram <= budget.ram]
    if not fitting:
        least = min((c.flash for c in candidates), default=0), min((c.ram for c in candidates), default=0)
        raise UsageError(
            "quantize.budget",
            f"none of {len(candidates)} schemes fits {budget.flash} bytes of flash and {budget.ram} of RAM",
            expected=f"at least {least[0]} bytes of flash and {least[1]} of RAM, the least that any scheme needs",
            repair="a larger --budget, or a smaller network",
        )
    return min(fitting, key=lambda c: (c.error, c.cycles, c.flash))


def _dominates(a: Candidate, b: Candidate) -> bool:
    mine, theirs = (a.error, a.flash, a.cycles), (b.error, b.flash, b.cycles)
    return all(m <= t for m, t in zip(mine, theirs, strict=True)) and mine != theirs
