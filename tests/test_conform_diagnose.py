"""Diagnosis: each fault that is put in is named, or one that no input tells from it, as trying every input shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import intnn
from intnn import Q31, Activation, Dense, Fixed, Network
from intnn.conform.diagnose import diagnose
from intnn.conform.faults import Fault, catalogue, mutant, neuron_faults, outputs, parse, specified
from intnn.conform.separate import candidates, classes, deciding
from intnn.conform.steps import differing, differs_somewhere, every_input, same_function
from intnn.conform.verdict import Diagnosis

Rows = np.ndarray[Any, Any]


def small(seed: int, rules: list[Any], kinds: tuple[str, str, str], relu: bool, bias: int) -> Network:
    """2-5-3, with few enough inputs to try them all: 41 * 41."""
    rng = np.random.default_rng(seed)
    zero = {"int8": -7, "uint8": 120, "int16": 30}
    acts = [Activation(kinds[0], zero[kinds[0]], min=zero[kinds[0]] - 20, max=zero[kinds[0]] + 20)]
    acts += [Activation(k, zero[k], min=zero[k] if relu and n == 0 else None) for n, k in enumerate(kinds[1:])]  # type: ignore[arg-type]  # None: the type's bound
    layers = []
    for n, shape in enumerate([(5, 2), (3, 5)]):
        weights = rng.integers(-128, 128, shape)
        weights[0, 0] = -128
        layers.append(Dense(weights, rng.integers(-bias, bias, shape[0]), rules[n], acts[n + 1]))
    net = Network(acts[0], tuple(layers))
    assert intnn.prove(net).valid
    return net


NETWORKS = {
    "fixed": small(1, [Fixed.half_up(9, 19), Fixed.half_up(8, 5, 3)], ("int8", "int8", "int8"), True, 1000),
    "q31": small(2, [Q31(1518500250, -5, "double"), Q31(1 << 30, -7, "upup")], ("uint8", "int8", "uint8"), True, 900),
    "single": small(
        3,
        [Q31(np.array([5, 6, 5, 7, 4]) << 28, np.array([-5, -6, -6, -7, -5]), "single"), Fixed.floor(6)],
        ("int16", "int8", "int16"),
        False,
        40000,
    ),
}


def everything(net: Network) -> Rows:
    """Every input."""
    low, high = net.input.min, net.input.max
    return np.array([(a, b) for a in range(low, high + 1) for b in range(low, high + 1)])


class Device:
    """Right but for its faults; counts what it is asked."""

    def __init__(self, net: Network, *ids: str, answers: Callable[[Rows], Rows] | None = None) -> None:
        self.net = net
        self.faults = [parse(net, id) for id in ids]
        self.asked = 0
        self.answers = answers or (lambda rows: np.ones(len(rows), np.bool_))

    def run(self, rows: Rows) -> Rows:
        return outputs(self.net, self.faults, rows)

    def ask(self, rows: Rows) -> tuple[Rows, Rows]:
        self.asked += len(rows)
        return self.run(rows), self.answers(rows)


def diagnosis(net: Network, *ids: str, rows: int = 200, **options: Any) -> Diagnosis:
    every = everything(net)
    device = Device(net, *ids)
    every = every[np.random.default_rng(0).permutation(len(every))]
    right = (device.run(every) == intnn.run(net, every)).all(axis=1)
    x = every[np.argsort(right[: len(every)], kind="stable")[:1].tolist() + list(range(rows - 1))]  # one fails
    d = diagnose(net, x, device.run(x), device.ask, **options)
    assert d.questions == device.asked
    assert d.explanations[0].of == rows + d.questions
    return d


def equal_everywhere(net: Network, a: list[Fault], b: list[Fault]) -> bool:
    x = everything(net)
    return bool((outputs(net, a, x) == outputs(net, b, x)).all())


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", NETWORKS)
def test_every_fault_is_named(kind: str, every: int) -> None:
    """Of the catalogue, and some of one neuron: the true one is first, or one that is the same on every input."""
    net = NETWORKS[kind]
    alone = first = 0
    for fault in (*catalogue(net)[::every], *neuron_faults(net)[:: 7 * every]):
        if equal_everywhere(net, [fault], []):
            continue
        d = diagnosis(net, fault.id)
        tied = d.explanations[: d.tied]
        assert d.tied, fault.id
        for e in tied:
            assert e.complete
            assert equal_everywhere(net, [parse(net, id) for id in e.faults], [fault]), (fault.id, e.faults)
        assert [e.same for e in tied] == [False] + [True] * (len(tied) - 1)
        named = [e.faults for e in tied]
        # A neuron's fault may be a whole layer's in effect, such as one weight of -128; else it is listed itself.
        assert (fault.id,) in named or "[" in fault.id, fault.id
        alone += named == [(fault.id,)]
        first += named[0] == (fault.id,)
        for e in tied:
            assert e.faults != (fault.id,) or (e.stage, e.layer) == (fault.stage, fault.layer)
    assert alone > 40 // every
    assert first >= alone


PAIRS = [
    ("weights.transposed@0", "bias.negated@1"),
    ("input.reversed@0", "zero-point.sign@1"),
    ("bias.missing@1", "output.reversed@1"),
    ("bias.plus-one@1[2]", "weights.row-shifted@0"),
    ("input.zero-point-missing@*", "bias.shifted@0"),
]
QUICK = {("fixed", 2), ("q31", 0)}  # one of a layer, one of two layers


@pytest.mark.parametrize(
    ("kind", "ids"),
    [
        pytest.param(kind, ids, marks=[] if (kind, n) in QUICK else pytest.mark.slow)
        for kind in NETWORKS
        for n, ids in enumerate(PAIRS)
    ],
)
def test_two_faults_are_named(kind: str, ids: tuple[str, str]) -> None:
    net = NETWORKS[kind]
    true = [parse(net, id) for id in ids]
    d = diagnosis(net, *ids, rows=1681)
    assert d.tied
    named = [set(e.faults) for e in d.explanations[: d.tied]]
    assert set(ids) in named or len(named[0]) == 1  # one hides the other
    for e in d.explanations[: d.tied]:
        assert equal_everywhere(net, [parse(net, id) for id in e.faults], true)


def quarter(inputs: int = 1) -> Network:
    """The sum of the inputs divided by 4: every row is a lesson in rounding."""
    layer = Dense(np.ones((1, inputs), np.int64), np.array([0]), Fixed.half_up(2), Activation("int8"))
    return Network(Activation("int8", min=-100, max=100), (layer,))


def fitting(net: Network, x: Rows, got: Rows) -> set[str]:
    return {f.id for f in catalogue(net) if (outputs(net, [f], x) == got).all()}


def test_it_asks_what_decides() -> None:
    """-1/2 becomes -1 by three roundings and more; 1/2 and -1/4, which it has to ask for, leave one."""
    net = quarter()
    x = np.array([[0], [-2]])
    device = Device(net, "rounding.half-away@0")
    got = device.run(x)
    assert fitting(net, x, got) > {"rounding.half-away@0", "rounding.half-down@0", "rounding.floor@0"}
    d = diagnose(net, x, got, device.ask)
    assert 0 < d.questions == device.asked < 10
    assert [e.faults for e in d.explanations[: d.tied]] == [("rounding.half-away@0",), ("rounding.f64away@0",)]
    assert d.explanations[1].same  # one function by two ways


def test_it_asks_no_more_than_it_may() -> None:
    net = NETWORKS["q31"]
    device = Device(net, "rounding.half-even@0")
    every = everything(net)
    x = every[(device.run(every) == intnn.run(net, every)).all(axis=1)][:40]
    for most in (0, 1, 3):
        d = diagnose(net, x, device.run(x), device.ask, most_questions=most)
        assert d.questions <= most
    assert device.asked <= 4
    d = diagnose(net, x, device.run(x), device.ask)
    named = [e.faults for e in d.explanations[: d.tied]]
    assert ("rounding.half-even@0",) in named
    assert all(equal_everywhere(net, [parse(net, id) for id in ids], device.faults) for ids in named)


def test_a_device_that_does_not_answer_is_no_loss() -> None:
    net, x = quarter(), np.array([[-2]])
    silent = Device(net, "rounding.floor@0", answers=lambda rows: np.zeros(len(rows), np.bool_))
    d = diagnose(net, x, silent.run(x), silent.ask, most_questions=50)
    assert d.tied > 1
    assert d.explanations[0].of == 1
    assert silent.asked == d.questions <= 50
    some = Device(net, "rounding.floor@0", answers=lambda rows: rows[:, 0] % 2 == 0)
    d = diagnose(net, x, some.run(x), some.ask)
    assert ("rounding.floor@0",) in [e.faults for e in d.explanations[: d.tied]]


def test_what_nothing_explains_is_said_to_be_so() -> None:
    net = NETWORKS["fixed"]
    x = everything(net)[::9]
    right = outputs(net, [], x)

    def strange(rows: Rows) -> Rows:
        y = outputs(net, [], rows)
        y[:, 1] ^= (rows[:, 0] * 13 + rows[:, 1] * 7) % 5 == 0
        return y

    d = diagnose(net, x, strange(x), lambda rows: (strange(rows), np.ones(len(rows), np.bool_)))
    assert d.tied == 0
    assert d.tried > 1000  # pairs were tried
    best = d.explanations[0]
    same = (strange(x) == right).all(axis=1).sum()
    assert same <= best.matched < best.of == len(x)
    own = next(e for e in d.explanations if not e.faults)
    assert own.matched == same
    assert own.text == "the specification (only output 1 differs from it)"
    assert own.stage == "unknown"


def test_a_device_that_is_right() -> None:
    d = diagnosis(NETWORKS["fixed"], rows=1681)
    assert d.explanations[0].faults == ()
    assert d.explanations[0].text == "the specification"
    assert all(e.same for e in d.explanations[1 : d.tied])


def test_it_is_deterministic() -> None:
    net = NETWORKS["q31"]
    assert diagnosis(net, "bias.int8@0", rows=3) == diagnosis(net, "bias.int8@0", rows=3)


def test_a_pool_is_asked_first() -> None:
    net = quarter(inputs=4)
    assert every_input(net) is None
    asked: list[list[int]] = []
    device = Device(net, "rounding.half-away@0")

    def ask(rows: Rows) -> tuple[Rows, Rows]:
        asked.extend(rows.tolist())
        return device.ask(rows)

    x = np.array([[0, 0, 0, 0], [-2, 0, 0, 0]])
    pool = np.array([[1, 2, 1, 0], [1, 1, 0, 0], [-1, -1, 2, -1], [0, 0, 0, 0]])
    d = diagnose(net, x, device.run(x), ask, pool=pool)
    assert sorted(asked) == [[-1, -1, 2, -1], [1, 1, 0, 0]]  # 1/2 and -1/4
    assert [e.faults for e in d.explanations[: d.tied]] == [("rounding.half-away@0",), ("rounding.f64away@0",)]


# --- proofs that faults are equivalent


@pytest.mark.parametrize("kind", NETWORKS)
def test_steps_decide_as_all_accumulators_do(kind: str) -> None:
    """`differing` finds a difference of a neuron exactly if some accumulator within the interval shows one."""
    net = NETWORKS[kind]
    decided = {True: 0, False: 0}
    for fault in catalogue(net)[::3]:
        if fault.layer is None or fault.stage not in ("requantize", "clamp"):
            continue
        k = fault.layer
        right, wrong = specified(net)[k], mutant(net, [fault])[k]
        proof = intnn.prove(net).layers[k]
        found = differs_somewhere(net, fault)
        sides = differing(net, k, right, wrong)
        for o, (low, high) in enumerate(zip(proof.acc_low.tolist(), proof.acc_high.tolist(), strict=True)):
            acc = np.zeros((high - low + 1, len(right.bias)), np.int64)
            acc[:, o] = np.arange(low, high + 1)
            different = np.flatnonzero(right.finish(acc)[:, o] != wrong.finish(acc)[:, o]) + low
            verdict = found[o]
            if verdict is not None:
                assert verdict == bool(len(different)), fault.id
                assert sides is not None
                assert set(sides[o].tolist()) <= set(different.tolist())
                decided[verdict] += 1
    assert min(decided.values()) > 2


def test_the_same_function_is_proved_without_trying_inputs() -> None:
    """Networks with too many inputs to try: rounding half up with another name, and bounds nothing reaches."""
    layer = Dense(np.full((2, 4), 3), np.array([0, 900]), Q31(1 << 30, -6, "single"), Activation("int8"))
    net = Network(
        Activation("int8"),
        (layer, Dense(np.ones((1, 2), np.int64), np.array([0]), Fixed.half_up(1), Activation("int8"))),
    )
    assert every_input(net) is None

    def same(a: str, b: str = "") -> bool:
        return same_function(net, [parse(net, a)], [parse(net, b)] if b else [])

    assert same("rounding.half-up@0", "rounding.upup@0") is False  # the exponent makes two roundings of one
    assert same("rounding.half-up@0")
    assert same("rounding.half-away@1", "rounding.half-away@1")
    assert not same("rounding.half-away@1")
    assert not same("rounding.half-down@0")
    assert same("clamp.max-minus-one@0")
    assert not same("bias.negated@0")
    assert same("output.reversed@0", "input.reversed@1")
    assert not same("output.reversed@0", "input.reversed@0")


def test_every_input_is_every_input() -> None:
    net = NETWORKS["single"]
    rows = every_input(net)
    assert rows is not None
    assert sorted(rows.tolist()) == sorted(everything(net).tolist())
    one = Dense(np.ones((1, 300), np.int64), np.array([0]), Fixed.half_up(9), Activation("int8"))
    assert every_input(Network(Activation("int8"), (one,))) is None
    fixed = every_input(Network(Activation("int8", min=3, max=3), (one,)))
    assert fixed is not None
    assert fixed.tolist() == [[3] * 300]


def test_deciding_rows_split_as_far_as_rows_can() -> None:
    net = NETWORKS["q31"]
    some = [(f,) for f in catalogue(net)[:40]]
    names = [f.id for (f,) in some]
    rows = everything(net)[::5]
    parts = [names]
    for _ in range(20):
        by = dict(zip(names, some, strict=True))
        chosen = [deciding(net, [by[n] for n in part], rows, 40) for part in parts]
        if not sum(map(len, chosen)):
            break
        fresh = [classes(part, net, [by[n] for n in part], c) for part, c in zip(parts, chosen, strict=True)]
        parts = [part for finer in fresh for part in finer]
    assert sorted(parts) == sorted(classes(names, net, some, rows))
    assert len(parts) > 20
    assert len(deciding(net, some, rows, 2)) == 2
    assert len(deciding(net, [some[0], some[0]], rows, 9)) == 0


def test_rare_accumulators_are_walked_to() -> None:
    """A rounding constant off by one shows on 1 in 2^15 accumulators: random rows hardly find any, the walk does."""
    rng = np.random.default_rng(5)
    layer = Dense(
        rng.integers(-128, 128, (6, 8)), rng.integers(-999, 999, 6), Fixed.half_up(15, 51), Activation("int8")
    )
    net = Network(Activation("int8"), (layer,))
    wrong = (parse(net, "rounding.constant-plus-one@0"),)
    batches = list(candidates(net, None, [(), wrong]))
    shows = [int((outputs(net, wrong, b) != outputs(net, [], b)).any(axis=1).sum()) for b in batches]
    assert sum(shows[:4]) < 8  # the random ones
    assert sum(shows[4:]) > 50
    for b in batches:
        assert b.min() >= -128
        assert b.max() <= 127
