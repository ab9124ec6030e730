"""What a log holds: transcripts, terminal logs with noise around the lines, and files that are no logs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import intnn
from intnn.conform.device import RUN, Question
from intnn.conform.expected import answers as right_answers
from intnn.conform.protocol import requests
from intnn.conform.reference import Reference
from intnn.conform.replay import ReplayDevice, replay
from intnn.errors import IntnnError
from intnn.formats.native import network_hash

NET = intnn.Network(  # y = 2 (x0 + x1) + 1
    intnn.Activation("int8", min=-60, max=60),
    (
        intnn.Dense([[1, 1]], [0], intnn.Fixed.floor(0), intnn.Activation("int8")),  # type: ignore[arg-type]  # a list will do
        intnn.Dense([[2]], [1], intnn.Fixed.floor(0), intnn.Activation("int16")),  # type: ignore[arg-type]  # as above
    ),
)


def logged(path: Path, *lines: str) -> ReplayDevice:
    (path / "log").write_bytes("\n".join(lines).encode("latin-1"))
    return replay(NET, path / "log")


def test_a_transcript(tmp_path: Path) -> None:
    """Everything that was asked of a right device, in lines short and long, is answered right."""
    rows = np.random.default_rng(1).integers(-60, 61, (20, 2))
    asked = {
        RUN: rows,
        Question("layer", 0): rows,
        Question("dense", 1): rows[:, :1],
        Question("requantize", 1, 0): rows[:, 1:],
    }
    lines, device, id = ["# the host begins", "> ", "> 0 hello"], Reference(NET), 1
    lines += ["< " + said for said in device.answer("0 hello")]
    for question, some in asked.items():
        for row in some.tolist():
            words: tuple[object, ...] = (question.operation, question.layer, question.neuron, *row)[:4]
            words = words[: {"run": 1, "layer": 2, "dense": 2, "requantize": 4}[question.operation]]
            for request in requests(id, words, [] if len(words) == 4 else row):
                lines += ["> " + request, *("< " + said for said in device.answer(request))]
                id += 1
    found = logged(tmp_path, *lines)
    assert found.operations == {"run", "layer", "dense", "requantize"}
    assert "0 of them not understood" in found.facts["log"]
    for question, some in asked.items():
        known = found.rows(question)
        assert {tuple(row) for row in known.tolist()} == {tuple(row) for row in some.tolist()}
        answers = found.ask(question, known)
        assert (answers.failures, answers.notes) == ({}, {})
        assert np.array_equal(answers.outputs, right_answers(NET, question, known))


def test_noise(tmp_path: Path) -> None:
    found = logged(
        tmp_path,
        "U-Boot 2026.01\r",
        "[00:00:01.204] > 7 x 1\r",
        "[00:00:01.205] < 7 ok\r",
        "[00:00:01.206] # debug",
        "",
        "rx: 8 run 2",
        "WARN low battery: 12 %",
        "2026-11-22T10:00:00Z tx: 8 ok 7\r",
        "12:00:03 9 run 3 4",
        "\xff\xfe banana",
        "12:00:04 9 ok 15",
    )
    assert found.rows(RUN).tolist() == [[1, 2], [3, 4]]
    assert found.ask(RUN, found.rows(RUN)).outputs.tolist() == [[7], [15]]
    assert found.facts["log"] == "11 lines, 4 of them not understood; 2 requests"


def test_what_the_log_does_not_have(tmp_path: Path) -> None:
    found = logged(tmp_path, "1 run 1 2", "1 ok 7")
    answers = found.ask(RUN, np.array([[1, 2], [2, 1]]))
    assert answers.outputs[0] == 7
    assert {row: failure.kind for row, failure in answers.failures.items()} == {1: "skip"}
    assert found.rows(Question("layer", 0)).shape == (0, 2)
    assert found.operations == {"run"}


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        (["2 run 3 4", "2 skip"], "skip"),
        (["2 run 3 4", "2 error too hot"], "error"),
        (["2 run 3 4"], "hang"),
        (["2 run 3 4", "2 more 15"], "hang"),
        (["2 run 3 4", "3 ok 15"], "hang"),
        (["2 run 3 4", "2 ok 15 16"], "garbage"),
        (["2 run 3 4", "2 ok 40000"], "garbage"),
    ],
)
def test_rows_without_an_answer(tmp_path: Path, lines: list[str], kind: str) -> None:
    found = logged(tmp_path, "1 run 1 2", "1 ok 7", *lines)
    assert found.rows(RUN).tolist() == [[1, 2], [3, 4]]
    answers = found.ask(RUN, found.rows(RUN))
    assert {row: failure.kind for row, failure in answers.failures.items()} == {1: kind}


@pytest.mark.parametrize(
    "lines",
    [
        ["2 run 3", "2 error"],
        ["2 run 3 4 5", "2 error"],
        ["2 run 3 61", "2 ok 129"],  # beyond the declared range
        ["2 layer 2 3 4", "2 error"],
        ["2 requantize 1 1 5", "2 error"],
        ["2 requantize 1 0 99999", "2 ok 5"],  # beyond what the neuron can reach
        ["2 x 3", "2 error", "3 run 4", "3 error"],
        ["2 x 3", "2 ok", "3 hello", "3 intnn/1 - 63 run", "4 run 4", "4 error"],
    ],
)
def test_requests_that_nobody_can_judge(tmp_path: Path, lines: list[str]) -> None:
    found = logged(tmp_path, *lines, "9 run 1 2", "9 ok 7")
    assert found.rows(RUN).tolist() == [[1, 2]]
    assert found.operations == {"run"}


def test_the_same_input_twice(tmp_path: Path) -> None:
    found = logged(
        tmp_path, "1 run 1 2", "1 ok 7", "2 run 1 2", "2 ok 7", "3 run 3 4", "3 ok 15", "4 run 3 4", "4 ok 14"
    )
    assert found.rows(RUN).tolist() == [[1, 2], [3, 4]]
    answers = found.ask(RUN, found.rows(RUN))
    assert answers.outputs.tolist() == [[7], [15]]
    assert list(answers.notes) == [1]
    assert answers.notes[1].message == "first 15, then 14"


@pytest.mark.parametrize(("second", "text"), [("1 ok 7", "both times 7"), ("1 ok 8", "first 7, then 8")])
def test_answered_twice(tmp_path: Path, second: str, text: str) -> None:
    answers = logged(tmp_path, "1 run 1 2", "1 ok 7", second).ask(RUN, np.array([[1, 2]]))
    assert answers.outputs.tolist() == [[7]]
    assert (answers.notes[0].kind, answers.notes[0].message) == ("twice", text)


def test_late_and_echoed(tmp_path: Path) -> None:
    """Answers are found by their ids; what a terminal shows twice was sent once."""
    found = logged(tmp_path, "1 x 1", "1 x 1", "1 ok", "2 run 2", "2 run 2", "3 run 3 4", "3 ok 15", "2 ok 7")
    answers = found.ask(RUN, np.array([[1, 2], [3, 4]]))
    assert answers.outputs.tolist() == [[7], [15]]
    assert (answers.failures, answers.notes) == ({}, {})


def test_a_log_of_ids_that_begin_anew(tmp_path: Path) -> None:
    found = logged(tmp_path, "1 run 1 2", "1 ok 7", "1 run 3 4", "1 ok 15")
    assert found.ask(RUN, np.array([[3, 4], [1, 2]])).outputs.tolist() == [[15], [7]]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "no request in 0 lines"),
        ("banana\n" * 3, "no request in 3 lines"),
        ("1 run 1 2\n", "1 requests and no answer"),
        ("1 ok 7\n", "no request"),
        ("0 hello\n0 intnn/1 - 63 run\n", "no request"),
        ("1 run 1 2 3\n1 error\n", "no request"),
    ],
)
def test_no_log(tmp_path: Path, text: str, found: str) -> None:
    with pytest.raises(IntnnError) as raised:
        logged(tmp_path, text)
    assert raised.value.code == "file.log"
    assert found in raised.value.found
    assert raised.value.repair


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(IntnnError) as raised:
            replay(NET, path)
        assert raised.value.code == "file.read"


def test_another_model(tmp_path: Path) -> None:
    lines = "0 hello", "0 intnn/1 {} 63 run", "1 run 1 2", "1 ok 7"
    with pytest.raises(IntnnError) as raised:
        logged(tmp_path, *(line.format("0123456789abcdef") for line in lines))
    assert raised.value.code == "device.model"
    assert logged(tmp_path, *(line.format(network_hash(NET)[:16]) for line in lines)).operations == {"run"}


@pytest.mark.parametrize("before", ["", "< "])
def test_debug_output_is_no_answer(tmp_path: Path, before: str) -> None:
    """Whatever it quotes."""
    found = logged(tmp_path, "> 3 run 1 2", f"{before}# now 3 ok 9", f"{before}#4 run 0 0", f"{before}3 ok 7")
    answers = found.ask(RUN, np.array([[1, 2]]))
    assert (answers.outputs.tolist(), answers.failures, answers.notes) == ([[7]], {}, {})
    assert len(found.rows(RUN)) == 1
