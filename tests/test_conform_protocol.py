"""The lines of the protocol; the golden vectors of its clauses are run in test_golden.py."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import intnn
from intnn.conform.device import Question
from intnn.conform.expected import answers
from intnn.conform.protocol import ARGUMENTS, LONG, SHORT, Reply, parse_reply, parse_request, quoted, replies, requests
from intnn.conform.reference import Reference
from intnn.formats.native import network_hash

INT32 = st.integers(-(2**31), 2**31 - 1)
IDS = st.integers(0, 65535)
LINES = st.integers(SHORT, 200) | st.just(LONG)
COMMANDS = st.sampled_from(sorted(ARGUMENTS)).flatmap(lambda name: st.tuples(st.just(name), *[INT32] * ARGUMENTS[name]))


@given(IDS, COMMANDS, st.lists(INT32, max_size=100), LINES)
def test_requests_are_read_as_written(first: int, command: tuple[str | int, ...], values: list[int], line: int) -> None:
    lines = requests(first, command, values, line)
    assert max(map(len, lines)) <= line
    read = [parse_request(text) for text in lines]
    name, *arguments = command
    vector: list[int] = []
    for k, request in enumerate(read):
        assert request
        assert request.id == (first + k) % 65536
        assert request.command == (name if k == len(read) - 1 else "x")
        assert request.numbers is not None
        vector += request.numbers
    at = len(vector) - len(read[-1].numbers or ()) if read[-1] else 0
    assert vector == values[:at] + arguments + values[at:]


@given(IDS, st.lists(INT32, max_size=100), LINES)
def test_replies_are_read_as_written(id: int, values: list[int], line: int) -> None:
    lines = replies(id, values, line)
    assert max(map(len, lines)) <= line
    read = [parse_reply(text) for text in lines]
    assert [reply and (reply.id, reply.kind) for reply in read] == [(id, "more")] * (len(lines) - 1) + [(id, "ok")]
    assert [v for reply in read if reply for v in reply.values] == values


@given(st.text(max_size=80) | st.text(" 0123456789-okmreskipnt/1#", max_size=30))
def test_anything_is_read_without_an_error(text: str) -> None:
    reply, request = parse_reply(text), parse_request(text)
    for read in (reply, request):
        if read:
            assert text.startswith(str(read.id))


@pytest.mark.parametrize("line", [SHORT, LONG])
def test_the_reference_device(line: int) -> None:
    """What it answers through the protocol is what the interpreter gives."""
    net = intnn.Network(
        intnn.Activation("uint8", 9),
        (
            intnn.Dense(np.eye(20, 30, dtype=np.int8) * 3, np.arange(20), intnn.Fixed.half_up(2), intnn.Activation()),
            intnn.Dense(
                np.eye(5, 20, dtype=np.int8) - 1, np.arange(5), intnn.Fixed.floor(1), intnn.Activation("int16")
            ),
        ),
    )
    device, rng, id = Reference(net, line), np.random.default_rng(1), 65530
    hello = parse_reply(device.answer("0 hello")[-1])
    assert hello == Reply(0, "hello", (), network_hash(net)[:16], line, ("run", "layer", "dense", "requantize"))
    for operation, layer in (("run", 0), ("layer", 0), ("layer", 1), ("dense", 0), ("dense", 1)):
        question = Question(operation, layer)
        row = rng.integers(0, 100, (1, question.size(net)[0]))
        words = (operation,) if operation == "run" else (operation, layer)
        lines = requests(id, words, row[0].tolist(), line)
        id += len(lines)
        said = [parse_reply(text) for request in lines for text in device.answer(request)]
        assert [v for reply in said if reply for v in reply.values] == answers(net, question, row)[0].tolist()


def test_quotations_are_short_and_plain() -> None:
    assert quoted("caf\u00e9\n\x00") == r"'caf\xe9\n\x00'"
    assert quoted("a" * 1000, 5) == "'aaaaa'..."
