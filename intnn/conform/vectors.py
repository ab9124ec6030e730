"""Inputs and right outputs in files: for boards that have no input, and for other tools.

``h`` is C that judges itself: tables, a function that compares (PREFIX_vectors_check.c), and one for boards that can
only print (PREFIX_vectors_print.c), whose output ``intnn conform MODEL --replay`` judges. The other formats are data.
"""

from __future__ import annotations

import io
import zipfile

import numpy as np
import numpy.typing as npt

from intnn import engines
from intnn.emit.header import preamble
from intnn.emit.text import check_prefix, table
from intnn.errors import InputError, UsageError
from intnn.formats.native import canonical, network_hash
from intnn.interpreter import LayerTrace
from intnn.model import Network
from intnn.version import SPEC_VERSION

FORMATS = ("h", "csv", "json", "npz")
JSON_FORMAT = "intnn-vectors/1"

MOST_IN_C = 32766
"""More vectors cannot be numbered in an int of 16 bits."""

_A_LINE = 7
"""Values of int16 that fit into a line of the protocol after any id and command."""


def vectors(net: Network, rows: npt.ArrayLike, format: str, prefix: str = "net") -> dict[str, bytes]:
    """Files, name to content, that hold the inputs ``rows`` (n, inputs) and the right outputs [network.run].

    ``format`` is one of :data:`FORMATS`; ``prefix`` begins every file name, and in C every name. ``json`` and ``npz``
    also hold every layer's accumulators and outputs. The same arguments give the same bytes; each file names the
    model's hash and the version of the specification.

    Raises :class:`UsageError` ``usage.option`` and ``emit.prefix``; :class:`InputError` ``input.type``, ``input.shape``
    or ``input.range`` for rows that are none, too many for C, or no inputs of ``net``; :class:`ModelError`
    ``model.overflow``.
    """
    if format not in FORMATS:
        raise UsageError("usage.option", f"no format {format!r} of vectors", expected="one of " + ", ".join(FORMATS))
    check_prefix(prefix)
    x = engines.batch(net, rows)[0].astype(np.int64)
    most = MOST_IN_C if format == "h" else len(x)
    if not 0 < len(x) <= most:
        raise InputError("input.shape", f"{len(x)} rows", expected=f"1 to {most} rows" if most else "1 row or more")
    layers = engines.trace(net, x)
    match format:
        case "csv":
            return {f"{prefix}_vectors.csv": _csv(net, x, layers)}
        case "json":
            return {f"{prefix}_vectors.json": _json(net, x, layers)}
        case "npz":
            return {f"{prefix}_vectors.npz": _npz(net, x, layers)}
    texts = {
        f"{prefix}_vectors.h": _header(net, x, layers, prefix),
        f"{prefix}_vectors_check.c": _check(net, prefix),
        f"{prefix}_vectors_print.c": _print(net, prefix),
    }
    return {name: text.encode("ascii") for name, text in texts.items()}


def _csv(net: Network, x: npt.NDArray[np.int64], layers: list[LayerTrace]) -> bytes:
    inputs, outputs = net.sizes[0], net.sizes[-1]
    names = [*(f"x{i}" for i in range(inputs)), *(f"y{o}" for o in range(outputs))]
    lines = [f"# intnn vectors; specification {SPEC_VERSION}; model sha256 {network_hash(net)}", ",".join(names)]
    lines += [",".join(map(str, row)) for row in np.hstack([x, layers[-1].output]).tolist()]
    return ("\n".join(lines) + "\n").encode("ascii")


def _json(net: Network, x: npt.NDArray[np.int64], layers: list[LayerTrace]) -> bytes:
    """``acc`` and ``y`` of a vector are lists of every layer's, as in the golden vectors of [network.run]."""
    columns = (x.tolist(), zip(*(t.acc.tolist() for t in layers)), zip(*(t.output.tolist() for t in layers)))  # noqa: B905  # all have the batch's length
    document = {
        "format": JSON_FORMAT,
        "spec": SPEC_VERSION,
        "sha256": network_hash(net),
        "vectors": [{"x": x, "acc": acc, "y": y} for x, acc, y in zip(*columns, strict=True)],
    }
    return canonical(document) + b"\n"


def _npz(net: Network, x: npt.NDArray[np.int64], layers: list[LayerTrace]) -> bytes:
    """A ZIP of .npy files without times or compression, so that the bytes depend on nothing else."""
    arrays = {"x": x.astype(net.input.type), "y": layers[-1].output}
    for k, layer in enumerate(layers):
        arrays |= {f"acc{k}": layer.acc.astype(np.int32), f"y{k}": layer.output}
    arrays |= {"sha256": np.array(network_hash(net)), "spec": np.array(SPEC_VERSION)}
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w") as archive:
        for name, array in arrays.items():
            data = io.BytesIO()
            little = array.astype(array.dtype.newbyteorder("<"))
            np.lib.format.write_array(data, np.ascontiguousarray(little).reshape(array.shape), version=(1, 0))
            entry = zipfile.ZipInfo(f"{name}.npy")  # whose time is 1980
            entry.create_system = 3  # else that of the machine it is made on
            archive.writestr(entry, data.getvalue())
    return result.getvalue()


# --- C -------------------------------------------------------------------------------------------------------------


