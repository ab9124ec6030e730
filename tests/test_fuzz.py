"""Damaged model files: ten thousand of them, each loaded and valid or refused with a stable code, nothing else.

The files are mutations of small valid ones, the same ones every time. What is accepted must run, and alike on two
engines. No file may take long or much memory; a warning counts as a failure, as everywhere in these tests.
"""

from __future__ import annotations

import copy
import json
import random
import re
import resource
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from tflite_builder import Layer, Model, Step, build

import intnn
from intnn import Q31, Activation, Dense, Fixed, Network, Scales
from intnn.errors import CODES, IntnnError
from intnn.foreign import FOREIGN, Foreign
from intnn.formats.tflite import parse_tflite
from intnn.profiles import PROFILES

CASES, CHUNKS = 5000, 5  # of each format
SECONDS, BYTES = 5, 128 << 20  # for one file; it takes about a millisecond and, deeply nested, two megabytes

WEIGHTS = np.random.default_rng(5).integers(-128, 128, (3, 2)).astype(np.int8)
SCALES = Scales(0.5, 0.25, 2.0)
CHANNELS = Scales(0.5, np.array([0.25, 0.0078125, 1.5]), 2.0)

# --- valid files ---------------------------------------------------------------------------------------------------


def native_seeds() -> list[bytes]:
    first = Dense(WEIGHTS, np.array([5, -6, 7]), Fixed.half_up(6, 19, 1), Activation("uint8", 3, 3, 200))
    channels = Fixed(np.array([4, 7]), np.array([8, 0]), 3)
    second = Dense(WEIGHTS.T, np.array([100, -100]), channels, Activation())
    q31 = Q31(np.array([1 << 30, 1518500250, 0]), np.array([-3, 0, 2]), "double")
    wide = Dense(WEIGHTS, np.array([9, 8, 7]), Q31(1 << 30, -9, "upup"), Activation("int16"))
    nets = [
        Network(Activation("int8", -2), (first, second), "fixed"),
        Network(Activation(), (Dense(WEIGHTS, np.array([1, 2, -3]), q31, Activation("int8", 3), CHANNELS),), "q31"),
        Network(Activation("int16"), (wide,)),
    ]
    for rule in FOREIGN:
        for scales in (SCALES, CHANNELS):
            layer = Dense(WEIGHTS, np.array([0, 40, -1]), Foreign(rule), Activation("int8", -5, -5, 127), scales)
            nets.append(Network(Activation(), (layer,), rule, "source"))
    return [intnn.dumps(net) for net in nets]


def tflite_seeds() -> list[bytes]:
    relu = Layer(WEIGHTS, 0.25, 1.5, -128, [3, -70, 9], "RELU")
    last = Layer(WEIGHTS.T.copy(), (0.5, 0.125), 3.0, 4, None, "RELU6")
    wide = Layer(WEIGHTS, (0.1, 0.2, 0.3), 0.7, 0, [1, 2, 3])
    models = [
        Model(0.5, (relu,), -3),
        Model(0.5, (relu, last), 7, dynamic_batch=True),
        Model(0.5, (Step("RESHAPE", (1, 2)), relu), -3, input_shape=(1, 2, 1), float_ends=True),
        Model(0.001, (wide,), activation_type="int16"),
    ]
    return [build(model) for model in models]


# --- mutations -----------------------------------------------------------------------------------------------------

NUMBERS = [
    *("0", "-1", "1", "5", "31", "32", "127", "-128", "128", "-129", "30000", "1073741824", "1999999999", "2147483647"),
    *("2147483648", "-2147483648", "-2147483649"),
    *("9" * 18, "9" * 19, "-" + "9" * 18, "9223372036854775808", "1" + "0" * 400, "9" * 5000),
    *("1.0", "1e999", "-0", "00", "NaN", "-Infinity", "null", "true", '"1"', "[1]", "{}"),
]
WORDS = [0, 1, 2, 3, 4, 8, 255, 256, 4096, 0x7FFF, 0x10000, 0x3F800000, 0x7F800000, 0x7FC00000, 0x7FFFFFFF, 0x80000000]
WORDS += [0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFF00, 0xFFFF, 0x00010001, 0x40000000]
TEXTS = ["", "int8", "uint8", "int64", "double", "even", "fixed", "q31", "foreign", "dense", "0x1p+0", "0x1p+9999"]
TEXTS += [
    "0x1.fffffep+127",
    "0x1p-149",
    "0x1p-1074",
    "0x1.8p-33",
    "nan",
    "é\n\x00",
    "intnn-model/1",
    "A" * 300,
    *FOREIGN,
]


