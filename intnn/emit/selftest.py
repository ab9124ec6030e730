"""Golden rows in C: inputs for a network and what the reference interpreter answers."""

from __future__ import annotations

import numpy as np

from intnn.emit.header import assertions, preamble
from intnn.emit.text import table
from intnn.engines import run
from intnn.model import IntArray, Network

ROWS = 32


def selftest_rows(net: Network) -> IntArray:
    """Inputs, int64 of shape (:data:`ROWS`, inputs): constant, alternating, walking, and the rest pseudo-random."""
    low, high, count = net.input.min, net.input.max, net.sizes[0]
    zero = min(max(net.input.zero_point, low), high)
    place = np.arange(count)
    rows = [np.full(count, v) for v in (low, high, zero, low + (high - low) // 2)]
    rows += [np.where(place % 2, b, a) for a, b in ((low, high), (high, low), (zero, high), (low, zero))]
    for quarter in range(4):  # one input apart from all others, either way round
        at = place == quarter * count // 4
        rows += [np.where(at, high, low), np.where(at, low, high)]
    crafted = dict.fromkeys(tuple(row.tolist()) for row in rows)  # where zero is an end, some are the same

    state = 1
    random = []
    for _ in range((ROWS - len(crafted)) * count):
        state = (state * 1103515245 + 12345) % (1 << 31)  # a generator of our own, so that the file stays the same
        random.append(low + (state >> 8) % (high - low + 1))
    return np.array([v for row in crafted for v in row] + random, np.int64).reshape(ROWS, count)


def selftest_c(net: Network, prefix: str) -> str:
    """The text of PREFIX_selftest.c."""
    rows = selftest_rows(net)
    expected = run(net, rows)
    macro = prefix.upper()
    given = table(f"{net.input.type}_t {prefix}_given[{ROWS}][{macro}_INPUTS]", rows.tolist(), nested=True)
    wanted = table(f"{net.output.type}_t {prefix}_wanted[{ROWS}][{macro}_OUTPUTS]", expected.tolist(), nested=True)
    return f"""\
{preamble(net, f"{prefix}_selftest.c: golden rows for {prefix}.c")}

#include <stdint.h>
#include "{prefix}.h"

{assertions(net, prefix)}

/* Inputs: constant, alternating, walking and pseudo-random rows. */
{given}

/* The outputs that the specification demands for them. */
{wanted}

int {prefix}_selftest(void)
{{
    {net.output.type}_t y[{macro}_OUTPUTS];
    int failed = 0;

    for (int row = 0; row < {ROWS}; row++) {{
        int wrong = 0;

        {prefix}_run({prefix}_given[row], y);
        for (int o = 0; o < {macro}_OUTPUTS; o++) {{
            wrong = y[o] == {prefix}_wanted[row][o] ? wrong : 1;
        }}
        failed += wrong;
    }}
    return failed;
}}
"""
