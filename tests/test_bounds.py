"""The overflow proof against brute force: every input, every order, on networks small enough for that."""

from __future__ import annotations

import tracemalloc
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intnn import Q31, Activation, Dense, Fixed, Network, prove, run, trace
from intnn.bounds import require_valid
from intnn.checked import Int32
from intnn.errors import ContractError, ModelError
from intnn.interpreter import accumulate, requantize
from intnn.strategies import cases, networks

HIGH = (1 << 31) - 1


def one_neuron(weights: list[int], bias: int, rule: Fixed | Q31, source: Activation, output: Activation) -> Network:
    return Network(source, (Dense(np.array([weights]), np.array([bias]), rule, output),))


@given(
    st.lists(st.integers(-128, 127), min_size=1, max_size=3),
    st.integers(-500, 500),
    st.integers(-3, 3),
    st.integers(-4, 0),
    st.integers(0, 3),
)
@settings(max_examples=40)
def test_bounds_are_reached_by_some_input_and_some_order(
    weights: list[int], bias: int, zero: int, low: int, width: int
) -> None:
    source = Activation("int8", zero, low, low + width)
    net = one_neuron(weights, bias, Fixed.half_up(2), source, Activation("int16"))
    proof = prove(net).layers[0]
    accs: set[int] = set()
    sums: set[int] = set()
    outputs: set[int] = set()
    for x in product(range(low, low + width + 1), repeat=len(weights)):
        summands = [bias, *((v - zero) * w for v, w in zip(x, weights, strict=True))]
        accs.add(sum(summands))
        for order in permutations(summands):
            sums.update(sum(order[:k]) for k in range(len(order) + 1))
        outputs.add(int(run(net, list(x))[0]))
    assert (min(accs), max(accs)) == (proof.acc_low[0], proof.acc_high[0])
    assert (min(sums), max(sums)) == (proof.sum_low[0], proof.sum_high[0])
    assert (min(outputs), max(outputs)) == (proof.output_low[0], proof.output_high[0])


@given(cases())
@settings(max_examples=200)
def test_nothing_leaves_the_proven_ranges(case: tuple[Network, np.ndarray]) -> None:
    net, x = case
    for layer, proof, run_layer in zip(net.layers, prove(net).layers, trace(net, x, engine="checked"), strict=True):
        assert np.all((run_layer.acc >= proof.acc_low) & (run_layer.acc <= proof.acc_high))
        outputs = run_layer.output.astype(np.int64)
        assert np.all((outputs >= proof.output_low) & (outputs <= proof.output_high))
        assert 0 <= proof.headroom <= 31
        if isinstance(layer.requantize, Fixed):
            r = layer.requantize
            products = ((run_layer.acc.astype(np.int64) + r.pre_round) >> r.pre_shift) * r.multiplier
            assert proof.product_low is not None
            assert proof.product_high is not None
            assert np.all((products >= proof.product_low) & (products + r.round <= proof.product_high))


LIMIT = HIGH // (127 * 255)  # so many inputs of weight 127 at distance 255 still fit


@pytest.mark.parametrize(("inputs", "bias", "valid"), [(1, HIGH - 127 * 255, True), (1, HIGH - 127 * 255 + 1, False)])
def test_the_sum_may_reach_the_edge_and_not_one_more(inputs: int, bias: int, valid: bool) -> None:
    net = one_neuron([127] * inputs, bias, Q31(1 << 30, -20, "single"), Activation("uint8", 0), Activation("int8"))
    assert prove(net).valid is valid


def test_a_sum_that_fits_in_one_order_only_is_rejected() -> None:
    """The accumulator fits, but adding the positive summands first would not."""
    net = one_neuron([-128], HIGH, Q31(1 << 30, -20, "single"), Activation("int8", 0, -1, 1), Activation("int8"))
    overflow = prove(net).overflow
    assert overflow is not None
    assert overflow.witness.tolist() == [-1]
    assert "positive summands" in overflow.message


def test_an_accumulator_can_be_rejected_though_its_total_fits() -> None:
    net = one_neuron([127, -128], HIGH - 100, Fixed.floor(31), Activation("int8", 0, 0, 1), Activation("int16"))
    overflow = prove(net).overflow
    assert overflow is not None
    assert (overflow.layer, overflow.neuron, overflow.witness.tolist()) == (0, 0, [1, 0])


