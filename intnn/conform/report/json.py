"""A report as a JSON document, and back: spec/schema/conform.schema.json.

Objects for data classes, arrays for tuples, members that are ``None`` left out; integers and strings, no floats, so
that nothing is ever rounded. ``outcome`` and ``exit_code`` follow from the rest and are there for other readers.
"""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from intnn.conform.device import FAILURES, OPERATIONS, Failure
from intnn.conform.verdict import Report
from intnn.errors import FileError
from intnn.formats import native
from intnn.model import Network

FORMAT = "intnn-conform/1"

STAGES = ("input", "accumulate", "requantize", "clamp", "output", "unknown")
"""Where an explanation or a location may be."""

_DERIVED = ("format", "outcome", "exit_code", "milliseconds", "network")


def document(report: Report, net: Network | None = None) -> dict[str, Any]:
    """``report`` as plain data; with ``net`` as its member ``network``, which ``intnn explain`` needs."""
    result = {
        "format": FORMAT,
        "outcome": report.outcome,
        "exit_code": report.exit_code,
        **_plain(report),
        "milliseconds": round(report.seconds * 1000),
    }
    del result["seconds"]
    for name in ("failures", "notes"):
        result[name] = [{"inference": n, "input": list(x), **f._asdict()} for n, x, f in getattr(report, name)]
    if report.flaky is not None:
        result["flaky"] = dict(zip(("input", "first", "second"), result["flaky"], strict=True))
    if net is not None:
        result["network"] = native.document_of(net)
    return result


def load(document: dict[str, Any]) -> Report:
    """The report in ``document``, for instance from :func:`intnn.formats.native.parse`; ``network`` is passed over.

    Raises :class:`FileError` ``file.version`` for another format, ``file.field`` where a member is missing, unknown, of
    the wrong kind, or contradicts the others.
    """
    if not isinstance(document, dict):
        raise _wrong("document", type(document).__name__, "an object")
    if document.get("format") != FORMAT:
        raise FileError("file.version", f"format is {str(document.get('format'))[:60]!r}", expected=f'"{FORMAT}"')
    members = {name: value for name, value in document.items() if name not in _DERIVED}
    for name in ("failures", "notes"):
        members[name] = [
            [v.get("inference"), v.get("input"), {"kind": v.get("kind"), "message": v.get("message")}]
            if isinstance(v, dict) and len(v) == 4
            else v
            for v in _read(tuple[Any, ...], members.get(name), name)
        ]
    if isinstance(flaky := members.get("flaky"), dict):
        members["flaky"] = [flaky.get(part) for part in ("input", "first", "second")]
    report: Report = _read(Report, members, "")
    object.__setattr__(report, "seconds", _read(int, document.get("milliseconds", 0), "milliseconds") / 1000)
    _check(report, document)
    return report


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        members = ((field.name, getattr(value, field.name)) for field in fields(value))
        return {name: _plain(member) for name, member in members if member is not None}
    if isinstance(value, tuple):
        return [_plain(member) for member in value]
    return dict(value) if isinstance(value, dict) else value


def _read(kind: Any, value: Any, place: str) -> Any:
    """``value`` as a ``kind``: data class, Failure, a tuple, dict[str, str], int, str, bool, or such a thing | None."""
    if kind is Any:
        return value
    if isinstance(kind, UnionType):
        kind = get_args(kind)[0]
    if is_dataclass(kind) or kind is Failure:
        return _read_object(kind, value, place)
    plain, arguments = get_origin(kind) or kind, get_args(kind)
    if type(value) is not {tuple: list}.get(plain, plain):
        raise _wrong(place, _show(value), _KINDS[plain])
    if plain is dict:
        return {_read(str, name, place): _read(str, member, f"{place}.{name[:40]}") for name, member in value.items()}
    if plain is not tuple:
        return value
    if arguments[-1] is ...:
        arguments = arguments[:1] * len(value)
    if len(arguments) != len(value):
        raise _wrong(place, f"{len(value)} values", str(len(arguments)))
    return tuple(_read(k, v, f"{place}[{i}]") for i, (k, v) in enumerate(zip(arguments, value, strict=True)))


