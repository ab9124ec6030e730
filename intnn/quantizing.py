"""The commands that lead from floats to integers: quantize, train, and the report in pictures."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from intnn import bounds, engines, files, firmware
from intnn.errors import InputError, IntnnError, ModelError, UsageError
from intnn.floats import meaning, text
from intnn.floats.network import FloatNetwork
from intnn.floats.scheme import CHOICES, Scheme
from intnn.formats import native
from intnn.model import Network
from intnn.progress import progress
from intnn.targets.cost import Budget

if TYPE_CHECKING:  # at run time these are imported where they are needed
    from intnn.floats.auto import Candidate
    from intnn.floats.quantize import Quantized

Add = Callable[[str, Any, str], argparse.ArgumentParser]
Data = npt.NDArray[np.generic]

WEIGHTS = "float weights: .npz, .json, .safetensors, .onnx, or FILE.py:NAME for a model made there"


def add_commands(command: Add, profile_help: str) -> None:
    """Add ``quantize``, ``train`` and ``report`` to the command line."""
    sub = command(
        "quantize", _quantize, "turn float weights and sample inputs into a network of integers, and say what it cost"
    )
    sub.add_argument("weights_file", metavar="WEIGHTS", help=WEIGHTS)
    sub.add_argument(
        "--layers", metavar="A,A,...", help="where WEIGHTS does not say: relu, relu6 or none for each layer"
    )
    sub.add_argument("--calib", required=True, metavar="X.npy", help="samples of the input, (batch, inputs)")
    sub.add_argument(
        "--target", metavar="Y.npy", help="what the outputs should be on them, or labels: errors are against these"
    )
    sub.add_argument("-o", "--output", required=True, metavar="NET.json", help="where the model file goes")
    sub.add_argument(
        "--c", metavar="DIR", help="also write PREFIX.c and PREFIX.h there, prove them, and say what they cost"
    )
    sub.add_argument("--prefix", default="net", metavar="NAME", help="with --c: begins every C name (default: net)")
    sub.add_argument("--report", metavar="FILE.html", help="also write the report in pictures")
    sub.add_argument("--auto", action="store_true", help="try all schemes; take the least error that fits --budget")
    sub.add_argument("--budget", metavar="FLASH,RAM", help="with --auto or --c: what there is, such as 32k,16k")
    sub.add_argument("--compiler", help="for costs: arm-none-eabi-gcc or zig (default: the first that is installed)")
    sub.add_argument("--json", action="store_true", help="the result as JSON on stdout")
    add_scheme(sub)

    sub = command("train", _train, "train a network in the integers it will run in; needs the extra train")
    sub.add_argument("weights_file", metavar="WEIGHTS", nargs="?", help=f"to start from; {WEIGHTS}")
    sub.add_argument(
        "--layers", metavar="A,A,...", help="where WEIGHTS does not say: relu, relu6 or none for each layer"
    )
    sub.add_argument("--data", nargs=2, required=True, metavar=("X.npy", "Y.npy"), help="inputs, and targets or labels")
    sub.add_argument("--sizes", metavar="N-N-...", help="a new network, such as 6-32-32-6; trained as floats first")
    sub.add_argument("-o", "--output", required=True, metavar="NET.json", help="where the model file goes")
    sub.add_argument("--weights-out", metavar="FILE.npz", help="also keep the float network")
    sub.add_argument("--seed", type=int, default=0, help="of all that is random (default: 0)")
    sub.add_argument("--float-steps", type=int, metavar="N", help="(default: 20000 with --sizes, else none)")
    sub.add_argument("--steps", type=int, default=6000, metavar="N", help="in integers (default: 6000)")
    sub.add_argument("--batch", type=int, default=1024, metavar="N", help="rows a step (default: 1024)")
    sub.add_argument("--patience", type=int, metavar="N", help="stop after so many validations without a better one")
    sub.add_argument("--resume", metavar="STATE.npz", help="keep the state there, and go on from it if it is there")
    sub.add_argument("--lanes", action="store_true", help="keep the sums of each neuron within lanes of 16 bits")
    sub.add_argument("--json", action="store_true", help="the result as JSON on stdout")
    add_scheme(sub)

    sub = command("report", _report, "a page of pictures: headroom, ranges, saturation, errors, cost")
    sub.add_argument("model", help="a model file, or a TFLite file together with --profile")
    sub.add_argument(
        "--data", nargs="+", metavar="FILE.npy", help="X.npy, or X.npy Y.npy: inputs, and what to give for them"
    )
    sub.add_argument("--float", metavar="WEIGHTS", help=f"the network before quantization; {WEIGHTS}")
    sub.add_argument("--auto", action="store_true", help="with both: also try all schemes, and show error against cost")
    sub.add_argument("--compiler", help="for costs: arm-none-eabi-gcc or zig (default: the first that is installed)")
    sub.add_argument("-o", "--output", required=True, metavar="FILE.html", help="where the page goes")
    sub.add_argument("--profile", help=profile_help)


def add_scheme(sub: argparse.ArgumentParser) -> None:
    """Add the choices of a :class:`Scheme`."""
    group = sub.add_argument_group("the scheme")
    texts = {
        "activations": "type of hidden vectors",
        "input": "type of the input where the samples are floats; integers are taken as they are",
        "output": "type of the last vector",
        "weights": "int8 for [-127, 127], int4 for [-7, 7]",
        "requantize": "length of multipliers",
        "calibration": "where activations are clipped",
        "weight_calibration": "where weights are clipped",
        "weight_rounding": "nearest, or fitted to the samples",
    }
    for name, meant in texts.items():
        default = getattr(Scheme(), name)
        option = "--" + {"input": "input-type", "output": "output-type"}.get(name, name.replace("_", "-"))
        meant = f"{meant} (default: {default})"
        group.add_argument(option, dest=f"scheme_{name}", choices=CHOICES[name], default=default, help=meant)
    group.add_argument("--per-tensor", action="store_true", help="one weight scale a layer, not one a neuron")
    group.add_argument(
        "--no-absorb", action="store_true", help="leave the multiplier's error in, rather than in the weights"
    )
    group.add_argument("--no-bias-correction", action="store_true", help="leave mean errors in")
    group.add_argument(
        "--input-range",
        metavar="LOW,HIGH",
        help="with integer samples: all that the sensor can give; --input-range=-512,511 where it begins with a minus",
    )


def scheme_of(arguments: argparse.Namespace) -> Scheme:
    """The scheme that the options of :func:`add_scheme` describe."""
    named = {name: getattr(arguments, f"scheme_{name}") for name in CHOICES}
    return Scheme(
        **named,
        per_channel=not arguments.per_tensor,
        absorb=not arguments.no_absorb,
        bias_correction=not arguments.no_bias_correction,
    )


def range_of(text: str | None) -> tuple[int, int] | None:
    """The two integers of ``LOW,HIGH``. Raises :class:`UsageError` ``usage.option``."""
    if text is None:
        return None
    found = re.fullmatch(r"\s*(-?\d{1,6})\s*,\s*(-?\d{1,6})\s*", text, re.ASCII)
    if not found or int(found[1]) > int(found[2]):
        raise UsageError("usage.option", f"--input-range {text!r}", expected="two integers, LOW,HIGH, such as 0,4095")
    return int(found[1]), int(found[2])


def _quantize(arguments: argparse.Namespace) -> int:
    from intnn.floats import attribution

    budget = _checked(arguments)
    source = files.read_floats(arguments.weights_file, arguments.layers.split(",") if arguments.layers else None)
    x = files.read_array(arguments.calib)
    target = files.read_array(arguments.target) if arguments.target else None
    if target is not None:
        try:
            meaning.check_target(target, len(np.atleast_1d(x)), source.network.sizes[-1])
        except InputError as error:
            raise error.within(arguments.target) from None
    try:
        q, candidates = _chosen(arguments, source.network, x, target, budget)
        steps = attribution.attribute(q, x, target)
    except InputError as error:
        raise error.within(arguments.calib) from None
    except ModelError as error:
        raise error.within(arguments.weights_file) from None
    native.dump(q.network, arguments.output)
    lines = (*source.report, *q.report)
    for line in lines:
        print(line, file=sys.stderr)
    document: dict[str, Any] = {
        "model": arguments.output,
        "sha256": native.network_hash(q.network),
        "sizes": q.network.sizes,
        "scheme": asdict(q.scheme),
        "samples": len(x),
        "metric": steps.metric,
        "reference": steps.reference,
        "steps": [step._asdict() for step in steps.steps],
        "spread": float(np.std(source.network.run(x))),
        "headroom_bits": [layer.headroom for layer in bounds.prove(q.network).layers],
        "report": [asdict(line) for line in lines],
        "candidates": [_candidate(c, c.quantized is q) for c in candidates],
    }
    code = _firmware(arguments, q.network, budget, document) if arguments.c else 0
    print(json.dumps(document, indent=1) if arguments.json else text.quantized(document))
    if arguments.report:
        more = {"quantized": q, "candidates": candidates, "budget": budget or Budget(32768, 16384)}
        _write_page(arguments.report, arguments.output, q.network, x, target, arguments.compiler, **more)
    return code


def _checked(arguments: argparse.Namespace) -> Budget | None:
    """The budget, if the options go together."""
    from intnn.emit.text import check_prefix

    inputs = [*filter(None, [arguments.weights_file, arguments.calib, arguments.target])]
    check_prefix(arguments.prefix)
    written = [str(Path(arguments.c) / f"{arguments.prefix}.{ending}") for ending in ("c", "h")] if arguments.c else []
    files.require_outputs([arguments.output, arguments.report], *inputs)
    for path in written:
        files.require_other_file(path, *inputs)
    if Path(arguments.output).resolve() in [Path(path).resolve() for path in written]:
        raise UsageError("usage.option", "is also what --c writes", where=arguments.output, expected="another file")
    if arguments.auto and arguments.budget is None:
        raise UsageError("usage.option", "--auto without --budget", expected="--budget FLASH,RAM, such as 32k,16k")
    if arguments.budget is not None and not (arguments.auto or arguments.c):
        raise UsageError("usage.option", "--budget without anything that is measured", expected="--auto or --c DIR")
    return Budget.parse(arguments.budget) if arguments.budget is not None else None


def _chosen(
    arguments: argparse.Namespace, source: FloatNetwork, x: Data, target: Data | None, budget: Budget | None
) -> tuple[Quantized, tuple[Candidate, ...]]:
    """The network quantized as asked for, or by the best scheme that fits, and all that were tried."""
    from intnn.floats import auto, quantize

    scheme, declared = scheme_of(arguments), range_of(arguments.input_range)
    if not arguments.auto or budget is None:
        return quantize.quantize(source, x, scheme=scheme, input_range=declared), ()
    wanted = source.run(x) if target is None else target
    with progress("reading", "schemes") as tell:
        candidates, refused = auto.search(
            source, x, x, wanted, base=scheme, input_range=declared, compiler=arguments.compiler, progress=tell
        )
    for tried, error in refused:
        print(f"{tried}: refused: {error.where}: {error.found}", file=sys.stderr)
    return auto.choose(candidates, budget).quantized, candidates


def _candidate(c: Candidate, chosen: bool) -> dict[str, Any]:
    figures = {"error": c.error, "flash": c.flash, "ram": c.ram, "cycles": c.cycles}
    return {"scheme": asdict(c.scheme), **figures, "pareto": c.pareto, "chosen": chosen}


def _firmware(arguments: argparse.Namespace, net: Network, budget: Budget | None, document: dict[str, Any]) -> int:
    """Write the C, prove what was written, measure it; whether all is well goes into the exit code."""
    from intnn import emit
    from intnn.ccheck.verify import verify_c
    from intnn.targets import cost as costs

    written = emit.emit_files(net, arguments.prefix)
    folder = files.folder(arguments.c)
    for name, content in written.items():
        files.write(str(folder / name), lambda file, content=content: file.write(content.encode("ascii")))
    name = f"{arguments.prefix}.c"
    verdict = verify_c(written[name], net, headers=written, name=name)
    document["c"] = {"file": str(folder / name), "status": verdict.status, "models": list(verdict.models)}
    problems = [] if verdict.status == "proved" else [UsageError("c.unproved", f"{folder / name}: {verdict.status}")]
    try:
        cost = firmware.network_cost(net, emit.emit_c(net, "net"), compiler=arguments.compiler)
    except UsageError as error:  # an optional extra
        if budget is not None or arguments.compiler:
            raise
        print(f"cost not known here: {error.found}", file=sys.stderr)
    else:
        document["cost"] = json.loads(costs.as_json(cost))
        problems += firmware.excesses(cost, budget, "a smaller network, or --auto, which looks for a scheme that fits")
    for problem in problems:
        print(f"error[{problem.code}]: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _train(arguments: argparse.Namespace) -> int:
    from intnn import qat
    from intnn.formats import weights

    reads = [*arguments.data, *filter(None, [arguments.weights_file])]
    files.require_outputs([arguments.output, arguments.weights_out, arguments.resume], *reads)
    if arguments.weights_out and not arguments.weights_out.endswith((".npz", ".json")):
        raise UsageError("usage.option", "weights are written to .npz or .json", where=arguments.weights_out)
    layers = arguments.layers.split(",") if arguments.layers else None
    start = files.read_floats(arguments.weights_file, layers).network if arguments.weights_file else None
    x, y = (files.read_array(path) for path in arguments.data)
    reached: list[Any] = []
    try:
        with progress("starting", "steps") as tell:

            def told(at: Any) -> None:
                reached[:] = [at]
                tell(at.step, at.steps)

            trained = qat.train(
                x,
                y,
                sizes=arguments.sizes,
                start=start,
                scheme=scheme_of(arguments),
                seed=arguments.seed,
                float_steps=arguments.float_steps,
                qat_steps=arguments.steps,
                batch=arguments.batch,
                patience=arguments.patience,
                input_range=range_of(arguments.input_range),
                lanes=arguments.lanes,
                state=arguments.resume,
                progress=told,
            )
    except KeyboardInterrupt:
        at = f"at step {reached[-1].step} of {reached[-1].steps} as {reached[-1].phase}s" if reached else "at the start"
        kept = (
            f"the same command goes on from {arguments.resume}" if arguments.resume else "--resume would have kept it"
        )
        print(f"interrupted {at}: {kept}", file=sys.stderr)
        return 130
    except InputError as error:
        raise error.within(" ".join(arguments.data)) from None
    except ModelError as error:
        raise error.within(arguments.weights_file or "the network") from None
    native.dump(trained.network, arguments.output)
    if arguments.weights_out:
        weights.write_weights(trained.floats, arguments.weights_out)
    rows = trained.validation
    kind = meaning.metric(y, trained.network.sizes[-1])
    networks = {"integers, quantized": trained.start.network, "integers, trained": trained.network}
    errors = {"floats": meaning.error(trained.floats.run(x[rows]), y[rows])} | {
        name: meaning.error(meaning.decode(net, engines.run(net, meaning.encode(net, x[rows]))), y[rows])
        for name, net in networks.items()
    }
    document = {
        "model": arguments.output,
        "sha256": native.network_hash(trained.network),
        "sizes": trained.network.sizes,
        "scheme": asdict(trained.scheme),
        "metric": kind,
        "rows": {"training": len(trained.training), "validation": len(rows)},
        "errors": errors,
        "headroom_bits": [layer.headroom for layer in bounds.prove(trained.network).layers],
    }
    print(json.dumps(document, indent=1) if arguments.json else text.trained(document))
    return 0


def _report(arguments: argparse.Namespace) -> int:
    reads = [arguments.model, *(arguments.data or ()), *filter(None, [arguments.float])]
    files.require_outputs([arguments.output], *reads)
    data = arguments.data or []
    if len(data) > 2:
        raise UsageError("usage.option", f"--data with {len(data)} files", expected="X.npy, or X.npy Y.npy")
    if arguments.float and not data:
        raise UsageError("usage.option", "--float without --data", expected="inputs to compare both networks on")
    net = files.read_model(arguments.model, arguments.profile)
    floats = files.read_floats(arguments.float).network if arguments.float else None
    x, y = [*(files.read_array(path) for path in data), None, None][:2]
    found: tuple[Candidate, ...] = ()
    try:
        if arguments.auto:
            if floats is None or x is None:
                expected = "--float WEIGHTS and --data"
                raise UsageError("usage.option", "--auto without floats to quantize", expected=expected)
            found = _front(net, floats, x, y, arguments.compiler)
        _write_page(arguments.output, arguments.model, net, x, y, arguments.compiler, floats=floats, candidates=found)
    except InputError as error:
        raise error.within(" ".join(data)) from None
    except ModelError as error:
        raise error.within(arguments.model) from None
    return 0


def _front(net: Network, floats: FloatNetwork, x: Data, y: Data | None, compiler: str | None) -> tuple[Candidate, ...]:
    """All schemes tried on the data of a page, other choices as those of ``net``."""
    from intnn.floats import auto
    from intnn.pictures import evidence, sweeps

    samples = evidence.gather(net, x, y, floats).samples
    assert samples is not None  # with floats, gather refuses a network without scales
    target = floats.run(samples) if y is None else y
    whole = samples.dtype.kind in "iu"
    with progress("reading", "schemes") as tell:
        found, _ = auto.search(
            floats,
            samples,
            samples,
            target,
            base=sweeps.scheme_of(net),
            input_range=(net.input.min, net.input.max) if whole else None,
            compiler=compiler,
            progress=tell,
        )
    return found


def _write_page(
    path: str, name: str, net: Network, x: Data | None, y: Data | None, compiler: str | None, **more: Any
) -> None:
    from intnn import emit, pictures

    try:
        cost = firmware.network_cost(net, emit.emit_c(net, "net"), compiler=compiler)
    except IntnnError as error:  # no compiler, or a network that no C is emitted of: the page says so
        cost = error.found
    page = pictures.page(net, name=name, x=x, y=y, cost=cost, **more)
    files.write(path, lambda file: file.write(page.encode("utf-8")))
    print(f"{path}: {len(page.encode('utf-8'))} bytes", file=sys.stderr)
