"""The model file: spec/40-files.md made executable.

JSON restricted to objects, arrays, integers and ASCII strings; scales are written as C hexadecimal floats, so nothing
is ever rounded. One network has exactly one canonical form, and the SHA-256 of that form is its content hash.
Reading builds the network and proves it: what :func:`load` returns is valid [overflow.valid].
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from intnn.bounds import require_valid
from intnn.errors import FileError, IntnnError, ModelError
from intnn.foreign import Foreign
from intnn.model import Q31, Activation, Dense, Fixed, HostRule, Network, Scales

FORMAT = "intnn-model/1"
MAX_BYTES = 1 << 24
"""Larger files are refused unread: no microcontroller's model comes near, and a file made of empty arrays takes some
thirty times its size to read."""

_HEX_FLOAT = re.compile(r"0x1(\.[0-9a-f]{0,12}[1-9a-f])?p(\+0|[+-][1-9][0-9]{0,3})")


def dumps(net: Network) -> bytes:
    """The canonical bytes of ``net`` [file.canonical], newline at the end, content hash included [file.hash].

    Raises :class:`ModelError` ``model.overflow`` for a network that is not valid: such a file could not be read.
    """
    require_valid(net)
    document = document_of(net)
    return canonical({**document, "sha256": content_hash(document)}) + b"\n"


def dump(net: Network, path: str | Path) -> None:
    """Write ``net`` to ``path``. Raises as :func:`dumps`, and :class:`FileError` ``file.write``."""
    data = dumps(net)
    try:
        Path(path).write_bytes(data)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        raise FileError("file.write", f"cannot be written: {_reason(error)}", where=str(path)) from None


def load(path: str | Path) -> Network:
    """The network in file ``path``, valid and proved; raises as :func:`loads`, and :class:`FileError` ``file.read``."""
    return loads(read_bytes(path), where=str(path))


def loads(text: bytes | str, *, where: str = "model") -> Network:
    """The network in ``text``, valid and proved [file.model]. ``where`` names the source in error messages.

    Raises :class:`FileError` ``file.syntax``, ``file.field``, ``file.version`` or ``file.hash``, and
    :class:`ModelError` ``model.value``, ``model.chain`` or ``model.overflow``.
    """
    net = read(text, where=where)
    try:
        require_valid(net)
    except IntnnError as error:
        raise error.within(where) from None
    return net


def read(text: bytes | str, *, where: str = "model") -> Network:
    """As :func:`loads`, but the network is not proved yet: for looking at one that may not be valid."""
    try:
        document = parse(text)
        net = _network_in(document)
        stated = document.get("sha256")
        if stated is not None:
            _check_hash(document, stated)
    except IntnnError as error:
        raise error.within(where) from None
    return net


def network_hash(net: Network) -> str:
    """The content hash of ``net``: 64 hexadecimal digits [file.hash]."""
    return content_hash(document_of(net))


def canonical(document: Any) -> bytes:
    """RFC 8785 for the values that model and golden files hold: sorted keys, no spaces, ASCII [file.canonical]."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def content_hash(document: dict[str, Any]) -> str:
    """SHA-256 of the canonical form of ``document``, which has no member ``sha256`` yet."""
    return hashlib.sha256(canonical(document)).hexdigest()


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a regular file of at most :data:`MAX_BYTES`; raises :class:`FileError` ``file.read``."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        raise FileError("file.read", f"cannot be read: {_reason(error)}", where=str(path)) from None
    if len(data) > MAX_BYTES:
        raise FileError("file.read", "is too large", where=str(path), expected=f"at most {MAX_BYTES} bytes")
    return data


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)


def parse(text: bytes | str, *, floats: bool = False) -> dict[str, Any]:
    """A JSON object without floats; raises :class:`FileError` ``file.syntax``.

    Refused are floats unless ``floats``, duplicate members, integers beyond 18 digits and anything JSON does not have.
    """
    if not isinstance(text, bytes | str):
        raise FileError("file.syntax", f"an object of type {type(text).__name__}", expected="JSON as bytes or str")
    try:
        document = json.loads(
            text.decode("utf-8") if isinstance(text, bytes) else text,
            object_pairs_hook=_members,
            parse_float=float if floats else _refuse_number,
            parse_int=_integer,
            parse_constant=_refuse_number,
        )
    except RecursionError:
        raise FileError("file.syntax", "nested too deeply", expected="a model file [file.model]") from None
    except UnicodeDecodeError as error:
        raise FileError("file.syntax", f"byte {error.start} is not UTF-8", expected="a JSON text file") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise FileError("file.syntax", f"not JSON: {error.msg}", where=place, expected="a JSON object") from None
    if not isinstance(document, dict):
        raise FileError("file.syntax", f"the file holds {_kind(document)}", expected="a JSON object")
    return document


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]  # add gives None
        raise FileError("file.syntax", f"member {twice[:40]!r} stands twice", expected="each member once")
    return members


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > 18:
        _refuse_number(digits)
    return int(digits)


