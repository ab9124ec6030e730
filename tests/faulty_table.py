"""Writes docs/faults.md: how every faulty implementation fares, and prints the totals.

All of them go through the adapter ``lib``, every third through ``cmd``, ``elf`` and ``c`` too. ``--adapter``,
``--network`` and ``--every N`` take a part and write nothing. Needs a C compiler for this machine, and for ``elf`` the
extra ``targets``. It takes about half an hour of processor time.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import numpy.typing as npt
from faulty_build import ADAPTERS, Build, Variant, built, corpus, device
from faulty_networks import NETWORKS

import intnn
from intnn.conform import campaign, construct
from intnn.conform.verdict import Report
from intnn.emit import emit_c
from intnn.model import Network
from intnn.profiles import INT32_PROFILES, with_profile

Int64 = npt.NDArray[np.int64]

PAGE = Path(__file__).parents[1] / "docs" / "faults.md"
COUNT = 4096
"""Inputs of a campaign, before diagnosis: as many as `intnn conform` constructs."""

THIN = 3
"""One in so many goes through the other adapters too."""

EVALUATED = ("gesture", "pose")
"""Networks whose hand-written C is evaluated without a compiler."""

RANDOM = 10_000
"""Uniform random inputs that are tried for comparison."""

ALONE, TIED, WRONG, MISSED, EQUIVALENT, DIED = "named", "tied", "wrong", "missed", "=", "died"


@dataclass(frozen=True)
class Record:
    """How a faulty implementation fared: the ``verdict``; caught at ``inference``, the smallest input found has
    ``away`` inputs away from the zero point; ``said`` is the diagnosis if it is not right; ``random`` the first uniform
    random input that shows the fault, 0 if none does; ``ties`` how many explanations are tied."""

    network: str
    id: str
    verdict: str
    inference: int = 0
    away: int = 0
    said: str = ""
    random: int = 0
    ties: int = 0

    @property
    def cell(self) -> str:
        """As the page has it."""
        if self.verdict == EQUIVALENT:
            return EQUIVALENT
        mark = {ALONE: "", TIED: " ~", WRONG: " **wrong**", MISSED: " **missed**", DIED: " **died**"}[self.verdict]
        return f"{self.inference} / {self.away} / {self.random or 'none'}{mark}"


@functools.cache
def searched(network: str) -> Int64:
    """Many rows in which to look for a difference: those of the plan, uniform random ones, ends of the range and zero
    points, and mixtures."""
    net = NETWORKS[network]
    random = np.random.RandomState(7)  # its numbers are the same with every NumPy
    a, shape = net.input, (40_000, net.sizes[0])
    edges = {a.min, a.min + 1, a.zero_point - 1, a.zero_point, a.zero_point + 1, a.max - 1, a.max}
    ends = np.array(sorted(v for v in edges if a.min <= v <= a.max))
    uniform = random.randint(a.min, a.max + 1, shape)
    chosen = ends[random.randint(0, len(ends), shape)]
    mixed = np.where(random.randint(0, 2, shape), random.randint(a.min, a.max + 1, shape), chosen)
    return np.concatenate([uniform, chosen, mixed, construct.plan(net, COUNT, 1).x]).astype(np.int64)


@functools.cache
def right(network: str) -> Int64:
    """The specification's outputs for :func:`searched`."""
    return intnn.run(NETWORKS[network], searched(network), engine="fast").astype(np.int64)


@functools.cache
def shown(network: str, variant: Variant) -> tuple[bool, int]:
    """Whether some row of :func:`searched` shows the fault, and the first uniform random one (from 1) that does."""
    differs = (built(NETWORKS[network]).outputs(variant.function, searched(network)) != right(network)).any(axis=1)
    return bool(differs.any()), int(np.argmax(differs[:RANDOM])) + 1 if differs[:RANDOM].any() else 0


@functools.cache
def planned(net: Network, count: int = COUNT) -> Int64:
    """The rows of a campaign."""
    return construct.plan(net, count, 0).x


def judged(network: str, variant: Variant, report: Report) -> Record:
    """What a report says of a variant, and whether it is right."""
    net = NETWORKS[network]
    known, first = shown(network, variant)
    if report.outcome == "died":
        return Record(network, variant.id, DIED, random=first, said=str(report.failures[:1]))
    if report.mismatch is None:
        verdict = MISSED if known else EQUIVALENT
        return Record(network, variant.id, verdict, random=first)
    zero = min(max(net.input.zero_point, net.input.min), net.input.max)
    away = sum(v != zero for v in report.mismatch.x)
    verdict, said = _diagnosis(variant, report)
    ties = report.diagnosis.tied if report.diagnosis else 0
    return Record(network, variant.id, verdict, report.mismatch.inference, away, said, first, ties)


