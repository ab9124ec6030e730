"""What the world sees of the C: comments, macros and prototypes."""

from __future__ import annotations

from intnn.emit.text import WIDTH, call, comment, harmless
from intnn.formats.native import network_hash
from intnn.model import Activation, Network
from intnn.version import SPEC_VERSION


def preamble(net: Network, title: str) -> str:
    """The comment at the head of a file: what it is, and of which model."""
    source = f", from {harmless(net.source)}" if net.source else ""
    return comment(
        title,
        "",
        f"Model {harmless(net.name) or 'without a name'}{source}",
        f"sha256 {network_hash(net)}",
        f"Executes the intnn specification {SPEC_VERSION} to the bit. Emitted by intnn; not to be edited.",
    )


def header(net: Network, prefix: str, selftest: bool) -> str:
    """The text of PREFIX.h."""
    guard = f"{prefix.upper()}_H"
    return f"""\
{preamble(net, f"{prefix}.h: the interface of {prefix}.c")}

#ifndef {guard}
#define {guard}

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

{declarations(net, prefix, selftest)}

#ifdef __cplusplus
}}
#endif

#endif /* {guard} */
"""


def declarations(net: Network, prefix: str, selftest: bool = False) -> str:
    """The public macros and prototypes."""
    macro = prefix.upper()
    first, last = net.layers[0].scales, net.layers[-1].scales
    x, y = meaning(net.input, first.input if first else None), meaning(net.output, last.output if last else None)
    real = " * A real value is (number - zero point) * what a step is worth.\n" if first or last else ""
    text = f"""\
/* The model's number: the first 28 bits of its hash. */
#define {macro}_MODEL {model_number(net)}
#define {macro}_INPUTS {net.sizes[0]}
#define {macro}_OUTPUTS {net.sizes[-1]}

/*
 * Runs the network on x and writes its answer to y; the two must not overlap.
 * x: {x}; no other value may be fed
 * y: {y}
{real} * Reentrant: what is kept between layers is on the stack.
 */
{signature(net, prefix)};"""
    if selftest:
        text += f"""

/* How many rows of the self-test come out wrong: 0 if all is well. */
int {prefix}_selftest(void);"""
    return text


def signature(net: Network, prefix: str) -> str:
    """The public function, as declared and as defined."""
    macro = prefix.upper()
    parameters = [f"const {net.input.type}_t x[{macro}_INPUTS]", f"{net.output.type}_t y[{macro}_OUTPUTS]"]
    return call(f"void {prefix}_run", parameters, "", "")


def assertions(net: Network, prefix: str) -> str:
    """Declarations that do not compile beside the header of another model."""
    lines = ["/* The header has to be this model's. */"]
    for name, value in (("model", model_number(net)), ("inputs", net.sizes[0]), ("outputs", net.sizes[-1])):
        condition = f"({prefix.upper()}_{name.upper()} == {value}) ? 1 : -1"
        line = f"typedef char {prefix}_assert_{name}[{condition}];"
        lines.append(line if len(line) <= WIDTH else line.replace("[", "[\n    "))
    return "\n".join(lines)


def model_number(net: Network) -> int:
    """The first 28 bits of the model's hash, which a long of 32 bits holds."""
    return int(network_hash(net)[:7], 16)


def meaning(activation: Activation, scale: float | None = None) -> str:
    """An activation in words, and what one step of it is worth where the model says so."""
    a = activation
    worth = "" if scale is None else f"; {scale:.9g} a step"
    return f"{a.type}, zero point {a.zero_point}, from {a.min} to {a.max}{worth}"
