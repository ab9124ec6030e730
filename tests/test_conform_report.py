"""What is shown of a campaign: as text, JSON, JUnit XML and HTML, for reports made by hand."""

from __future__ import annotations

import copy
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest
import referencing
from reports import (
    ACCUMULATOR,
    DIED,
    EXPECTED,
    FLAKY,
    HOSTILE,
    HOSTILE_TEXT,
    LATE,
    MISMATCH,
    PASS,
    REPORTS,
    SILENT,
    SKIPS,
    UNEXPECTED_PASS,
    UNEXPLAINED,
    WIDE,
    WITHOUT_LAYERS,
)

from intnn.conform.report import json as documents
from intnn.conform.report import junit, text, words
from intnn.conform.verdict import Report
from intnn.demo.rounding import bundled
from intnn.errors import FileError
from intnn.formats import native

SCHEMAS = Path(__file__).parents[1] / "spec" / "schema"

every = pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)


# --- words ---------------------------------------------------------------------------------------------------------


def test_percent_is_rounded_down() -> None:
    assert [words.percent(*v) for v in ((4095, 4096), (4096, 4096), (0, 7), (972, 1000), (1, 3))] == [
        "99.9 %",
        "100 %",
        "0.0 %",
        "97.2 %",
        "33.3 %",
    ]


def test_vectors_are_shortened_by_runs() -> None:
    assert words.vector((0, 0, 0, 17, 0)) == "[0, 0, 0, 17, 0]"
    assert words.vector((0,) * 16) == f"[{', '.join('0' * 16)}]"
    assert words.vector((0,) * 17 + (1,)) == "[0 x 17, 1]"
    assert words.vector((1, 2, 3, 3, *[4] * 14), most=2) == "[1, 2, ... 16 more]"
    assert words.vector(()) == "[]"


def test_nothing_unprintable_is_left() -> None:
    assert words.printable("a\tb\x1b[31m\udc80\n\u202e\u00e9") == "a\\tb\\x1b[31m\\udc80\\n\\u202e\u00e9"


def test_coverage_counts_each_event_once() -> None:
    for report in (PASS, WIDE):
        c = words.cover(report.events)
        assert sum(c) == len(report.events)
        assert c.shown == sum(e.shown > 0 for e in report.events)
        assert c.unreachable == sum(e.unreachable for e in report.events)
        assert c.missed == sum(not e.unreachable and e.reached == 0 for e in report.events)
        assert c.possible == len(report.events) - c.unreachable


# --- text ----------------------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("width", [40, 80, 120])
def test_text_is_plain_and_fits(report: Report, width: int) -> None:
    plain = text.render(report, color=False, width=width)
    *lines, command = plain.splitlines()
    assert plain.isascii()
    assert plain.endswith("\n")
    assert all(c.isprintable() for c in plain if c != "\n")
    assert [line for line in lines if len(line) > width] == []
    assert lines == [line.rstrip() for line in lines]
    assert command == "    " + words.printable(report.command).encode("ascii", "backslashreplace").decode()


@every
def test_colors_change_nothing_but_colors(report: Report) -> None:
    colored = text.render(report, color=True, width=90)
    assert colored != (plain := text.render(report, color=False, width=90))
    assert [v.rstrip() for v in re.sub(r"\x1b\[[0-9;]*m", "", colored).splitlines()] == plain.splitlines()


HEADLINES = {
    "pass": "PASS: ./pose.so:pose_run gives the outputs of pose.json on all 4,096 inferences",
    "mismatch": "MISMATCH: ./pose.so:pose_run differs from pose.json on 115 of 4,096 inferences",
    "died": "DIED: ./pose.so:pose_run left 3 of 4,096 inferences of pose.json without an answer; "
    "the answers it gave are right",
    "late": "PROTOCOL BROKEN: ./pose.so:pose_run gives the outputs of pose.json, but broke the protocol on 1 of 4,096 "
    "inferences",
    "flaky": "CONTRADICTS ITSELF: ./pose.so:pose_run gave two different answers to the same input of pose.json",
    "skips": "INCOMPLETE: ./pose.so:pose_run left 2 of 4,096 inferences of pose.json without an answer; the answers it "
    "gave are right",
    "silent": "NO ANSWER: ./pose.so:pose_run answered none of 1 inference of pose.json",
    "expected": "PASS: ./pose.so:pose_run differs from pose.json on 115 of 4,096 inferences, all in groups that are "
    "expected to fail",
    "one neuron": "MISMATCH: one differs from one.json on 1 of 3 inferences",
}


