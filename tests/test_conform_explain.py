"""A failure as text, step by step: by hand on a small network, and every printed line evaluated on others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from calculator import NETWORKS, is_true, printed, rows

import intnn
from intnn import Activation, Dense, Fixed, Network
from intnn.conform import faults
from intnn.conform.explain import explain
from intnn.conform.report import json as documents
from intnn.conform.verdict import Diagnosis, Explanation, Group, Location, Mismatch, Report
from intnn.errors import IntnnError, UsageError
from intnn.formats import native


def failure(net: Network, fault_id: str, **changes: Any) -> Report:
    """The report of a device with one fault, on the first input that shows it; the diagnosis is right."""
    fault = faults.parse(net, fault_id)
    x = rows(net, 5000)
    right, wrong = intnn.run(net, x).astype(int), faults.outputs(net, [fault], x)
    at = int(np.flatnonzero((right != wrong).any(axis=1))[0])
    mutant = faults.trace(net, [fault], x[at : at + 1])
    location = None
    for k, t in reversed(list(enumerate(intnn.trace(net, x[at])))):
        for n in np.flatnonzero(t.output != mutant[k][1][0])[::-1].tolist():
            acc, got = int(t.acc[n]), int(mutant[k][1][0, n])
            location = Location(k, n, fault.stage, False, acc, "", int(t.output[n]), got)
    row = tuple(x[at].tolist())
    found = Mismatch(row, tuple(right[at].tolist()), tuple(wrong[at].tolist()), row, "g", 1, 0, location=location)
    best = Explanation((fault.id,), fault.text, 9, 9, fault.layer, fault.stage)
    whole = (("m.json", native.network_hash(net), net.sizes, "device"), (Group("g", 9, 9, 1, 1),))
    report = Report(*whole[0], {}, ("run",), 0, "again", whole[1], (), found, Diagnosis((best,), 1, 0, 1))
    return replace(report, **changes)


@pytest.mark.parametrize("fault", ["bias.missing@0", "clamp.wrap@*", "multiplier.plus-one@1", "output.reversed@1"])
def test_the_text_is_true(fault: str) -> None:
    told = 0
    for net in NETWORKS.values():
        try:
            report = failure(net, fault)
        except (UsageError, IndexError):
            continue  # this fault has no meaning in this network, or changes nothing
        text = explain(net, report)
        lines = printed(text)
        assert len(lines) >= 4
        assert [line for line in lines if not is_true(*line)] == []
        assert report.mismatch is not None
        assert report.mismatch.location is not None
        where = report.mismatch.location
        assert f"layer {where.layer}, neuron {where.neuron}:" in text
        assert f"  expected            {where.expected}" in text
        assert f"so the output is  {where.got}" in text
        told += 1
    assert told >= 22


def by_hand() -> tuple[Network, Report]:
    """A network small enough to be computed by hand, in which layer 0 rounds down: 1.5 becomes 1, not 2."""
    dense = Dense(np.array([[3, 0], [-2, 5]]), np.array([10, -7]), Fixed.half_up(2), Activation("int8", 4, 4))
    last = Dense(np.array([[9, -100]]), np.array([0]), Fixed.half_up(4), Activation("int16"))
    net = Network(Activation("int8", -1), (dense, last))
    report = failure(net, "rounding.floor@0")
    where = Location(0, 1, "requantize", False, 6, "", 6, 5)
    found = Mismatch((0, 2), (-11,), (-5,), (0, 2), "g", 1, 0, location=where)
    return net, replace(report, mismatch=found)


HEAD = """\
device against m.json: output 0: expected -11, got -5
  smallest input: [0, 2]

layer 0, neuron 1: zero point of the input -1
  x[0] * w[0]         (0 - -1) * -2 = -2
  x[1] * w[1]         (2 - -1) * 5 = 15
  acc, with bias      -7 + -2 + 15 = 6
  without rounding, acc * multiplier / 2**shift is exactly 1.5, a tie
  multiplier          6 * 1 = 6
  round               6 + 2 = 8
  shift               8 >> 2 = 2
  zero point          2 + 4 = 6
  clamp               min(max(6, 4), 127) = 6
  expected            6
"""

FAULT = """\
  if layer 0 WORDS:
    round floor         6 + 0 = 6
    shift               6 >> 2 = 1
    zero point          1 + 4 = 5
    clamp               min(max(5, 4), 127) = 5
    so the output is  5
"""

TAIL = """\
  the device gave     SEEN

layer 1: outputs
  expected            [-11]
  by the diagnosis    [-5]
  the device gave     [-5]
