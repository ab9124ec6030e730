"""Reports made by hand for the tests of what is shown of them: one of each kind, and some that strain a page."""

from __future__ import annotations

import random
from dataclasses import replace

from intnn.conform.device import Failure
from intnn.conform.verdict import Diagnosis, Event, Explanation, Group, Location, Mismatch, Report

KINDS = ("just below a step", "at a step", "tie", "low saturation", "high saturation", "accumulator least")


def events(sizes: tuple[int, ...], seed: int = 0) -> tuple[Event, ...]:
    """Events of every fate in every layer."""
    rng = random.Random(seed)
    result = []
    for layer, neurons in enumerate(sizes[1:]):
        for neuron in range(neurons):
            for name in KINDS:
                fate = rng.choices(("shown", "reached", "missed", "unreachable"), (90, 6, 2, 2))[0]
                reached = rng.randint(1, 40) if fate in ("shown", "reached") else 0
                shown = rng.randint(1, reached) if fate == "shown" else 0
                result.append(Event(name, layer, neuron, reached, shown, fate == "unreachable"))
    return tuple(result)


def explanation(fault: str, text: str, matched: int, layer: int | None = 1) -> Explanation:
    return Explanation((fault,), text, matched, 4096, layer, "requantize")


PASS = Report(
    model="pose.json",
    sha256="054608ed09969c4b" * 4,
    sizes=(6, 32, 32, 6),
    device="./pose.so:pose_run",
    facts={"compiler": "gcc 12.2.0"},
    operations=("run",),
    seed=0,
    command="intnn conform pose.json --lib ./pose.so:pose_run --count 4096 --seed 0",
    groups=(
        Group("corners", 64, 64, 0),
        Group("layer 1 ties", 300, 300, 0),
        Group("layer 1 steps", 1732, 1732, 0),
        Group("random", 2000, 2000, 0),
    ),
    events=events((6, 32, 32, 6)),
    seconds=1.234,
)

HALF_AWAY = explanation("rounding.half-away@1", "layer 1 rounds half away from zero", 4096)

MISMATCH = replace(
    PASS,
    groups=(
        Group("corners", 64, 64, 0),
        Group("layer 1 ties", 300, 300, 110, 71),
        Group("layer 1 steps", 1732, 1732, 4, 402),
        Group("random", 2000, 2000, 1, 3007),
    ),
    operations=("layer", "run"),
    command="intnn conform pose.json --lib ./pose.so:pose_run --x=3*0,17,0,0",
    mismatch=Mismatch(
        x=(0, 0, 0, 17, 0, 0),
        expected=(1, -5, 12, 0, 7, 9),
        got=(1, -5, 13, 0, 7, 9),
        first=(3, 55, -128, 17, 127, 9),
        group="layer 1 ties",
        inference=71,
        shrinking=12,
        location=Location(
            1, 5, "requantize", True, -12288, "q31 double, multiplier 1518500250, exponent -7 (shift 38)", 12, 13
        ),
    ),
    diagnosis=Diagnosis(
        (
            HALF_AWAY,
            explanation("rounding.ceil@1", "layer 1 rounds up", 3982),
            explanation("bias.plus-one@1[5]", "layer 1: the bias of neuron 5 is one too large", 3012),
        ),
        1,
        8,
        412,
    ),
    heat=(tuple([0] * 32), tuple(0 if n % 7 else 3 * n + 1 for n in range(32)), (4, 0, 115, 1, 0, 0)),
    heat_observed=(True, True, True),
)

WITHOUT_LAYERS = replace(
    MISMATCH,
    operations=("run",),
    mismatch=replace(
        MISMATCH.mismatch,  # type: ignore[type-var]  # it has one
        location=Location(1, 5, "requantize", False, -12288, "fixed, multiplier 181, shift 13, round 4096", 12, None),
    ),
    diagnosis=Diagnosis(
        (
            HALF_AWAY,
            explanation("rounding.half-away@*", "every layer rounds half away from zero", 4096, None),
            explanation("rounding.ceil@1", "layer 1 rounds up", 3982),
        ),
        2,
        256,
        412,
    ),
    heat=((), MISMATCH.heat[1], MISMATCH.heat[2]),
    heat_observed=(False, False, True),
)

UNEXPLAINED = replace(
    MISMATCH,
    mismatch=replace(MISMATCH.mismatch, location=None),  # type: ignore[type-var]  # it has one
    diagnosis=Diagnosis((explanation("rounding.ceil@1", "layer 1 rounds up", 4095),), 0, 0, 412),
    heat=(),
    heat_observed=(),
)

DIED = replace(
    PASS,
    groups=(Group("corners", 64, 61, 0), *PASS.groups[1:]),
    failures=(
        (7, (127, 0, 0, 0, 0, -128), Failure("crash", "SIGSEGV; stderr: <b>stack</b> smashed & burnt")),
        (8, (0, 0, 0, 0, 0, 0), Failure("unasked", "")),
        (9, (1, 1, 1, 1, 1, 1), Failure("unasked", "")),
    ),
)

