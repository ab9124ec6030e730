"""Running C on many inputs at once, without a compiler."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from intnn.ccheck.cmodel import DataModel, IntType
from intnn.ccheck.compiler import Program
from intnn.ccheck.lanes import Batch, Lanes, lanes
from intnn.ccheck.scope import Function, Ref
from intnn.ccheck.source import NotInSubset, Source, deep
from intnn.ccheck.values import UNSET, Block, Pointer, Trap, Value
from intnn.errors import UsageError
from intnn.model import Network

Int64 = npt.NDArray[np.int64]


class Evaluation(NamedTuple):
    """``outputs`` int64 (batch, outputs), and for each row that C gives no meaning what it did first (rows absent from
    ``traps`` are good; a trapped row's outputs mean nothing)."""

    outputs: Int64
    traps: dict[int, Trap]


class Entry(NamedTuple):
    """The function that computes the network: ``void f(const T x[], T y[])``."""

    name: str
    x: Ref
    y: Ref


def find_entry(program: Program[Any], net: Network, name: str | None) -> Entry:
    """The function ``name``, or the only one that is not static.

    Raises :class:`NotInSubset`; :class:`UsageError` ``usage.option`` where there is no function ``name``.
    """
    public = [f for f in program.functions.values() if not f.static and f.call is not None]
    chosen = (
        [f for f in program.functions.values() if f.name == name and f.call is not None] if name is not None else public
    )
    if len(chosen) != 1:
        found = ", ".join(f.name for f in public) or "none"
        if name is not None:
            raise UsageError("usage.option", f"the C has no function {name!r}", expected=f"one of: {found}")
        raise NotInSubset(f"which function computes the network? Not static are: {found}; choose with --function")
    function = chosen[0]
    match function:
        case Function(params=[Ref(const=True) as x, Ref(const=False) as y], result=None) if not x.dims + y.dims:
            pass
        case _:
            raise NotInSubset(f"{function.name} is not of the form void {function.name}(const T x[], T y[])")
    for ref, activation, what in ((x, net.input, "input"), (y, net.output, "output")):
        if not (ref.elem.low <= activation.min and activation.max <= ref.elem.high):
            held = f"[{activation.min}, {activation.max}]"
            raise NotInSubset(f"{function.name}: {ref.elem} cannot hold the network's {what}, {held}")
    return Entry(function.name, x, y)


def entry_of(source: Source, net: Network, model: DataModel, name: str | None) -> Entry:
    """:func:`find_entry` in a source. Raises :class:`NotInSubset`."""
    with deep(""):
        return find_entry(Program(source, model, Batch(1)), net, name)


def run_entry(program: Program[Any], entry: Entry, x: list[Value], outputs: int) -> list[Value]:
    """Call ``entry`` on one value an input; the values of its output array."""
    source = Block("the input", entry.x.elem, list(x))
    target = Block("the output", entry.y.elem, [UNSET] * outputs)
    program.call(entry.name, [Pointer(source, 0, 0, len(x)), Pointer(target, 0, 0, outputs)])
    return target.cells


def evaluate(source: Source, net: Network, x: Int64, model: DataModel, function: str | None = None) -> Evaluation:
    """Run the C on the rows of ``x`` (batch, inputs). Raises :class:`NotInSubset`."""

    def run(batch: Batch, rows: Int64) -> list[Value]:
        program = Program(source, model, batch)
        entry = find_entry(program, net, function)
        cells = run_entry(program, entry, [lanes(column) for column in rows.T], net.sizes[-1])
        for o, cell in enumerate(cells):
            if cell is UNSET:
                raise Trap(f"output {o} is not written", "")
        return [c if type(c) is int else batch.read(c, "") for c in cells]

    with deep(""):
        cells, traps = in_lanes(x.astype(np.int64), run)
    return Evaluation(np.stack(cells, axis=1), traps)


def in_lanes(x: Int64, run: Any) -> tuple[list[Int64], dict[int, Trap]]:
    """The columns that ``run(batch, rows)`` returns for the rows of ``x``; a trap stops only the rows that meet it."""
    todo = np.arange(len(x))
    traps: dict[int, Trap] = {}
    columns: list[Int64] | None = None
    while len(todo):
        batch = Batch(len(todo))
        stopped: set[int] = set()
        try:
            cells = run(batch, x[todo])
        except Trap as trap:  # on every lane of the path at hand; what the others would have done is not known yet
            where = np.ones(len(todo), bool) if batch.path is None else batch.path
            batch.trap(where, trap.kind, trap.where)
            stopped = set(range(len(todo))) - set(batch.traps)
        else:
            columns = columns or [np.zeros(len(x), np.int64) for _ in cells]
            for column, cell in zip(columns, cells, strict=True):
                column[todo] = cell.values if type(cell) is Lanes else cell
        traps |= {int(todo[lane]): trap for lane, trap in batch.traps.items()}
        todo = todo[sorted(stopped)]
    return columns or [np.zeros(len(x), np.int64)], traps


def call(source: Source, model: DataModel, function: str, arguments: Int64) -> tuple[Int64, dict[int, Trap]]:
    """A function of integers called on every row of ``arguments`` (batch, parameters): its values, and the traps.

    Arguments are converted to the parameters' types as C does when a function is called.
    """

    def run(batch: Batch, rows: Int64) -> list[Value]:
        program = Program(source, model, batch)
        values: list[Value] = []
        for column, t in zip(rows.T, program.functions[function].params, strict=True):
            assert isinstance(t, IntType)
            values.append(batch.fit(lanes(column), t.low, t.high, "conversion of an argument", ""))
        return [program.call(function, values)]

    with deep(""):
        columns, traps = in_lanes(arguments, run)
    return columns[0], traps
