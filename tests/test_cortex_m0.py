"""The Cortex-M0 that counts, against cycles counted by hand from the cores' timing tables."""

from __future__ import annotations

from collections import Counter
from math import comb

import pytest
from thumb_listings import BRANCHES, DATA, FRAME, LOOP, MULTIPLE, SINGLE, SUBROUTINE, TABLES, Row, machine_code

from intnn.errors import UsageError
from intnn.targets.cortex_m0 import TIMINGS, Core, Count, decode
from intnn.targets.emulator import BUFFERS, RAM

CORES = ["cortex-m0", "cortex-m0plus"]


def run(code: bytes, target: str = "cortex-m0", r0: int = RAM) -> Count:
    pytest.importorskip("unicorn", reason="emulation needs unicorn (pip install 'intnn[targets]')")
    return Core([(0, code)], target=target, most_instructions=1000).call(0, r0)


def halfwords(*values: int) -> bytes:
    return b"".join(value.to_bytes(2, "little") for value in values)


def cycles(rows: list[Row], target: str) -> int:
    return sum(row[2] if target == "cortex-m0" else row[3] for row in rows)


@pytest.mark.parametrize("target", CORES)
@pytest.mark.parametrize(
    ("rows", "stack"),
    [
        (DATA, 0),
        (SINGLE, 8),  # SUB sp, #8
        (MULTIPLE, 24),  # PUSH of 1 register and of 5
        (FRAME, 204),  # ADD sp of -200 and PUSH of 1
    ],
    ids=["data", "single", "multiple", "frame"],
)
def test_straight_line_code(rows: list[Row], stack: int, target: str) -> None:
    assert run(machine_code(rows), target) == Count(len(rows), cycles(rows, target), stack)


@pytest.mark.parametrize("target", CORES)
def test_branches_and_calls(target: str) -> None:
    """Executed are all rows but the three UDF, and the subroutine's four once more, which are no UDF either."""
    again = [row for row in BRANCHES[SUBROUTINE:] if not row[1].startswith("udf")]
    executed = [row for row in BRANCHES if not row[1].startswith("udf")] + again
    # Stack: PUSH of r4 and lr, below it PUSH of lr.
    assert run(machine_code(BRANCHES), target) == Count(len(executed), cycles(executed, target), 12)


@pytest.mark.parametrize(("target", "expected"), [("cortex-m0", 42), ("cortex-m0plus", 32)])
def test_a_loop(target: str, expected: int) -> None:
    """1 MOVS, 10 SUBS, 9 taken branches of 3 (2) cycles, 1 not taken, a return of 3 (2): 42 (32)."""
    assert run(machine_code(LOOP), target) == Count(1 + 10 + 10 + 1, expected, 0)


@pytest.mark.parametrize("target", CORES)
def test_cycles_of_layers(target: str) -> None:
    """A block belongs to the layer whose table was read last when it ends; a layer that is not read has none."""
    pytest.importorskip("unicorn", reason="emulation needs unicorn (pip install 'intnn[targets]')")
    layers = [[(0x110, 0x120)], [(0x120, 0x130)], [(0xF0, 0xF8), (0x100, 0x110)]]
    core = Core([(0, machine_code(TABLES)), (0x100, bytes(32))], target=target, layers=layers)
    first, second = cycles(TABLES[:7], target), cycles(TABLES[7:], target)
    for _ in range(2):  # a call leaves nothing behind
        assert core.call(0).layer_cycles == (second, 0, first)
    assert core.call(0).cycles == first + second == cycles(TABLES, target)
    unread = Core([(0, machine_code(TABLES)), (0x100, bytes(32))], target=target, layers=[[(0x200, 0x210)]])
    assert unread.call(0).layer_cycles == (0,)


def test_results_arrive() -> None:
    """x and y are r0 and r1: LDRB r2, [r0]; STRB r2, [r1]; BX lr."""
    pytest.importorskip("unicorn", reason="emulation needs unicorn (pip install 'intnn[targets]')")
    core = Core([(0, halfwords(0x7802, 0x700A, 0x4770))])
    core.write(BUFFERS, b"\x5a")
    assert core.call(0, BUFFERS, BUFFERS + 1) == Count(3, 2 + 2 + 3, 0)
    assert core.read(BUFFERS, 2) == b"\x5a\x5a"


