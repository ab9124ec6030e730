"""C on other machines and other compilers: bit-exact, free of warnings, and counted right."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thumb_listings import LISTINGS, Row, machine_code

import intnn
from intnn import Q31, Activation, Dense, Fixed, Network
from intnn.demo.rounding import bundled
from intnn.emit import emit_c
from intnn.errors import UsageError
from intnn.strategies import networks
from intnn.targets import emulate, host
from intnn.targets.compilers import find, require
from intnn.targets.cortex_m0 import TIMINGS, Core, decode
from intnn.targets.cost import Layer, buffers, build, cost
from intnn.targets.elf import read_image
from intnn.targets.emulator import BUFFERS, STACK, TOP
from intnn.targets.extra import load

pytestmark = pytest.mark.targets

Array = npt.NDArray[Any]
RNG = np.random.default_rng(3)

# Helper functions (64-bit multiplication, division), a table of 16 bits, a static variable, all three types.
WIDE = """
#include <stdint.h>
static const int16_t w[3][4] = {{1, -2, 300, 4}, {-5, 6, 7, -800}, {9, 10, -11, 12}};
static int32_t calls = 5;
static volatile uint8_t seen[7];
void wide_run(const int16_t x[4], int16_t y[3]);
void wide_run(const int16_t x[4], int16_t y[3])
{
    calls++;
    seen[0] = 1;
    for (int o = 0; o < 3; o++) {
        int64_t a = 77;
        for (int i = 0; i < 4; i++) {
            a += (int64_t)w[o][i] * x[i];
        }
        a = a * 1518500250 / 1073741827;
        y[o] = (int16_t)(a > 32767 ? 32767 : a < -32768 ? -32768 : a);
    }
}
"""

SMALL = """
#include <stdint.h>
static const int8_t first[2][3] = {{127, -128, 3}, {-4, 5, -6}};
static const int8_t second[2] = {9, -10};
void small_run(const uint8_t x[3], int8_t y[1]);
void small_run(const uint8_t x[3], int8_t y[1])
{
    int32_t h[2];
    for (int o = 0; o < 2; o++) {
        h[o] = 0;
        for (int i = 0; i < 3; i++) {
            h[o] += (int32_t)first[o][i] * x[i];
        }
    }
    int32_t sum = 0;
    for (int o = 0; o < 2; o++) {
        sum += h[o] * second[o];
    }
    sum = sum < 0 ? ~(~sum >> 9) : sum >> 9;
    y[0] = (int8_t)(sum > 127 ? 127 : sum < -128 ? -128 : sum);
}
"""


def wide(x: Array) -> Array:
    acc = x.astype(np.int64) @ np.array([[1, -2, 300, 4], [-5, 6, 7, -800], [9, 10, -11, 12]]).T + 77
    product = acc * 1518500250
    quotient: Array = np.where(product < 0, -(-product // 1073741827), product // 1073741827)  # C's division truncates
    return quotient.clip(-32768, 32767).astype(np.int16)


def small(x: Array) -> Array:
    h: Array = x.astype(np.int64) @ np.array([[127, -128, 3], [-4, 5, -6]]).T
    y: Array = (h @ np.array([[9], [-10]])) >> 9
    return y.clip(-128, 127).astype(np.int8)


def act(name: str, zero: int = 0, **bounds: int) -> Activation:
    return Activation(name, zero, **bounds)


@cache
def nets() -> dict[str, Network]:
    """The demonstration network, and one with every type, both families, each rounding, per tensor and per channel."""

    def weights(*shape: int) -> Array:
        return np.random.default_rng(7).integers(-128, 128, shape)

    layers = (
        Dense(weights(5, 4), np.arange(5) * 999, Q31(1518500250, -7, "double"), act("uint8", 3, min=3)),
        Dense(weights(7, 5), np.arange(7) * -99, Q31(np.full(7, 3 << 29), np.arange(-9, -2), "upup"), act("int16", -9)),
        Dense(weights(6, 7), np.arange(6), Q31(1 << 30, -8, "single"), act("int8", -128)),
        Dense(
            weights(3, 6),
            np.arange(3),
            Fixed(np.array([9, 10, 11]), np.array([256, 512, 1024]), 77, 2, 2),
            act("int16", 5),
        ),
    )
    return {"digits": bundled()[0], "mixed": Network(act("int16", 100, min=-2000, max=2000), layers)}


def rows(net: Network, count: int) -> Array:
    """Inputs over the declared range; all at its lower and all at its upper end come first."""
    low, high = net.input.min, net.input.max
    x = RNG.integers(low, high + 1, (count, net.sizes[0]))
    x[0], x[1] = low, high
    return x.astype(net.input.type)


Case = tuple[str, str, Array, Array]  # source, function, inputs, expected outputs


def cases(count: int) -> list[Case]:
    wide_x = RNG.integers(-32768, 32768, (count, 4)).astype(np.int16)
    small_x = RNG.integers(0, 256, (count, 3)).astype(np.uint8)
    found: list[Case] = [(WIDE, "wide_run", wide_x, wide(wide_x)), (SMALL, "small_run", small_x, small(small_x))]
    for net in nets().values():
        x = rows(net, count)
        for size in (False, True):
            found.append((emit_c(net, "net", size=size), "net_run", x, intnn.run(net, x)))
    return found


def require_equal(run: Callable[..., Array], case: Case, **options: Any) -> None:
    source, function, x, expected = case
    found = run(source, function, x, expected.shape[1], expected.dtype, **options)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected, strict=True)


@pytest.mark.parametrize("optimize", ["0", "s", "2"])
@pytest.mark.parametrize("target", emulate.TARGETS)
def test_every_target_computes_the_same(target: str, optimize: str) -> None:
    for case in cases(300):
        require_equal(emulate.run, case, target=target, optimize=optimize)


def installed(compiler: str) -> str:
    if find(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    return compiler


@pytest.mark.parametrize("optimize", ["-O0", "-Os", "-O2"])
@pytest.mark.parametrize("compiler", host.HOST_COMPILERS)
def test_every_host_compiler_without_a_warning(compiler: str, optimize: str) -> None:
    for case in cases(10_000):
        require_equal(host.run, case, compiler=installed(compiler), flags=(optimize, *host.STRICT))


SANITIZERS = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_sanitizers_have_nothing_to_say(compiler: str) -> None:
    for case in cases(10_000):
        require_equal(host.run, case, compiler=installed(compiler), flags=SANITIZERS)


@settings(max_examples=40)
@given(networks(), st.booleans())
def test_random_networks_under_sanitizers(net: Network, size: bool) -> None:
    x = rows(net, 50)
    case = emit_c(net, "net", size=size), "net_run", x, intnn.run(net, x)
    require_equal(host.run, case, compiler=installed("gcc"), flags=(*SANITIZERS, *host.STRICT))


@settings(max_examples=20)
@given(networks(), st.booleans(), st.sampled_from(sorted(emulate.TARGETS)))
def test_random_networks_on_random_targets(net: Network, size: bool, target: str) -> None:
    x = rows(net, 50)
    case = emit_c(net, "net", size=size), "net_run", x, intnn.run(net, x)
    require_equal(emulate.run, case, target=target, optimize="2")


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("i < 3", "i < 4", "stack-buffer-overflow|out of bounds"),
        ("h[o] = 0;", "h[o] = 2147483600;", "signed integer overflow"),
        ("sum >> 9", "sum >> 32", "shift exponent"),
    ],
)
def test_sanitizers_would_speak(compiler: str, old: str, new: str, message: str) -> None:
    x = RNG.integers(1, 256, (20, 3)).astype(np.uint8)
    source = SMALL.replace(old, new)
    assert source != SMALL
    with pytest.raises(UsageError, match=message) as caught:
        host.run(source, "small_run", x, 1, np.int8, compiler=installed(compiler), flags=SANITIZERS)
    assert caught.value.code == "target.run"


def test_strict_flags_would_speak() -> None:
    source = SMALL.replace("y[0] = (int8_t)", "y[0] = ")
    x = np.zeros((1, 3), np.uint8)
    host.run(source, "small_run", x, 1, np.int8, compiler=installed("gcc"))
    with pytest.raises(UsageError, match="conversion") as caught:
        host.run(source, "small_run", x, 1, np.int8, compiler="gcc", flags=host.STRICT)
    assert caught.value.code == "target.compile"


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("void small_run(const unsigned char *x, signed char *y) { y = x }", "target.compile"),
        ("int other;", "target.compile"),
        ("int missing(int); void small_run(const char *x, char *y) { *y = (char)missing(*x); }", "target.compile"),
        ("void small_run(const char *x, char *y) { *y = *(volatile char *)0xf0000000 + *x; }", "target.run"),
    ],
)
@pytest.mark.parametrize("where", ["mips32", "wasm32", "cost"])
def test_mistakes_are_told(source: str, code: str, where: str) -> None:
    x = np.zeros((1, 3), np.int8)
    options = {"compiler": "zig"} if where == "cost" else {"target": where}
    run: Callable[..., Any] = cost if where == "cost" else emulate.run
    with pytest.raises(UsageError) as caught:
        run(source, "small_run", x, 1, np.int8, **options)
    assert caught.value.code == code


# The counting core, on what compilers make.

CROSS = ["arm-none-eabi-gcc", "zig"]
LEVELS = ["s", "1", "2", "3"]


@pytest.mark.parametrize("name", LISTINGS)
def test_encodings_of_the_hand_counted_code(name: str, tmp_path: Path) -> None:
    """An assembler turns the assembly of every listing into its encodings."""
    listing: list[Row] = LISTINGS[name]
    lines = [".syntax unified", ".thumb", ".text", ".balign 4", ".global start", "start:", *(row[1] for row in listing)]
    (tmp_path / "code.s").write_text("\n".join(lines) + "\n")
    gcc = require(installed("arm-none-eabi-gcc"))
    root = ("-nostdlib", "-Wl,-e,start", "-Wl,-Ttext=0x10000")
    gcc.run("-mcpu=cortex-m0", "-mthumb", *root, "code.s", "-o", "code", folder=tmp_path)
    code = dict(read_image(tmp_path / "code").segments)[0x10000]
    expected = machine_code(listing)
    assert code[: len(expected)].hex() == expected.hex()
    assert len(code) - len(expected) in (0, 2)  # a NOP fills up the last word


def step_by_step(
    source: str, function: str, compiler: str, level: str, x: Array, output_type: npt.DTypeLike
) -> tuple[int, int, int]:
    """Instructions, cycles and stack of one call, from a look at the core before every single instruction."""
    unicorn, arm = load("unicorn"), load("unicorn.arm_const")
    image = build(source, function, require(compiler), level)
    uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
    uc.ctl_set_cpu_model(arm.UC_CPU_ARM_CORTEX_M0)
    for region in (0, 0x2000_0000, BUFFERS, STACK):
        uc.mem_map(region, 1 << 24)
    uc.mem_map(0x1000_0000, 0x1000)
    x_at, y_at = buffers(x.dtype, output_type)
    for address, data in (*image.segments, (x_at, x.tobytes())):
        uc.mem_write(address, data)
    seen: list[tuple[int, int, int]] = []
    uc.hook_add(
        unicorn.UC_HOOK_CODE,
        lambda uc, address, size, _: seen.append((address, size, uc.reg_read(arm.UC_ARM_REG_SP))),
    )
    for register, value in (("R0", x_at), ("R1", y_at), ("SP", TOP), ("LR", 0x1000_0001)):
        uc.reg_write(getattr(arm, f"UC_ARM_REG_{register}"), value)
    uc.emu_start(image.symbols[function][0] | 1, 0x1000_0000)
    cycles = 0
    for (address, size, _), following in zip(seen, [*(at for at, _, _ in seen[1:]), 0x1000_0000], strict=True):
        first, second = np.frombuffer(uc.mem_read(address, 4), "<u2").tolist()
        instruction = decode(first, second, TIMINGS["cortex-m0"])
        assert instruction is not None
        cycles += instruction.cycles + (instruction.taken if following != address + size else 0)
    return len(seen), cycles, TOP - min(sp for _, _, sp in seen)


@pytest.mark.parametrize("level", ["0", *LEVELS])
@pytest.mark.parametrize("compiler", CROSS)
def test_blocks_add_up_to_instructions(compiler: str, level: str) -> None:
    for source, function, x, expected in cases(2):
        x = x[:1]
        found = cost(
            source, function, x, expected.shape[1], expected.dtype, compiler=installed(compiler), optimize=level
        )
        single = step_by_step(source, function, compiler, level, x, expected.dtype)
        assert (found.instructions, found.cycles, found.stack) == single


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("compiler", CROSS)
def test_costed_code_computes_the_same(compiler: str, level: str) -> None:
    for source, function, x, expected in cases(5):
        for target in TIMINGS:
            found = cost(
                source,
                function,
                x,
                expected.shape[1],
                expected.dtype,
                target=target,
                compiler=installed(compiler),
                optimize=level,
            )
            np.testing.assert_array_equal(found.outputs, expected, strict=True)
            assert (found.compiler, found.optimize, found.target) == (compiler, level, target)
            assert found.version[0].isdigit()


@pytest.mark.parametrize("compiler", CROSS)
def test_what_is_counted(compiler: str) -> None:
    """Tables of 24 bytes; 4 bytes of data and 7 of bss, padded to 8; division and 64-bit products need helpers."""
    x = np.ones((1, 4), np.int16)
    found = cost(WIDE, "wide_run", x, 3, np.int16, compiler=installed(compiler), optimize="s")
    assert (found.tables, found.data, found.bss) == (24, 4, 8)
    assert found.helpers > 0
    image = build(WIDE, "wide_run", require(compiler), "s")
    assert found.code >= image.symbols["wide_run"][1]
    unused = WIDE + "static int other[99]; int never(int i); int never(int i) { return other[i]++; }"
    again = cost(unused, "wide_run", x, 3, np.int16, compiler=compiler, optimize="s")
    assert again == found  # what nothing reaches costs nothing, and a cost does not change from run to run


@pytest.mark.parametrize("target", TIMINGS)
@pytest.mark.parametrize("compiler", CROSS)
def test_layers_add_up(compiler: str, target: str) -> None:
    layers = [Layer("first", 6, ("first",)), Layer("second", 2, ("second",))]
    x = np.array([[1, 2, 3], [255, 255, 255], [0, 0, 0]], np.uint8)
    options: dict[str, Any] = {"target": target, "compiler": installed(compiler), "optimize": "0"}
    found = cost(SMALL, "small_run", x, 1, np.int8, layers=layers, **options)
    cycles = [layer.cycles or 0 for layer in found.layers]
    assert sum(cycles) == found.cycles
    assert min(cycles) > 0
    assert (found.macs, found.cycles_per_mac) == (8, found.cycles / 8)
    folded = cost(SMALL, "small_run", x, 1, np.int8, layers=[*layers, Layer("none", 1, ("gone",))], **options)
    assert [layer.cycles for layer in folded.layers] == [None, None, None]


def test_the_slowest_input_counts() -> None:
    """A loop of x[0] turns: the cost is that of the longest, wherever it stands."""
    source = """
        void loop_run(const unsigned char x[1], signed char y[1]);
        void loop_run(const unsigned char x[1], signed char y[1])
        {
            volatile signed char turns = 0;
            for (int i = 0; i < x[0]; i++) {
                turns++;
            }
            y[0] = turns;
        }
    """
    several = cost(source, "loop_run", np.array([[1], [100], [7]], np.uint8), 1, np.int8, compiler="zig")
    single = cost(source, "loop_run", np.array([[100]], np.uint8), 1, np.int8, compiler="zig")
    fewer = cost(source, "loop_run", np.array([[99]], np.uint8), 1, np.int8, compiler="zig")
    assert several == single
    assert single.cycles > fewer.cycles


def test_a_core_is_used_again() -> None:
    core = Core([(0, machine_code(LISTINGS["loop"]))])
    assert core.call(0) == core.call(0)
