"""The first beat in C, and the loops around both: one function for the layers of a family."""

from __future__ import annotations

import numpy as np

from intnn.emit.family import Family, counter, for_each, minus, several
from intnn.emit.plan import CENTRE, ROWS, STEP, Plan
from intnn.emit.requantize import requantize
from intnn.emit.text import call, comment, smallest_type


def functions(family: Family) -> list[str]:
    """The C functions of ``family``: requantization and the layer, whose tables are added to it."""
    first = family.layers[0]
    family.parameter(f"const {first.source.ctype} *x", ["{x}"] * len(family.layers))
    rescale, body = (paired if first.paired else plain)(family)
    head = call(f"static void {family.name('dense')}", family.parameters, "", "")
    many = "s" if len(family.layers) > 1 else ""
    indices = ", ".join(str(layer.index) for layer in family.layers)
    said = comment(
        f"Layer{many} {indices}: accumulate, "
        + ("two neurons together, each input loaded once for both." if first.paired else "one neuron after the other."),
        f"The bias {bias_holds(family)}.",
    )
    return [rescale, f"{said}\n{head}\n{{\n{body}\n}}"]


def bias_holds(family: Family) -> str:
    """What the bias is, in words."""
    parts = [] if any(layer.numbers["origin"] != (0,) for layer in family.layers) else ["holds the input's zero point"]
    if family.layers[0].rule == "fixed with bias":
        parts.append("is multiplied already and holds the rounding constant")
    return ", ".join(parts) or "is the model's"


def bias_table(family: Family) -> None:
    """The table of what the accumulators start at, unless requantization adds it."""
    if family.layers[0].rule != "fixed with bias":
        smallest = smallest_type(v for layer in family.layers for v in layer.bias)
        family.table("bias", smallest, lambda layer: [[*layer.bias, *[0] * (layer.neurons - layer.target.size)]])


def plain(family: Family) -> tuple[str, str]:
    """One neuron at a time, one input at a time: the least code. The requantize function, and the layer's body."""
    inputs = family.scalar("inputs", counter(family.layers), [layer.inputs for layer in family.layers])
    family.table("weights", "int8_t", lambda layer: layer.weights.tolist())
    bias_table(family)
    outputs = family.scalar("outputs", counter(family.layers), [layer.neurons for layer in family.layers])
    origin = family.scalar("origin", "int32_t", [*(v for layer in family.layers for v in layer.numbers["origin"])])
    rescale = requantize(family)
    family.parameter(f"{family.layers[0].target.ctype} *y", ["{y}"] * len(family.layers))
    stored = "(int32_t)x[i]" if origin == "0" else f"({minus('(int32_t)x[i]', origin)})"
    start = "0" if family.layers[0].rule == "fixed with bias" else "bias[o]"
    body = f"""\
    {counter(family.layers)} o;
    {counter(family.layers)} i;

    for (o = 0; o < {outputs}; o++) {{
        int32_t acc = {start};

        for (i = 0; i < {inputs}; i++) {{
            acc += {stored} * *weights;
            weights++;
        }}
{call(f"y[o] = {family.name('requantize')}", family.rescaled("acc", "o"), ";", "        ")}
    }}"""
    return rescale, body


