"""The verdict on C: emitted C is proved, right C of other hands too, and wrong C is told apart with an input."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from handwritten import ASR, NETWORK, SOURCES, START
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from oracle import Oracle

import intnn
from intnn import Q31, Activation, Dense, Fixed, Network, strategies
from intnn.ccheck.batch import evaluate
from intnn.ccheck.cmodel import MODELS
from intnn.ccheck.source import read
from intnn.ccheck.specification import Specification, run
from intnn.ccheck.symbols import Symbols
from intnn.ccheck.verify import Verdict, verify_c

RIGHT = SOURCES["plain loops"]


def check_proved(net: Network) -> None:
    """That the C emitted for ``net`` is proved, with either kernel."""
    for size in (False, True):
        verdict = verify_c(intnn.emit_c(net, size=size), net)
        assert verdict.proved, verdict
        assert verdict.models == ("int16", "int32", "lp64")


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(strategies.networks())
def test_emitted_c_is_proved(net: Network) -> None:
    check_proved(net)


def test_a_multiplication_of_four_million_values_is_proved() -> None:
    """The longest piece examined point by point: the 4,261,609 accumulators of an int16 neuron under q31."""
    whole = Activation("int16", -32768)
    first = Dense(
        np.array([[127, 127, 127, 127, 120], [-128] * 5]),
        np.array([0, 0]),
        Q31(np.array([1183975862, 1073741824]), np.array([1, 0]), "single"),
        whole,
    )
    last = Dense(np.array([[-128, -128]]), np.array([0]), Fixed.floor(0), whole)
    check_proved(Network(Activation("int16", 0, -344, 6442), (first, last)))


@pytest.mark.slow
@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(strategies.networks())
def test_emitted_c_of_many_networks_is_proved(net: Network) -> None:
    """But for the checker's limit, which a q31 layer on all of int16 can exceed: 2^23 values taken one by one."""
    for size in (False, True):
        verdict = verify_c(intnn.emit_c(net, size=size), net)
        assert verdict.proved or "neither rising nor falling" in verdict.reason, verdict


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(strategies.networks(), st.data())
def test_emitted_c_of_rules_per_channel_is_proved(net: Network, data: st.DataObject) -> None:
    """Fixed rules without a pre-shift, whose bias goes through the multiplier and whose bytes follow the weights."""

    def per_channel(count: int) -> Fixed:
        def each(low: int, high: int) -> Any:
            return np.array(data.draw(st.lists(st.integers(low, high), min_size=count, max_size=count)))

        shift = each(1, 20)
        return Fixed(shift, data.draw(st.sampled_from([(1 << shift) - 1, 1 << shift >> 1])), each(1, 255))

    layers = tuple(dataclasses.replace(v, requantize=per_channel(v.bias.size), scales=None) for v in net.layers)
    net = Network(net.input, layers)
    assume(intnn.prove(net).valid)
    check_proved(net)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(strategies.cases())
def test_c_runs_without_a_compiler(case: tuple[Network, Any]) -> None:
    net, x = case
    for size in (False, True):
        source = read(intnn.emit_c(net, size=size))
        for model in MODELS.values():
            result = evaluate(source, net, x, model)
            assert result.traps == {}
            assert result.outputs.tolist() == intnn.run(net, x).tolist()


@pytest.mark.parametrize("kind", SOURCES)
def test_c_of_other_hands(kind: str) -> None:
    verdict = verify_c(SOURCES[kind], NETWORK)
    assert verdict.proved, verdict
    x = np.random.default_rng(0).integers(-128, 128, (500, 6))
    result = evaluate(read(SOURCES[kind]), NETWORK, x, MODELS["int32"])
    assert (result.outputs == intnn.run(NETWORK, x)).all()


def check_counterexample(source: str, net: Network, verdict: Verdict) -> None:
    """That the input a verdict shows does what the verdict says, by the oracle and by running the C."""
    found = verdict.counterexample
    assert found is not None
    result = evaluate(read(source), net, np.array([found.x]), MODELS[verdict.model])
    arguments = {"model": intnn.formats.native.document_of(net), "x": found.x}
    assert Oracle().run("network.run", arguments)["y"][-1] == found.expected
    if found.got is None:
        assert result.traps
        assert result.traps[0].kind in found.trap
    else:
        assert not result.traps
        assert result.outputs[0].tolist() == found.got != found.expected


