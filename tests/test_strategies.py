"""The public strategies: what they draw is what they promise, by arithmetic that shares nothing with them."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from oracle import Oracle

from intnn import Q31, Activation, Dense, Fixed, Network, dumps, prove, strategies
from intnn.errors import ModelError
from intnn.model import HostRule

NET = Network(
    Activation("int8", -3),
    (
        Dense(
            np.array([[3, -128, 50], [7, 0, 127]]),
            np.array([100, -2000]),
            Fixed.half_up(9, 6),
            Activation("int8", -128),
        ),
        Dense(np.array([[90, -100]]), np.array([17]), Q31(1 << 30, -6, "double"), Activation("int8", 4)),
    ),
)


def output(net: Network, layer: int, neuron: int, acc: int) -> int:
    """By the oracle, which is no part of the package."""
    layers = json.loads(dumps(net))["layers"]
    return int(Oracle().ends(layers[layer], neuron, [acc])[0])


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_networks_and_inputs(data: st.DataObject) -> None:
    net = data.draw(strategies.networks(foreign=True, most_inputs=4, most_layers=2))
    assert prove(net).valid
    assert max(net.sizes) <= 4
    assert len(net.layers) <= 2
    x = data.draw(strategies.random_inputs(net, 3))
    assert x.shape == (3, net.sizes[0])
    assert x.dtype == np.int64
    assert net.input.min <= x.min() <= x.max() <= net.input.max


def test_every_feature_occurs() -> None:
    """Each rule, type and width is found; that it can also not be found shows that the search means something."""
    wanted: list[Any] = [
        lambda net: isinstance(net.layers[0].requantize, Fixed) and np.ndim(net.layers[0].requantize.shift) == 1,
        lambda net: isinstance(net.layers[-1].requantize, Q31) and net.layers[-1].requantize.rounding == "upup",
        lambda net: isinstance(net.layers[0].requantize, HostRule),
        lambda net: len(net.layers) == 3,
        lambda net: net.output.type == "int16" and net.input.type == "uint8",
        lambda net: net.output.min == net.output.zero_point > -128,
    ]

    def options(count: int) -> settings:
        return settings(max_examples=count, database=None, phases=[Phase.generate])

    for condition in wanted:
        find(strategies.networks(foreign=True, most_inputs=3), condition, settings=options(1000))
    with pytest.raises(NoSuchExample):
        find(strategies.networks(), lambda net: len(net.layers) > 3, settings=options(50))


@settings(max_examples=60, deadline=None)
@given(strategies.inputs(NET, 4, constructed=64))
def test_inputs_of_a_network(x: Any) -> None:
    assert x.shape == (4, 3)
    assert x.dtype == np.int64
    assert -128 <= x.min() <= x.max() <= 127


def test_inputs_are_constructed_and_random() -> None:
    """A row that no uniform draw would give, and one that the plan does not have."""
    strategy = strategies.inputs(NET, 1, constructed=64)
    options = settings(max_examples=3000, database=None)
    find(strategy, lambda x: x.tolist() == [[-3, -3, -3]], settings=options)
    from intnn.conform import construct

    plan = {tuple(row) for row in construct.plan(NET, 64).x.tolist()}
    find(strategy, lambda x: tuple(x[0].tolist()) not in plan, settings=options)


@pytest.mark.parametrize(("layer", "neuron"), [(0, 0), (0, 1), (1, 0)])
def test_accumulators(layer: int, neuron: int) -> None:
    proof = prove(NET).layers[layer]
    low, high = int(proof.acc_low[neuron]), int(proof.acc_high[neuron])

    @settings(max_examples=100, deadline=None, database=None)
    @given(strategies.accumulators(NET, layer, neuron))
    def within(acc: int) -> None:
        assert low <= acc <= high

    @settings(max_examples=100, deadline=None, database=None)
    @given(strategies.steps(NET, layer, neuron))
    def at_steps(acc: int) -> None:
        around = [output(NET, layer, neuron, a) for a in (acc - 1, acc, acc + 1) if low <= a <= high]
        assert len(set(around)) > 1

    within()
    at_steps()
    find(strategies.accumulators(NET, layer, neuron), lambda acc: acc == high, settings=settings(max_examples=2000))


def test_ties() -> None:
    """6 * acc / 2^9 is k + 1/2, and the output is on a step there; the second layer halves 64 times."""

    @settings(max_examples=60, deadline=None, database=None)
    @given(strategies.ties(NET, 0, 0))
    def tie(acc: int) -> None:
        assert (Fraction(6 * acc, 2**9) - Fraction(1, 2)).denominator == 1
        assert output(NET, 0, 0, acc - 1) != output(NET, 0, 0, acc)

    tie()
    negative = find(strategies.ties(NET, 1, 0), lambda acc: acc < 0)
    # Half up of acc / 2 first, then a tie of sixty-fourths, which goes away from zero.
    high = (negative + 1) // 2
    assert (Fraction(high, 64) - Fraction(1, 2)).denominator == 1
    assert output(NET, 1, 0, negative) == -(-high // 64 + 1) + 4 != output(NET, 1, 0, negative + 2)


def test_none_where_there_are_none() -> None:
    """An odd multiplier and a large shift: no accumulator in reach is a tie."""
    layer = Dense(np.array([[1]]), np.array([0]), Fixed.half_up(17, 351), Activation())
    net = Network(Activation(), (layer,))
    assert strategies.ties(net, 0, 0).is_empty
    assert strategies.steps(net, 0, 0).is_empty


def test_an_invalid_network_is_refused() -> None:
    layer = Dense(np.array([[127]]), np.array([2**31 - 1]), Fixed.half_up(8), Activation())
    net = Network(Activation(), (layer,))
    for strategy in (strategies.inputs, lambda net: strategies.accumulators(net, 0, 0)):
        with pytest.raises(ModelError) as error:
            strategy(net)
        assert error.value.code == "model.overflow"
