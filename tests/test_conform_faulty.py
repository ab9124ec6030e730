"""The referee against implementations that are wrong on purpose: it catches them, names the fault, and passes what is
right. The faulty C is written independently of the fault models that the diagnosis tries; docs/faults.md has it all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from faulty import FAULTS, faulty_c, true_id
from faulty_build import ADAPTERS, Variant, built, corpus, device
from faulty_networks import NETWORKS
from faulty_table import EQUIVALENT, EVALUATED, PAGE, THIN, correct, false_alarms, planned, records, written

import intnn
from intnn.ccheck.batch import evaluate
from intnn.ccheck.cmodel import MODELS
from intnn.ccheck.source import read
from intnn.conform import campaign
from intnn.conform.device import RUN
from intnn.conform.source import c_source
from intnn.targets.compilers import find
from intnn.targets.host import HOST_COMPILERS

compiled = pytest.mark.skipif(not any(map(find, HOST_COMPILERS)), reason="needs a C compiler; pip install ziglang")

SAMPLE = (
    ("input.unsigned", 0),
    ("input.zero-point-sign", 1),
    ("input.last-missing", 2),
    ("weights.transposed", 1),
    ("bias.int16", 2),
    ("bias.plus-one[8]", 1),
    ("rounding.half-even", 1),
    ("rounding.constant-minus-one", 0),
    ("rounding.pre-missing", 0),
    ("shift.minus-one", 0),
    ("multiplier.of-first-channel", 2),
    ("zero-point.missing", None),
    ("clamp.max-minus-one", 2),
    ("relu.at-zero", 1),
)
"""Faults on the network gesture, of every stage, some of them rare."""


def random_rows(network: str, count: int) -> np.ndarray:
    """Uniform random inputs."""
    net = NETWORKS[network]
    return np.random.RandomState(5).randint(net.input.min, net.input.max + 1, (count, net.sizes[0]))


@pytest.mark.parametrize("network", EVALUATED)
def test_without_a_fault_the_c_is_right(network: str) -> None:
    net, x = NETWORKS[network], random_rows(network, 500)
    text = faulty_c(net, "", None)
    assert text is not None
    result = evaluate(read(text), net, x, MODELS["int32"])
    assert not result.traps
    assert np.array_equal(result.outputs, intnn.run(net, x))


@compiled
@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_without_a_fault_the_c_is_right_on_many_inputs(network: str) -> None:
    net, x = NETWORKS[network], random_rows(network, 20_000)
    assert np.array_equal(built(net).outputs(corpus(net)[0].function, x), intnn.run(net, x))


@compiled
@pytest.mark.parametrize("network", sorted(NETWORKS.keys() - set(EVALUATED)))
def test_without_a_fault_the_c_with_int64_is_right(network: str, tmp_path: Path) -> None:
    net, x = NETWORKS[network], random_rows(network, 500)
    (tmp_path / "net.c").write_text(faulty_c(net, "", None) or "")
    with c_source(net, str(tmp_path / "net.c")) as opened:
        assert opened.name.startswith("net_run ")  # the only function of that form
        answers = opened.ask(RUN, x)
    assert answers.answered.all()
    assert np.array_equal(answers.outputs, intnn.run(net, x))


def test_there_are_enough_faults_and_each_has_a_place() -> None:
    assert len(FAULTS) >= 60
    placed = {v.name.partition("[")[0] for net in NETWORKS.values() for v in corpus(net)}
    assert placed == {"", *(name.partition("[")[0] for name in FAULTS)}


@pytest.mark.parametrize("network", NETWORKS)
def test_every_fault_is_in_the_text(network: str) -> None:
    net = NETWORKS[network]
    texts = [Variant(v.name, v.layer, "net_run").text(net) for v in corpus(net)]
    assert texts[0] not in texts[1:]


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """The inputs of a short campaign on gesture."""
    return planned(NETWORKS["gesture"], 256)


@pytest.mark.parametrize(("name", "layer"), SAMPLE)
def test_a_fault_is_caught_and_named_without_a_compiler(
    name: str, layer: int | None, rows: np.ndarray, tmp_path: Path
) -> None:
    net = NETWORKS["gesture"]
    (tmp_path / "net.c").write_text(faulty_c(net, name, layer) or "")
    with c_source(net, str(tmp_path / "net.c")) as opened:
        assert opened.facts["compiler"].startswith("none")
        report = campaign.run(net, opened, rows=rows)
    assert report.outcome == "mismatch"
    assert report.diagnosis is not None
    best = report.diagnosis.explanations[: report.diagnosis.tied]
    assert (true_id(name, layer),) in [e.faults for e in best]


def test_what_is_right_passes_without_a_compiler(rows: np.ndarray, tmp_path: Path) -> None:
    net = NETWORKS["gesture"]
    (tmp_path / "net.c").write_text(faulty_c(net, "", None) or "")
    with c_source(net, str(tmp_path / "net.c")) as opened:
        assert campaign.run(net, opened, rows=rows).outcome == "pass"


def test_the_page_has_every_implementation() -> None:
    expected = {(network, v.id) for network, net in NETWORKS.items() for v in corpus(net)[1:]}
    assert written().keys() == expected
    readme = (PAGE.parents[1] / "README.md").read_text()
    assert f"[How {len(expected):,} faulty implementations fare]" in readme


@pytest.mark.parametrize("network", NETWORKS)
def test_the_page_says_what_it_must(network: str) -> None:
    cells = [cell for (n, _), cell in written().items() if n == network and cell != EQUIVALENT]
    caught = [cell for cell in cells if "missed" not in cell and "died" not in cell]
    named = [cell for cell in caught if "wrong" not in cell]
    assert len(cells) >= 60
    assert len(caught) == len(cells)
    assert len(named) >= 0.95 * len(cells)


PART = 10  # one in so many of what the page was made of is tried again


@compiled
@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_the_page_is_right(network: str) -> None:
    check(network, "lib", PART)


@compiled
@pytest.mark.slow
@pytest.mark.targets
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("adapter", ["cmd", "elf", "c"])
def test_every_adapter_says_the_same(network: str, adapter: str) -> None:
    if adapter == "c" and network not in EVALUATED:
        pytest.skip("not in the subset of C that is evaluated")
    check(network, adapter, THIN * PART)


def check(network: str, adapter: str, every: int) -> None:
    """The cells of the page are found again."""
    cells = written()
    found = records(network, adapter, corpus(NETWORKS[network])[1::every])
    different = {r.id: (r.cell, cells[network, r.id]) for r in found if r.cell != cells[network, r.id]}
    assert not different, "run python tests/faulty_table.py"


@compiled
@pytest.mark.slow
@pytest.mark.targets
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_no_false_alarms(adapter: str) -> None:
    assert len(correct()) >= 14
    assert false_alarms(adapter) == []


@compiled
@pytest.mark.slow
def test_a_device_is_the_variant_it_should_be() -> None:
    net = NETWORKS["camera"]
    variant = next(v for v in corpus(net) if v.id == "output.reversed@2")
    x = random_rows("camera", 3)
    with device(net, variant, "lib") as opened:
        answers = opened.ask(RUN, x)
    assert np.array_equal(answers.outputs, intnn.run(net, x)[:, ::-1])
