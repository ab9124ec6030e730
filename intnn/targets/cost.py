"""What an inference costs on a Cortex-M0 or Cortex-M0+: flash, RAM and cycles, before anything is flashed.

The C is compiled, linked with the inference function as the only root, and run on the emulated core. Counted is what
an inference adds to a firmware:

- flash: the function and what it calls (literal pools included), its constant tables, the compiler's helper functions
  with their tables, and the initial values of variables, each padded to 4 bytes. Not the vector table, start code or
  unwind tables of a firmware, and not the code that calls the function;
- RAM: variables, and the stack below the caller's stack pointer. Not the caller's input and output buffers;
- cycles: from the function's first instruction up to and including its return, by the tables of
  :mod:`intnn.targets.cortex_m0`: the largest over the inputs given. Not the call.

All of it depends on the compiler and its level, so these are part of the result.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from intnn.errors import UsageError
from intnn.targets.compilers import FREESTANDING, Compiler, find, require
from intnn.targets.cortex_m0 import TIMINGS, Core
from intnn.targets.elf import Image, read_image
from intnn.targets.emulator import BUFFERS, REGION

LEVELS = ("0", "1", "2", "3", "s")
DEFAULT_LEVEL = {"arm-none-eabi-gcc": "2", "zig": "s"}
"""The level that suits emitted C's default kernel. Where clang makes fewer cycles at -O3, it repeats the kernel for
each layer, and takes nearly twice the flash; with many inputs or neurons it makes more."""

_FLAGS = {
    "arm-none-eabi-gcc": ("-mcpu=cortex-m0", "-mthumb"),
    "zig": ("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m0", "-g"),  # without -g, zig drops the symbols
}

_SCRIPT = """
MEMORY { flash : ORIGIN = 0, LENGTH = 16M  ram : ORIGIN = 0x20000000, LENGTH = 16M }
SECTIONS {
  .code : { *model.o(.text .text.*) . = ALIGN(4); } > flash
  .tables : { *model.o(.rodata .rodata.*) . = ALIGN(4); } > flash
  .helpers : { *(.text .text.* .rodata .rodata.*) . = ALIGN(4); } > flash
  .data : { *(.data .data.*) . = ALIGN(4); } > ram
  .bss (NOLOAD) : { *(.bss .bss.* COMMON) . = ALIGN(4); } > ram
  /DISCARD/ : { *(.ARM.exidx* .ARM.extab*) }
}
"""


@dataclass(frozen=True)
class Layer:
    """A layer to account for: its ``name``, its multiply-accumulates, and the symbols of its constant ``tables``."""

    name: str
    macs: int
    tables: tuple[str, ...]


@dataclass(frozen=True)
class LayerCost:
    """Cycles of one layer; ``None`` where the compiler folded all tables of some layer into code, so that nothing
    tells which layer runs."""

    name: str
    macs: int
    cycles: int | None


@dataclass(frozen=True)
class Cost:
    """What one inference costs; sizes are in bytes. ``outputs``, of shape (batch, outputs), is what was computed."""

    target: str
    compiler: str
    version: str
    optimize: str
    code: int
    tables: int
    helpers: int
    data: int
    bss: int
    stack: int
    instructions: int
    cycles: int
    layers: tuple[LayerCost, ...]
    outputs: npt.NDArray[Any] = field(repr=False, compare=False)

    @property
    def flash(self) -> int:
        """Code, tables, helpers and the initial values of variables."""
        return self.code + self.tables + self.helpers + self.data

    @property
    def ram(self) -> int:
        """Variables and stack."""
        return self.data + self.bss + self.stack

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all layers."""
        return sum(layer.macs for layer in self.layers)

    @property
    def cycles_per_mac(self) -> float | None:
        """Cycles for each multiply-accumulate; ``None`` if no layers were given."""
        return self.cycles / self.macs if self.macs else None