@pytest.mark.parametrize(
    ("rule", "bias", "valid"),
    [
        (Fixed(0, 0, 1000), 2147483, True),  # 2147483 * 1000 fits, 2147484 * 1000 does not
        (Fixed(0, 0, 1000), 2147484, False),
        (Fixed(1, 1, HIGH), 1, False),  # the product fits, the rounding constant added to it does not
        (Fixed(0, 0, 1, 1, 1), HIGH, False),  # acc + pre_round
        (Q31(1 << 30, 4, "upup"), (1 << 27) - 1, True),
        (Q31(1 << 30, 4, "upup"), 1 << 27, False),  # the left shift
        (Q31(HIGH, 0, "single"), HIGH, False),  # fits, but adding zero point 100 does not
        (Fixed(0, 0), HIGH - 100, False),  # the zero point fits exactly, the clamp's difference no more
    ],
)
def test_requantization_is_proved_at_its_ends(rule: Fixed | Q31, bias: int, valid: bool) -> None:
    net = one_neuron([1], bias, rule, Activation("int8", 0, 0, 0), Activation("int8", 100))
    proof = prove(net)
    assert proof.valid is valid
    if proof.overflow is None:
        assert run(net, [0], engine="checked")[0] == run(net, [0])[0]
    else:
        acc = accumulate([0], 0, [1], bias)
        assert proof.overflow.acc == acc
        with pytest.raises(ContractError):  # the witness really does it
            requantize(Int32(np.array([[acc]])), net.layers[0])


@given(networks(), st.integers(0, 30))
@settings(max_examples=100)
def test_a_witness_is_a_witness(net: Network, exponent: int) -> None:
    """Left shifts up to 30 make most networks invalid; the input reported must break the contract where it says."""
    rule = Q31((1 << 31) - 1, exponent, "double")
    net = Network(net.input, tuple(Dense(v.weights, v.bias, rule, v.output) for v in net.layers))
    overflow = prove(net).overflow
    if overflow is None:
        return
    layer, source = net.layers[overflow.layer], net.inputs[overflow.layer]
    assert np.all((overflow.witness >= source.min) & (overflow.witness <= source.max))
    plain = int(layer.bias[overflow.neuron])
    for x, w in zip(overflow.witness.tolist(), layer.weights[overflow.neuron].tolist(), strict=True):
        plain += (x - source.zero_point) * w
    assert overflow.acc == plain
    assert not -(1 << 31) <= plain << exponent <= HIGH
    with pytest.raises(ModelError, match=f"layer {overflow.layer}, neuron {overflow.neuron}") as caught:
        run(net, np.full(net.sizes[0], net.input.min))
    assert caught.value.code == "model.overflow"


def test_per_channel_names_the_neuron() -> None:
    rule = Q31(np.full(3, 1 << 30), np.array([0, 0, 25]), "single")
    layer = Dense(np.ones((3, 2), int), np.zeros(3, int), rule, Activation())
    with pytest.raises(ModelError, match="layer 0, neuron 2"):
        require_valid(Network(Activation(), (layer,)))


def test_headroom_counts_unused_bits() -> None:
    """A sum that reaches 2^k - 1, or -2^k, and no more needs k bits."""
    for k in range(8, 31):
        for bias in ((1 << k) - 1, -(1 << k)):
            net = one_neuron([0], bias, Q31(1 << 30, -25, "single"), Activation(), Activation())
            assert prove(net).layers[0].headroom == 31 - k


@pytest.mark.parametrize(
    ("rule", "bias", "bits"),
    [
        (Q31(1 << 30, 4, "upup"), (1 << 27) - 1, 0),  # the left shift
        (Q31(1 << 30, 4, "upup"), (1 << 20) - 1, 7),
        (Fixed(0, 0, 1, 31, HIGH - 1000), 1000, 0),  # acc + pre_round
        (Fixed(1, 1, 1 << 10), (1 << 10) - 1, 11),  # the product
        (Fixed(31, 1 << 30), 5, 0),  # the rounding constant
    ],
)
def test_headroom_sees_every_step(rule: Fixed | Q31, bias: int, bits: int) -> None:
    net = one_neuron([0], bias, rule, Activation(), Activation())
    assert prove(net).layers[0].headroom == bits


def test_a_wide_proof_needs_little_memory() -> None:
    """The proof of a layer takes a few times the memory of its weights, not fifty times."""
    weights = np.full((1000, 2000), -3, np.int8)
    layer = Dense(weights, np.zeros(1000, int), Fixed.floor(12), Activation())
    net = Network(Activation(), (layer,))
    tracemalloc.start()
    prove(net)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * weights.nbytes
