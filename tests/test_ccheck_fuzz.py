"""Whatever text the verifier is given there is a verdict, and the verdict is right.

A correct file for a tiny network is mutated. What is said to be proved is run on all 65,536 inputs; what is said to be
wrong is run on the input that is said to show it.
"""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

from intnn import Activation, Dense, Fixed, Network
from intnn.ccheck import specification
from intnn.ccheck.batch import evaluate
from intnn.ccheck.cmodel import MODELS
from intnn.ccheck.source import read
from intnn.ccheck.verify import PROVED, UNPROVED, UNSUPPORTED, WRONG, verify_c

NET = Network(
    Activation("int8", 3),
    (
        Dense(np.array([[3, -2], [1, 4]]), np.array([5, -7]), Fixed.half_up(3), Activation("int8", -10, -10, 100)),
        Dense(np.array([[2, -1]]), np.array([9]), Fixed.half_up(2, 3, 1), Activation("int8", 4)),
    ),
)
BY_HAND = """#include <stdint.h>
#define INPUTS 2
static const int8_t w[2][INPUTS] = {{3, -2}, {1, 4}};
static const int32_t b[2] = {2, -22}; /* 5 - 3 * (3 - 2), -7 - 3 * (1 + 4) */
static int32_t asr(int32_t v, int s)
{
    return v < 0 ? ~(~v >> s) : v >> s;
}
static int32_t clamp(int32_t v, int32_t low, int32_t high)
{
    if (v < low) {
        return low;
    }
    return v > high ? high : v;
}
void net(const int8_t x[INPUTS], int8_t y[1])
{
    int8_t h[2];
    int32_t acc;
    for (int o = 0; o < 2; o++) {
        const int8_t *p = w[o];
        acc = b[o];
        for (int i = 0; i < INPUTS; ++i) {
            acc += (int32_t)*p++ * x[i];
        }
        h[o] = (int8_t)clamp(asr(acc + 4, 3) - 10, -10, 100);
    }
    acc = 2 * (int32_t)h[0] - h[1] + 9 + 10;
    y[0] = (int8_t)clamp(asr(asr(acc + 1, 1) * 3 + 2, 2) + 4, -128, 127);
}
"""
GRID = np.stack([axis.ravel() for axis in np.meshgrid(*[np.arange(-128, 128)] * 2, indexing="ij")], axis=1)


def test_by_hand() -> None:
    assert verify_c(BY_HAND, NET).proved


TOKENS = re.findall(r"/\*.*?\*/|\w+|#[^\n]*|<<|>>|\+\+|--|[-+*]=|[<>=!]=|\s+|.", BY_HAND, re.S)
SOLID = [k for k, token in enumerate(TOKENS) if not token.isspace()]
MORE = """0 1 2 3 7 8 31 32 128 40000 2147483647 4294967295 99999999999
<= == != >= -= & && || ! - - int8_t int16_t uint8_t uint32_t unsigned long"""
WORDS = [TOKENS[k] for k in SOLID] + MORE.split()


def kind(token: str) -> str:
    first = token[0]
    return (
        "word" if first.isalpha() else "number" if first.isdigit() else "operator" if first in "+-*<>=!~&|" else first
    )


def mutated(rng: random.Random) -> str:
    """The text with one or two tokens deleted, doubled, swapped, or replaced by another of their kind."""
    tokens = TOKENS.copy()
    for _ in range(rng.choice((1, 1, 2))):
        a, b = rng.choice(SOLID), rng.choice(SOLID)
        match rng.choice(("delete", "double", "swap", "replace", "replace", "replace")):
            case "delete":
                tokens[a] = " "
            case "double":
                tokens[a] += " " + tokens[a]
            case "swap":
                tokens[a], tokens[b] = tokens[b], tokens[a]
            case "replace":
                tokens[a] = rng.choice([token for token in WORDS if kind(token) == kind(TOKENS[a])])
    return "".join(tokens)


@pytest.mark.parametrize("count", [1000, pytest.param(5000, marks=pytest.mark.slow)])
def test_mutants_of_text(count: int) -> None:
    """Whatever the text, there is a verdict; a proof holds on all 65,536 inputs, and a wrong input is wrong."""
    rng = random.Random(0)
    expected = specification.run(NET, GRID)[1]
    seen = dict.fromkeys((PROVED, WRONG, UNPROVED, UNSUPPORTED), 0)
    for _ in range(count):
        text = mutated(rng)
        if text == BY_HAND:
            continue
        verdict = verify_c(text, NET, models=("int32",))
        seen[verdict.status] += 1
        if verdict.status == PROVED:
            outputs, traps = evaluate(read(text), NET, GRID, MODELS["int32"])
            assert not traps, text
            assert (outputs == expected).all(), text
        if verdict.status == WRONG:
            assert verdict.counterexample is not None
            row = np.array([verdict.counterexample.x], np.int64)
            outputs, traps = evaluate(read(text), NET, row, MODELS["int32"])
            assert traps or (outputs != specification.run(NET, row)[1]).any(), text
    assert seen[PROVED] >= count // 100
    assert seen[WRONG] >= count // 20
    assert seen[UNSUPPORTED] >= count // 4


def test_mutants_of_characters() -> None:
    rng = random.Random(1)
    for _ in range(500):
        text = list(BY_HAND)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(text))
            text[at : at + rng.choice((0, 1, 1, 5))] = rng.choice(["", rng.choice(BY_HAND), chr(rng.randrange(1, 256))])
        assert verify_c("".join(text), NET, models=("int32",)).status in (PROVED, WRONG, UNPROVED, UNSUPPORTED)