def _refuse_number(text: str) -> NoReturn:
    raise FileError("file.syntax", f"the number {text[:40]}", expected="integers of at most 18 digits, no floats")


# --- reading -------------------------------------------------------------------------------------------------------


class _Members:
    """The members of one JSON object, taken one by one, so that what is left over can be refused by name."""

    def __init__(self, value: Any, place: str) -> None:
        if not isinstance(value, dict):
            raise _field(place, _kind(value), "an object")
        self.left = dict(value)
        self.place = place

    def take(self, name: str, kind: type, *, optional: bool = False) -> Any:
        place = f"{self.place}.{name}" if self.place else name
        if name not in self.left:
            if optional:
                return None
            raise _field(place, "missing", f"{_KINDS[kind]}")
        value = self.left.pop(name)
        if type(value) is not kind:
            raise _field(place, _kind(value), _KINDS[kind])
        return value

    def text(self, name: str) -> str:
        """An optional string; an empty one is refused, so that a network without it has one form only."""
        value = self.take(name, str, optional=True)
        if value == "":
            raise ModelError("model.value", f"{name} is empty", expected="1 to 200 printable ASCII characters, or none")
        return value or ""

    def numbers(self, name: str) -> Any:
        """An integer, or an array of integers for per-channel."""
        place = f"{self.place}.{name}"
        value = self.left.pop(name, None)
        if value is None:
            raise _field(place, "missing", "an integer, or an array of one integer an output")
        return value if type(value) is int else _array(value, place)

    def done(self) -> None:
        for name in self.left:
            place = f"{self.place}.{name[:40]}" if self.place else name[:40]
            raise _field(place, "unknown", "only the members the format defines [file.model]")


def _network_in(document: dict[str, Any]) -> Network:
    top = _Members(document, "")
    found = top.left.pop("format", None)
    if found != FORMAT:
        raise FileError("file.version", f"format is {_show(found)}", expected=f'"{FORMAT}"')
    name, source = top.text("name"), top.text("source")
    top.take("sha256", str, optional=True)
    input_ = _place("input", lambda: _activation_in(top.take("input", dict), "input"))
    layers = []
    for i, value in enumerate(top.take("layers", list)):
        layers.append(_place(f"layers[{i}]", lambda v=value, i=i: _dense_in(v, f"layers[{i}]")))  # type: ignore[misc]  # mypy cannot infer a lambda with defaults
    top.done()
    return Network(input_, tuple(layers), name, source)


def _place(place: str, build: Callable[[], Any]) -> Any:
    """``build()``; a model error gets the place in the file."""
    try:
        return build()
    except ModelError as error:
        raise error.within(place) from None


def _activation_in(value: Any, place: str) -> Activation:
    members = _Members(value, place)
    fields = {
        name: members.take(name, kind)
        for name, kind in (("type", str), ("zero_point", int), ("min", int), ("max", int))
    }
    members.done()
    return Activation(**fields)


def _dense_in(value: Any, place: str) -> Dense:
    members = _Members(value, place)
    if (found := members.take("type", str)) != "dense":
        raise _field(f"{place}.type", _show(found), '"dense"')
    rows = members.take("weights", list)
    weights = [_array(row, f"{place}.weights[{i}]") for i, row in enumerate(rows)]
    for i, row in enumerate(weights):
        if len(row) != len(weights[0]):
            raise _field(f"{place}.weights[{i}]", f"{len(row)} weights", f"{len(weights[0])}, as in the rows before")
    bias = _array(members.take("bias", list), f"{place}.bias")
    requantize = _requantize_in(members.take("requantize", dict), f"{place}.requantize")
    output = _activation_in(members.take("output", dict), f"{place}.output")
    scales = members.take("scales", dict, optional=True)
    members.done()
    return Dense(
        np.array(weights, np.int64).reshape(len(weights), -1) if weights else np.zeros((0, 0), np.int64),
        np.array(bias, np.int64),
        requantize,
        output,
        None if scales is None else _scales_in(scales, f"{place}.scales"),
    )


