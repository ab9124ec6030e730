"""Writes docs/mutants.md: what finds each mutant of emitted C. ``--check`` compares instead.

The sanitizers need gcc; where it is missing, their column is "-", and ``--check`` leaves it out.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from c_mutants import MUTANTS, NETWORKS
from c_verdicts import mutated, verdict

import intnn
from intnn.ccheck.batch import evaluate, find_entry, run_entry
from intnn.ccheck.cmodel import MODELS
from intnn.ccheck.compiler import Program
from intnn.ccheck.lanes import Batch, Lanes, lanes
from intnn.ccheck.source import NotInSubset, Source, read
from intnn.ccheck.values import UNSET, Trap, Value
from intnn.ccheck.verify import PROVED, UNPROVED, UNSUPPORTED
from intnn.emit.selftest import selftest_rows
from intnn.errors import UsageError
from intnn.model import Network
from intnn.targets import host
from intnn.targets.compilers import find

PAGE = Path(__file__).parents[1] / "docs" / "mutants.md"
FED = ("golden", "random", "boundary")
COLUMNS = (*FED, "sanitizers", "proof")
ENDS = "\n#include <unistd.h>\n__attribute__((constructor)) static void ends(void) { alarm(20); }\n"
"""C that stops the program after 20 seconds: not every mutant ends by itself."""

SANITIZERS = ("-O1", "-w", "-fsanitize=undefined,address", "-fno-sanitize-recover=all")
ROWS = 10_000
VALUE, TRAP, REFUSED, SILENT, SAME, OPEN, NONE = "v", "t", "r", ".", "=", "?", "-"

Int64 = npt.NDArray[np.int64]
Marks = dict[tuple[str, str], str]
"""By network and mutant: a mark for each column, or nothing where the mutant has no place."""


@cache
def inputs(network: str) -> dict[str, Int64]:
    """The rows of the columns that feed inputs, by column."""
    net = NETWORKS[network]
    random = np.random.RandomState(0)  # its numbers are the same with every NumPy
    a, shape = net.input, (ROWS, net.sizes[0])
    edges = {a.min, a.min + 1, a.zero_point - 1, a.zero_point, a.zero_point + 1, a.max - 1, a.max}
    chosen = np.array(sorted(v for v in edges if a.min <= v <= a.max))
    return {
        "golden": selftest_rows(net).astype(np.int64),
        "random": random.randint(a.min, a.max + 1, shape).astype(np.int64),
        "boundary": chosen[random.randint(0, len(chosen), shape)].astype(np.int64),
    }


@cache
def expected(network: str, column: str) -> Any:
    """The right outputs for :func:`inputs`."""
    return intnn.run(NETWORKS[network], inputs(network)[column])


class Wrapping(Batch):
    """What machines of two's complement do where C gives no meaning: keep the low bits, shift arithmetically."""

    def fit(self, a: Value, low: int, high: int, kind: str, where: str) -> Value:
        if "shifted" in kind or (low <= a.low and a.high <= high):
            return a
        return lanes((a.values - low) % (high - low + 1) + low)


def on_a_machine(source: Source, net: Network, x: Int64) -> tuple[Int64, Any]:
    """Outputs as a 32-bit machine gives them, and the rows on which it computes them from what is in no array."""
    domain = Wrapping(len(x))
    program = Program(source, MODELS["int32"], domain)
    try:
        cells = run_entry(program, find_entry(program, net, None), [lanes(c) for c in x.T], net.sizes[-1])
    except Trap:
        cells = [UNSET]
    if UNSET in cells:
        return np.zeros((len(x), net.sizes[-1]), np.int64), list(range(len(x)))
    values = [domain.read(cell, "") if isinstance(cell, Lanes) else lanes(np.full(len(x), cell)) for cell in cells]
    return np.stack([v.values for v in values], axis=1), list(domain.traps)


def tested(network: str, column: str, source: Source) -> str:
    """Whether some row comes out wrong on a 32-bit machine; failing that, whether C gives some row no meaning."""
    net, x, right = NETWORKS[network], inputs(network)[column], expected(network, column)
    try:
        outputs, unknown = on_a_machine(source, net, x)
        wrong = (outputs != right).any(axis=1)
        wrong[unknown] = False
        if wrong.any():
            return VALUE
        return TRAP if any(evaluate(source, net, x, model).traps for model in MODELS.values()) else SILENT
    except NotInSubset:
        return REFUSED


def sanitized(network: str, text: str) -> str:
    """Whether the sanitizers speak or the program does not end; failing that, whether a random row comes out wrong."""
    net = NETWORKS[network]
    x = inputs(network)["random"].astype(net.input.type)
    try:
        y = host.run(text + ENDS, "net_run", x, net.sizes[-1], net.output.type, compiler="gcc", flags=SANITIZERS)
    except UsageError as error:
        if error.code == "target.run":
            return TRAP
        raise
    return SILENT if np.array_equal(y, expected(network, "random")) else VALUE