LATE = replace(PASS, notes=((12, (1, 2, 3, 4, 5, 6), Failure("late", "2.5 s after it was asked")),))

FLAKY = replace(PASS, flaky=((1, 2, 3, 4, 5, 6), (1, 1, 1, 1, 1, 1), (1, 1, 1, 2, 1, 1)))

SKIPS = replace(
    PASS,
    groups=(Group("corners", 64, 62, 0), *PASS.groups[1:]),
    failures=((3, (0,) * 6, Failure("skip", "")), (4, (1,) * 6, Failure("skip", ""))),
)

SILENT = replace(
    PASS,
    groups=(Group("corners", 1, 0, 0),),
    failures=((1, (0,) * 6, Failure("skip", "")),),
)

EXPECTED = replace(MISMATCH, expected_failures=("layer 1 ties", "layer 1 steps", "random"))

UNEXPECTED_PASS = replace(PASS, expected_failures=("layer 1 ties", "no such group"))

ACCUMULATOR = replace(
    MISMATCH,
    operations=("requantize", "run"),
    mismatch=Mismatch((-12288,), (12,), (13,), (-12288,), "requantize layer 1", 3, 0, "requantize", 1, 5),
)

ONE_NEURON = Report(
    model="one.json",
    sha256="0" * 64,
    sizes=(1, 1),
    device="one",
    facts={},
    operations=("run",),
    seed=3,
    command="intnn conform one.json --c one.c",
    groups=(Group("corners", 3, 3, 1, 2),),
    events=(Event("tie", 0, 0, 1, 1, False),),
    mismatch=Mismatch(
        (1,), (0,), (1,), (1,), "corners", 2, 0, location=Location(0, 0, "clamp", False, 1, "fixed", 0, 1)
    ),
    heat=((1,),),
    heat_observed=(True,),
)

_WIDE = (640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640)

WIDE = replace(
    MISMATCH,
    model="autoencoder.tflite",
    sizes=_WIDE,
    events=events(_WIDE),
    mismatch=Mismatch(
        x=tuple(7 if n == 333 else 0 for n in range(640)),
        expected=tuple(n % 5 for n in range(640)),
        got=tuple(n % 5 + (n == 77) for n in range(640)),
        first=tuple(range(-128, 512)),
        group="layer 9 steps",
        inference=1803,
        shrinking=311,
        location=Location(9, 77, "requantize", True, 512, "q31 single, multiplier 1073741824, exponent -9", 2, 3),
    ),
    heat=(
        *[tuple([0] * n) for n in _WIDE[1:8]],
        tuple(n * n % 97 if n % 5 == 0 else 0 for n in range(128)),
        (),
        tuple((n * 37) % 900 if n > 320 else 0 for n in range(640)),
    ),
    heat_observed=(True,) * 7 + (False, False, True),
)

HOSTILE_TEXT = "<script>alert(1)</script>\"'&]]>\x00\x1b[31m\udc80\u202e--><!--"

HOSTILE = replace(
    MISMATCH,
    model=HOSTILE_TEXT,
    device=HOSTILE_TEXT,
    facts={HOSTILE_TEXT: HOSTILE_TEXT},
    command=f"intnn conform {HOSTILE_TEXT}",
    groups=(Group(HOSTILE_TEXT, 3, 2, 1, 1),),
    events=(Event(HOSTILE_TEXT, 0, 0, 0, 0, False),),
    mismatch=replace(
        MISMATCH.mismatch,  # type: ignore[type-var]  # it has one
        group=HOSTILE_TEXT,
        location=Location(0, 0, "unknown", True, 0, HOSTILE_TEXT, 0, 0),
    ),
    diagnosis=Diagnosis((Explanation((HOSTILE_TEXT,), HOSTILE_TEXT, 3, 4, 0, HOSTILE_TEXT),), 1, 0, 2),
    failures=((1, (0,) * 6, Failure("garbage", HOSTILE_TEXT)),),
    notes=((2, (0,) * 6, Failure("twice", HOSTILE_TEXT)),),
    flaky=FLAKY.flaky,
    expected_failures=(HOSTILE_TEXT + "!",),
)

REPORTS = {
    "pass": PASS,
    "mismatch": MISMATCH,
    "without layers": WITHOUT_LAYERS,
    "unexplained": UNEXPLAINED,
    "died": DIED,
    "late": LATE,
    "flaky": FLAKY,
    "skips": SKIPS,
    "silent": SILENT,
    "expected": EXPECTED,
    "unexpected pass": UNEXPECTED_PASS,
    "accumulator": ACCUMULATOR,
    "one neuron": ONE_NEURON,
    "wide": WIDE,
    "hostile": HOSTILE,
}