WRONG: dict[str, tuple[str, str, str]] = {
    # what is wrong: the text replaced, by what, and what the verdict must name
    "a bias": ("int32_t acc = b1[o];", "int32_t acc = b1[o] + (o == 2);", "layer 1, neuron 2"),
    "a weight": ("(int32_t)w0[o][i] * (", "((int32_t)w0[o][i] + (o == 3 && i == 4)) * (", "neuron 3"),
    "swapped rows": ("w1[o][i]", "w1[2 - o][i]", "layer 1"),
    "the rounding constant": ("<< (s - 1)), s)", "<< (s - 1)) - 1, s)", "layer 1, neuron 0: for acc = 8192"),
    "rounding away from zero": (
        "asr(acc * m +",
        "asr((acc < 0 ? -1 : 0) + acc * m +",
        "layer 1, neuron 0: for acc = -8192",
    ),
    "the lower bound": ("if (v < -128) v = -128;", "if (v < -127) v = -127;", "layer 0, neuron"),
    "no saturation": ("if (v > 127) v = 127;", "", "conversion"),
    "the zero point": ("(h[i] + 128)", "(h[i] + 127)", "layer 1, neuron"),
    "16-bit int": ("int32_t acc = b0[o];", "int acc = (int)b0[o];", "conversion to int16"),
    "1 << n": ("(int32_t)1 <<", "1 <<", "a 16-bit value shifted by 16"),
    "a plain shift": ("x < 0 ? ~(~x >> s) : x >> s", "x >> s", "implementation-defined"),
    "a loop too long": ("i < 6", "i <= 6", "element 6 of the 6 of a row of w0"),
    "a loop too short": ("i < 5; i++) acc", "i < 4; i++) acc", "layer 1: no neuron weighs"),
    "an output left out": ("o < 3", "o < 2", "output 2 is not written"),
    "a stale output": ("y[o] = finish", "y[o > 1 ? 1 : o] = finish", "output 1"),
    "outputs in another order": ("y[o] = finish", "y[2 - o] = finish", "output 0"),
    "nothing initialised": ("int32_t acc = b1[o];", "int32_t acc;", "uninitialised"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_c(fault: str) -> None:
    before, after, named = WRONG[fault]
    source = RIGHT.replace(before, after)
    assert source != RIGHT
    verdict = verify_c(source, NETWORK)
    assert verdict.status == "wrong", verdict
    assert named in verdict.reason, verdict
    check_counterexample(source, NETWORK, verdict)


def test_what_only_a_16_bit_int_shows() -> None:
    source = RIGHT.replace("int32_t acc = b0[o];", "int acc = (int)b0[o];")
    assert verify_c(source, NETWORK, models=("int32", "lp64")).proved
    verdict = verify_c(source, NETWORK, models=("int32", "int16"))
    assert (verdict.status, verdict.model, verdict.models) == ("wrong", "int16", ("int32",))


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("int32_t acc = b0[o];", "float acc = b0[o];", "floating point"),
        ("int32_t acc = b0[o];", "int64_t acc = b0[o];", "64-bit"),
        ("acc * m +", "acc / 2 * m +", "operator /"),
        ("void run", "int32_t run", "not of the form"),
        ("#include <stdint.h>", "#include <string.h>", "string.h"),
        ("    int o, i;", "    static int o; int i;", "static"),
    ],
)
def test_other_c_is_another_verdict(before: str, after: str, named: str) -> None:
    verdict = verify_c(RIGHT.replace(before, after), NETWORK)
    assert verdict.status == "not in the subset"
    assert named in verdict.reason
    assert verdict.counterexample is None


def test_a_difference_that_no_input_reaches() -> None:
    """The accumulator of layer 1 is only bounded by its inputs' ranges, which here never meet: no proof, no verdict."""
    first = Dense(np.array([[64], [-64]]), np.array([0, 0]), Fixed.half_up(6), Activation("int8", 0, 0))
    second = Dense(np.array([[1, 1]]), np.array([0]), Fixed.half_up(0), Activation("int16"))
    net = Network(Activation("int8"), (first, second))  # both hidden neurons above 100 at once: for no input
    hand = f"""{START}{ASR}
static int32_t relu(int32_t v) {{ v = v > 127 ? 127 : v; return v < 0 ? 0 : v; }}
void run(const int8_t *x, int16_t *y)
{{
    int8_t h[2];
    int32_t acc;
    h[0] = (int8_t)relu(asr((int32_t)x[0] * 64 + 32, 6));
    h[1] = (int8_t)relu(asr((int32_t)x[0] * -64 + 32, 6));
    acc = (int32_t)h[0] + h[1];
    y[0] = (int16_t)(acc > 200 ? 200 : acc);
}}
"""
    verdict = verify_c(hand, net)
    assert verdict.status == "not proved"
    assert "layer 1, neuron 0: for acc = 201" in verdict.reason
    assert verify_c(hand.replace("acc > 200 ? 200 : acc", "acc > 999 ? 200 : acc"), net).proved