def mutated_json(rng: random.Random, seeds: list[bytes]) -> bytes:
    content = rng.choice(seeds)
    if rng.random() < 0.8:  # without its hash: what stands in the file decides, not that it was changed
        content = re.sub(rb'"sha256":"[0-9a-f]*",?', b"", content)
    if rng.random() < 0.3:
        return rng.choice((flipped, cut, inserted, renumbered, nested))(rng, content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        content = rng.choice((restructured, restructured, restructured, renumbered))(rng, content)
    return content


def mutated_tflite(rng: random.Random, seeds: list[bytes]) -> bytes:
    content = rng.choice(seeds)
    if rng.random() < 0.1:
        return rng.choice((cut, inserted, spliced))(rng, content)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        content = rng.choice((flipped, overwritten, overwritten))(rng, content)
    return content


def flipped(rng: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8)) if changed else 0):
        at = rng.randrange(len(changed))
        changed[at] = rng.choice((changed[at] ^ 1 << rng.randrange(8), rng.randrange(256)))
    return bytes(changed)


def cut(rng: random.Random, content: bytes) -> bytes:
    a, b = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    return rng.choice((content[:a], content[:b], content[a:], content[:a] + content[min(b, a + 9) :]))


def inserted(rng: random.Random, content: bytes) -> bytes:
    at = rng.randrange(len(content) + 1)
    new = rng.choice(
        (rng.randbytes(rng.choice((1, 4, 30))), content[at : at + rng.choice((1, 4, 40))], b"\xff\xfe", b"]")
    )
    return content[:at] + new + content[at:]


def renumbered(rng: random.Random, content: bytes) -> bytes:
    numbers = list(re.finditer(rb"-?\b\d+\b", content))
    if not numbers:
        return content
    number = rng.choice(numbers)
    return content[: number.start()] + rng.choice(NUMBERS).encode() + content[number.end() :]


def restructured(rng: random.Random, content: bytes) -> bytes:
    """The document with one member or element deleted, doubled, exchanged or replaced."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return content
    places = list(containers(document))
    if not places:
        return content
    container, key = rng.choice(places)
    change = rng.randrange(8)
    if change == 0:
        del container[key]
    elif change == 1 and isinstance(container, list):
        container[key:key] = [copy.deepcopy(container[key])] * rng.choice((1, 2, 50))
    elif change == 1:
        container[rng.choice(TEXTS)] = container[key]
    elif change == 2:
        other, name = rng.choice(places)
        container[key] = copy.deepcopy(other[name])
    elif change == 3:
        container[key] = value(rng)
    else:
        container[key] = neighbour(rng, container[key])
    return json.dumps(document, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def containers(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every object or array of the document with each of its keys or indices."""
    if isinstance(document, dict | list):
        for key in list(document) if isinstance(document, dict) else range(len(document)):
            yield document, key
            yield from containers(document[key])


def neighbour(rng: random.Random, old: Any) -> Any:
    """Another value of the same kind, where there is one."""
    if isinstance(old, int):
        return rng.choice((old + rng.choice((-1, 1)), -old, rng.randrange(-130, 130), rng.randrange(-(2**31), 2**31)))
    return rng.choice(TEXTS) if isinstance(old, str) else value(rng)


def value(rng: random.Random) -> Any:
    small = [rng.randrange(-200, 200) for _ in range(rng.choice((0, 1, 2, 3, 60)))]
    return rng.choice((rng.choice(TEXTS), rng.randrange(-(2**33), 2**33), 2**200, small, [small, small], {}, None, 0.5))