def _diagnosis(variant: Variant, report: Report) -> tuple[str, str]:
    """The verdict, and what is said instead if it is wrong."""
    assert report.diagnosis is not None
    told = report.diagnosis.explanations
    best = told[: report.diagnosis.tied]
    if any(e.faults == (variant.id,) for e in best):
        return (ALONE if len(best) == 1 else TIED), ""
    e = told[0]
    share = "" if e.complete else f" ({e.matched} of {e.of})"
    return WRONG, " and ".join(e.faults) + share if e.faults else "nothing"


def records(network: str, adapter: str, which: Iterable[Variant], count: int = COUNT) -> Iterator[Record]:
    """A campaign on each variant through an adapter."""
    net = NETWORKS[network]
    for variant in which:
        with device(net, variant, adapter) as opened:
            report = campaign.run(net, opened, rows=planned(net, count))
        yield judged(network, variant, report)


PROSE = """\
# What a campaign makes of faulty implementations

Hand-written C, wrong in one place, as firmware goes wrong: {faults} faults, each in every layer of five networks where
it has a meaning, and in all of these layers at once; a bias off by one in three neurons of each layer. The networks:

- gesture 6-16-16-6: int8, `fixed` with a pre-shift, ReLU, the last layer per channel
- pose 6-32-32-6: int8, `fixed`, `docs/examples/pose.json`
- sensor 4-12-9-3: int8, `double`, per channel, ReLU
- camera 8-10-7-5: uint8, `upup`, ReLU
- meter 5-9-6-4: int16 from a 12-bit ADC, powers of two, then `single` to int16

Each went through `intnn conform --lib` with {count} constructed inputs. The code shares nothing with the fault models
that the diagnosis tries. This page is made by `python tests/faulty_table.py`.
"""

THROUGH = """\
Every third of them through the other adapters: in a subprocess that speaks the protocol, in an image for the
emulated Cortex-M0, and as C that is evaluated without a compiler (the two networks with `fixed` rules; the int64 of the
others is outside that subset). Last, what is right: the C that intnn emits, under every int32 profile, and the corpus's
own without a fault.
"""

LEGEND = """\
On each network: caught at which inference, how many inputs of the smallest failing input are away from the zero point,
and which of 10,000 uniform random inputs is the first to show the fault. The diagnosis named the fault, and it alone;
`~`: it named it among others that no input tried tells from it (often they are the same function); **wrong**: it
named another. `=`: no input is known that shows the fault, of {searched} tried. Empty: it has no meaning there.
"""


def adapters(found: Outcome) -> list[str]:
    """What the adapters have in common, as a Markdown table."""
    lib = {(r.network, r.id): r for r in found["lib"][0]}
    head = ["adapter", "caught", "diagnosis right", "all just as through `--lib`", "false alarms"]
    lines = [line(head), line(["---", *["--:"] * (len(head) - 1)])]
    for adapter, (all_, alarms) in found.items():
        live = [r for r in all_ if r.verdict != EQUIVALENT]
        same = sum(r == lib[r.network, r.id] for r in all_)
        caught = sum(r.verdict in (ALONE, TIED, WRONG) for r in live)
        named = sum(r.verdict in (ALONE, TIED) for r in live)
        cells = [f"{caught} of {len(live)}", str(named), f"{same} of {len(all_)}"]
        lines.append(line([f"`--{adapter}`", *cells, f"{len(alarms)} of {len(correct())}"]))
    return lines


def page(found: Outcome) -> str:
    """The text of the page."""
    all_ = found["lib"][0]
    by = {(r.network, r.id): r for r in all_}
    ids = list(dict.fromkeys(r.id for r in all_))
    names = {i.partition("@")[0] for i in ids}
    searched_ = sum(len(searched(n)) for n in NETWORKS) // len(NETWORKS)
    lines = [PROSE.format(faults=len(names), count=f"{COUNT:,}"), *totals(all_)]
    lines += ["", THROUGH, *adapters(found)]
    wrong = [r for r in all_ if r.verdict in (WRONG, MISSED, DIED)]
    if wrong:
        lines += ["\n## Not right\n", line(["network", "fault", "", "the diagnosis said"]), line(["---"] * 4)]
        lines += [line([r.network, f"`{r.id}`", r.verdict, f"`{r.said}`" if r.said else ""]) for r in wrong]
    lines += ["\n## Every fault\n", LEGEND.format(searched=f"about {searched_:,}")]
    lines += [line(["fault", *NETWORKS]), line(["---"] * (1 + len(NETWORKS)))]
    for i in ids:
        cells = [by[n, i].cell if (n, i) in by else "" for n in NETWORKS]
        lines.append(line([f"`{i}`", *cells]))
    return "\n".join([*lines, ""])


