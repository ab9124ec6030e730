"""A function in a whole firmware image, called in the emulated Cortex-M0: right outputs, and each fault by its row."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from native import FATAL, NETWORKS, ask_fatal, inputs, misbehaving, require_right

import intnn
from intnn.conform.device import RUN
from intnn.conform.elf import Emulated, elf, find, read
from intnn.conform.process import MOST_DEATHS
from intnn.errors import UsageError
from intnn.targets import compilers
from intnn.targets.cost import build, cost

pytest.importorskip("unicorn", reason="emulation needs unicorn (pip install 'intnn[targets]')")
pytest.importorskip("elftools", reason="emulation needs pyelftools (pip install 'intnn[targets]')")

NET = NETWORKS["int8 fixed"]

# A chip with flash at 0x08000000, RAM at 0x20000000, and more RAM where the emulator might have its own things.
SCRIPT = """
ENTRY(Reset_Handler)
MEMORY {
  FLASH (rx) : ORIGIN = 0x08000000, LENGTH = 256K
  RAM (rwx) : ORIGIN = 0x20000000, LENGTH = 32K
  CCM (rw) : ORIGIN = 0x3f000000, LENGTH = 8K
}
_estack = ORIGIN(RAM) + LENGTH(RAM);
SECTIONS {
  .isr_vector : { KEEP(*(.isr_vector)) . = ALIGN(4); } > FLASH
  .text : { *(.text .text.*) *(.rodata .rodata.*) . = ALIGN(4); } > FLASH
  _sidata = LOADADDR(.data);
  .data : { _sdata = .; *(.data .data.*) . = ALIGN(4); _edata = .; } > RAM AT > FLASH
  .ccm : { *(.ccm) . = ALIGN(4); } > CCM AT > FLASH
  .bss (NOLOAD) : { _sbss = .; *(.bss .bss.* COMMON) . = ALIGN(4); _ebss = .; } > RAM
  /DISCARD/ : { *(.ARM.exidx* .ARM.extab*) }
}
"""

STARTUP = """
extern uint32_t _estack, _sidata, _sdata, _edata, _sbss, _ebss;
void Reset_Handler(void);
static volatile uint32_t ticks = 7, silent;
static void SysTick_Handler(void) { ticks++; }
__attribute__((used, section(".isr_vector"))) static const uintptr_t vectors[16] = {
    (uintptr_t)&_estack, (uintptr_t)Reset_Handler, [15] = (uintptr_t)SysTick_Handler};
static void uart_send(const char *text) { while (*text) *(volatile uint32_t *)0x40013804 = (uint8_t)*text++; }
void Reset_Handler(void) {
    const uint32_t *from = &_sidata;
    for (uint32_t *to = &_sdata; to < &_edata;) *to++ = *from++;
    for (uint32_t *to = &_sbss; to < &_ebss;) *to++ = 0;
    *(volatile uint32_t *)0x40021018 |= 4;
    uart_send("ready");
    for (;;) silent++;
}
"""

# Variables with initial values at their run-time address in two memories, and zeros.
VARIABLES = r"""
static volatile int8_t added[3] = {1, 2, 3};
static volatile int8_t more[3] __attribute__((section(".ccm"))) = {10, 20, 30};
static volatile int8_t zeros[3];
void variables(const int8_t *x, int8_t *y);
void variables(const int8_t *x, int8_t *y) {
    (void)x;
    for (int i = 0; i < 3; i++) y[i] = (int8_t)(added[i] + more[i] + zeros[i]);
}
void counts(const int8_t *x, int8_t *y);
void counts(const int8_t *x, int8_t *y) {
    if (x[0] == 100 && x[1] == 101) *(volatile int *)0x60000000 = 1;
    y[0] = ++zeros[0];
    y[1] = ++added[0];
    y[2] = 5;
}
void always(const int8_t *x, int8_t *y);
void always(const int8_t *x, int8_t *y) { (void)x; (void)y; *(volatile int *)0x60000000 = 1; }
void clobbers(const int8_t *x, int8_t *y);
__asm__(".thumb_func\nclobbers: movs r4, #1\nmovs r6, #1\nstrb r4, [r1]\nstrb r4, [r1, #1]\nstrb r4, [r1, #2]\nbx lr\n"
        ".global clobbers\n.thumb_func\nmoves: sub sp, #8\nbx lr\n.global moves\n");