def test_functions_and_headers() -> None:
    two = RIGHT + "void other(const int8_t *x, int8_t *y) { y[0] = x[0]; }\n"
    assert "other, run" in verify_c(two, NETWORK).reason or "run, other" in verify_c(two, NETWORK).reason
    assert verify_c(two, NETWORK, function="run").proved
    with pytest.raises(intnn.IntnnError, match="no function 'nothing'"):
        verify_c(two, NETWORK, function="nothing")
    parts = intnn.emit.emit_files(NETWORK, "pose")
    assert verify_c(parts["pose.c"], NETWORK, headers={"pose.h": parts["pose.h"]}).proved
    missing = verify_c(parts["pose.c"], NETWORK)
    assert (missing.status, missing.where) == ("not in the subset", "source.c:10")
    other = intnn.emit.emit_files(dataclasses.replace(NETWORK, name="another"), "pose")
    assert "assertion fails" in verify_c(parts["pose.c"], NETWORK, headers={"pose.h": other["pose.h"]}).reason


def test_types_that_cannot_hold_the_values() -> None:
    unsigned = RIGHT.replace("const int8_t *x", "const uint8_t *x")
    assert "cannot hold the network's input" in verify_c(unsigned, NETWORK).reason
    wider = RIGHT.replace("const int8_t *x, int8_t *y", "const int16_t *x, int32_t *y")
    assert verify_c(wider, NETWORK).proved


def test_foreign_networks_are_refused() -> None:
    foreign = intnn.with_profile(
        dataclasses.replace(
            NETWORK, layers=tuple(dataclasses.replace(v, scales=intnn.Scales(0.5, 0.5, 0.5)) for v in NETWORK.layers)
        ),
        "fp32even",
    )
    with pytest.raises(intnn.IntnnError) as raised:
        verify_c(RIGHT, foreign)
    assert raised.value.code == "model.host-only"


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(strategies.cases())
def test_the_verifiers_own_specification(case: tuple[Network, Any]) -> None:
    """Its formulas, symbolic and in plain integers, against the oracle."""
    net, x = case
    symbols = Symbols()
    specification = Specification(net, symbols)
    accs, y = run(net, x)
    for row, (got, inputs) in enumerate(zip(y.tolist(), x.tolist(), strict=True)):
        expected = Oracle().run("network.run", {"model": intnn.formats.native.document_of(net), "x": inputs})
        assert [accs[layer][row].tolist() for layer in range(len(accs))] == expected["acc"]
        assert got == expected["y"][-1]
    for group in specification.neurons.values():
        for neuron in group:
            layer = net.layers[neuron.layer]
            for low, high, _ in neuron.output.pieces:
                for u in (low, high):
                    acc = neuron.factor * u + neuron.const
                    rule = layer.requantize
                    v = requantized(rule, acc, neuron.index) + layer.output.zero_point
                    wanted = min(max(v, layer.output.min), layer.output.max)
                    assert symbols.curves.value(neuron.output, u) == wanted


def requantized(rule: Any, acc: int, o: int) -> int:
    """One accumulator by the oracle, which refuses what leaves int32: the ends of a proof never do."""
    fields = {name: int(v if np.ndim(v) == 0 else v[o]) for name, v in vars(rule).items() if name != "rounding"}
    name = f"requantize.{rule.rounding}" if isinstance(rule, Q31) else "requantize.fixed"
    value = Oracle().run(name, {"acc": acc, **fields})
    assert isinstance(value, int)
    return value


def test_long_has_64_bits_somewhere() -> None:
    source = RIGHT.replace("int32_t acc = b0[o];", "long acc = b0[o];")
    assert verify_c(source, NETWORK, models=("int16", "int32")).proved
    verdict = verify_c(source, NETWORK)
    assert (verdict.status, verdict.model, verdict.models) == ("not in the subset", "lp64", ("int16", "int32"))
    assert "long" in verdict.reason
    suffixed = RIGHT.replace("b0[o];", "b0[o] + 0L;")
    assert verify_c(suffixed, NETWORK).model == "lp64"
