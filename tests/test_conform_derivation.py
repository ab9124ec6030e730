"""The arithmetic of a neuron, step by step: every line is true, and the last is the output."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from calculator import NETWORKS, is_true, rows
from hypothesis import given, settings
from hypothesis import strategies as st

import intnn
from intnn import Activation, Dense, Fixed, Network
from intnn.conform import derivation, faults
from intnn.conform.derivation import Step
from intnn.strategies import cases


def holds(step: Step) -> bool:
    return not step.expression or is_true(step.expression, step.value)


def test_that_evaluation_can_fail() -> None:
    assert is_true("-3 >> 1", -2)
    assert is_true("rint(2.5) + away(-2.5) + trunc(-2.5)", -3)
    assert is_true("int8(200) + uint8(-1) + int16(65535)", -56 + 255 - 1)
    assert is_true("float32(0.1) * float32(3)", float(np.float32(0.1) * np.float32(3)))
    assert not is_true("float32(0.1) * float32(3)", 0.1 * 3)
    assert not is_true("-3 >> 1", -1)
    assert not is_true("1 + 1", 2.0)
    assert not is_true("1.0 + 1.0", 2)
    assert is_true("2**60 + 1", (1 << 60) + 1)
    assert not is_true("2**60 + 1", 1 << 60)


@pytest.mark.parametrize("net", NETWORKS.values(), ids=NETWORKS)
def test_the_specification_is_derived(net: Network) -> None:
    for x in rows(net):
        given = x
        for k, (trace, beats) in enumerate(zip(intnn.trace(net, x), faults.specified(net), strict=True)):
            for o in range(len(trace.output)):
                steps = derivation.derive(beats, given.tolist(), o)
                assert steps[-1].value == trace.output[o]
                assert next(s.value for s in steps if s.label == "acc, with bias") == trace.acc[o]
                assert [s for s in steps if not holds(s)] == []
                values = [s.value for s in steps]
                inside = net.layers[k].bias[o] + sum(
                    int(v) for v in values[: [s.label for s in steps].index("acc, with bias")]
                )
                assert inside == trace.acc[o]
                assert derivation.finish(beats, int(trace.acc[o]), o)[-1].value == trace.output[o]
            given = trace.output


@pytest.mark.parametrize("net", NETWORKS.values(), ids=NETWORKS)
def test_every_fault_is_derived(net: Network) -> None:
    x = rows(net, 2)
    some = faults.neuron_faults(net)[::9]
    tried = 0
    for fault in (*faults.catalogue(net), *some):
        given = x
        for beats in faults.mutant(net, [fault]):
            y = faults.execute(beats, given)[1]
            for r, row in enumerate(given.tolist()):
                o = (tried + r) % y.shape[1]
                steps = derivation.derive(beats, row, o)
                assert steps[-1].value == y[r, o], fault.id
                assert [s for s in steps if not holds(s)] == [], fault.id
                tried += 1
            given = y
    assert tried > 500


def test_of_many_products_the_largest_are_listed() -> None:
    rng = np.random.default_rng(0)
    dense = Dense(rng.integers(-128, 128, (1, 640)), np.array([5]), Fixed.half_up(10), Activation("int16"))
    net = Network(Activation("int8"), (dense,))
    x = rng.integers(-128, 128, 640)
    steps = derivation.derive(faults.specified(net)[0], x.tolist(), 0)
    products = x * dense.weights[0].astype(int)
    at = [s.label for s in steps].index("acc, with bias")
    assert at == derivation.MOST + 1
    assert sorted(abs(int(s.value)) for s in steps[: at - 1]) == sorted(np.abs(products))[-derivation.MOST :]
    assert steps[at - 1].label == f"{np.count_nonzero(products) - derivation.MOST} other products"
    assert steps[at].value == products.sum() + 5
    assert [s for s in steps if not holds(s)] == []
    assert steps[-1].value == intnn.run(net, x)[0]


@settings(max_examples=60)
@given(cases(foreign=True), st.data())
def test_any_network_is_derived(case: tuple[Network, Any], data: st.DataObject) -> None:
    net, x = case
    fault = data.draw(st.sampled_from((None, *faults.catalogue(net))))
    given_ = x
    for beats in faults.mutant(net, [fault] if fault else []):
        y = faults.execute(beats, given_)[1]
        for row, output in zip(given_[:3].tolist(), y[:3].tolist(), strict=True):
            for o, value in enumerate(output):
                steps = derivation.derive(beats, row, o)
                assert steps[-1].value == value
                assert [s for s in steps if not holds(s)] == []
        given_ = y
    if fault is None:
        assert (given_ == intnn.run(net, x)).all()