@pytest.mark.parametrize("name", HEADLINES)
def test_the_headline_comes_first(name: str) -> None:
    assert text.render(REPORTS[name], width=200).splitlines()[0] == HEADLINES[name]


def lines_of(report: Report) -> list[str]:
    return [" ".join(line.split()) for line in text.render(report, width=160).splitlines()]


def test_a_mismatch_says_all_that_is_known() -> None:
    lines = lines_of(MISMATCH)
    assert lines[1:11] == [
        "input [0, 0, 0, 17, 0, 0], the smallest input found to fail",
        "expected [1, -5, 12, 0, 7, 9]",
        "got [1, -5, 13, 0, 7, 9]",
        "differs output 2: expected 12, got 13",
        "where layer 1, neuron 5, in requantize (as the device showed)",
        "there acc -12288; q31 double, multiplier 1518500250, exponent -7 (shift 38); expected 12, got 13",
        "diagnosis matches on all 4,096 inputs if layer 1 rounds half away from zero",
        "the next best explains 97.2 %: layer 1 rounds up",
        "found by inference 71, in group layer 1 ties; 12 more made it small; 8 more told hypotheses apart",
        "coverage 406 of 411 boundary events reached, 378 so that the output shows it",
    ]
    assert lines[12:15] == [
        "groups layer 1 ties: 110 of 300 wrong, first at inference 71",
        "layer 1 steps: 4 of 1,732 wrong, first at inference 402",
        "random: 1 of 2,000 wrong, first at inference 3,007",
    ]
    assert lines[-2:] == ["reproduce", MISMATCH.command]
    assert 15 <= len(text.render(MISMATCH).splitlines()) <= 25


def test_what_is_only_inferred_or_tied_is_said() -> None:
    lines = lines_of(WITHOUT_LAYERS)
    assert "where layer 1, neuron 5, in requantize (inferred; the device did not show it)" in lines
    assert "there acc -12288; fixed, multiplier 181, shift 13, round 4096; expected 12, got unknown" in lines
    assert "or if every layer rounds half away from zero" in lines
    assert "no input tried tells these 2 apart" in lines


def test_no_explanation_is_no_explanation() -> None:
    best = "no hypothesis of 412 explains all; the best matches on 99.9 % of 4,096 inputs if layer 1 rounds up"
    assert f"diagnosis {best}" in lines_of(UNEXPLAINED)
    assert not any(line.startswith("where") for line in lines_of(UNEXPLAINED))


def test_failures_of_the_device() -> None:
    assert [line for line in lines_of(DIED) if "inference " in line] == [
        "failures crash at inference 7, on [127, 0, 0, 0, 0, -128]: it died: "
        "SIGSEGV; stderr: <b>stack</b> smashed & burnt",
        "unasked, 2 times, first at inference 8, on [0, 0, 0, 0, 0, 0]: "
        "it was not asked: the device had died too often before",
    ]
    assert "groups corners: 3 of 64 without an answer" in lines_of(DIED)
    late = "late at inference 12, on [1, 2, 3, 4, 5, 6]: it answered after its time was up: 2.5 s after it was asked"
    assert f"protocol {late}" in lines_of(LATE)
    assert "flaky [1, 2, 3, 4, 5, 6] was answered [1, 1, 1, 1, 1, 1], and asked again [1, 1, 1, 2, 1, 1]" in lines_of(
        FLAKY
    )


def test_expectations_are_reported_either_way() -> None:
    assert "groups layer 1 ties: all 300 right; passes, but is expected to fail" in lines_of(UNEXPECTED_PASS)
    assert "no such group: expected to fail, but not a group here" in lines_of(UNEXPECTED_PASS)
    assert "groups layer 1 ties: 110 of 300 wrong, first at inference 71; expected to fail" in lines_of(EXPECTED)


def test_an_accumulator_is_called_one() -> None:
    assert "input [-12288], the smallest accumulator of layer 1, neuron 5 alone found to fail" in lines_of(ACCUMULATOR)


def test_many_groups_are_counted() -> None:
    groups = tuple(replace(MISMATCH.groups[1], name=f"group {k}") for k in range(20))
    lines = lines_of(replace(MISMATCH, groups=groups))
    assert sum("wrong, first" in line for line in lines) == text.MOST
    assert "and 14 more groups" in lines


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_show_without_a_terminal_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    text.show(MISMATCH)
    assert capsys.readouterr().out == text.render(MISMATCH, color=False)