def test_what_is_decoded() -> None:
    """Of all first halfwords, before BL's second, so many take so many cycles (more if taken), counted by formats."""
    timing = TIMINGS["cortex-m0"]
    expected: Counter[tuple[int, int, int]] = Counter()  # (bytes, cycles, cycles on top if taken)
    expected[2, 1, 0] += 0x4400  # up to data processing
    expected[2, 1, 0] += 3 * 256 - 2 * 16  # ADD, CMP, MOV with high registers, but ADD and MOV to pc
    expected[2, 1, 0] += 0x1000 + 2 * 128 + 4 * 64 + 3 * 64 + 3  # ADR, ADD Rd; sp; extend; reverse; NOP, YIELD, SEV
    expected[2, 2, 0] += 0xA000 - 0x4800  # LDR from literals up to LDR from sp
    expected[2, 3, 0] += 2 * 16 + 2 * 16 + 2048  # ADD, MOV to pc; BX, BLX; B
    expected[2, 1, 2] += 14 * 256  # 14 conditions
    expected[4, 4, 0] += 2048  # BL
    for n in range(10):
        if n:
            expected[2, 1 + n, 0] += comb(9, n)  # PUSH of low registers and lr
            expected[2, 1 + n, 0] += comb(8, n) * (1 + 2 * 8)  # POP, LDM and STM with each base
        expected[2, 4 + n + 1, 0] += comb(8, n)  # POP with pc
    found = Counter(
        (i.size, i.cycles, i.taken) for first in range(0x10000) if (i := decode(first, 0xF800, timing)) is not None
    )
    assert found == +expected


@pytest.mark.parametrize(
    "code",
    [
        (0xDF00,),  # SVC
        (0xBE00,),  # BKPT
        (0xDE00,),  # UDF
        (0xBF20,),  # WFE
        (0xBF30,),  # WFI
        (0xBF08, 0x0000),  # IT EQ
        (0xB100,),  # CBZ
        (0xBA80,),  # undefined, among the REV
        (0xB400,),  # PUSH of nothing
        (0xC800,),  # LDM of nothing
        (0xF3BF, 0x8F5F),  # DMB
        (0xF3EF, 0x8000),  # MRS
        (0xE92D, 0x4010),  # PUSH.W
        (0xF000, 0x8000),  # a conditional branch of 32 bits
        (0xD0FF,),  # BEQ to the next instruction, whether taken or not
    ],
    ids=lambda code: f"{code[0]:04x}",
)
def test_no_timing_is_guessed(code: tuple[int, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        run(halfwords(0x2001, *code, 0x4770))
    assert caught.value.code == "target.instruction"
    assert f"{code[0]:#06x} at 0x2" in caught.value.found


@pytest.mark.parametrize(
    ("code", "r0", "message"),
    [
        ((0x6800, 0x4770), RAM + 2, "4 bytes at 0x20000002, which is not aligned"),  # LDR r0, [r0]
        ((0x8001, 0x4770), RAM + 1, "2 bytes at 0x20000001, which is not aligned"),  # STRH r1, [r0]
        ((0x6800, 0x4770), 0x6000_0000, "it fails near 0x0"),  # no memory there
        ((0x6001, 0x4770), 0x100, "it fails near 0x0"),  # STR r1, [r0]: flash is not written to
        ((0x4700,), 0x100, "it jumps to the even address 0x100"),  # BX r0 to an even address
        ((0xE7FE,), RAM, "it does not return within 1000 instructions"),  # B to itself
        ((0xB082, 0x4770), RAM, "another stack pointer"),  # SUB sp, #8; BX lr
    ],
)
def test_what_does_not_run(code: tuple[int, ...], r0: int, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        run(halfwords(*code), r0=r0)
    assert caught.value.code == "target.run"


def test_no_such_target() -> None:
    with pytest.raises(UsageError, match="cortex-m7") as caught:
        Core([], target="cortex-m7")
    assert caught.value.code == "usage.target"
