"""No wrong C is proved: every mutant of emitted C is refuted, or shown by other means to compute the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import pytest
from c_equivalents import q31_double, same_network, same_rule
from c_mutants import MUTANTS, NETWORKS, emitted
from c_verdicts import mutated, verdict
from mutation_table import PAGE, marks_of, page, written

import intnn
from intnn import Network
from intnn.ccheck.batch import evaluate
from intnn.ccheck.cmodel import MODELS
from intnn.ccheck.source import read
from intnn.ccheck.verify import PROVED, UNPROVED, UNSUPPORTED, WRONG, Verdict, verify_c
from intnn.emit import emit_c


def _network(name: str, net: Network) -> bool:
    return same_network(net, MUTANTS[name].change(net))


def _rule(name: str, net: Network, *, multiplier: int = 0, carry: int = 0) -> bool:
    return same_rule(net, partial(q31_double, multiplier=multiplier, carry=carry))


UNREACHED = "the constant decides only on accumulators, modulo a power of two, that no neuron has"
HIDDEN = "the roundings differ on negative ties only, and ReLU makes those the zero point"

EQUIVALENT: dict[str, dict[str, tuple[str, Callable[[str, Network], bool]]]] = {
    "realistic": {
        "rounding constant +1: first layer (fixed)": (UNREACHED, _network),
        "rounding constant +1: middle layer (fixed)": (UNREACHED, _network),
        "rounding constant +1: last layer (fixed)": (UNREACHED, _network),
    },
    "q31": {
        "multiplier +1 (q31)": (UNREACHED, _network),
        "a channel's multiplier -1 (q31)": (UNREACHED, _network),
        "second rounding half up: first layer (q31)": (HIDDEN, _network),
        "carry +1 (q31)": (UNREACHED, partial(_rule, carry=1)),
        "carry -1 (q31)": (UNREACHED, partial(_rule, carry=-1)),
    },
    "probe": {},  # whatever is proved is compared on every input
}
"""Mutants that compute the same: why, and what checks it without reading C."""

OPEN = {
    "realistic": {"output lower bound +1", "output overwritten for one value of two inputs"},
    "q31": {"output lower bound +1", "output overwritten for one value of two inputs"},
    "probe": set[str](),
}
"""Mutants that are not proved, but no input that shows why is found: whether any reaches the bound is not known, and
the value of two inputs is one in 65,536."""


def dealt(network: str) -> list[str]:
    """Mutants for the default run, each on one network: the probe where there is a place, but for half of those made
    in the network, which are on the realistic one; and half of those for q31 only."""

    def home(i: int, name: str) -> str:
        if mutated("realistic", name) is None:
            return "q31" if i % 2 else ""
        return "realistic" if mutated("probe", name) is None or (MUTANTS[name].of_network and i % 2) else "probe"

    return [name for i, name in enumerate(MUTANTS) if home(i, name) == network]


@pytest.mark.parametrize("size", [False, True])
@pytest.mark.parametrize("network", NETWORKS)
def test_what_is_emitted_is_proved_and_printing_it_again_changes_nothing(network: str, size: bool) -> None:
    net = NETWORKS[network]
    assert verify_c(emit_c(net, size=size), net).status == PROVED
    assert verify_c(emitted(net, size).copy().text(), net).status == PROVED


@pytest.mark.parametrize("network", NETWORKS)
def test_every_mutant_is_refuted_or_equivalent(network: str) -> None:
    check(network, dealt(network))


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_every_mutant_on_every_network(network: str) -> None:
    check(network, list(MUTANTS))


def check(network: str, names: list[str]) -> None:
    """Every verdict is right; what is listed, and nothing else, is not refuted."""
    net = NETWORKS[network]
    found: dict[str, set[str]] = {PROVED: set(), UNPROVED: set()}
    for name in names:
        said = verdict(network, name)
        if said is None:
            continue
        assert (said.status == UNSUPPORTED) == MUTANTS[name].refused, f"{name}: {said}"
        if said.status in found:
            found[said.status].add(name)
        elif said.status == WRONG:
            assert shown(mutated(network, name) or "", net, said), f"{name}: {said}"
    assert found[UNPROVED] == OPEN[network] & set(names)
    if network == "probe":
        for name in found[PROVED]:
            assert equal_everywhere(mutated(network, name) or "", net), name
    else:
        assert found[PROVED] == EQUIVALENT[network].keys() & set(names)


def shown(text: str, net: Network, said: Verdict) -> bool:
    """Whether the counterexample is one: the specification and the C, run on it, differ as it says."""
    example = said.counterexample
    assert example is not None
    x = np.array([example.x])
    expected = intnn.run(net, x)[0].tolist()
    result = evaluate(read(text), net, x.astype(np.int64), MODELS[said.model])
    if example.got is None:
        return example.expected == expected and 0 in result.traps and bool(example.trap)
    return example.expected == expected != example.got == result.outputs[0].tolist() and not result.traps


def equal_everywhere(text: str, net: Network) -> bool:
    """Whether the C gives every input of a network with two of them a meaning, and the right outputs."""
    axis = np.arange(net.input.min, net.input.max + 1)
    x = np.stack([a.ravel() for a in np.meshgrid(axis, axis)], axis=1)
    results = [evaluate(read(text), net, x, model) for model in MODELS.values()]
    return all(not r.traps and np.array_equal(r.outputs, intnn.run(net, x)) for r in results)


@pytest.mark.parametrize(
    ("network", "name"), [(network, name) for network, entries in EQUIVALENT.items() for name in entries]
)
def test_equivalents_are_equivalent_for_the_reason_given(network: str, name: str) -> None:
    _, same = EQUIVALENT[network][name]
    assert same(name, NETWORKS[network])


def test_the_reasons_can_fail() -> None:
    for name in ("bias +1: first layer, first neuron", "rounding constant -1: last layer (fixed)", "shift +1 (fixed)"):
        assert not _network(name, NETWORKS["realistic"])
    assert _rule("", NETWORKS["q31"])  # without a fault the formula is right
    assert not _rule("", NETWORKS["q31"], carry=-32768)
    assert not _rule("", NETWORKS["q31"], multiplier=-65536)
    assert not equal_everywhere(mutated("probe", "rounding constant -1: last layer (fixed)") or "", NETWORKS["probe"])
    assert not equal_everywhere(mutated("probe", "accumulator in an int (16-bit int)") or "", NETWORKS["probe"])


def test_there_are_enough_mutants_and_each_has_a_place() -> None:
    for network in NETWORKS:
        assert sum(mutated(network, name) is not None for name in MUTANTS) >= 100
    for name in MUTANTS:
        assert any(mutated(network, name) is not None for network in NETWORKS), name


def test_the_page_is_whole() -> None:
    marks = written()
    assert page(marks) == PAGE.read_text()
    assert all((marks[key] != "") == (mutated(*key) is not None) for key in marks)


def check_page(keys: Iterable[tuple[str, str]]) -> None:
    """The page says of mutants what is found again; what the sanitizers say needs gcc and is left as it is."""
    marks = written()
    wrong = {key: marks[key] for key in keys if marks_of(*key, sanitizers=marks[key][3:4]) != marks[key]}
    assert not wrong, "run python tests/mutation_table.py"


def test_the_page_is_right_in_samples() -> None:
    check_page([("probe", name) for name in list(MUTANTS)[::12]])


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_the_page_is_right(network: str) -> None:
    check_page([(network, name) for name in MUTANTS])