def _requantize_in(value: Any, place: str) -> Fixed | Q31 | HostRule:
    members = _Members(value, place)
    rule: Fixed | Q31 | HostRule
    match members.take("family", str):
        case "fixed":
            fields = ("shift", "round", "multiplier", "pre_shift", "pre_round")
            rule = Fixed(*(members.numbers(name) for name in fields))
        case "q31":
            rule = Q31(members.numbers("multiplier"), members.numbers("exponent"), members.take("rounding", str))
        case "foreign":
            rule = Foreign(members.take("profile", str))
        case other:
            raise _field(f"{place}.family", _show(other), '"fixed", "q31" or "foreign"')
    members.done()
    return rule


def _scales_in(value: Any, place: str) -> Scales:
    members = _Members(value, place)
    taken: dict[str, Any] = {}
    for name in ("input", "weights", "output"):
        found = members.left.pop(name, None)
        if name == "weights" and isinstance(found, list):
            taken[name] = np.array([_hex_float(v, f"{place}.{name}[{i}]") for i, v in enumerate(found)])
        else:
            taken[name] = _hex_float(found, f"{place}.{name}")
    members.done()
    return Scales(**taken)


def _hex_float(value: Any, place: str) -> float:
    if not isinstance(value, str) or not _HEX_FLOAT.fullmatch(value):
        raise _field(place, _show(value), 'a hexadecimal float in a string, for instance "0x1.8p-5"')
    try:
        return float.fromhex(value)
    except OverflowError:
        raise _field(place, _show(value), "a value that float32 can hold") from None


def _array(value: Any, place: str) -> list[int]:
    if not isinstance(value, list):
        raise _field(place, _kind(value), "an array of integers")
    for i, item in enumerate(value):
        if type(item) is not int:
            raise _field(f"{place}[{i}]", _kind(item), "an integer")
    return value


def _check_hash(document: dict[str, Any], stated: str) -> None:
    computed = content_hash({name: value for name, value in document.items() if name != "sha256"})
    if stated != computed:
        raise FileError(
            "file.hash",
            f"sha256 is {stated[:80]!r}",
            expected=computed,
            repair="the file was changed after it was written; if on purpose, remove the member sha256",
        )


_KINDS: dict[type, str] = {dict: "an object", list: "an array", str: "a string", int: "an integer"}


def _kind(value: Any) -> str:
    return "true or false" if isinstance(value, bool) else _KINDS.get(type(value), "null")


def _show(value: Any) -> str:
    return json.dumps(value)[:60] if isinstance(value, str) else _kind(value)


def _field(place: str, found: str, expected: str) -> FileError:
    return FileError("file.field", found, where=place, expected=expected)


# --- writing -------------------------------------------------------------------------------------------------------


def document_of(net: Network) -> dict[str, Any]:
    """The members of the model file of ``net``, without ``sha256`` [file.model]."""
    document: dict[str, Any] = {
        "format": FORMAT,
        "input": dict(vars(net.input)),
        "layers": [_dense_out(layer) for layer in net.layers],
    }
    for name in ("name", "source"):
        if getattr(net, name):
            document[name] = getattr(net, name)
    return document


def _dense_out(layer: Dense) -> dict[str, Any]:
    document: dict[str, Any] = {
        "type": "dense",
        "weights": layer.weights.tolist(),
        "bias": layer.bias.tolist(),
        "requantize": _requantize_out(layer.requantize),
        "output": dict(vars(layer.output)),
    }
    if layer.scales is not None:
        document["scales"] = {name: _hex_out(value) for name, value in vars(layer.scales).items()}
    return document


def _requantize_out(rule: Fixed | Q31 | HostRule) -> dict[str, Any]:
    family = "foreign" if isinstance(rule, HostRule) else "fixed" if isinstance(rule, Fixed) else "q31"
    values = {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in vars(rule).items()}
    return {"family": family, **values}


def _hex_out(value: Any) -> str | list[str]:
    return [_hex_out(float(v)) for v in value] if isinstance(value, np.ndarray) else hex_float(value)  # type: ignore[misc]  # a flat list


def hex_float(value: float) -> str:
    """C's %a without trailing zeros: one spelling for each value."""
    mantissa, exponent = value.hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.')}p{exponent}"