@every
def test_show_on_a_terminal(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich", reason="an optional package")
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    monkeypatch.setenv("COLUMNS", "300")
    text.show(report)
    said = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())
    assert "\x1b" not in said
    assert words.headline(report) in said
    assert words.printable(report.command) in said
    assert all(content.split(",")[0] in said for _, content in text.rows(report))


def test_show_on_a_terminal_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*sys.modules]:
        if name.partition(".")[0] == "rich":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    monkeypatch.setenv("COLUMNS", "70")
    text.show(MISMATCH)
    assert terminal.getvalue() == text.render(MISMATCH, width=70)


# --- JSON ----------------------------------------------------------------------------------------------------------


def validator() -> jsonschema.Draft202012Validator:
    named = [json.loads((SCHEMAS / f"{name}.schema.json").read_text()) for name in ("conform", "model")]
    registry: Any = referencing.Registry().with_resources(
        [(schema["$id"], referencing.Resource.from_contents(schema)) for schema in named]
    )
    return jsonschema.Draft202012Validator(named[0], registry=registry)


@every
def test_json_round_trip(report: Report) -> None:
    document = documents.document(report)
    validator().validate(document)
    data = native.canonical(document)
    again = documents.load(native.parse(data))
    assert again == report
    assert again.seconds == pytest.approx(report.seconds, abs=0.001)
    assert native.canonical(documents.document(again)) == data


def test_json_with_its_network() -> None:
    net = bundled()[0]
    document = documents.document(replace(MISMATCH, sha256=native.network_hash(net)), net)
    validator().validate(document)
    assert documents.load(document) == documents.load({k: v for k, v in document.items() if k != "network"})
    again = native.loads(native.canonical(document["network"]))
    assert native.network_hash(again) == document["sha256"]


def test_the_schema_refuses_what_is_wrong() -> None:
    for change in ({"format": "intnn-conform/2"}, {"outcome": "fine"}, {"sizes": [1]}, {"more": 1}, {"seed": 0.5}):
        assert not validator().is_valid({**documents.document(PASS), **change})


Change = Callable[[dict[str, Any]], Any]

DAMAGED: dict[str, tuple[Change, str]] = {
    "another format": (lambda d: d.update(format="intnn-conform/2"), "file.version"),
    "no format": (lambda d: d.pop("format"), "file.version"),
    "text for a number": (lambda d: d.update(seed="0"), "file.field"),
    "true for a number": (lambda d: d.update(seed=True), "file.field"),
    "a float": (lambda d: d["sizes"].append(1.5), "file.field"),
    "null": (lambda d: d.update(mismatch=None), "file.field"),
    "an unknown member": (lambda d: d.update(extra=1), "file.field"),
    "an unknown member inside": (lambda d: d["groups"][0].update(extra=1), "file.field"),
    "seconds, which is no member": (lambda d: d.update(seconds=1), "file.field"),
    "a fact that is no text": (lambda d: d["facts"].update(cycles=3), "file.field"),
    "no such layer": (lambda d: d["mismatch"]["location"].update(layer=3), "file.field"),
    "no such neuron": (lambda d: d["mismatch"]["location"].update(neuron=32), "file.field"),
    "no such neuron of an event": (lambda d: d["events"][-1].update(neuron=6), "file.field"),
    "no such stage": (lambda d: d["mismatch"]["location"].update(stage="sum"), "file.field"),
    "no such operation": (lambda d: d["mismatch"].update(operation="walk"), "file.field"),
    "an input too long": (lambda d: d["mismatch"]["x"].append(0), "file.field"),
    "an output too short": (lambda d: d["mismatch"]["got"].pop(), "file.field"),
    "no such failure": (lambda d: d.update(failures=[_failure(kind="sad")]), "file.field"),
    "a failure too short": (lambda d: d.update(failures=[{"inference": 1}]), "file.field"),
    "a failure of other members": (lambda d: d.update(failures=[_failure(words=3)]), "file.field"),
    "heat of another size": (lambda d: d["heat"][1].append(3), "file.field"),
    "heat of a layer too few": (lambda d: d["heat"].pop(), "file.field"),
    "no sizes": (lambda d: d.update(sizes=[]), "file.field"),
    "an empty layer": (lambda d: d.update(sizes=[6, 0, 32, 6]), "file.field"),
    "another outcome": (lambda d: d.update(outcome="pass"), "file.field"),
    "another exit code": (lambda d: d.update(exit_code=0), "file.field"),
    "a flaky input of two": (lambda d: d.update(flaky=[[1], [2]]), "file.field"),
    "a flaky input of other members": (lambda d: d.update(flaky={"input": [1]}), "file.field"),
    "an object for an array": (lambda d: d.update(groups={}), "file.field"),
}


