"""A Cortex-M0 or Cortex-M0+ that counts: instructions, cycles and stack of one call, layer by layer.

Unicorn executes the code; this module decodes it and adds up the cycles of the documented timing tables: "Cortex-M0
Technical Reference Manual" (ARM DDI 0432C, table 3-1) and "Cortex-M0+ Technical Reference Manual" (ARM DDI 0484C,
table 3-1), both for memory without wait states and a core built with the single-cycle multiplier. They are the
tables' cycles, not a chip's: flash wait states, prefetch and bus contention come on top.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from intnn.errors import UsageError
from intnn.targets.emulator import PLAIN, Emulator, Memory, endless, failed


@dataclass(frozen=True)
class Timing:
    """The cycles in which the two cores differ. Alike are: data processing and multiplication 1, load and store 2,
    LDM, STM, PUSH and POP 1 + N for N registers, a branch not taken 1."""

    branch: int  # taken branch; ADD and MOV to pc
    link: int  # BL
    exchange: int  # BX, BLX
    pop_pc: int  # POP with pc takes this + N, pc being one of the N


TIMINGS = {
    "cortex-m0": Timing(branch=3, link=4, exchange=3, pop_pc=4),
    "cortex-m0plus": Timing(branch=2, link=3, exchange=2, pop_pc=3),
}


@dataclass(frozen=True)
class Instruction:
    """One decoded instruction: its ``size`` in bytes, its ``cycles``, the ``taken`` cycles on top if it is a
    conditional branch that is taken, by how many bytes it moves the stack pointer (``None``: by a register's value),
    and whether it ``ends`` straight-line code."""

    size: int
    cycles: int
    taken: int = 0
    sp: int | None = 0
    ends: bool = False


def decode(first: int, second: int, timing: Timing) -> Instruction | None:
    """The ARMv6-M instruction whose halfwords are ``first`` and, if it has 32 bits, ``second``; ``None`` if it is none
    or has no business in a computation: SVC, BKPT, UDF, WFE, WFI, MRS, MSR and barriers have no entry here."""
    registers = (first & 0xFF).bit_count()
    match first >> 12:
        case 0x0 | 0x1 | 0x2 | 0x3:  # shifts, ADD, SUB, MOV, CMP with immediates or three registers
            return Instruction(2, 1)
        case 0x4 if first < 0x4400:  # data processing on two low registers, MULS among them
            return Instruction(2, 1)
        case 0x4 if first < 0x4700:  # ADD, CMP, MOV with high registers
            target = first >> 4 & 8 | first & 7
            writes = first & 0xFF00 != 0x4500
            if writes and target == 15:
                return Instruction(2, timing.branch, ends=True)
            return Instruction(2, 1, sp=None if writes and target == 13 else 0)
        case 0x4 if first < 0x4800:
            return Instruction(2, timing.exchange, ends=True) if first & 7 == 0 else None
        case 0x4 | 0x5 | 0x6 | 0x7 | 0x8 | 0x9:  # LDR, STR of word, halfword and byte in every addressing mode
            return Instruction(2, 2)
        case 0xA:  # ADR; ADD Rd, sp
            return Instruction(2, 1)
        case 0xB:
            return _miscellaneous(first, timing)
        case 0xC if registers:  # STM, LDM
            return Instruction(2, 1 + registers)
        case 0xD if first < 0xDE00:
            return Instruction(2, 1, taken=timing.branch - 1, ends=True)
        case 0xE if first < 0xE800:
            return Instruction(2, timing.branch, ends=True)
        case 0xF if first < 0xF800 and second & 0xD000 == 0xD000:
            return Instruction(4, timing.link, ends=True)
    return None


def _miscellaneous(first: int, timing: Timing) -> Instruction | None:
    offset = (first & 0x7F) * 4
    registers = (first & 0x1FF).bit_count()  # the ninth bit of a PUSH is lr, of a POP pc
    match first >> 8 & 0xF:
        case 0x0:  # ADD sp, SUB sp
            return Instruction(2, 1, sp=-offset if first & 0x80 else offset)
        case 0x2:  # SXTH, SXTB, UXTH, UXTB
            return Instruction(2, 1)
        case 0x4 | 0x5 if registers:
            return Instruction(2, 1 + registers, sp=-4 * registers)
        case 0xC | 0xD if registers:
            pc = bool(first & 0x100)
            return Instruction(2, (timing.pop_pc if pc else 1) + registers, sp=4 * registers, ends=pc)
        case 0xA if first & 0xC0 != 0x80:  # REV, REV16, REVSH
            return Instruction(2, 1)
        case 0xF if first in (0xBF00, 0xBF10, 0xBF40):  # NOP, YIELD, SEV
            return Instruction(2, 1)
    return None


@dataclass(frozen=True)
class Count:
    """One call: ``instructions``; ``cycles``; the deepest ``stack`` in bytes below the caller's stack pointer;
    ``layer_cycles``, which sum up to ``cycles`` if there are layers and any of their tables is read."""

    instructions: int
    cycles: int
    stack: int
    layer_cycles: tuple[int, ...] = ()


Range = tuple[int, int]  # first address, address behind the last

_THUMB = 0x20  # the bit of the program status that a jump to an even address clears


@dataclass(frozen=True)
class _Block:
    """A basic block: what it costs, and how far it takes the stack pointer below where it found it (at most 0)."""

    instructions: int
    cycles: int
    taken: int
    dip: int


class Core(Emulator):
    """An emulator that counts, and sees accesses that are not aligned.

    ``layers`` gives the address ranges of each layer's tables: a basic block belongs to the layer whose tables were
    read last when it ends, and what runs before the first table is read to the first layer read. A call that takes
    more than ``most_instructions`` is given up. Raises :class:`UsageError`: ``usage.target``, or ``usage.extra``
    without unicorn.
    """

    def __init__(
        self,
        segments: Sequence[tuple[int, bytes]],
        *,
        target: str = "cortex-m0",
        layers: Sequence[Sequence[Range]] = (),
        memory: Memory = PLAIN,
        most_instructions: int = 10**9,
    ) -> None:
        if target not in TIMINGS:
            raise UsageError("usage.target", f"no target {target!r}", expected=f"one of {', '.join(TIMINGS)}")
        super().__init__(segments, memory, most_instructions)
        unicorn = self._unicorn
        self._timing = TIMINGS[target]
        self._blocks: dict[tuple[int, int], _Block] = {}
        self._layers = len(layers)

        self._uc.hook_add(unicorn.UC_HOOK_BLOCK, self._enter)
        self._uc.hook_add(unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE, self._require_aligned)
        for index, ranges in enumerate(layers):
            for begin, end in ranges:
                self._uc.hook_add(unicorn.UC_HOOK_MEM_READ, self._read_table, index, begin, end - 1)
        for address, data in segments:
            # How deep ADD sp, Rm and MOV sp, Rm go shows only after them. A literal that looks like one never runs.
            halfwords = np.frombuffer(data, "<u2", len(data) // 2)
            for at in np.flatnonzero(halfwords & 0xFD87 == 0x4485).tolist():
                after = address + 2 * at + 2
                self._uc.hook_add(unicorn.UC_HOOK_CODE, self._sample, None, after, after)

    def call(self, function: int, *arguments: int) -> Count:
        """Call the function at an address with up to four words as arguments.

        Raises as :meth:`execute`; moreover :class:`UsageError` ``target.run`` where an access is not aligned, and
        ``target.instruction`` where no timing is known.
        """
        self._instructions = self._cycles = self._unassigned = 0
        self._totals = [0] * self._layers
        self._layer: int | None = None
        self._last: tuple[int, int] | None = None
        self._lowest = self._memory.top
        self._start(function, arguments, 0)
        self._charge(self._memory.back)
        return Count(self._instructions, self._cycles, self._memory.top - self._lowest, tuple(self._totals))

    # What unicorn calls: the emulator, an address, a size, ... and the value given with the hook.

    def _enter(self, uc: Any, address: int, size: int, _: Any) -> None:
        self._charge(address)
        self._last = address, size
        if self._last not in self._blocks:
            self._blocks[self._last] = self._survey(address, size)
        if self._blocks[self._last].dip:
            self._sample(uc, address, size, None)
        if self._instructions > self._most:
            raise endless(self._most)

    def _require_aligned(self, uc: Any, access: int, address: int, size: int, value: int, _: Any) -> None:
        if address % size:  # the core faults, which unicorn's model of it does not
            raise failed(f"it accesses {size} bytes at {address:#x}, which is not aligned")

    def _read_table(self, uc: Any, access: int, address: int, size: int, value: int, layer: int) -> None:
        self._layer = layer

    def _sample(self, uc: Any, address: int, size: int, _: Any) -> None:
        self._lowest = min(self._lowest, uc.reg_read(self._arm.UC_ARM_REG_SP) + self._dip(address, self._memory.top))

    def _charge(self, following: int) -> None:
        """Add the block that ends now; whether it branched shows in where execution went."""
        if self._last is None:
            return
        block = self._blocks[self._last]
        cycles = block.cycles + (block.taken if following != sum(self._last) else 0)
        self._instructions += block.instructions
        self._cycles += cycles
        self._unassigned += cycles
        if self._layer is not None:
            self._totals[self._layer] += self._unassigned
            self._unassigned = 0

    def _survey(self, address: int, size: int) -> _Block:
        if not self._uc.reg_read(self._arm.UC_ARM_REG_CPSR) & _THUMB:
            raise failed(f"it jumps to the even address {address:#x}, where a Cortex-M faults")
        instructions = list(self._straight(address, address + size))
        cycles = sum(instruction.cycles for instruction in instructions)
        return _Block(len(instructions), cycles, instructions[-1].taken, self._dip(address, address + size))

    def _dip(self, address: int, end: int) -> int:
        """How far the straight-line code from ``address`` to ``end`` takes the stack pointer down, up to the first
        instruction that moves it by a register's value."""
        low = offset = 0
        for instruction in self._straight(address, end):
            if instruction.sp is None:
                break
            offset += instruction.sp
            low = min(low, offset)
        return low

    def _straight(self, address: int, end: int) -> Iterator[Instruction]:
        while address < end:
            instruction = self._decode(address)
            yield instruction
            address += instruction.size
            if instruction.ends:
                return

    def _decode(self, address: int) -> Instruction:
        first, second = (int.from_bytes(self.read(address + i, 2), "little") for i in (0, 2))
        instruction = decode(first, second, self._timing)
        if instruction is None or first & 0xF0FF == 0xD0FF:  # a branch to what follows: taken or not?
            raise UsageError(
                "target.instruction",
                f"no timing is known for the instruction {first:#06x} at {address:#x}",
                expected="ARMv6-M instructions as compilers emit them for computation",
            )
        return instruction