def totals(all_: list[Record]) -> list[str]:
    """The summary as a Markdown table."""

    def count(test: Callable[[Record], bool]) -> list[int]:
        per = [sum(test(r) for r in all_ if r.network == n) for n in NETWORKS]
        return [*per, sum(per)]

    live = [r for r in all_ if r.verdict != EQUIVALENT]
    caught = [r for r in live if r.verdict in (ALONE, TIED, WRONG)]

    def median(of: Callable[[Record], int], among: list[Record]) -> list[str]:
        groups = [[of(r) for r in among if r.network == n] for n in NETWORKS] + [[of(r) for r in among]]
        return [f"{int(np.median(g))} ({max(g)})" if g else "" for g in groups]

    rows: list[tuple[str, list[int] | list[str]]] = [
        ("faulty implementations", count(lambda r: True)),
        ("of them, no input known that shows it", count(lambda r: r.verdict == EQUIVALENT)),
        ("caught", count(lambda r: r.verdict in (ALONE, TIED, WRONG))),
        ("missed", count(lambda r: r.verdict in (MISSED, DIED))),
        ("diagnosis: the fault alone", count(lambda r: r.verdict == ALONE)),
        ("diagnosis: the fault among those that no input tells apart", count(lambda r: r.verdict == TIED)),
        ("diagnosis: wrong", count(lambda r: r.verdict == WRONG)),
        ("caught at inference: median (most)", median(lambda r: r.inference, caught)),
        ("inputs away from the zero point in the smallest: median (most)", median(lambda r: r.away, caught)),
        ("missed by 10,000 uniform random inputs", count(lambda r: r.verdict != EQUIVALENT and r.random == 0)),
    ]
    head = [line(["", *NETWORKS, "all"]), line(["---", *["--:"] * (len(NETWORKS) + 1)])]
    return head + [line([name, *map(str, values)]) for name, values in rows]


def line(cells: list[str]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def written() -> dict[tuple[str, str], str]:
    """The cells that the page has, by network and fault."""
    cells: dict[tuple[str, str], str] = {}
    for text in PAGE.read_text().partition("\n| fault |")[2].splitlines()[2:]:
        name, *row = (cell.strip() for cell in text.strip("|").split("|"))
        cells |= {(n, name.strip("`")): cell for n, cell in zip(NETWORKS, row, strict=True) if cell}
    return cells


@functools.cache
def correct() -> tuple[tuple[str, Build, str], ...]:
    """What is right: the C that intnn emits, under every int32 profile, and the corpus's own; names and functions."""
    sensor = NETWORKS["sensor"]
    emitted = {name: NETWORKS[name] for name in NETWORKS if name != "sensor"}
    emitted |= {f"sensor, {profile}": with_profile(sensor, profile) for profile in INT32_PROFILES}
    found = [
        (f"emitted C of {name}", Build(net, emit_c(net, prefix="net"), ["net_run"]), "net_run")
        for name, net in emitted.items()
    ]
    for name, net in NETWORKS.items():
        own = corpus(net)[0]
        found.append((f"hand-written C of {name}", Build(net, own.text(net), [own.function]), own.function))
    return tuple(found)


def false_alarms(adapter: str, count: int = COUNT) -> list[str]:
    """Which right implementations do not pass through an adapter."""
    wrong = []
    for name, build, function in correct():
        with build.device(adapter, function) as opened:
            report = campaign.run(build.net, opened, rows=planned(build.net, count))
        if report.outcome != "pass":
            wrong.append(name)
    return wrong


Outcome = dict[str, tuple[list[Record], list[str]]]
"""By adapter: the records, and the false alarms."""


def _job(job: tuple[str, tuple[str, ...], int]) -> Outcome:
    """One network through all adapters, or (without a network) what is right."""
    network, through, every = job
    if not network:
        return {adapter: ([], false_alarms(adapter)) for adapter in through}
    all_ = corpus(NETWORKS[network])
    return {
        adapter: (list(records(network, adapter, all_[1 :: every * (1 if adapter == "lib" else THIN)])), [])
        for adapter in through
        if adapter != "c" or network in EVALUATED
    }


def main() -> int:
    """Run the corpus; write the page if all of it was run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--adapter", choices=ADAPTERS, action="append")
    parser.add_argument("--network", choices=NETWORKS, action="append")
    parser.add_argument("--every", type=int, default=1, metavar="N")
    parser.add_argument("--jobs", type=int, default=2, metavar="N")
    options = parser.parse_args()
    through = tuple(options.adapter or ADAPTERS)
    found: Outcome = {adapter: ([], []) for adapter in through}
    pool = Pool(options.jobs)
    for outcome in pool.imap(_job, [(n, through, options.every) for n in options.network or [*NETWORKS, ""]], 1):
        for adapter, (some, alarms) in outcome.items():
            found[adapter][0].extend(some)
            found[adapter][1].extend(alarms)
    pool.close()
    pool.join()
    for adapter, (all_, alarms) in found.items():
        print(f"--{adapter}", *totals(all_), sep="\n")
        for r in all_:
            if r.verdict in (WRONG, MISSED, DIED):
                print(f"{r.network:8} {r.id:32} {r.verdict}: {r.said}")
        print(*(f"false alarm: {name}" for name in alarms), sep="\n")
    if through == ADAPTERS and options.every == 1 and not options.network:
        PAGE.write_text(page(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
