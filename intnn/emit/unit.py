"""The C file: the layers' tables, the functions that layers share, and the public function."""

from __future__ import annotations

from intnn.emit.family import Family, counter, plus
from intnn.emit.header import assertions, meaning, preamble, signature
from intnn.emit.kernels import functions
from intnn.emit.plan import Plan, plan_layers
from intnn.emit.requantize import helpers
from intnn.emit.text import call, comment
from intnn.model import Q31, Network

Kind = tuple[str, ...]
Families = dict[Kind, Family]


def unit(net: Network, prefix: str, size: bool, interface: str) -> str:
    """The text of PREFIX.c; ``interface`` is the include of its header, or what the header says."""
    layers = plan_layers(net, size)
    families = families_of(layers, prefix)
    code = [text for family in families.values() for text in functions(family)]
    used = {name for family in families.values() for name in family.helpers}
    tables = []
    for layer in layers:
        family = families[kind(layer)]
        tables += [heading(net, layer, family), *family.tables[layer.index]]
    shape = "-".join(map(str, net.sizes))
    run = run_native if size else run_unsigned
    parts = [
        preamble(net, f"{prefix}: a dense {shape} network in int32 multiply, add and arithmetic shift"),
        interface,
        assertions(net, prefix),
        *tables,
        *helpers(prefix, used),
        *code,
        run(net, prefix, layers, families),
    ]
    return "\n\n".join(parts) + "\n"


def kind(layer: Plan) -> Kind:
    """What two layers must have in common to share a function."""
    return layer.kernel, layer.rule, layer.source.ctype, layer.target.ctype


def families_of(layers: list[Plan], prefix: str) -> Families:
    """The families, in the order of their first layers."""
    members: dict[Kind, list[Plan]] = {}
    for layer in layers:
        members.setdefault(kind(layer), []).append(layer)
    several = len(members) > 1
    return {k: Family(prefix, str(i) if several else "", m) for i, (k, m) in enumerate(members.items())}


def heading(net: Network, layer: Plan, family: Family) -> str:
    """The comment before a layer's tables."""
    rule = net.layers[layer.index].requantize
    how = f"q31 {rule.rounding}" if isinstance(rule, Q31) else "fixed"
    return comment(
        f"Layer {layer.index}: inputs {layer.source.size}, neurons {layer.target.size}, requantize {how},",
        f"output {meaning(net.layers[layer.index].output)}",
        *layout(layer, family),
    )


def layout(layer: Plan, family: Family) -> list[str]:
    """How the layer's weights are stored, in words."""
    if not layer.paired:
        return ["weights row by row"]
    n, behind = layer.inputs, family.behind
    place = f"[(o / 2 * {n + len(behind)} + i) * 2 + o % 2]"
    words = [f"weights plus 128, two neurons in turn: that of neuron o for input i is {place}"]
    if layer.weights.size < n * layer.neurons:
        words[0] += f"; {n} inputs and {layer.neurons} neurons with weights of zero"
    if behind:
        words.append(f"behind those of two neurons: {' and '.join(behind)} of the one, then of the other")
    return words


def run_native(net: Network, prefix: str, layers: list[Plan], families: Families) -> str:
    """The public function where activations keep their types: from x to a, to b, to a ..., to y."""
    names = ["x", *("ab"[i % 2] for i in range(len(layers) - 1)), "y"]
    buffers = []
    for name in "ab":
        held = [layer.target for layer, target in zip(layers, names[1:], strict=True) if target == name]
        if held:
            buffers.append(f"    {held[0].ctype} {name}[{max(vector.size for vector in held)}];")
    lines = [*buffers, *[""] * bool(buffers), *calls(layers, families, names)]
    return "\n".join([signature(net, prefix), "{", *lines, "}"])


def run_unsigned(net: Network, prefix: str, layers: list[Plan], families: Families) -> str:
    """The public function where activations are moved up: x to a, layer by layer to b, to a ..., and back to y."""
    names = ["ab"[i % 2] for i in range(len(layers) + 1)]
    filled = {"a": net.sizes[0], "b": 0}  # cells of each buffer that have been written
    cleared = []
    for layer, source, target in zip(layers, names, names[1:], strict=False):
        cleared += [f"    {source}[{i}] = 0;" for i in range(filled[source], layer.inputs)]
        filled[source] = max(filled[source], layer.inputs)
        filled[target] = max(filled[target], layer.neurons)
    if cleared:
        cleared.insert(0, "    /* These have weights of zero: the inputs are taken four at a time. */")
    first, last = layers[0].source, layers[-1].target
    lines = [
        f"    {first.ctype} a[{filled['a']}];",
        f"    {layers[0].target.ctype} b[{filled['b']}];",
        f"    {counter(layers)} i;",
        "",
        "    /* Inside, activations are stored plus an offset that leaves none negative. */",
        f"    for (i = 0; i < {prefix.upper()}_INPUTS; i++) {{",
        f"        a[i] = {moved('x[i]', f'{net.input.type}_t', first.offset, first.ctype)};",
        "    }",
        *cleared,
        *calls(layers, families, names),
        f"    for (i = 0; i < {prefix.upper()}_OUTPUTS; i++) {{",
        f"        y[i] = {moved(f'{names[-1]}[i]', last.ctype, -last.offset, f'{net.output.type}_t')};",
        "    }",
    ]
    return "\n".join([signature(net, prefix), "{", *lines, "}"])


def moved(value: str, source: str, offset: int, target: str) -> str:
    """``value`` of type ``source`` plus ``offset``, which fits ``target``."""
    if not offset:
        return value if source == target else f"({target}){value}"
    if "16" in source:  # an int may have 16 bits, too
        value = f"(int32_t){value}"
    return f"({target})({plus(value, str(offset))})"


def calls(layers: list[Plan], families: Families, names: list[str]) -> list[str]:
    """A call for each layer, from the buffer named before to the one named after."""
    lines = []
    for layer, source, target in zip(layers, names, names[1:], strict=False):
        family = families[kind(layer)]
        arguments = [argument.format(x=source, y=target) for argument in family.arguments[layer.index]]
        lines.append(call(family.name("dense"), arguments, ";", "    "))
    return lines