def proof(network: str, name: str) -> str:
    """The verifier's verdict."""
    said = verdict(network, name)
    assert said is not None
    if said.counterexample is not None:
        return VALUE if said.counterexample.got is not None else TRAP
    return {PROVED: SAME, UNPROVED: OPEN, UNSUPPORTED: REFUSED}[said.status]


def marks_of(network: str, name: str, sanitizers: str | None = None) -> str:
    """A mutant's marks; those of the ``sanitizers`` may be known."""
    text = mutated(network, name)
    if text is None:
        return ""
    try:
        source = read(text)
    except NotInSubset:
        fed = REFUSED * len(FED)
    else:
        fed = "".join(tested(network, column, source) for column in FED)
    return fed + (sanitizers or sanitized(network, text)) + proof(network, name)


PROSE = """\
# What finds a wrong line of C

Emitted C, with one fault at a time, on three networks: 6-16-16-6 with `fixed` requantization, the same with `q31`,
and a probe of two inputs, small shifts and many ties. *Outputs compared* is what a test sees on a 32-bit machine that
wraps where C gives no meaning; with *traps*, what the batch evaluation of C sees on all data models. Boundary inputs
are the ends of the range, the zero point and what is beside them; sanitizers are gcc's, `-fsanitize=undefined,address`.
A test sees half to two thirds of the faults; traps add the undefined and the 16-bit ones, and then random inputs miss
only rare values. But no input tells a fault not yet seen from one that changes nothing: that takes the proof, and for
what is proved in spite of its fault `tests/test_c_mutants.py` gives the reason and checks it.
This page is made by `python tests/mutation_table.py`.
"""

LEGEND = """\
Five marks on each network, in the order self-test, random, boundary, sanitizers, proof: `v` an output is wrong; `t` a
trap, or the sanitizers speak; `r` refused, not in the subset of C; `.` nothing found; `=` proved to compute the same;
`?` not proved, but no input found that shows why; `-` no compiler when the table was made. Empty: there is no place
for the fault.
"""


def page(marks: Marks) -> str:
    """The text of the page."""
    all_ = {network: [m for (n, _), m in marks.items() if n == network and m] for network in NETWORKS}

    def counts(title: str, column: str, found: str) -> list[str]:
        at = COLUMNS.index(column)
        unknown = any(m[at] == NONE for ms in all_.values() for m in ms)
        return [title, *(NONE if unknown else str(sum(m[at] in found for m in ms)) for ms in all_.values())]

    table = [["", *NETWORKS], ["---", *["--:"] * len(NETWORKS)]]
    for column, fed in zip(
        FED, ("the self-test's 32 inputs", "10,000 random inputs", "10,000 boundary inputs"), strict=True
    ):
        table.append(counts(f"{fed}, outputs compared", column, VALUE))
        table.append(counts(f"{fed}, outputs and traps", column, VALUE + TRAP))
    table.append(counts("sanitizers, or a wrong output, on the random inputs", "sanitizers", VALUE + TRAP))
    table.append(counts("the proof: wrong, or not in the subset", "proof", VALUE + TRAP + REFUSED))
    table.append(["mutants", *(str(len(ms)) for ms in all_.values())])
    table.append(counts("of them proved to compute the same", "proof", SAME))
    table.append(counts("of them not proved, but without an input that shows why", "proof", OPEN))
    every = [["mutant", *NETWORKS], ["---"] * (1 + len(NETWORKS))]
    every += [[name, *(f"`{m}`" if (m := marks[network, name]) else "" for network in NETWORKS)] for name in MUTANTS]
    return "\n".join([PROSE, *map(line, table), "\n## Every mutant\n", LEGEND, *map(line, every), ""])


def line(cells: list[str]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def written() -> Marks:
    """The marks that the page has."""
    marks: Marks = {}
    for text in PAGE.read_text().partition("| mutant |")[2].splitlines()[2:]:
        name, *cells = (cell.strip() for cell in text.strip("|").split("|"))
        marks |= {(network, name): cell.strip("`") for network, cell in zip(NETWORKS, cells, strict=True)}
    return marks


def main() -> int:
    """Write the page, or compare it: the sanitizers' marks are then those of the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare docs/mutants.md and write nothing")
    check = parser.parse_args().check
    old = written() if check else {}
    gcc = find("gcc") is not None

    def marked(key: tuple[str, str]) -> str:
        kept = (old.get(key, "") + NONE * len(COLUMNS))[COLUMNS.index("sanitizers")]
        return marks_of(*key, kept if check or not gcc else None)

    keys = [(network, name) for network in NETWORKS for name in MUTANTS]
    with ThreadPoolExecutor(2) as pool:  # gcc takes most of the time
        text = page(dict(zip(keys, pool.map(marked, keys), strict=True)))
    if not check:
        PAGE.write_text(text)
    elif text != PAGE.read_text():
        print(f"{PAGE} differs from what python tests/mutation_table.py would write")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
