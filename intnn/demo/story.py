"""What ``intnn demo`` prints: from six sensors to proved firmware, every figure computed when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from intnn.bounds import prove
from intnn.ccheck.verify import verify_c
from intnn.demo.pose import ADC_MAX, Counts, PoseError, float_network, network, pose_error, samples, targets, to_poses
from intnn.emit import emit_c
from intnn.engines import run
from intnn.errors import UsageError
from intnn.firmware import network_cost
from intnn.floats.attribution import Step, attribute
from intnn.floats.meaning import decode, encode
from intnn.floats.network import Floats
from intnn.floats.quantize import quantize
from intnn.floats.scheme import Scheme
from intnn.formats.native import network_hash
from intnn.model import Network

TASK = "hall"
CALIBRATION, TEST = 2000, 10000
"""How many samples the network is quantized with, and how many others it is judged by."""

AXES = ("x", "y", "z", "rx", "ry", "rz")


def story() -> str:
    """At most 40 lines of at most 100 ASCII characters."""
    floats, trained = float_network(TASK), network(TASK)
    calib, _ = samples(TASK, CALIBRATION, seed=1)
    x, poses = samples(TASK, TEST, seed=2)
    quantized = quantize(floats, calib, scheme=Scheme(), input_range=(0, ADC_MAX))
    found = {
        "float": to_poses(TASK, floats.run(x)),
        "quantized": _poses(quantized.network, x),
        "trained": _poses(trained, x),
    }
    errors = {name: pose_error(TASK, poses, found[name]) for name in found}
    size = "-".join(map(str, trained.sizes))
    lines = [
        "Three magnets on a puck, six tilted Hall sensors below it, a 12-bit ADC with noise: where is the puck?",
        "",
        *_one_pose(x[0], poses[0], found["float"][0], found["trained"][0]),
        "",
        f"A dense {size} network with ReLU; errors on {TEST:,} poses it has not seen, within 1 mm and 87 mrad:",
        "",
        f"  {'':52}{'position':>12}{'angles':>14}{'of float':>10}",
        _error("float, as trained", errors["float"], errors["float"]),
        _error(f"integers, by intnn quantize with {CALIBRATION:,} samples", errors["quantized"], errors["float"]),
        _error("integers, by intnn train", errors["trained"], errors["float"]),
        "",
        "What each step of intnn quantize cost, as a multiple of the float network's error:",
        *_steps(attribute(quantized, x, targets(TASK, poses)).steps),
        "",
        *_firmware(trained),
    ]
    return "\n".join(line.rstrip() for line in lines)


def _poses(net: Network, x: Counts) -> Floats:
    return to_poses(TASK, decode(net, run(net, encode(net, x), engine="fast")))


def _one_pose(counts: Counts, pose: Floats, floats: Floats, integers: Floats) -> list[str]:
    """One puck: what the sensors say, where it is, and where the networks say it is."""
    head = "".join(f"{axis + (' mm' if i < 3 else ' mrad'):>10}" for i, axis in enumerate(AXES))
    lines = []
    for name, values in {"the puck is at": pose, "floats say": floats, "integers say": integers}.items():
        mm, mrad = values[:3].tolist(), (1000 * values[3:]).tolist()
        lines.append(f"  {name:18}" + "".join(f"{v:10.3f}" for v in mm) + "".join(f"{v:10.1f}" for v in mrad))
    return [
        "  the sensors say   " + "".join(f"{count:10}" for count in counts.tolist()) + "  counts of 4095",
        f"  {'':18}{head}",
        *lines,
    ]


def _error(name: str, error: PoseError, floats: PoseError) -> str:
    return f"  {name:52}{error.mm:9.4f} mm{error.mrad:9.2f} mrad{error.share / floats.share:10.3f}"


def _steps(steps: Sequence[Step]) -> list[str]:
    """The steps side by side."""
    ratios = [f"{step.error / steps[0].error:.3f}" for step in steps]
    widths = [max(len(step.name), 5) for step in steps]
    return [
        "  " + "   ".join(f"{step.name:>{width}}" for step, width in zip(steps, widths, strict=True)),
        "  " + "   ".join(f"{ratio:>{width}}" for ratio, width in zip(ratios, widths, strict=True)),
    ]


def _firmware(net: Network) -> list[str]:
    """The network as C: proved, and what it costs where the optional compiler and emulator are installed."""
    source = emit_c(net)
    verdict = verify_c(source, net)
    headroom = ", ".join(str(layer.headroom) for layer in prove(net).layers)
    models, size = " and ".join(verdict.models), len(source.splitlines())
    lines = [
        f"The trained network, sha256 {network_hash(net)[:16]}..., as {size} lines of C99:",
        f"  {verdict.status} by intnn verify, for every input, with {models}: outputs as specified,",
        f"  no overflow ({headroom} bits to spare in its layers), nothing left undefined; "
        "no float, no division, no library;",
    ]
    try:
        cost = network_cost(net, source, compiler="zig")
    except UsageError as error:  # an optional extra
        return [*lines, f"  its cost is not known here: {error.found}"]
    return [
        *lines,
        f"  {cost.flash:,} of 32,768 bytes of flash, {cost.ram} of 16,384 bytes of RAM, {cost.cycles:,} cycles a pose "
        "on a Cortex-M0,",
        f"  {cost.cycles / 48:.0f} microseconds at 48 MHz, "
        f"by intnn cost with {cost.compiler} {cost.version}, -O{cost.optimize}",
    ]