const int table[4] = {1, 2, 3, 4};
static volatile int counter;
static uint8_t room[8] __attribute__((aligned(8)));
static int deep(volatile int n) { volatile int frame[50]; frame[n % 32] = n; return deep(n + 1) + frame[n % 32]; }
"""

DEEDS = {
    "null": ("*(volatile int *)0 = 1;", "crash", r"it writes 4 bytes at 0x0, where there is no memory, in null"),
    "port": ("y[0] = *(volatile int8_t *)0x40021018;", "crash", r"it reads 1 byte at 0x40021018, where .*, in port"),
    "flash": ("*(volatile int *)&table[1] = 1;", "crash", r"it writes 4 bytes at 0x8[0-9a-f]+, which is not allowed"),
    "jumps": ("((void (*)(void))0x30000001)();", "crash", r"it jumps to 0x30000000, where there is no memory"),
    "handler": (
        '__asm__ volatile("svc 0");',
        "crash",
        r"an instruction that calls for an exception handler, in handler",
    ),
    "undefined": (
        "__builtin_trap();",
        "crash",
        r"it fails near 0x8[0-9a-f]+: no instruction of a Cortex-M0, in undefined",
    ),
    "recurs": (
        "y[0] = (int8_t)deep(1);",
        "crash",
        r"it writes . bytes? at 0x.*, in deep, with 10\d{5} bytes of stack in use",
    ),
    "loops": ("for (;;) counter++;", "hang", r"it does not return within 100000 instructions, in loops"),
    "unaligned": (
        'uintptr_t at = (uintptr_t)room + 2; __asm__ volatile("" : "+l"(at)); '
        "net_run(x, y); y[0] = (int8_t)*(volatile int *)at;",
        "crash",
        r"it accesses 4 bytes at 0x2[0-9a-f]+, which is not aligned, in unaligned",
    ),
    "beyond": ("net_run(x, y); y[3] = 0; y[4] = 0;", "trap", "it wrote 2 bytes beyond its output"),
    "before": ("net_run(x, y); y[-1] = 0;", "trap", "it wrote 1 byte before its output"),
    "partly": ("y[0] = y[2] = 1;", "trap", "it did not write output 1"),
    "input": ("net_run(x, y); ((int8_t *)x)[0] = 0;", "trap", "it wrote over its input, or around it"),
    "stale": (
        'int v; __asm__ volatile("mov %0, sp\\nsubs %0, #200\\nldrb %0, [%0]" : "=l"(v) : : "cc"); '
        "net_run(x, y); y[0] = (int8_t)v;",
        "trap",
        "called twice alike, it gives two outputs: it reads memory before it is written",
    ),
}

M0 = ("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m0", "-g", "-Os", "-fno-sanitize=undefined")


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A firmware as a linker script, start code and a vector table make it."""
    if compilers.find("zig") is None:
        pytest.skip("building a firmware needs ziglang (pip install 'intnn[targets]')")
    folder = tmp_path_factory.mktemp("firmware")
    networks = "\n".join(intnn.emit_c(net, name.replace(" ", "_")) for name, net in NETWORKS.items())
    text = misbehaving(NET, {name: deed for name, (deed, _, _) in DEEDS.items()}, "#include <stdint.h>", VARIABLES)
    (folder / "main.c").write_text(f"{text}\n{networks}\n{STARTUP}")
    (folder / "chip.ld").write_text(SCRIPT)
    zig = compilers.require("zig")
    zig.run(*M0, *compilers.FREESTANDING, "-c", "main.c", "-o", "main.o", folder=folder)
    zig.link(*M0, "-static", "-Wl,-T,chip.ld", "main.o", "-o", "firmware.elf", folder=folder)
    return str(folder / "firmware.elf")


