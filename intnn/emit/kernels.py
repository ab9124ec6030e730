"""The first beat in C, and the loops around both: one function for the layers of a family."""

from __future__ import annotations

import numpy as np

from intnn.emit.family import Family, counter, minus
from intnn.emit.plan import CENTRE, ROWS, STEP, Plan
from intnn.emit.requantize import requantize
from intnn.emit.text import call, comment, smallest_type


def functions(family: Family) -> list[str]:
    """The C functions of ``family``: requantization and the layer, whose tables are added to it."""
    first = family.layers[0]
    pairs = first.kernel == "pairs"
    family.parameter(f"const {first.source.ctype} *x", ["x"] * len(family.layers))
    inputs = family.scalar("inputs", counter(family.layers), [layer.inputs for layer in family.layers])
    if pairs:
        family.table("weights", "uint8_t", paired_weights)
    else:
        family.table("weights", "int8_t", lambda layer: layer.weights.tolist())
    smallest = smallest_type(v for layer in family.layers for v in layer.bias)
    family.table("bias", smallest, lambda layer: [[*layer.bias, *[0] * (layer.neurons - layer.target.size)]])
    outputs = family.scalar("outputs", counter(family.layers), [layer.neurons for layer in family.layers])
    origin = family.scalar("origin", "int32_t", [*(v for layer in family.layers for v in layer.numbers["origin"])])
    rescale = requantize(family)
    family.parameter(f"{first.target.ctype} *y", ["y"] * len(family.layers))
    body = pairs_body(family, inputs, outputs) if pairs else plain_body(family, inputs, outputs, origin)
    head = call(f"static void {family.name('dense')}", family.parameters, "", "")
    many = "s" if len(family.layers) > 1 else ""
    indices = ", ".join(str(layer.index) for layer in family.layers)
    holds = "holds the input's zero point" if origin == "0" else "is the model's"
    said = comment(
        f"Layer{many} {indices}: accumulate, "
        + ("two neurons together, each input loaded once for both." if pairs else "one neuron after the other."),
        f"The bias {holds}.",
    )
    return [rescale, f"{said}\n{head}\n{{\n{body}\n}}"]


def plain_body(family: Family, inputs: str, outputs: str, origin: str) -> str:
    """One neuron at a time, one input at a time: the least code."""
    stored = "(int32_t)x[i]" if origin == "0" else f"({minus('(int32_t)x[i]', origin)})"
    return f"""\
    {counter(family.layers)} o;
    {counter(family.layers)} i;

    for (o = 0; o < {outputs}; o++) {{
        int32_t acc = bias[o];

        for (i = 0; i < {inputs}; i++) {{
            acc += {stored} * *weights;
            weights++;
        }}
{store(family, "acc", "o")}
    }}"""


def pairs_body(family: Family, inputs: str, outputs: str) -> str:
    """Two neurons at a time, four inputs at a time: each input is loaded once for both."""
    ctype = family.layers[0].source.ctype
    steps = []
    for i in range(STEP):
        steps += [
            f"            v = p[{i}];",
            f"            first += v * weights[{ROWS * i}];",
            f"            second += v * weights[{ROWS * i + 1}];",
        ]
    sum_of_four = " + ".join(["(int32_t)p[0]", *(f"p[{i}]" for i in range(1, STEP))])
    macs = "\n".join(steps)
    row = str(ROWS * int(inputs)) if inputs.isdigit() else f"{ROWS} * {inputs}"
    return f"""\
    const {ctype} *const end = x + {inputs};
    const {ctype} *p;
    {counter(family.layers)} o;
    int32_t excess = 0;
    int32_t v;

    /* Weights are stored plus {CENTRE}, which adds {CENTRE} times the sum of the inputs. */
    for (p = x; p != end; p += {STEP}) {{
        excess += {sum_of_four};
    }}
    excess *= {CENTRE};
    for (o = 0; o < {outputs}; o += {ROWS}) {{
        const uint8_t *const next = weights + {row};
        int32_t first = bias[o] - excess;
        int32_t second = bias[o + 1] - excess;

        for (p = x; weights != next; p += {STEP}) {{
{macs}
            weights += {ROWS * STEP};
        }}
{store(family, "first", "o")}
{store(family, "second", "o + 1")}
    }}"""


def paired_weights(layer: Plan) -> list[list[int]]:
    """The weights plus :data:`CENTRE`, two neurons interleaved in a row, zero weights for what is not there."""
    outputs, inputs = layer.weights.shape
    stored = np.full((layer.neurons, layer.inputs), CENTRE)
    stored[:outputs, :inputs] += layer.weights
    blocks = stored.reshape(-1, ROWS, layer.inputs).transpose(0, 2, 1)
    return [block.ravel().tolist() for block in blocks]


def store(family: Family, acc: str, place: str) -> str:
    """The statement that requantizes ``acc`` and stores it as neuron ``place``."""
    return call(f"y[{place}] = {family.name('requantize')}", family.rescaled(acc, place), ";", "        ")
