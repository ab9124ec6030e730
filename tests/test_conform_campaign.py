"""Campaigns against devices whose faults are known: what is found, on which input, where, and why."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest

from intnn import Activation, Dense, Fixed, Network, run, trace
from intnn.conform import campaign
from intnn.conform.device import OPERATIONS, RUN, Answers, Device, Failure, Int64, Question
from intnn.conform.report import junit, text
from intnn.interpreter import requantize


def network(seed: int = 1, sizes: tuple[int, ...] = (4, 8, 8, 3)) -> Network:
    random = np.random.default_rng(seed)
    layers = [
        Dense(
            random.integers(-127, 128, (outputs, inputs)),
            random.integers(-3000, 3000, outputs),
            Fixed.half_up(15, int(random.integers(180, 250)), 0),
            Activation("int8", -7, -7 if outputs != sizes[-1] else -128),
        )
        for inputs, outputs in pairwise(sizes)
    ]
    return Network(Activation("int8", 3), tuple(layers), name="small")


NET = network()


class Device1(Device):
    """A device that computes ``net``, fails on the rows of ``failing``, and records what it was asked."""

    def __init__(
        self, net: Network, operations: Collection[str] = ("run",), failing: dict[int, str] | None = None
    ) -> None:
        super().__init__("a test device")
        self.net, self.operations, self.failing = net, frozenset(operations), failing or {}
        self.asked = 0

    def ask(self, question: Question, rows: Int64) -> Answers:
        layer = self.net.layers[question.layer]
        match question.operation:
            case "run":
                y = run(self.net, rows)
            case "layer":
                y = trace(self.net, rows)[question.layer].output
            case "dense":
                y = run(Network(self.net.inputs[question.layer], (layer,)), rows)
            case _:
                y = requantize(rows.astype(np.int32), layer.neurons([question.neuron]))
        failures = {}
        for row in range(len(rows)):
            self.asked += 1
            if self.asked in self.failing:
                failures[row] = Failure(self.failing[self.asked], "as planned")
        outputs = y.astype(np.int64)
        outputs[list(failures)] = 0
        return Answers(outputs, failures)


def changed(net: Network, layer: int, **parts: object) -> Network:
    layers = list(net.layers)
    layers[layer] = replace(layers[layer], **parts)  # type: ignore[arg-type]  # parts are of their fields' types
    return replace(net, layers=tuple(layers))


def bias_off_by_one(net: Network, layer: int, neuron: int) -> Network:
    bias = net.layers[layer].bias.copy()
    bias[neuron] += 1
    return changed(net, layer, bias=bias)


def test_a_right_device_passes_with_all_operations() -> None:
    report = campaign.run(NET, Device1(NET, OPERATIONS), count=500)
    assert (report.outcome, report.exit_code) == ("pass", 0)
    assert report.mismatch is None
    assert report.diagnosis is None
    assert not report.failures
    assert report.flaky is None
    assert all(group.passed for group in report.groups)
    assert sum(group.inputs for group in report.groups if "layer" not in group.name.split()[1:2]) >= 500
    assert {group.name for group in report.groups} >= {f"requantize layer {k}" for k in range(3)} | {"dense layer 1"}
    assert report.heat == ()


@pytest.mark.parametrize(("layer", "neuron"), [(0, 5), (1, 3), (2, 1)])
def test_a_bias_off_by_one_is_found_and_named(layer: int, neuron: int) -> None:
    device = Device1(bias_off_by_one(NET, layer, neuron))
    report = campaign.run(NET, device, count=1000)
    assert report.exit_code == 1
    found, why = report.mismatch, report.diagnosis
    assert found is not None
    assert why is not None
    assert found.location is not None
    assert found.inference <= 200
    assert f"bias.plus-one@{layer}[{neuron}]" in [e.faults[0] for e in why.explanations[: max(1, why.tied)]]
    assert found.expected == tuple(run(NET, np.array(found.x))) != found.got
    assert found.got == tuple(run(device.net, np.array(found.x)))
    assert (found.location.layer, found.location.neuron, found.location.observed) == (layer, neuron, False)
    right = trace(NET, np.array(found.x))[layer]
    assert (found.location.acc, found.location.expected) == (right.acc[neuron], right.output[neuron])
    assert found.location.got == found.location.expected + 1


def test_layers_that_a_device_shows_are_observed() -> None:
    wrong = bias_off_by_one(NET, 1, 3)
    report = campaign.run(NET, Device1(wrong, ("run", "layer")), count=1000)
    place = report.mismatch.location if report.mismatch else None
    assert place is not None
    assert (place.layer, place.neuron, place.observed) == (1, 3, True)
    assert report.heat_observed == (True, True, True)
    assert sum(report.heat[0]) == 0
    assert {j for j, n in enumerate(report.heat[1]) if n} == {3}
    assert any(report.heat[2])


def test_the_stage_is_observed_where_requantization_can_be_asked() -> None:
    report = campaign.run(NET, Device1(bias_off_by_one(NET, 1, 3), OPERATIONS), count=500)
    assert report.mismatch is not None
    assert report.mismatch.operation == "dense"
    assert report.mismatch.layer == 1
    place = report.mismatch.location
    assert place is not None
    assert (place.layer, place.neuron, place.stage, place.observed) == (1, 3, "accumulate", True)

    rule = NET.layers[1].requantize
    assert isinstance(rule, Fixed)
    assert isinstance(rule.round, int)
    report = campaign.run(NET, Device1(changed(NET, 1, requantize=replace(rule, round=0)), OPERATIONS), count=500)
    assert report.mismatch is not None
    assert (report.mismatch.operation, report.mismatch.layer) == ("requantize", 1)
    assert report.mismatch.location is not None
    assert report.mismatch.location.stage == "requantize"
    assert report.diagnosis is not None
    assert report.diagnosis.explanations[0].faults == ("rounding.floor@1",)


def test_a_device_that_requantizes_alone() -> None:
    rule = NET.layers[2].requantize
    assert isinstance(rule, Fixed)
    wrong = Device1(changed(NET, 2, requantize=replace(rule, round=0)), ("requantize",))
    report = campaign.run(NET, wrong, count=500)
    assert report.diagnosis is not None
    assert report.diagnosis.explanations[0].faults == ("rounding.floor@2",)
    assert report.mismatch is not None
    assert (report.mismatch.operation, report.mismatch.layer, report.exit_code) == ("requantize", 2, 1)
    assert campaign.run(NET, Device1(NET, ("requantize",)), count=500).exit_code == 0


def test_no_smaller_input_of_the_same_shape_fails() -> None:
    """The smallest input is smallest in each value: the values between it and the zero point do not fail."""
    wrong = bias_off_by_one(NET, 1, 3)
    report = campaign.run(NET, Device1(wrong), count=1000)
    assert report.mismatch is not None
    x, zero = np.array(report.mismatch.x), NET.input.zero_point
    for i in np.flatnonzero(x != zero):
        simpler = x.copy()
        simpler[i] = zero
        assert (run(NET, simpler) == run(wrong, simpler)).all()


def test_answers_already_given_survive_the_death_of_a_device() -> None:
    report = campaign.run(NET, Device1(NET, failing={5: "crash", 300: "hang"}), count=400)
    assert (report.outcome, report.exit_code) == ("died", 3)
    assert [(number, failure.kind) for number, _, failure in report.failures] == [(5, "crash"), (300, "hang")]
    assert sum(group.answered for group in report.groups) == sum(group.inputs for group in report.groups) - 2

    report = campaign.run(
        NET, Device1(changed(NET, 2, bias=NET.layers[2].bias + 3000), failing={5: "crash"}), count=400
    )
    assert report.exit_code == 1
    assert len(report.failures) == 1


def test_an_inference_that_is_declined_is_missing() -> None:
    report = campaign.run(NET, Device1(NET, failing={7: "skip"}), count=100)
    assert report.exit_code == 3
    assert "INCOMPLETE: a test device left 1 of 100 inferences" in text.render(report)
    report = campaign.run(NET, Device1(NET, OPERATIONS, failing={7: "skip"}), count=100)  # a question about a layer
    assert report.exit_code == 0
    mute = Device1(NET, failing=dict.fromkeys(range(1, 10_000), "skip"))
    assert campaign.run(NET, mute, count=100).exit_code == 3


def test_layers_that_are_shown_are_judged() -> None:
    class Shows(Device1):
        def ask(self, question: Question, rows: Int64) -> Answers:
            answer = super().ask(question, rows)
            if question == Question("layer", 1):
                answer.outputs[:, 2] += 1
            return answer

    report = campaign.run(NET, Shows(NET, ("run", "layer")), count=50)
    assert report.exit_code == 1
    assert {group.name for group in report.groups if group.wrong} == {"layer 1 outputs"}
    assert report.mismatch is not None
    place = report.mismatch.location
    assert place is not None
    assert (report.mismatch.operation, place.layer, place.neuron, place.observed) == ("layer", 1, 2, True)


def test_a_device_that_contradicts_itself() -> None:
    class Fickle(Device1):
        def ask(self, question: Question, rows: Int64) -> Answers:
            before = self.asked
            answer = super().ask(question, rows)
            answer.outputs[:, 0] ^= before >= 100  # only once the campaign's rows are done
            return answer

    report = campaign.run(NET, Fickle(NET), count=100)
    assert report.exit_code == 3
    assert report.flaky is not None
    x, first, second = report.flaky
    assert first == tuple(run(NET, np.array(x))) != second


def test_expected_failures() -> None:
    wrong = Device1(changed(NET, 0, bias=NET.layers[0].bias * 0))
    report = campaign.run(NET, wrong, count=300)
    names = [group.name for group in report.groups if group.wrong]
    again = campaign.run(NET, wrong, count=300, expected_failures=names)
    assert (report.exit_code, again.exit_code) == (1, 0)
    assert again.mismatch is not None
    assert campaign.run(NET, Device1(NET), count=300, expected_failures=names).unexpected_passes == tuple(names)


def test_a_recording_is_asked_what_it_holds() -> None:
    rows = np.array([*product((-128, 3, 127), repeat=4)])

    class Recording(Device1):
        def rows(self, question: Question) -> Int64 | None:
            return rows

        def ask(self, question: Question, asked: Int64) -> Answers:
            assert question == RUN
            assert {tuple(row) for row in asked} <= {tuple(row) for row in rows}
            return super().ask(question, asked)

    wrong = Recording(changed(NET, 0, bias=NET.layers[0].bias * 0))
    report = campaign.run(NET, wrong)
    assert [(group.name, group.inputs) for group in report.groups] == [("recorded", 81)]
    assert report.exit_code == 1
    assert report.mismatch is not None
    assert report.mismatch.shrinking == 0
    assert report.diagnosis is not None
    assert report.diagnosis.explanations[0].faults == ("bias.missing@0",)


def test_inputs_given_by_hand() -> None:
    rows = np.array([[1, 2, 3, 4]])
    report = campaign.run(NET, Device1(NET), rows=rows)
    assert [(group.name, group.inputs) for group in report.groups] == [("given", 1)]
    assert report.exit_code == 0


def test_an_answer_that_is_wrong_only_once() -> None:
    """As a bit lost on a wire: asked again it is right, so nothing is said of where."""

    class Once(Device1):
        def ask(self, question: Question, rows: Int64) -> Answers:
            before = self.asked
            answer = super().ask(question, rows)
            if before <= 90 < self.asked:
                answer.outputs[90 - before, 0] ^= 1
            return answer

    for operations in (("run", "layer"), OPERATIONS):
        report = campaign.run(NET, Once(NET, operations), count=200)
        assert report.exit_code == 3
        assert report.mismatch is None
        assert report.flaky is not None
        x, first, second = report.flaky
        assert len(x) in (1, 4)  # an accumulator, or an input
        assert first != second
        assert "CONTRADICTS ITSELF" in text.render(report)


def test_a_device_that_dies_when_it_is_asked_again() -> None:
    report = campaign.run(NET, Device1(NET, failing={103: "crash"}), count=100)
    assert report.exit_code == 3
    assert not report.failures
    assert [failure.kind for _, _, failure in report.notes] == ["crash"]


def test_layers_alone_are_no_inference() -> None:
    """A device that offers inferences and declines them all has shown nothing; one that offers none is judged by
    what it offers."""

    class Declines(Device1):
        def ask(self, question: Question, rows: Int64) -> Answers:
            answer = super().ask(question, rows)
            if question == RUN:
                answer.failures.update(dict.fromkeys(range(len(rows)), Failure("skip", "")))
            return answer

    report = campaign.run(NET, Declines(NET, OPERATIONS), count=50)
    assert report.exit_code == 3
    assert "NO ANSWER: a test device answered no inference" in text.render(report)
    assert 'errors="1"' in junit.xml(report)
    assert campaign.run(NET, Device1(NET, ["requantize", "dense"]), count=50).exit_code == 0