"""


def test_the_text_of_a_failure() -> None:
    net, report = by_hand()
    text = FAULT.replace("layer 0 WORDS", faults.parse(net, "rounding.floor@0").text)
    unseen = "(it does not show this layer)"
    assert explain(net, report) == HEAD + text + TAIL.replace("SEEN", unseen)
    found = report.mismatch
    assert found is not None
    assert found.location is not None
    seen = replace(report, mismatch=replace(found, location=replace(found.location, observed=True)))
    assert explain(net, seen) == HEAD + text + TAIL.replace("SEEN", "5")
    alone = replace(seen, diagnosis=None)
    assert explain(net, alone) == HEAD + TAIL.replace("SEEN", "5").replace("  by the diagnosis    [-5]\n", "")
    partly = Explanation(("rounding.floor@0",), "layer 0 rounds down", 8, 9, 0, "requantize")
    assert explain(net, replace(alone, diagnosis=Diagnosis((partly,), 0, 0, 1))) == explain(net, alone)


def test_without_a_location_the_output_that_differs_is_explained() -> None:
    net, report = by_hand()
    assert report.mismatch is not None
    text = explain(net, replace(report, diagnosis=None, mismatch=replace(report.mismatch, location=None)))
    assert "\nlayer 0: outputs [7, 6]\n" in text
    assert "layer 1, neuron 0: zero point of the input 4; where it diverges is not known\n" in text
    assert "  acc, with bias      0 + 27 + -200 = -173\n" in text
    assert text.endswith("  expected            -11\n  the device gave     -5\n")


def test_other_questions_than_inferences() -> None:
    net, report = by_hand()
    where = Location(0, 1, "requantize", True, 6, "", 6, 5)
    alone = Mismatch((6,), (6,), (5,), (6,), "g", 1, 0, "requantize", 0, 1, where)
    text = explain(net, replace(report, mismatch=alone))
    assert "  smallest accumulator of layer 0, neuron 1 alone: [6]\n" in text
    assert "layer 0, neuron 1: requantize 6 alone\n" in text
    assert "  shift               8 >> 2 = 2\n" in text
    assert "    shift               6 >> 2 = 1\n" in text
    assert text.endswith("  the device gave     5\n")

    dense = Mismatch((0, 2), (7, 6), (7, 5), (0, 2), "g", 1, 0, "dense", 0, 0, where)
    text = explain(net, replace(report, mismatch=dense))
    assert "  smallest input of layer 0 alone: [0, 2]\n" in text
    assert "  acc, with bias      -7 + -2 + 15 = 6\n" in text
    assert text.endswith("  the device gave     5\n")

    second = Mismatch((7, 6), (-11,), (-10,), (7, 6), "g", 1, 0, "dense", 1, 0)
    text = explain(net, replace(report, mismatch=second, diagnosis=None))
    assert "  acc, with bias      0 + 27 + -200 = -173\n" in text
    assert text.endswith("  expected            -11\n  the device gave     -10\n")

    shown = Mismatch((0, 2), (7, 6), (7, 5), (0, 2), "g", 1, 0, "layer", 0, 0, where)
    text = explain(net, replace(report, mismatch=shown))
    assert "  smallest input, asked for the outputs of layer 0: [0, 2]\n" in text
    assert text.endswith("    so the output is  5\n  the device gave     5\n")


def test_the_document_alone_is_enough() -> None:
    net, report = by_hand()
    data = native.canonical(documents.document(report, net))
    document = native.parse(data)
    again = native.loads(native.canonical(document["network"]))
    assert explain(again, documents.load(document)) == explain(net, report)


def test_what_cannot_be_explained() -> None:
    net, report = by_hand()
    found = report.mismatch
    assert found is not None
    group = Group("g", 9, 9, 0)
    wrong: dict[str, tuple[Report, str]] = {
        "a pass": (replace(report, mismatch=None, groups=(group,)), "usage.option"),
        "of another model": (replace(report, sha256="0" * 64), "file.hash"),
        "another truth": (replace(report, mismatch=replace(found, expected=(-10,))), "file.field"),
        "another size": (replace(report, mismatch=replace(found, x=(0, 2, 3))), "input.shape"),
        "out of range": (replace(report, mismatch=replace(found, x=(0, 128))), "input.range"),
        "no int32": (replace(report, mismatch=ACC), "file.field"),
        "beyond what was asked": (
            replace(report, mismatch=replace(found, operation="layer", layer=0, expected=(7, 6), location=BEYOND)),
            "file.field",
        ),
        "no such fault": (
            replace(report, diagnosis=Diagnosis((Explanation(("magic@0",), "", 1, 1, 0, "clamp"),), 1, 0, 1)),
            "usage.fault",
        ),
    }
    for name, (damaged, code) in wrong.items():
        with pytest.raises(IntnnError) as caught:
            explain(net, damaged)
        assert caught.value.code == code, name


ACC = Mismatch((1 << 31,), (127,), (5,), (0,), "g", 1, 0, "requantize", 0, 1)
BEYOND = Location(1, 0, "clamp", True, 0, "", 0, 1)