@pytest.mark.parametrize("name", NETWORKS)
def test_a_firmware_is_right(name: str, image: str) -> None:
    net = NETWORKS[name]
    with elf(net, f"{image}:{name.replace(' ', '_')}_run") as device:
        require_right(device, net, 1000)
        assert device.facts["start code"] == "not run: variables have their initial values"
        assert re.fullmatch(r"[1-9]\d\d+ at most, over [1-9]\d* inputs", device.facts["cycles"])
        assert re.fullmatch(r"[1-9]\d* bytes", device.facts["stack"])


def test_variables_have_their_initial_values(image: str) -> None:
    with elf(NET, f"{image}:variables") as device:
        answers = device.ask(RUN, inputs(NET, 20))
    assert (answers.failures, answers.outputs.tolist()) == ({}, [[11, 22, 33]] * 20)


def test_variables_keep_their_values_until_a_failure(image: str) -> None:
    """Also over rows that run on both emulators."""
    x = np.zeros((20, 5), np.int64)
    x[12, :2] = 100, 101
    with elf(NET, f"{image}:counts") as device:
        answers = device.ask(RUN, x)
    assert {row: failure.kind for row, failure in answers.failures.items()} == {12: "crash"}
    expected = [[n, n + 1, 5] for n in range(1, 13)] + [[0, 0, 0]] + [[n, n + 1, 5] for n in range(1, 8)]
    assert answers.outputs.tolist() == expected


@pytest.mark.parametrize("deed", DEEDS)
def test_a_firmware_misbehaves(deed: str, image: str) -> None:
    _, kind, message = DEEDS[deed]
    with elf(NET, f"{image}:{deed}", most_instructions=100_000) as device:
        for _ in range(2):  # the device is as good as new
            failure = ask_fatal(device, NET).failures[FATAL]
            assert failure.kind == kind
            assert re.search(message, failure.message)


@pytest.mark.parametrize(
    ("name", "message"),
    [("clobbers", "it returns without restoring r4, r6"), ("moves", "it returns with another stack pointer")],
)
def test_the_callers_registers(name: str, message: str, image: str) -> None:
    """By assembly whose symbols say neither function nor data."""
    with elf(NET, f"{image}:{name}") as device:
        failure = device.ask(RUN, inputs(NET, 2)).failures[0]
        assert (failure.kind, failure.message) == ("crash", message)


def test_deaths_in_a_row(image: str) -> None:
    with elf(NET, f"{image}:always") as device:
        for deaths in (MOST_DEATHS, 1):
            failures = device.ask(RUN, inputs(NET, 20)).failures
            kinds = [failures[row].kind for row in range(20)]
            assert kinds == ["crash"] * deaths + ["unasked"] * (20 - deaths)


def test_an_address(image: str) -> None:
    address = read(image).symbols["mixed_run"][0]
    for given in (f"0x{address:08x}", f"0x{address | 1:08X}"):
        with elf(NETWORKS["mixed"], f"{image}:{given}") as device:
            require_right(device, NETWORKS["mixed"], 20)


def test_a_stripped_image(image: str, tmp_path: Path) -> None:
    """Without section headers there are no symbols; an address does."""
    address = read(image).symbols["mixed_run"][0]
    stripped = _patched(image, tmp_path, {32: bytes(4), 46: bytes(6)})
    with elf(NETWORKS["mixed"], f"{stripped}:{address:#x}") as device:
        require_right(device, NETWORKS["mixed"], 20)
    with pytest.raises(UsageError, match="it has no symbols") as caught:
        elf(NETWORKS["mixed"], f"{stripped}:mixed_run")
    assert f"{stripped}:0x" in caught.value.repair


def _patched(image: str, folder: Path, changes: dict[int, bytes], size: int | None = None) -> str:
    data = bytearray(Path(image).read_bytes())[:size]
    for at, new in changes.items():
        data[at : at + len(new)] = new
    path = folder / "patched.elf"
    path.write_bytes(data)
    return str(path)