def _header(net: Network, x: npt.NDArray[np.int64], layers: list[LayerTrace], prefix: str) -> str:
    macro = prefix.upper()
    dimensions = f"[{macro}_VECTORS][{macro}_VECTORS_INPUTS]", f"[{macro}_VECTORS][{macro}_VECTORS_OUTPUTS]"
    given = table(f"{net.input.type}_t {prefix}_vectors_x{dimensions[0]}", x.tolist(), nested=True)
    right = table(f"{net.output.type}_t {prefix}_vectors_y{dimensions[1]}", layers[-1].output.tolist(), nested=True)
    return f"""\
{preamble(net, f"{prefix}_vectors.h: inputs and the outputs that the specification demands for them")}

#ifndef {macro}_VECTORS_H
#define {macro}_VECTORS_H

#include <stdint.h>

#define {macro}_VECTORS {len(x)}
#define {macro}_VECTORS_INPUTS {net.sizes[0]}
#define {macro}_VECTORS_OUTPUTS {net.sizes[-1]}

#ifdef __cplusplus
extern "C" {{
#endif

/* Yours: the network under test. */
void {prefix}_run(const {net.input.type}_t x[], {net.output.type}_t y[]);

/* The first difference. */
struct {prefix}_vectors_failure {{
    int output;
    int got;
    int expected;
}};
extern struct {prefix}_vectors_failure {prefix}_vectors_failure;

/* 0 if {prefix}_run gives all outputs, else 1 + the number, from 0, of the first vector on which it does not. */
int {prefix}_vectors_check(void);

/* Runs all vectors and prints what was asked and answered, for intnn conform MODEL --replay LOG. */
void {prefix}_vectors_print(void (*put)(char c));

#ifdef __cplusplus
}}
#endif

{given}

{right}

#endif /* {macro}_VECTORS_H */
"""


def _check(net: Network, prefix: str) -> str:
    macro = prefix.upper()
    return f"""\
{preamble(net, f"{prefix}_vectors_check.c: compares {prefix}_run with the vectors")}

#include <stdint.h>
#include "{prefix}_vectors.h"

struct {prefix}_vectors_failure {prefix}_vectors_failure;

int {prefix}_vectors_check(void)
{{
    {net.output.type}_t y[{macro}_VECTORS_OUTPUTS];

    for (int v = 0; v < {macro}_VECTORS; v++) {{
        for (int o = 0; o < {macro}_VECTORS_OUTPUTS; o++) {{
            /* never right: an output that is not written is found */
            y[o] = ({net.output.type}_t)({prefix}_vectors_y[v][o] == 0);
        }}
        {prefix}_run({prefix}_vectors_x[v], y);
        for (int o = 0; o < {macro}_VECTORS_OUTPUTS; o++) {{
            if (y[o] != {prefix}_vectors_y[v][o]) {{
                {prefix}_vectors_failure.output = o;
                {prefix}_vectors_failure.got = y[o];
                {prefix}_vectors_failure.expected = {prefix}_vectors_y[v][o];
                return v + 1;
            }}
        }}
    }}
    return 0;
}}
"""


def _print(net: Network, prefix: str) -> str:
    """Lines of spec/60-protocol.md, requests and replies both, none longer than 63 characters."""
    macro = prefix.upper()
    hello = f"intnn/1 {network_hash(net)[:16]} 63 run"
    return f"""\
{preamble(net, f"{prefix}_vectors_print.c: what {prefix}_run answers to the vectors, as lines of the protocol")}

#include <stdint.h>
#include "{prefix}_vectors.h"

#define {macro}_VECTORS_LINE {_A_LINE}

static void {prefix}_vectors_text(void (*put)(char c), const char *s)
{{
    for (; *s != '\\0'; s++) {{
        put(*s);
    }}
}}

static void {prefix}_vectors_number(void (*put)(char c), int32_t v)
{{
    char digits[11];
    int n = 0;

    if (v < 0) {{
        put('-');
        v = -v;
    }}
    do {{
        digits[n++] = (char)('0' + v % 10);
        v /= 10;
    }} while (v > 0);
    while (n > 0) {{
        put(digits[--n]);
    }}
}}

static void {prefix}_vectors_word(void (*put)(char c), int32_t id, const char *s)
{{
    {prefix}_vectors_number(put, id);
    {prefix}_vectors_text(put, s);
}}

/* The beginning of the next request. */
static int32_t {prefix}_vectors_ask(void (*put)(char c), int32_t id, const char *s)
{{
    id = id == 65535 ? 0 : id + 1;
    {prefix}_vectors_word(put, id, s);
    return id;
}}

void {prefix}_vectors_print(void (*put)(char c))
{{
    int32_t id = 0;

    {prefix}_vectors_text(put, "0 hello\\n0 {hello}\\n");
    for (int v = 0; v < {macro}_VECTORS; v++) {{
        {net.output.type}_t y[{macro}_VECTORS_OUTPUTS] = {{0}};

        for (int i = 0; i < {macro}_VECTORS_INPUTS; i++) {{
            if (i % {macro}_VECTORS_LINE == 0) {{
                id = {prefix}_vectors_ask(put, id, " x");
            }}
            put(' ');
            {prefix}_vectors_number(put, {prefix}_vectors_x[v][i]);
            if (i % {macro}_VECTORS_LINE == {macro}_VECTORS_LINE - 1 || i == {macro}_VECTORS_INPUTS - 1) {{
                put('\\n');
                {prefix}_vectors_word(put, id, " ok\\n");
            }}
        }}
        id = {prefix}_vectors_ask(put, id, " run\\n");
        {prefix}_run({prefix}_vectors_x[v], y);
        for (int o = 0; o < {macro}_VECTORS_OUTPUTS; o++) {{
            if (o % {macro}_VECTORS_LINE == 0) {{
                {prefix}_vectors_word(put, id, {macro}_VECTORS_OUTPUTS - o <= {macro}_VECTORS_LINE ? " ok" : " more");
            }}
            put(' ');
            {prefix}_vectors_number(put, y[o]);
            if (o % {macro}_VECTORS_LINE == {macro}_VECTORS_LINE - 1 || o == {macro}_VECTORS_OUTPUTS - 1) {{
                put('\\n');
            }}
        }}
    }}
}}
"""
