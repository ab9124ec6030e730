"""C on other machines: compiled by zig for eight targets, run by unicorn or wasmtime, all of it from PyPI.

The file is linked, without any library but the compiler's helpers, with a driver that loops over a batch in memory.
Data types, sizes and layout are C's; the byte order of the target is taken care of here.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from intnn.errors import UsageError
from intnn.targets.compilers import FREESTANDING, c_type, require
from intnn.targets.elf import Image, read_image
from intnn.targets.extra import load

_CODE, _INPUTS, _OUTPUTS, _STACK = 0x0010_0000, 0x1000_0000, 0x2000_0000, 0x3000_0000
_CODE_SIZE, _STACK_SIZE, _PAGE = 0x0200_0000, 0x0010_0000, 0x1000
_MOST_INSTRUCTIONS = 10**10


@dataclass(frozen=True)
class Machine:
    """A target: its zig ``triple`` and further ``flags``, its byte ``order`` as NumPy writes it, and by name unicorn's
    constants: architecture, mode flags, the CPU model if not the default, the stack pointer, and other ``registers``
    with the values that they need."""

    triple: str
    flags: tuple[str, ...] = ()
    order: Literal["<", ">"] = "<"
    architecture: str = ""
    mode: tuple[str, ...] = ()
    model: str = ""
    stack_pointer: str = "SP"
    registers: tuple[tuple[str, int], ...] = ()


TARGETS = {
    "cortex-m0": Machine(
        "thumb-freestanding-eabi",
        ("-mcpu=cortex_m0",),
        architecture="ARM",
        mode=("THUMB", "MCLASS"),
        model="ARM_CORTEX_M0",
    ),
    "rv32imc": Machine(
        "riscv32-freestanding-none",
        ("-mcpu=generic_rv32+m+c",),
        architecture="RISCV",
        mode=("RISCV32",),
        model="RISCV32_ANY",
    ),
    "ppc32": Machine(
        "powerpc-freestanding-eabi",
        order=">",
        architecture="PPC",
        mode=("PPC32", "BIG_ENDIAN"),
        stack_pointer="1",
    ),
    "mips32": Machine(
        "mips-freestanding-eabi",
        ("-mno-abicalls", "-fno-pic"),
        order=">",
        architecture="MIPS",
        mode=("MIPS32", "BIG_ENDIAN"),
    ),
    "s390x": Machine(
        "s390x-freestanding-none",
        ("-mcpu=z10",),
        order=">",
        architecture="S390X",
        mode=("BIG_ENDIAN",),
        stack_pointer="R15",
        registers=(("PSWM", 0x1_8000_0000),),  # addresses of 64 bits, not of 24
    ),
    "aarch64": Machine("aarch64-freestanding-none", architecture="ARM64", mode=("ARM",)),
    "x86-32": Machine("x86-freestanding-none", ("-mcpu=i686",), architecture="X86", mode=("32",), stack_pointer="ESP"),
    "wasm32": Machine("wasm32-freestanding-none"),
}
"""32-bit little-endian: cortex-m0, rv32imc, x86-32, wasm32; 32-bit big-endian: ppc32, mips32; 64-bit: aarch64
little-endian, s390x big-endian."""

_SCRIPT = """
SECTIONS {
  . = 0x100000;
  .text : { *(.text .text.*) }
  .rodata : { *(.rodata .rodata.*) }
  .data : { *(.data .data.* .sdata .sdata.*) }
  .bss : { *(.bss .bss.* .sbss .sbss.* COMMON) }
  /DISCARD/ : { *(.ARM.exidx* .ARM.extab* .eh_frame*) }
}
"""

# The driver ends in a function at which the emulator stops: no machine's return convention is needed.
_DRIVER = """
#include <stdint.h>
void {function}(const {x_type} *x, {y_type} *y);
void intnn_batch(const {x_type} *x, {y_type} *y, uint32_t rows);
void intnn_batch(const {x_type} *x, {y_type} *y, uint32_t rows) {{
    for (; rows != 0; rows--, x += {inputs}, y += {outputs}) {function}(x, y);
}}
#ifndef __wasm__
volatile uint32_t intnn_done = 0;
void intnn_start(void);
void intnn_end(void);
__attribute__((noinline)) void intnn_end(void) {{
    for (;;) {{}}
}}
void intnn_start(void) {{
    intnn_batch((const {x_type} *)(uintptr_t){x_at}u, ({y_type} *)(uintptr_t){y_at}u, {rows}u);
    intnn_done = 1;
    intnn_end();
}}
#endif
"""


def run(
    source: str,
    function: str,
    x: npt.NDArray[Any],
    outputs: int,
    output_type: npt.DTypeLike,
    *,
    target: str,
    optimize: str = "2",
) -> npt.NDArray[Any]:
    """What ``void function(const IN x[], OUT y[])`` in the C text ``source`` computes on another machine.

    ``x`` holds the inputs, of shape (batch, inputs) and in the C type's dtype; the result has shape (batch, outputs)
    and dtype ``output_type``, both in this machine's byte order. ``target`` is one of :data:`TARGETS`, ``optimize``
    a level such as ``0``, ``s`` or ``2``. Raises :class:`UsageError`: ``usage.target``, ``usage.extra``,
    ``target.compile`` or ``target.run``.
    """
    if target not in TARGETS:
        raise UsageError("usage.target", f"no target {target!r}", expected=f"one of {', '.join(TARGETS)}")
    machine = TARGETS[target]
    kind = np.dtype(output_type).newbyteorder(machine.order)
    data = x.astype(x.dtype.newbyteorder(machine.order)).tobytes()
    size = len(x) * outputs * kind.itemsize
    numbers = {"rows": len(x), "inputs": x.shape[1], "outputs": outputs}
    places = {"x_at": _INPUTS, "y_at": _OUTPUTS}
    types = {"x_type": c_type(x.dtype), "y_type": c_type(kind)}
    driver = _DRIVER.format(function=function, **numbers, **places, **types)
    with tempfile.TemporaryDirectory(prefix="intnn-") as name:
        folder = Path(name)
        program = _build(source, driver, machine, optimize, folder)
        if target == "wasm32":
            result = _run_wasm(program.read_bytes(), data, len(x), size)
        else:
            result = _run_machine(read_image(program), machine, data, size)
    return np.frombuffer(result, kind).reshape(len(x), outputs).astype(np.dtype(output_type))


def _build(source: str, driver: str, machine: Machine, optimize: str, folder: Path) -> Path:
    zig = require("zig")
    (folder / "model.c").write_text(source)
    (folder / "driver.c").write_text(driver)
    (folder / "model.ld").write_text(_SCRIPT)
    options = ("-target", machine.triple, *machine.flags, "-g", *zig.level(optimize))  # -g: zig keeps the symbols
    for stem in ("model", "driver"):
        zig.run(*options, *FREESTANDING, "-c", f"{stem}.c", "-o", f"{stem}.o", folder=folder)
    wasm = ("-Wl,--no-entry", "-Wl,--export=intnn_batch", "-Wl,--export=__heap_base")
    native = ("-static", "-Wl,-e,intnn_start", "-Wl,--gc-sections", "-Wl,-T,model.ld")
    how = native if machine.architecture else wasm
    zig.link(*options, *how, "model.o", "driver.o", "-o", "program", folder=folder)
    return folder / "program"


def _run_machine(image: Image, machine: Machine, data: bytes, size: int) -> bytes:
    unicorn = load("unicorn")
    mode = sum(getattr(unicorn, f"UC_MODE_{flag}") for flag in machine.mode)
    uc: Any = unicorn.Uc(getattr(unicorn, f"UC_ARCH_{machine.architecture}"), mode)
    constants = load(f"unicorn.{machine.architecture.lower()}_const")
    if machine.model:
        uc.ctl_set_cpu_model(getattr(constants, f"UC_CPU_{machine.model}"))
    for address, room in (
        (_CODE, _CODE_SIZE),
        (_INPUTS, len(data)),
        (_OUTPUTS, size),
        (_STACK - _STACK_SIZE, 2 * _STACK_SIZE),
    ):
        uc.mem_map(address, -(-room // _PAGE) * _PAGE)
    for address, content in (*image.segments, (_INPUTS, data)):
        uc.mem_write(address, content)
    for register, value in ((machine.stack_pointer, _STACK), *machine.registers):
        uc.reg_write(getattr(constants, f"UC_{machine.architecture}_REG_{register}"), value)
    try:
        # Without a count, unicorn 2.1 crashes when it translates some long straight-line code for MIPS.
        thumb = int("THUMB" in machine.mode)
        uc.emu_start(image.entry | thumb, image.symbols["intnn_end"][0], count=_MOST_INSTRUCTIONS)
    except unicorn.UcError as error:
        raise UsageError("target.run", f"it fails: {error}", where="the compiled function") from None
    if not any(uc.mem_read(*image.symbols["intnn_done"])):
        found = f"it does not end within {_MOST_INSTRUCTIONS} instructions"
        raise UsageError("target.run", found, where="the compiled function")
    return bytes(uc.mem_read(_OUTPUTS, size))


def _run_wasm(module: bytes, data: bytes, rows: int, size: int) -> bytes:
    wasmtime = load("wasmtime")
    store = wasmtime.Store()
    exports: Any = wasmtime.Instance(store, wasmtime.Module(store.engine, module), []).exports(store)
    memory = exports["memory"]
    x_at = -(-exports["__heap_base"].value(store) // 8) * 8
    y_at = x_at + -(-len(data) // 8) * 8
    lacking = y_at + size - memory.data_len(store)
    if lacking > 0:
        memory.grow(store, -(-lacking // 65536))
    memory.write(store, data, x_at)
    try:
        exports["intnn_batch"](store, x_at, y_at, rows)
    except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
        raise UsageError("target.run", f"it fails: {error}", where="the compiled function") from None
    return bytes(memory.read(store, y_at, y_at + size))