def cost(
    source: str,
    function: str,
    x: npt.NDArray[Any],
    outputs: int,
    output_type: npt.DTypeLike,
    *,
    layers: Sequence[Layer] = (),
    target: str = "cortex-m0",
    optimize: str | None = None,
    compiler: str | None = None,
) -> Cost:
    """What one call of ``void function(const IN x[], OUT y[])`` in the C text ``source`` costs.

    ``x`` holds the inputs to measure with, of shape (batch, inputs), at least one row, in the C type's dtype;
    ``outputs`` and ``output_type`` describe ``y``. ``compiler`` is ``arm-none-eabi-gcc`` or ``zig``; ``None`` takes
    the first that is installed. ``optimize`` is one of :data:`LEVELS`; ``None`` takes the compiler's
    :data:`DEFAULT_LEVEL`.

    Raises :class:`UsageError`: ``usage.target``, ``usage.option``, ``usage.compiler``, ``usage.extra``,
    ``target.compile``, ``target.run`` or ``target.instruction``.
    """
    if target not in TIMINGS:
        raise UsageError("usage.target", f"no target {target!r}", expected=f"one of {', '.join(TIMINGS)}")
    if optimize is not None and optimize not in LEVELS:
        raise UsageError("usage.option", f"no level -O{optimize}", expected=f"one of {', '.join(LEVELS)}")
    tool = require(compiler) if compiler else find("arm-none-eabi-gcc") or require("zig")
    if tool.name not in _FLAGS:
        raise UsageError("usage.compiler", f"{tool.name} has no Cortex-M0", expected=f"one of {', '.join(_FLAGS)}")
    level = optimize or DEFAULT_LEVEL[tool.name]
    image = build(source, function, tool, level)
    ranges = [[_range(image, name) for name in layer.tables if name in image.symbols] for layer in layers]
    core = Core(image.segments, target=target, layers=ranges)

    x_at, y_at = buffers(x.dtype, output_type)
    kind = np.dtype(output_type).newbyteorder("<")
    counts, rows = [], []
    for row in x:
        core.write(x_at, row.astype(x.dtype.newbyteorder("<")).tobytes())
        counts.append(core.call(image.symbols[function][0], x_at, y_at))
        rows.append(np.frombuffer(core.read(y_at, outputs * kind.itemsize), kind))
    told = all(ranges)  # if the compiler folded all tables of a layer into code, the layers cannot be told apart
    worst = max(counts, key=lambda count: count.cycles)
    sizes = {name: image.sections.get("." + name, 0) for name in ("code", "tables", "helpers", "data", "bss")}
    return Cost(
        target=target,
        compiler=tool.name,
        version=tool.version,
        optimize=level,
        **sizes,
        stack=max(count.stack for count in counts),
        instructions=max(count.instructions for count in counts),
        cycles=worst.cycles,
        layers=tuple(
            LayerCost(layer.name, layer.macs, cycles if told else None)
            for layer, cycles in zip(layers, worst.layer_cycles, strict=True)
        ),
        outputs=np.array(rows, dtype=np.dtype(output_type)),
    )


def buffers(input_type: npt.DTypeLike, output_type: npt.DTypeLike) -> tuple[int, int]:
    """Where inputs and outputs are. Bytes are at an odd address, as a caller may have them: a compiler can choose
    faster code at run time for buffers that happen to be aligned."""
    return BUFFERS + np.dtype(input_type).itemsize % 2, BUFFERS + REGION // 2 + np.dtype(output_type).itemsize % 2


