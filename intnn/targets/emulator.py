"""A Cortex-M0, as unicorn emulates it, that functions are called in: its memory, calls, and what goes wrong in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from intnn.errors import UsageError
from intnn.targets.extra import load

FLASH, RAM, BUFFERS, STACK = 0x0000_0000, 0x2000_0000, 0x2800_0000, 0x3000_0000
"""Where the memory of :data:`PLAIN` begins: four regions of :data:`REGION` bytes; buffers are the caller's."""
REGION = 0x0100_0000
PAGE = 0x1000
TOP = STACK + REGION


@dataclass(frozen=True)
class Memory:
    """The memory there is: ``regions`` (address, bytes, whether it is writable), in whole pages of :data:`PAGE` bytes.

    The stack grows down from ``top``. A call returns to ``back``, a page of its own: the core lets nothing run outside
    code and RAM, below 0x4000_0000.
    """

    regions: tuple[tuple[int, int, bool], ...]
    top: int = TOP
    back: int = 0x1000_0000


PLAIN = Memory(tuple((region, REGION, region != FLASH) for region in (FLASH, RAM, BUFFERS, STACK)))


class EndlessError(UsageError):
    """A call that does not return within the instructions it has."""


class Emulator:
    """A Cortex-M0 with ``segments`` (address, bytes) in its ``memory``, for many calls.

    A call that takes more than ``most_instructions`` is given up. Raises :class:`UsageError` ``usage.extra`` without
    unicorn.
    """

    def __init__(
        self, segments: Sequence[tuple[int, bytes]], memory: Memory = PLAIN, most_instructions: int = 10**9
    ) -> None:
        self._unicorn = unicorn = load("unicorn")
        self._arm = load("unicorn.arm_const")
        self._memory, self._most = memory, most_instructions
        self._uc: Any = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self._uc.ctl_set_cpu_model(self._arm.UC_CPU_ARM_CORTEX_M0)
        constant = unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC
        for address, size, writable in (*memory.regions, (memory.back, PAGE, False)):
            self._uc.mem_map(address, size, unicorn.UC_PROT_ALL if writable else constant)
        for address, data in segments:
            self.write(address, data)
        self._uc.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._note_access)
        self._uc.hook_add(unicorn.UC_HOOK_EDGE_GENERATED, self._note_edge)
        self.new_code = False
        """Set by a call that goes where no call went before: to an instruction, or from one to another."""

    @property
    def pc(self) -> int:
        """The address of the instruction at hand, about."""
        return int(self._uc.reg_read(self._arm.UC_ARM_REG_PC))

    @property
    def stack(self) -> int:
        """How many bytes of stack are in use."""
        return self._memory.top - int(self._uc.reg_read(self._arm.UC_ARM_REG_SP))

    def write(self, address: int, data: bytes) -> None:
        """Put ``data`` into memory."""
        self._uc.mem_write(address, data)

    def read(self, address: int, size: int) -> bytes:
        """The ``size`` bytes of memory from ``address``."""
        return bytes(self._uc.mem_read(address, size))

    def execute(self, function: int, *arguments: int) -> None:
        """Call the function at an address with up to four words as arguments.

        Raises :class:`UsageError` ``target.run`` where it fails, accesses memory that is not there or not writable,
        or does not restore stack pointer and registers; :class:`EndlessError` where it does not return.
        """
        saved = [self._arm.UC_ARM_REG_R4 + number for number in range(8)]
        values = [0x5EED_0004 + number for number in range(8)]
        self._uc.reg_write_batch([*zip(saved, values, strict=True)])
        self._start(function, arguments, self._most)
        if self.pc != self._memory.back:
            raise endless(self._most)
        now = self._uc.reg_read_batch(saved)
        changed = [f"r{4 + number}" for number in range(8) if now[number] != values[number]]
        if changed:
            raise failed(f"it returns without restoring {', '.join(changed)}")

    def _start(self, function: int, arguments: Sequence[int], most_instructions: int) -> None:
        self._invalid = ""
        for number, value in enumerate(arguments):
            self._uc.reg_write(self._arm.UC_ARM_REG_R0 + number, value)
        self._uc.reg_write(self._arm.UC_ARM_REG_SP, self._memory.top)
        self._uc.reg_write(self._arm.UC_ARM_REG_LR, self._memory.back | 1)
        try:
            self._uc.emu_start(function | 1, self._memory.back, count=most_instructions)
        except self._unicorn.UcError as error:
            said = {
                self._unicorn.UC_ERR_INSN_INVALID: "no instruction of a Cortex-M0",
                self._unicorn.UC_ERR_EXCEPTION: "an instruction that calls for an exception handler",
            }
            raise failed(f"it fails near {self.pc:#x}: {self._invalid or said.get(error.errno, error)}") from None
        if self.pc == self._memory.back and self._uc.reg_read(self._arm.UC_ARM_REG_SP) != self._memory.top:
            raise failed("it returns with another stack pointer")

    def _note_edge(self, uc: Any, following: Any, before: Any, _: Any) -> None:
        self.new_code = True

    def _note_access(self, uc: Any, access: int, address: int, size: int, value: int, _: Any) -> bool:
        unicorn = self._unicorn
        missing = access in (unicorn.UC_MEM_READ_UNMAPPED, unicorn.UC_MEM_WRITE_UNMAPPED, unicorn.UC_MEM_FETCH_UNMAPPED)
        if access in (unicorn.UC_MEM_FETCH_UNMAPPED, unicorn.UC_MEM_FETCH_PROT):
            does = f"it jumps to {address:#x}"
        elif access in (unicorn.UC_MEM_WRITE_UNMAPPED, unicorn.UC_MEM_WRITE_PROT):
            does = f"it writes {size} byte{'s' * (size > 1)} at {address:#x}"
        else:
            does = f"it reads {size} byte{'s' * (size > 1)} at {address:#x}"
        self._invalid = f"{does}, {'where there is no memory' if missing else 'which is not allowed'}"
        return False


_FUNCTION = {"where": "the compiled function", "expected": "a function that computes and returns"}


def failed(found: str) -> UsageError:
    """The error of a call that fails."""
    return UsageError("target.run", found, **_FUNCTION)


def endless(most_instructions: int) -> EndlessError:
    """The error of a call that does not return."""
    return EndlessError("target.run", f"it does not return within {most_instructions} instructions", **_FUNCTION)