def _failure(**members: Any) -> dict[str, Any]:
    return {"inference": 1, "input": [0] * 6, "kind": "hang", "message": "", **members}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_document_is_refused(name: str) -> None:
    change, code = DAMAGED[name]
    document = documents.document(MISMATCH)
    documents.load(copy.deepcopy(document))
    change(document)
    with pytest.raises(FileError) as caught:
        documents.load(document)
    assert caught.value.code == code
    assert caught.value.expected


def test_every_member_is_needed() -> None:
    document = documents.document(MISMATCH)
    free = {"outcome", "exit_code", "milliseconds", "mismatch", "diagnosis", "expected_failures"}
    for name in set(document) - free - {"format"}:
        if name in ("failures", "notes", "heat", "heat_observed"):
            continue  # with defaults, as in Report; heat goes only with heat_observed, which is tried above
        with pytest.raises(FileError, match=name):
            documents.load({k: v for k, v in document.items() if k != name})
    with pytest.raises(FileError):
        documents.load([])  # type: ignore[arg-type]  # as a caller without types might


# --- JUnit ---------------------------------------------------------------------------------------------------------


def suite_of(report: Report) -> ET.Element:
    root = ET.fromstring(junit.xml(report))
    assert root.tag == "testsuites"
    (suite,) = root
    return suite


def outcomes(report: Report) -> dict[str, str]:
    return {
        case.attrib["name"]: next((child.tag for child in case if child.tag != "system-out"), "passed")
        for case in suite_of(report).iter("testcase")
    }


@every
def test_junit_counts_and_properties(report: Report) -> None:
    suite = suite_of(report)
    counted = Counter(outcomes(report).values())
    assert int(suite.attrib["tests"]) == len(report.groups) + 1 + len(words.missing_expectations(report))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(suite.attrib[attribute]) == counted[tag]
    assert (counted["failure"] + counted["error"] > 0) == (report.exit_code != 0)
    assert (counted["failure"] > 0) == bool(report.unexpected)
    properties = {p.attrib["name"]: p.attrib["value"] for p in suite.iter("property")}
    for name in ("model", "sha256", "device", "command"):
        assert properties[name] == words.printable(getattr(report, name))
    assert properties["seed"] == str(report.seed)
    assert junit.xml(report).isascii()


def test_junit_outcomes() -> None:
    good = dict.fromkeys(("corners", "layer 1 ties", "layer 1 steps", "random", "device"), "passed")
    wrong = dict.fromkeys(("layer 1 ties", "layer 1 steps", "random"), "failure")
    assert outcomes(PASS) == good
    assert outcomes(MISMATCH) == good | wrong
    assert outcomes(EXPECTED) == good | dict.fromkeys(wrong, "skipped")
    assert outcomes(DIED) == good | {"corners": "error", "device": "error"}
    assert outcomes(LATE) == good | {"device": "error"}
    assert outcomes(FLAKY) == good | {"device": "error"}
    assert outcomes(SKIPS) == good | {"corners": "skipped", "device": "error"}
    assert outcomes(SILENT) == {"corners": "skipped", "device": "error"}
    assert words.printable(HOSTILE_TEXT) in outcomes(HOSTILE)
    assert outcomes(UNEXPECTED_PASS) == good | {"no such group": "skipped"}


def test_junit_messages_stand_alone() -> None:
    messages = [failure.attrib["message"] for failure in suite_of(MISMATCH).iter("failure")]
    assert messages[0] == (
        "./pose.so:pose_run against pose.json: 110 of 300 wrong, first at inference 71; smallest failing input: "
        "[0, 0, 0, 17, 0, 0]: output 2: expected 12, got 13; matches on all 4,096 inputs if layer 1 rounds half away "
        "from zero"
    )
    for failure in suite_of(MISMATCH).iter("failure"):
        assert f"reproduce: {MISMATCH.command}" in (failure.text or "")
        assert "where: layer 1, neuron 5, in requantize (as the device showed)" in (failure.text or "")
    (said,) = suite_of(UNEXPECTED_PASS).iter("system-out")
    assert "passes, but is expected to fail" in (said.text or "")