def nested(rng: random.Random, content: bytes) -> bytes:
    at = rng.randrange(len(content) + 1)
    opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    depth = rng.choice((1, 5, 100, 20000))
    return content[:at] + opening * depth + b"1" + closing * depth + content[at:]


def overwritten(rng: random.Random, content: bytes) -> bytes:
    """One aligned 32-bit word, or one 16-bit entry of a vtable, replaced by a telling value."""
    width = rng.choice((4, 4, 4, 2))
    if len(content) < width:
        return content
    at = rng.randrange(len(content) // width) * width
    old = int.from_bytes(content[at : at + width], "little")
    word = rng.choice((rng.choice(WORDS), old + rng.choice((-4, -1, 1, 2, 4)), rng.randrange(len(content)), -at))
    return content[:at] + (word % (1 << 8 * width)).to_bytes(width, "little") + content[at + width :]


def spliced(rng: random.Random, content: bytes) -> bytes:
    source, target = (rng.randrange(len(content) // 4 + 1) * 4 for _ in range(2))
    piece = content[source : source + rng.choice((4, 8, 32, 100))]
    return content[:target] + piece + content[target + len(piece) :]


# --- the check -----------------------------------------------------------------------------------------------------


@contextmanager
def memory() -> Iterator[None]:
    """Memory beyond :data:`BYTES` more than now gives MemoryError within the block (on Linux)."""
    if sys.platform != "linux":
        yield
        return
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextmanager
def alarm() -> Iterator[None]:
    """More than :data:`SECONDS` give TimeoutError within the block."""

    def late(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"longer than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def outcome(load: Callable[[], Network], rng: random.Random) -> str:
    """``valid``, or the code with which the file was refused."""
    try:
        net = load()
    except IntnnError as refusal:
        if refusal.code not in CODES or not str(refusal):
            raise
        return refusal.code
    x = np.array([rng.choice((net.input.min, net.input.max, net.input.zero_point)) for _ in range(net.sizes[0])])
    x = np.clip(x, net.input.min, net.input.max)
    assert np.array_equal(intnn.run(net, x), intnn.run(net, x, engine="fast"))
    return "valid"


def check(name: str, chunk: int, make: Callable[[random.Random], tuple[bytes, Callable[[], Network]]]) -> Counter[str]:
    """The outcomes of every case of the chunk, counted; ``make`` gives a file and how to load it."""
    outcomes: Counter[str] = Counter()
    with memory():
        for number in range(chunk, CASES, CHUNKS):
            rng = random.Random(f"{name} {number}")
            content, load = make(rng)
            try:
                with alarm():
                    outcomes[outcome(load, rng)] += 1
            except Exception as error:
                message = f"{name} case {number}: {type(error).__name__}: {error}; file: {content[:2000]!r}"
                raise AssertionError(message) from error
    print(name, chunk, dict(outcomes))
    return outcomes


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_damaged_model_files(chunk: int) -> None:
    seeds = native_seeds()

    def make(rng: random.Random) -> tuple[bytes, Callable[[], Network]]:
        content = mutated_json(rng, seeds)
        return content, lambda: intnn.loads(content)

    outcomes = check("json", chunk, make)
    assert {"valid", "file.syntax", "file.field", "file.version", "file.hash", "model.value"} <= outcomes.keys()


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_damaged_tflite_files(chunk: int) -> None:
    seeds = tflite_seeds()

    def make(rng: random.Random) -> tuple[bytes, Callable[[], Network]]:
        content, profile = mutated_tflite(rng, seeds), rng.choice(PROFILES)
        return content, lambda: parse_tflite(content, profile=profile).network

    outcomes = check("tflite", chunk, make)
    assert {"valid", "tflite.file", "tflite.field", "tflite.operator", "model.value"} <= outcomes.keys()


def test_the_seeds_are_valid() -> None:
    rng = random.Random(0)
    assert {outcome(lambda c=c: intnn.loads(c), rng) for c in native_seeds()} == {"valid"}  # type: ignore[misc]  # mypy cannot infer a lambda with defaults
    for profile in PROFILES:
        for content in tflite_seeds():
            assert outcome(lambda c=content, p=profile: parse_tflite(c, profile=p).network, rng) == "valid"  # type: ignore[misc]  # as above