@cache
def _members(kind: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """The members of a data class or of Failure with their kinds, and those that have a default."""
    hints = {name: hint for name, hint in get_type_hints(kind).items() if hint is not float}  # no floats in the format
    defaults = (f.name for f in fields(kind) if f.default is not MISSING) if is_dataclass(kind) else ()
    return hints, frozenset(defaults)


def _read_object(kind: Any, value: Any, place: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(place, _show(value), "an object")
    hints, defaults = _members(kind)
    prefix = f"{place}." if place else ""
    for name in value:
        if name not in hints:
            raise _wrong(f"{prefix}{name[:40]}", "unknown", f"one of {', '.join(hints)}")
    absent: dict[str, Any] = {}
    for name, hint in hints.items():
        if name not in value and name not in defaults:
            if not isinstance(hint, UnionType):
                raise _wrong(f"{prefix}{name}", "missing", "a value")
            absent[name] = None
    return kind(**absent, **{name: _read(hints[name], member, f"{prefix}{name}") for name, member in value.items()})


def _check(report: Report, document: dict[str, Any]) -> None:
    """What a reader relies on: numbers of layers and neurons that exist, and names that are known."""
    layers = len(report.sizes) - 1
    if layers < 1 or min(report.sizes) < 1:
        raise _wrong("sizes", str(report.sizes), "the number of inputs, then that of each layer's outputs")
    places = [(f"events[{i}]", e.layer, e.neuron) for i, e in enumerate(report.events)]
    mismatch = report.mismatch
    if mismatch is not None:
        places.append(("mismatch", mismatch.layer, mismatch.neuron))
        if mismatch.operation not in OPERATIONS:
            raise _wrong("mismatch.operation", repr(mismatch.operation)[:60], "one of " + ", ".join(OPERATIONS))
        if mismatch.location is not None:
            places.append(("mismatch.location", mismatch.location.layer, mismatch.location.neuron))
            _one_of("mismatch.location.stage", mismatch.location.stage, STAGES)
    for place, layer, neuron in places:
        if not (0 <= layer < layers and 0 <= neuron < report.sizes[layer + 1]):
            raise _wrong(place, f"layer {layer}, neuron {neuron}", f"a neuron of a network {report.sizes}")
    if mismatch is not None:
        before, after = report.sizes[mismatch.layer : mismatch.layer + 2]
        inputs, outputs = {
            "run": (report.sizes[0], report.sizes[-1]),
            "layer": (report.sizes[0], after),
            "dense": (before, after),
            "requantize": (1, 1),
        }[mismatch.operation]
        for name, size in (("x", inputs), ("first", inputs), ("expected", outputs), ("got", outputs)):
            if len(getattr(mismatch, name)) != size:
                raise _wrong(f"mismatch.{name}", f"{len(getattr(mismatch, name))} values", str(size))
    for _, _, failure in (*report.failures, *report.notes):
        _one_of("failures.kind", failure.kind, tuple(FAILURES))
    if report.heat and [len(row) for row in report.heat if row] != [
        n for n, row in zip(report.sizes[1:], report.heat, strict=False) if row
    ]:
        raise _wrong("heat", "rows of other lengths", f"a number for each neuron of a network {report.sizes}")
    if len(report.heat) != len(report.heat_observed) or len(report.heat) not in (0, layers):
        raise _wrong(
            "heat", f"{len(report.heat)} rows", f"one for each of {layers} layers, as in heat_observed, or none"
        )
    for name in ("outcome", "exit_code"):
        if document.get(name, getattr(report, name)) != getattr(report, name):
            raise _wrong(name, repr(document[name])[:60], f"{getattr(report, name)!r}, which follows from the rest")


def _one_of(place: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise _wrong(place, repr(value)[:60], "one of " + ", ".join(known))


_KINDS: dict[Any, str] = {
    tuple: "an array",
    dict: "an object",
    str: "a string",
    int: "an integer",
    bool: "true or false",
}


def _show(value: Any) -> str:
    return repr(value)[:60] if isinstance(value, str | int) else type(value).__name__


def _wrong(place: str, found: str, expected: str) -> FileError:
    return FileError("file.field", found, where=place, expected=expected)