def build(source: str, function: str, compiler: Compiler, level: str) -> Image:
    """``source`` compiled for the Cortex-M0 and linked with ``function`` as the only root."""
    flags = _FLAGS[compiler.name]
    with tempfile.TemporaryDirectory(prefix="intnn-") as name:
        folder = Path(name)
        (folder / "model.c").write_text(source)
        (folder / "model.ld").write_text(_SCRIPT)
        sections = ("-ffunction-sections", "-fdata-sections")
        options = (*flags, *FREESTANDING, *compiler.level(level), *sections)
        compiler.run(*options, "-c", "model.c", "-o", "model.o", folder=folder)
        root = (f"-Wl,-e,{function}", f"-Wl,-u,{function}", "-Wl,--gc-sections", "-Wl,-T,model.ld")
        compiler.link(*flags, f"-O{level}", *root, "model.o", "-o", "model.elf", folder=folder)
        image = read_image(folder / "model.elf")
    if function not in image.symbols:
        raise UsageError("target.compile", f"the C has no external function {function}")
    return image


def _range(image: Image, name: str) -> tuple[int, int]:
    address, size = image.symbols[name]
    return address, address + size


@dataclass(frozen=True)
class Budget:
    """What a device has to give, in bytes: ``flash``, and ``ram`` for variables and stack together."""

    flash: int
    ram: int

    @staticmethod
    def parse(text: str) -> Budget:
        """The budget written ``32k,16k`` or ``2200,512``: flash, RAM; k is 1024 bytes. Raises ``usage.budget``."""
        match = re.fullmatch(r"\s*(\d{1,9})(k?)\s*,\s*(\d{1,9})(k?)\s*", text, re.IGNORECASE | re.ASCII)
        if match is None:
            raise UsageError(
                "usage.budget",
                f"{text!r} is not a budget",
                expected="two sizes in bytes or in k (1024 bytes), flash and RAM",
                repair="write it like 32k,16k",
            )
        flash, flash_k, ram, ram_k = match.groups()
        return Budget(int(flash) * (1024 if flash_k else 1), int(ram) * (1024 if ram_k else 1))

    def excesses(self, cost: Cost) -> tuple[str, ...]:
        """One line for each of flash and RAM that does not fit; none if all fits."""
        pairs = (("flash", cost.flash, self.flash), ("RAM", cost.ram, self.ram))
        return tuple(
            f"{name}: {used} bytes needed, {given} given: {used - given} too many"
            for name, used, given in pairs
            if used > given
        )


def render(cost: Cost) -> str:
    """The cost as a table for a terminal: at most 96 columns unless a name or a number is very long."""
    per_mac = f", {cost.cycles_per_mac:.2f} per multiply-accumulate" if cost.cycles_per_mac is not None else ""
    parts = f"code {cost.code}, tables {cost.tables}, compiler's helpers {cost.helpers}, initial values {cost.data}"
    lines = [
        f"{cost.target}, {cost.compiler} {cost.version}, -O{cost.optimize}",
        f"  flash   {cost.flash:>9} bytes   {parts}",
        f"  RAM     {cost.ram:>9} bytes   variables {cost.data + cost.bss}, stack {cost.stack}",
        f"  cycles  {cost.cycles:>9}         in {cost.instructions} instructions{per_mac}",
    ]
    if cost.layers:
        width = max(5, *(len(layer.name) for layer in cost.layers))
        lines += ["", f"  {'layer':{width}}  {'multiply-accumulates':>20}  {'cycles':>9}  each"]
    for layer in cost.layers:
        cycles = "-" if layer.cycles is None else str(layer.cycles)
        each = "-" if layer.cycles is None or not layer.macs else f"{layer.cycles / layer.macs:.2f}"
        lines.append(f"  {layer.name:{width}}  {layer.macs:>20}  {cycles:>9}  {each:>4}")
    return "\n".join(lines)


def as_json(cost: Cost) -> str:
    """The cost as a JSON object: the fields of :class:`Cost` but ``outputs``, and its sums."""
    fields = asdict(cost)
    del fields["outputs"]
    sums = {"flash": cost.flash, "ram": cost.ram, "macs": cost.macs, "cycles_per_mac": cost.cycles_per_mac}
    return json.dumps(fields | sums, indent=2, allow_nan=False)
