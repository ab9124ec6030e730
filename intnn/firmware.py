"""The commands that deal in C: emit it, prove it, run it without a compiler, and say what it costs."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from intnn import bounds, engines, files
from intnn.errors import FileError, IntnnError, UsageError
from intnn.formats import native
from intnn.model import IntArray, Network

EXIT = {"proved": 0, "wrong": 1, "not in the subset": 4, "not proved": 5}
"""Exit codes of ``intnn verify``."""

Add = Callable[[str, Any, str], argparse.ArgumentParser]


def add_commands(command: Add, profile_help: str) -> None:
    """Add ``emit``, ``verify`` and ``cost`` to the command line."""
    sub = command("emit", _emit, "turn a network into portable C99")
    sub.add_argument("model", help="a model file, or a TFLite file together with --profile")
    sub.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        help="write PREFIX.h and PREFIX.c there; without it, or with -, one file on stdout",
    )
    sub.add_argument("--prefix", default="net", metavar="NAME", help="begins every C name (default: net)")
    sub.add_argument("--size", action="store_true", help="the least flash instead of the fewest cycles")
    sub.add_argument("--selftest", action="store_true", help="also write PREFIX_selftest.c (needs -o DIR)")
    sub.add_argument("--profile", help=profile_help)

    sub = command("verify", _verify, "prove that a C file computes a network, for every input")
    sub.add_argument(
        "source", metavar="FILE.c", help="emitted or written by hand, in the subset of docs/verifying-c.md"
    )
    sub.add_argument("--model", required=True, help="a model file, or a TFLite file together with --profile")
    sub.add_argument("--function", metavar="NAME", help="the C function (default: the only one that is not static)")
    sub.add_argument("--int-bits", default="16,32", metavar="BITS", help="widths of int to prove for (default: 16,32)")
    sub.add_argument("--json", action="store_true", help="the verdict as JSON")
    sub.add_argument("--profile", help=profile_help)

    sub = command("cost", _cost, "flash, RAM and cycles of a network's C on an emulated Cortex-M0")
    sub.add_argument("model", help="a model file, or a TFLite file together with --profile")
    sub.add_argument("--target", default="cortex-m0", help="cortex-m0 (default) or cortex-m0plus")
    sub.add_argument(
        "-O", dest="optimize", metavar="LEVEL", help="0, s, 1, 2 or 3 (default: the compiler's fastest; s with --size)"
    )
    sub.add_argument("--compiler", help="arm-none-eabi-gcc or zig (default: the first that is installed)")
    sub.add_argument("--size", action="store_true", help="of the C that emit --size gives")
    sub.add_argument("--budget", metavar="FLASH,RAM", help="exit with 1 if it does not fit: 32k,16k")
    sub.add_argument("--json", action="store_true", help="the figures as JSON")
    sub.add_argument("--profile", help=profile_help)


def _emit(arguments: argparse.Namespace) -> int:
    from intnn import emit

    net = files.read_model(arguments.model, arguments.profile)
    try:
        if arguments.output in (None, "-"):
            if arguments.selftest:
                raise UsageError("usage.option", "--selftest writes a file of its own", expected="-o with a folder")
            sys.stdout.write(emit.emit_c(net, arguments.prefix, size=arguments.size))
            return 0
        written = emit.emit_files(net, arguments.prefix, size=arguments.size, selftest=arguments.selftest)
    except IntnnError as error:
        raise error.within(arguments.model) if error.code.startswith("model.") else error from None
    folder = files.folder(arguments.output)
    for name, text in written.items():
        path = str(folder / name)
        files.require_other_file(path, arguments.model)
        files.write(path, partial(_put, text))
        print(f"{path}: {len(text)} bytes", file=sys.stderr)
    return 0


def _put(text: str, file: BinaryIO) -> None:
    file.write(text.encode("ascii"))


def read_c(path: str) -> tuple[str, dict[str, str]]:
    """The text of a C file, and of the headers beside it that it or they include."""
    text = _text(path)
    headers: dict[str, str] = {}
    pending = [text]
    while pending:
        for name in re.findall(r'^[ \t]*#[ \t]*include[ \t]*"([\w.-]+)"', pending.pop(), re.M):
            beside = Path(path).parent / name
            if name not in headers and beside.is_file():
                headers[name] = _text(str(beside))
                pending.append(headers[name])
    return text, headers


def _text(path: str) -> str:
    try:
        return native.read_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        raise FileError("file.syntax", "not UTF-8 text", where=path, expected="a C file") from None


def _verify(arguments: argparse.Namespace) -> int:
    from intnn.ccheck import report
    from intnn.ccheck.verify import verify_c

    net = files.read_model(arguments.model, arguments.profile)
    try:
        bounds.require_valid(net)
        text, headers = read_c(arguments.source)
        verdict = verify_c(
            text,
            net,
            function=arguments.function,
            models=_models(arguments.int_bits),
            headers=headers,
            name=arguments.source,
        )
    except IntnnError as error:
        raise error.within(arguments.model) if error.code.startswith("model.") else error from None
    if arguments.json:
        print(json.dumps(report.document(verdict, arguments.source, arguments.model), indent=1))
    else:
        print(report.text(verdict, arguments.source, arguments.model, net))
    if verdict.code:
        print(f"error[{verdict.code}]: {report.error(verdict, arguments.source)}", file=sys.stderr)
    return EXIT[verdict.status]


def _models(int_bits: str) -> list[str]:
    """The data models of ``--int-bits``."""
    widths = {"16": ["int16"], "32": ["int32", "lp64"]}
    chosen = int_bits.split(",")
    if not set(chosen) <= set(widths):
        raise UsageError("usage.option", f"--int-bits {int_bits!r} is not understood", expected="16, 32 or 16,32")
    return [name for width in widths if width in chosen for name in widths[width]]


def run_c(path: str, net: Network, x: IntArray, function: str | None, target: str | None, optimize: str) -> IntArray:
    """The outputs (batch, outputs) that the C file ``path`` gives for ``x``.

    Without a ``target`` the C is evaluated as on a machine with 32-bit int, and no compiler is needed. Otherwise it is
    compiled at level ``optimize`` and run: on this machine where ``target`` is a compiler of
    :data:`intnn.targets.host.HOST_COMPILERS`, else emulated (:data:`intnn.targets.emulate.TARGETS`).

    Raises :class:`UsageError` ``c.subset``; ``c.trap`` where C gives a row of ``x`` no meaning; and with a target as
    :func:`intnn.targets.emulate.run`.
    """
    from intnn.ccheck import batch, report
    from intnn.ccheck.cmodel import MODELS
    from intnn.ccheck.source import NotInSubset, read

    bounds.require_valid(net)
    rows, single = engines.batch(net, x)
    text, headers = read_c(path)
    if target is not None:
        y = _compiled(text, headers, path, rows, net, function, target, optimize)
        return y[0] if single else y
    try:
        source = read(text, path, headers)
        result = batch.evaluate(source, net, rows.astype(np.int64), MODELS["int32"], function)
    except NotInSubset as refusal:
        raise UsageError(
            "c.subset",
            refusal.message,
            where=refusal.where or path,
            expected="C in the subset of docs/verifying-c.md",
        ) from None
    if result.traps:
        row, trap = min(result.traps.items())
        raise UsageError(
            "c.trap",
            f"row {row} of the input, {report.brief(rows[row].tolist())}: {trap.kind}",
            where=trap.where or path,
            expected=f"C that gives every row a meaning; {len(result.traps)} of {len(rows)} rows have none",
        )
    y = result.outputs.astype(net.output.type)
    return y[0] if single else y


def _compiled(
    text: str,
    headers: dict[str, str],
    path: str,
    rows: IntArray,
    net: Network,
    function: str | None,
    target: str,
    optimize: str,
) -> IntArray:
    """The outputs of compiled C."""
    from intnn.targets import emulate, host

    check_level(optimize)
    name, types = signature(text, headers, path, net, function)
    source, x, y_type = one_file(text, headers), rows.astype(types[0]), types[1]
    if target in host.HOST_COMPILERS:
        y = host.run(source, name, x, net.sizes[-1], y_type, compiler=target, flags=(f"-O{optimize}",))
    elif target in emulate.TARGETS:
        y = emulate.run(source, name, x, net.sizes[-1], y_type, target=target, optimize=optimize)
    else:
        known = ", ".join([*host.HOST_COMPILERS, *emulate.TARGETS])
        raise UsageError("usage.target", f"no target {target!r}", expected=f"one of {known}")
    return y.astype(net.output.type)


def check_level(optimize: str) -> None:
    """Raises :class:`UsageError` ``usage.option`` where ``optimize`` is no level for -O."""
    from intnn.targets import cost

    if optimize not in cost.LEVELS:
        raise UsageError("usage.option", f"no level -O{optimize}", expected=f"one of {', '.join(cost.LEVELS)}")


def signature(
    text: str, headers: dict[str, str], path: str, net: Network, function: str | None
) -> tuple[str, tuple[str, str]]:
    """The name of the C function that computes ``net``, and the dtypes of its x and y: those that the C declares, if it
    can be understood; else those of the network, and the function has to be named if not only one looks like it.
    Raises :class:`UsageError` ``c.subset``, or ``usage.option`` where there is no function ``function``."""
    from intnn.ccheck import batch
    from intnn.ccheck.cmodel import MODELS
    from intnn.ccheck.source import NotInSubset, read

    try:
        entry = batch.entry_of(read(text, path, headers), net, MODELS["int32"], function)
    except NotInSubset as refusal:
        types = net.input.type, net.output.type
        looks = rf"^void\s+(\w+)\s*\(\s*const\s+{types[0]}_t\b[^,()]*,\s*{types[1]}_t\b[^,()]*\)\s*\{{"
        alike = re.findall(looks, text, re.M)
        if not function and len(alike) != 1:
            raise UsageError(
                "c.subset",
                refusal.message,
                where=refusal.where or path,
                expected="C in the subset of docs/verifying-c.md, or the name of the function",
                repair="--function NAME, of type void NAME(const T x[], T y[]) with the network's types",
            ) from None
        return function or alike[0], types
    return entry.name, (_dtype(entry.x.elem), _dtype(entry.y.elem))


def _dtype(t: Any) -> str:
    return f"{'' if t.signed else 'u'}int{t.bits}"


def one_file(text: str, headers: dict[str, str]) -> str:
    """``text`` with its headers in place; their guards keep a second copy out."""
    pattern = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([\w.-]+)".*$', re.M)
    for _ in range(8):  # as deep as the verifier reads
        text = pattern.sub(lambda match: headers.get(match[1], match[0]), text)
    return text


def _cost(arguments: argparse.Namespace) -> int:
    from intnn import emit
    from intnn.targets import cost as costs

    budget = costs.Budget.parse(arguments.budget) if arguments.budget is not None else None
    net = files.read_model(arguments.model, arguments.profile)
    try:
        source = emit.emit_c(net, "net", size=arguments.size)
    except IntnnError as error:
        raise error.within(arguments.model) from None
    level = arguments.optimize or ("s" if arguments.size else None)
    result = network_cost(net, source, target=arguments.target, optimize=level, compiler=arguments.compiler)
    print(costs.as_json(result) if arguments.json else costs.render(result))
    problems = []
    wrong = (result.outputs != engines.run(net, cost_inputs(net))).any(axis=1)
    if wrong.any():
        problems.append(
            UsageError(
                "target.mismatch",
                f"{wrong.sum()} of {len(wrong)} rows differ from the specification",
                expected=f"that {result.compiler} {result.version} -O{result.optimize} compiles the C as it is written",
                repair="another level with -O, or another compiler; intnn verify says whether the C is right",
            )
        )
    problems += excesses(result, budget)
    for problem in problems:
        print(f"error[{problem.code}]: {problem}", file=sys.stderr)
    return 1 if problems else 0


def network_cost(net: Network, source: str, **options: Any) -> Any:
    """The :class:`intnn.targets.cost.Cost` of emitted C ``source`` of ``net``, by layer; options as for ``cost``."""
    from intnn.targets import cost as costs

    tables: dict[int, list[str]] = {}
    for name, layer in re.findall(r"^static const \w+ (net_\w*?(\d+))\[", source, re.M):
        tables.setdefault(int(layer), []).append(name)
    layers = [
        costs.Layer(f"layer {i}", layer.weights.size, tuple(tables.get(i, ()))) for i, layer in enumerate(net.layers)
    ]
    x = cost_inputs(net)
    return costs.cost(source, "net_run", x, net.sizes[-1], net.output.type, layers=layers, **options)


def excesses(
    cost: Any, budget: Any, repair: str = "a smaller network, --size, or another level with -O"
) -> list[UsageError]:
    """What exceeds the ``budget``, if there is one: an error ``target.budget`` each for flash and RAM."""
    return [UsageError("target.budget", text, repair=repair) for text in (budget.excesses(cost) if budget else ())]


def cost_inputs(net: Network) -> IntArray:
    """The inputs that costs are measured on: the ends of the range and a few in between."""
    low, high = net.input.min, net.input.max
    random = np.random.default_rng(0).integers(low, high, (6, net.sizes[0]), endpoint=True)
    ends = np.repeat([[low], [high]], net.sizes[0], axis=1)
    return np.concatenate([ends, random]).astype(net.input.type)