def test_mistakes(image: str, tmp_path: Path) -> None:
    def mistake(place: str) -> UsageError:
        with pytest.raises(UsageError) as caught:
            elf(NET, place)
        assert caught.value.code == ("usage.option" if ":" not in place else "device.start")
        return caught.value

    assert "which function" in str(mistake("firmware"))
    assert "cannot be read: No such file" in str(mistake(f"{tmp_path}/none.elf:run"))
    assert "cannot be read" in str(mistake(f"{tmp_path}:run"))
    missing = mistake(f"{image}:mixedrun")
    assert missing.found == "it has no symbol mixedrun"
    assert re.fullmatch(r"one of its \d+ functions; near are mixed_run.*", missing.expected)
    assert mistake(f"{image}:MIXED_RUN").expected.endswith("; near are mixed_run")
    assert re.fullmatch(r"one of its \d+ functions", mistake(f"{image}:qqqqqqqqq").expected)
    assert mistake(f"{image}:table").found == "table is data, not a function"
    assert mistake(f"{image}:0xzz").found == "'0xzz' is no address"
    assert mistake(f"{image}:0x40000000").found == "nothing is at 0x40000000"
    assert "0x8000000" in mistake(f"{image}:0x40000000").expected
    text = tmp_path / "text.elf"
    for content in ("", "no ELF at all"):
        text.write_text(content)
        assert mistake(f"{text}:run").found.startswith("it is no ELF file")
    for changes, kind in (
        ({18: b"\3\0"}, "ELF32 little-endian 386 executable"),
        ({16: b"\1\0"}, "ELF32 little-endian ARM object file"),
        ({16: b"\3\0"}, "ELF32 little-endian ARM shared object"),
    ):
        assert mistake(f"{_patched(image, tmp_path, changes)}:run").found == f"it is {kind}"
    assert mistake(f"{_patched(image, tmp_path, {44: bytes(2)})}:mixed_run").found == "it has no segment to load"
    for size in (10, 60, 500, 5000):
        mistake(f"{_patched(image, tmp_path, {}, size)}:run")
    with pytest.raises(UsageError, match="a limit of 0 instructions"):
        elf(NET, f"{image}:null", most_instructions=0)


def test_without_the_packages(image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("unicorn", "elftools"):
        with monkeypatch.context() as context:
            context.setitem(sys.modules, package, None)
            with pytest.raises(UsageError) as caught:
                elf(NET, f"{image}:null")
            assert caught.value.code == "usage.extra"


def test_cycles_are_those_of_cost(tmp_path: Path) -> None:
    """The same code at other addresses, with the same inputs."""
    zig = compilers.find("zig")
    if zig is None:
        pytest.skip("needs ziglang (pip install 'intnn[targets]')")
    source, x = intnn.emit_c(NET), inputs(NET, 8)
    expected = cost(source, "net_run", x.astype(np.int8), 3, np.int8, optimize="s", compiler="zig")
    image = build(source, "net_run", zig, "s")
    with Emulated(NET, "net_run", image, find(image, "net_run", "")) as device:
        device.ask(RUN, x)
        assert device.facts["cycles"] == f"{expected.cycles} at most, over 8 inputs"
        assert device.facts["stack"] == f"{expected.stack} bytes"


def test_an_instruction_without_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is no fault of the device: it runs, and only its cycles are unknown. MRS r2, PSP; STRB r0 into three outputs."""
    from intnn.targets.elf import Image

    code = bytes.fromhex("eff30982" + "0020" + "0870" + "4870" + "8870" + "7047")
    image = Image("", 0, ((0x0800_0000, code),), (False,), {}, {}, frozenset(), frozenset())
    with Emulated(NET, "mrs", image, 0x0800_0000) as device:
        answers = device.ask(RUN, inputs(NET, 20))
        assert (answers.failures, answers.outputs.tolist()) == ({}, [[0, 0, 0]] * 20)
        assert device.facts["cycles"].startswith("unknown: no timing is known for the instruction 0xf3ef at 0x8000000")