def paired(family: Family) -> tuple[str, str]:
    """Two neurons at a time, :data:`STEP` inputs at a time or all: each input is loaded once for both.

    Pointers walk through tables and vectors, for a Cortex-M0 would make the address of an element anew at each access.
    No loop is empty, and each is tested at its end: clang makes worse code of any other.
    """
    first, layers = family.layers[0], family.layers
    unrolled, merged = first.kernel == "unrolled", first.rule == "fixed with bias"
    source, target = first.source.ctype, first.target.ctype
    if not unrolled:
        # Not const, as y_end: gcc would warn that what it points to may not have been written.
        family.parameter(f"{source} *x_end", [f"{{x}} + {layer.inputs}" for layer in layers])
    family.table("weights", "uint8_t", lambda layer: paired_weights(layer, family.behind))
    bias_table(family)
    rescale = requantize(family)
    family.parameter(f"{target} *y", ["{y}"] * len(layers))
    family.parameter(f"{target} *y_end", [f"{{y}} + {layer.neurons}" for layer in layers])

    behind = ROWS * first.inputs if unrolled else 0
    walked = [several(name) for name, _ in family.rescaling if family.plural(name) and name not in family.behind]
    advances = {"weights": behind + ROWS * len(family.behind), "bias": 0 if merged else ROWS}
    advances |= dict.fromkeys([*walked, "y"], ROWS)
    name = family.name("requantize")
    lines = [
        *(unrolled_start(first.inputs) if unrolled else looped_start(source, "+" if merged else "-")),
        "    do {",
        *(f"        int32_t {acc} = start{'' if merged else f' + bias[{n}]'};" for n, acc in enumerate(SUMS)),
        "",
        *(steps("x", first.inputs, "        ") if unrolled else looped_steps()),
        *(call(f"y[{n}] = {name}", family.rescaled(a, str(n), behind), ";", "        ") for n, a in enumerate(SUMS)),
        *(f"        {pointer} += {by};" for pointer, by in advances.items() if by),
        "    } while (y != y_end);",
    ]
    return rescale, "\n".join(lines)


SUMS = ("first", "second")
WHY = f"    /* Weights are stored plus {CENTRE}, which adds {CENTRE} times the sum of the inputs. */"


def unrolled_start(inputs: int) -> list[str]:
    """What both sums start at but for the bias, of a few inputs."""
    return [f"    int32_t start = {total('x', inputs)};", "    int32_t v;", "", WHY, f"    start *= -{CENTRE};"]


def looped_start(ctype: str, sign: str) -> list[str]:
    """The same by a loop over the inputs, which adds or subtracts: a choice that clang's registers depend on."""
    return [
        f"    const {ctype} *p = x;",
        "    int32_t start = 0;",
        "    int32_t v;",
        "",
        WHY,
        "    do {",
        f"        start {sign}= {total('p', STEP)};",
        f"        p += {STEP};",
        "    } while (p != x_end);",
        f"    start *= {'-' if sign == '+' else ''}{CENTRE};",
    ]


def total(pointer: str, inputs: int) -> str:
    """The sum of ``inputs`` inputs."""
    return " + ".join([f"(int32_t){pointer}[0]", *(f"{pointer}[{i}]" for i in range(1, inputs))])


def looped_steps() -> list[str]:
    """The loop over the inputs, :data:`STEP` at a time."""
    return [
        "        p = x;",
        "        do {",
        *steps("p", STEP, "            "),
        f"            weights += {ROWS * STEP};",
        f"            p += {STEP};",
        "        } while (p != x_end);",
    ]


def steps(pointer: str, inputs: int, indent: str) -> list[str]:
    """The multiply-accumulates of ``inputs`` inputs with two neurons."""
    lines = []
    for i in range(inputs):
        lines.append(f"{indent}v = {pointer}[{i}];")
        lines += [f"{indent}{acc} += v * weights[{ROWS * i + n}];" for n, acc in enumerate(SUMS)]
    return lines


def paired_weights(layer: Plan, behind: list[str]) -> list[list[int]]:
    """The weights plus :data:`CENTRE`, two neurons interleaved in a row, zero weights for what is not there; then
    the numbers that stand ``behind``, of the one neuron and of the other."""
    outputs, inputs = layer.weights.shape
    stored = np.full((layer.neurons, layer.inputs), CENTRE)
    stored[:outputs, :inputs] += layer.weights
    blocks = stored.reshape(-1, ROWS, layer.inputs).transpose(0, 2, 1).reshape(layer.neurons // ROWS, -1)
    numbers = [for_each(layer.numbers[name], layer) for name in behind]
    tails = np.array(numbers, np.int64).T.reshape(len(blocks), -1)
    rows: list[list[int]] = np.hstack([blocks, tails]).tolist()
    return rows
