"""The verdict on a C file: proved, wrong with an input that shows it, not proved, or not in the subset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from intnn.ccheck import specification
from intnn.ccheck.batch import Entry, Evaluation, evaluate, find_entry, run_entry
from intnn.ccheck.cmodel import MODELS, DataModel
from intnn.ccheck.compiler import Program
from intnn.ccheck.source import NotInSubset, Source, deep, read
from intnn.ccheck.specification import Specification
from intnn.ccheck.symbols import Doubt, Sum, Symbols
from intnn.ccheck.values import UNSET, Trap
from intnn.errors import ModelError, UsageError
from intnn.model import Network

Int64 = npt.NDArray[np.int64]

PROVED, WRONG, UNPROVED, UNSUPPORTED = "proved", "wrong", "not proved", "not in the subset"


@dataclass(frozen=True)
class Counterexample:
    """An input for which the C is wrong: ``got`` and ``expected`` are the outputs; where C gives the input no meaning,
    ``trap`` says what it does and ``got`` is ``None``."""

    x: list[int]
    expected: list[int]
    got: list[int] | None
    trap: str


@dataclass(frozen=True)
class Verdict:
    """What was found out about a C file.

    ``status`` is "proved", "wrong", "not proved" or "not in the subset". ``models`` are the data models that were
    proved; ``model``, ``where`` and ``reason`` say on which one, at which ``file:line`` and why a proof failed;
    ``counterexample`` is there when the status is "wrong".
    """

    status: str
    function: str = ""
    models: tuple[str, ...] = ()
    model: str = ""
    where: str = ""
    reason: str = ""
    counterexample: Counterexample | None = field(default=None)

    @property
    def code(self) -> str:
        """The error code of a verdict other than "proved"."""
        return {WRONG: "c.wrong", UNPROVED: "c.unproved", UNSUPPORTED: "c.subset"}.get(self.status, "")

    @property
    def proved(self) -> bool:
        """Whether the C equals the specification for every input, on every data model asked for."""
        return self.status == PROVED


def verify_c(
    source: str,
    net: Network,
    *,
    function: str | None = None,
    models: Sequence[str] = tuple(MODELS),
    headers: Mapping[str, str] | None = None,
    name: str = "source.c",
) -> Verdict:
    """Prove that C ``source`` computes ``net`` for every input in the declared range, or say why not.

    ``function`` is the C function, by default the only one that is not static; ``models`` are names from
    :data:`~intnn.ccheck.cmodel.MODELS`; ``headers`` are texts for ``#include "..."``; ``name`` stands in messages.
    Proved are equal outputs and the absence of undefined and implementation-defined behaviour, relative to this
    checker, pycparser and docs/verifying-c.md. The network has to be valid [overflow.valid], which is not examined
    here. Raises :class:`ModelError` ``model.host-only`` for a network with a foreign profile; :class:`UsageError`
    ``usage.option`` for other data models, or none.
    """
    if not models or not {*models} <= {*MODELS}:
        raise UsageError("usage.option", f"the data models {models}", expected="some of " + ", ".join(MODELS))
    if not net.int32_only:
        raise ModelError(
            "model.host-only",
            "a layer uses a foreign profile, which is not int32-only",
            expected="a network that C can compute in int32",
            repair="choose another profile with --profile, or with_profile",
        )
    try:
        parsed = read(source, name, headers)
    except NotInSubset as refusal:
        return Verdict(UNSUPPORTED, where=refusal.where, reason=refusal.message)
    entry = None
    proved: list[str] = []
    failed: tuple[DataModel, Doubt | Trap] | None = None
    for model in (m for m in MODELS.values() if m.name in models):  # int32 before lp64
        try:
            with deep(name):
                if model.name == "lp64" and "int32" in proved and not parsed.long:
                    proved.append(model.name)  # not even the types could differ
                    continue
                program = Program(parsed, model, Symbols())
                entry = find_entry(program, net, function)
                # Where long is 64 bits it is refused, so that every expression has its type of the int32 model.
                if model.name != "lp64" or "int32" not in models:
                    _prove(program, entry, net)
                elif "int32" not in proved:
                    continue
        except NotInSubset as refusal:
            named = entry.name if entry else ""
            return Verdict(UNSUPPORTED, named, tuple(proved), model.name, refusal.where, refusal.message)
        except (Doubt, Trap) as failure:
            failed = failed or (model, failure)  # whether the others can be proved is worth knowing
            continue
        proved.append(model.name)
    if failed is not None:
        return _judge(parsed, net, entry.name if entry else "", *failed, tuple(proved))
    return Verdict(PROVED, entry.name if entry else "", tuple(proved))


def _prove(program: Program[Symbols], entry: Entry, net: Network) -> None:
    symbols = program.domain
    spec = Specification(net, symbols)
    cells = run_entry(program, entry, list(spec.inputs), len(spec.outputs))
    for o, (cell, wanted) in enumerate(zip(cells, spec.outputs, strict=True)):
        if cell is UNSET:
            raise Trap(f"output {o} is not written", "")
        got = symbols.total(cell)
        if not _same(got, wanted):
            raise Doubt(f"output {o} is not what neuron {o} of the last layer gives")


def _same(a: Sum | int, b: Sum | int) -> bool:
    if isinstance(a, int) or isinstance(b, int):
        if isinstance(a, Sum):
            a, b = b, a
        return a == b if isinstance(b, int) else not b.collected() and b.const == a
    return a.const == b.const and a.collected() == b.collected()


def _judge(
    source: Source, net: Network, function: str, model: DataModel, failure: Doubt | Trap, proved: tuple[str, ...]
) -> Verdict:
    """The verdict where a proof failed: wrong if an input can be found that shows it."""
    reason, where = (failure.what, failure.where) if isinstance(failure, Doubt) else (failure.kind, failure.where)
    found = None
    for x in _candidates(net, failure):
        try:
            result = evaluate(source, net, x, model, function)
        except NotInSubset as refusal:
            return Verdict(UNSUPPORTED, function, proved, model.name, refusal.where, refusal.message)
        found = _disagreement(net, x, result)
        if found is not None:
            break
    status = UNPROVED if found is None else WRONG
    return Verdict(status, function, proved, model.name, where, reason, found)


def _disagreement(net: Network, x: Int64, result: Evaluation) -> Counterexample | None:
    expected = specification.run(net, x)[1]
    wrong = (result.outputs != expected).any(axis=1)
    for lane in result.traps:
        wrong[lane] = True
    if not wrong.any():
        return None
    rows = np.flatnonzero(wrong)
    row = int(min(rows, key=lambda r: np.abs(x[r]).sum()))
    trap = result.traps.get(row)
    got = None if trap else result.outputs[row].tolist()
    text = f"{trap.where}: {trap.kind}".lstrip(": ") if trap else ""
    return Counterexample(x[row].tolist(), expected[row].tolist(), got, text)


def _candidates(net: Network, failure: Doubt | Trap) -> Iterator[Int64]:
    """Batches of inputs that may show a failure: ends of the range, random ones, and ones that steer towards it."""
    random = np.random.default_rng(0)
    low, high, count = net.input.min, net.input.max, net.sizes[0]
    rows = 4096 if net.sizes[0] * net.sizes[1] <= 1 << 14 else 256
    zero = min(max(net.input.zero_point, low), high)
    yield np.array([[zero] * count, [low] * count, [high] * count], np.int64)
    if (high - low + 1) ** count <= 1 << 17:  # few enough to try them all
        grid = np.meshgrid(*[np.arange(low, high + 1)] * count, indexing="ij")
        yield np.stack([axis.ravel() for axis in grid], axis=1)
        return
    ends = np.concatenate([net.layers[0].weights >= 0, net.layers[0].weights < 0])
    yield np.where(ends, high, low).astype(np.int64)
    yield random.integers(low, high, (rows, count), endpoint=True)
    yield random.choice(np.array([low, high, zero]), (rows, count))
    if isinstance(failure, Doubt) and failure.root is not None and failure.u is not None:
        yield from _steered(net, failure, random, rows // 4)


def _steered(net: Network, doubt: Doubt, random: np.random.Generator, rows: int) -> Iterator[Int64]:
    """Inputs whose root comes nearer and nearer to the value in doubt: the best of many small changes, repeatedly."""
    names = {v.name: c for v, c in doubt.root.terms} if doubt.root else {}
    layer = next((int(n.rsplit(" ", 1)[1]) + 1 for n in names if n.startswith("activation")), 0)
    weights = np.zeros(net.sizes[layer], np.int64)
    for name, c in names.items():
        weights[int(name.split()[1])] = c
    low, high, count = net.input.min, net.input.max, net.sizes[0]
    x = random.integers(low, high, (rows, count), endpoint=True)
    for step in range(60):
        hidden = x if layer == 0 else _hidden(net, x, layer)
        miss = np.abs(hidden @ weights - (doubt.u or 0))
        order = np.argsort(miss, kind="stable")
        if step % 6 == 5 or miss[order[0]] == 0:
            yield x[order[: rows // 4]]
        x = np.repeat(x[order[: rows // 16]], 16, axis=0)
        changed = random.random(x.shape) < 1.5 / count
        changed[::16] = False  # the best stay as they are
        reach = np.maximum(1, (high - low) >> random.integers(0, 16, x.shape))
        x = np.where(changed, np.clip(x + random.integers(-reach, reach + 1), low, high), x)


def _hidden(net: Network, x: Int64, layer: int) -> Int64:
    shortened = Network(net.input, net.layers[:layer])
    return specification.run(shortened, x)[1]
