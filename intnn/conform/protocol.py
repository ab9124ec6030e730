"""The lines between referee and device: spec/60-protocol.md made executable, without any input or output.

Lines are text without their newline. :func:`requests` and :func:`parse_reply` are the host's side, :func:`replies` and
:func:`parse_request` the device's; :mod:`intnn.conform.reference` is a device.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from intnn.arithmetic import INT32_MAX, INT32_MIN

VERSION = "intnn/1"
IDS = 1 << 16
SHORT, LONG = 63, 4095
"""How many characters a line has at most until the device has said what it takes, and the most it may say."""

OPERATIONS = ("run", "layer", "dense", "requantize")
ARGUMENTS = {"hello": 0, "x": 0, "run": 0, "layer": 1, "dense": 1, "requantize": 3}
"""The commands, and how many integers come before the values."""

_INTEGER = r"-?[0-9]{1,10}"
_ID = r"(?P<id>0|[1-9][0-9]{0,4})"
_REQUEST = re.compile(rf"{_ID}(?: (?P<command>[!-~]*)(?P<words>(?: [ -~]*)?))?")
_REPLY = re.compile(
    rf"{_ID} (?:(?P<kind>ok|more)(?P<values>(?: {_INTEGER})*)|(?P<skip>skip)|error(?: (?P<text>[ -~]*))?"
    rf"|{VERSION} (?P<hash>[0-9a-f]{{16}}|-) (?P<line>[1-9][0-9]{{1,3}})(?P<operations>(?: [a-z]+)*))"
)


class Request(NamedTuple):
    """What a host asks. ``numbers`` are the arguments and values, ``None`` where a word is no int32."""

    id: int
    command: str
    numbers: tuple[int, ...] | None = ()


class Reply(NamedTuple):
    """What a device answers: ``kind`` is ``ok``, ``more``, ``skip``, ``error`` or ``hello``.

    ``values`` come with ``ok`` and ``more``, ``text`` with ``error``; with ``hello``, ``text`` is the hash, ``line`` is
    the longest line and ``operations`` is what the device offers of :data:`OPERATIONS`.
    """

    id: int
    kind: str
    values: tuple[int, ...] = ()
    text: str = ""
    line: int = 0
    operations: tuple[str, ...] = ()


def requests(first: int, command: Sequence[object], values: Sequence[int], line: int = SHORT) -> list[str]:
    """The lines, none longer than ``line``, that ask ``command`` (name, arguments) of ``values`` [protocol.line].

    Ids count from ``first``. What does not fit into the line of the command goes before it, in lines of ``x``.
    """
    words = " ".join(map(str, command))
    return _fill(values, line, lambda k: (f"{(first + k) % IDS} x", f"{(first + k) % IDS} {words}"))


def replies(id: int, values: Sequence[int], line: int = SHORT) -> list[str]:
    """The lines, none longer than ``line``, that answer ``values`` to the request ``id`` [protocol.reply]."""
    return _fill(values, line, lambda _: (f"{id} more", f"{id} ok"))


def _fill(values: Sequence[int], line: int, heads: Callable[[int], tuple[str, str]]) -> list[str]:
    """``heads`` gives, for the k-th line, how it begins if others follow and if it is the last."""
    left, lines = [f" {v}" for v in values], list[str]()
    while True:
        head, last = heads(len(lines))
        if len(last) + sum(map(len, left)) <= line:
            return [*lines, last + "".join(left)]
        taken, length = 0, len(head)
        while taken < len(left) and length + len(left[taken]) <= line:
            length += len(left[taken])
            taken += 1
        lines.append(head + "".join(left[:taken]))
        left = left[taken:]


def parse_reply(text: str) -> Reply | None:
    """The reply that a line of the device is, or ``None`` [protocol.reply]."""
    found = _REPLY.fullmatch(text.replace("\r", "").rstrip(" "))
    if not found or int(found["id"]) >= IDS:
        return None
    number = int(found["id"])
    if found["kind"]:
        values = _integers(found["values"].split())
        return None if values is None else Reply(number, found["kind"], values)
    if found["hash"]:
        line, offered = int(found["line"]), found["operations"].split()
        operations = tuple(name for name in OPERATIONS if name in offered)
        return Reply(number, "hello", (), found["hash"], line, operations) if SHORT <= line <= LONG else None
    return Reply(number, "skip") if found["skip"] else Reply(number, "error", (), found["text"] or "")


def parse_request(text: str) -> Request | None:
    """The request that a line of the host is, or ``None`` [protocol.line]."""
    found = _REQUEST.fullmatch(text.replace("\r", ""))
    if not found or int(found["id"]) >= IDS:
        return None
    words = (found["words"] or "").split(" ")[1:]
    return Request(int(found["id"]), found["command"] or "", _integers(words))


def _integers(words: Sequence[str]) -> tuple[int, ...] | None:
    if not all(re.fullmatch(_INTEGER, word) for word in words):
        return None
    numbers = tuple(map(int, words))
    return numbers if all(INT32_MIN <= v <= INT32_MAX for v in numbers) else None


def quoted(text: str, most: int = 60) -> str:
    """``text`` for a message: in quotes, what is not printable ASCII escaped, and shortened to ``most`` characters."""
    return ascii(text[:most]) + "..." * (len(text) > most)
