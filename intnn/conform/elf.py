"""A function in a firmware image as a device: called in an emulated Cortex-M0, without harness or board.

The whole image is in memory: code and tables at their addresses, variables with their initial values at theirs, zeros
where it has zeros. Its start code does not run, so clocks, peripherals, heap and C++ constructors are not set up; the
stack is the emulator's.
"""

from __future__ import annotations

import difflib
from pathlib import Path

import numpy as np

from intnn.conform import frame
from intnn.conform.device import Answers, Device, Failure, Int64, Question
from intnn.conform.frame import Bytes, Frame
from intnn.conform.process import MOST_DEATHS, cannot_start, split
from intnn.errors import UsageError
from intnn.model import Network
from intnn.targets.cortex_m0 import Core, Count
from intnn.targets.elf import Image, read_image
from intnn.targets.emulator import PAGE, Emulator, EndlessError, Memory
from intnn.targets.extra import load

COUNTED = 8
"""So many rows at least run on the counting core too. So do later ones that go through code not executed before..."""

MOST_COUNTED = 256
"""... up to so many in all."""

_BLOCK = 0x0100_0000  # what the emulator needs for itself lies in one block of this size, apart from the image
_X, _STACK = 0x0010_0000, 0x0080_0000  # where in it the buffers begin and the stack ends
_STACK_SIZE = 0x0010_0000
_ROWS = 1024  # at a time
_MOST_RAM = 1 << 18  # bytes of variables that are kept from before each call, so that it can be repeated as it was
_FRESH = 0x0800  # so much of the stack is filled for the counting core, so that variables without a value show


def elf(net: Network, place: str, most_instructions: int = 50_000_000) -> Device:
    """A function of a firmware image, ``place`` being ``firmware.elf:function`` or ``firmware.elf:0x08000124``, in an
    emulated Cortex-M0.

    The function is ``void function(const IN x[], OUT y[])`` with the types of the network's input and output. A call
    that takes more than ``most_instructions`` is a failure ``hang``; one that faults, or touches memory outside the
    image, its buffers and its stack, a ``crash``; one that writes around its output or over its input, or leaves it
    unwritten, a ``trap``.

    The first rows, and later ones that go through code not executed before, run on the counting core as well, which
    sees accesses that are not aligned and counts cycles and stack: :attr:`Device.facts` has them.

    Raises :class:`UsageError`: ``usage.option`` where ``place`` is not of that form or the limit not positive;
    ``device.start`` where there is no such file or function, or it is not for a Cortex-M0; ``usage.extra`` without
    unicorn or pyelftools.
    """
    file, name = split(place, "firmware.elf:function")
    image = read(file)
    return Emulated(net, f"{name} of {Path(file).name}", image, find(image, name, file), most_instructions)


def read(file: str) -> Image:
    """A firmware image for ARM; raises as :func:`elf`."""
    load("elftools")
    try:
        image = read_image(Path(file))
    except OSError as error:
        raise cannot_start(file, f"it cannot be read: {error.strerror}") from None
    except Exception as error:  # a damaged file makes the parser raise anything
        raise cannot_start(file, f"it is no ELF file: {error}", "a linked firmware image (.elf, .axf, .out)") from None
    if image.kind != "ELF32 little-endian ARM executable":
        found, expected = f"it is {image.kind}", "ELF32 little-endian ARM executable"
        raise cannot_start(file, found, expected, "link it for the Cortex-M0: -mcpu=cortex-m0 -mthumb")
    if not image.segments:
        raise cannot_start(file, "it has no segment to load", "a linked firmware image")
    return image


def find(image: Image, name: str, file: str) -> int:
    """The address of the function ``name``, which may be an address; raises as :func:`elf`."""
    if name[:2].lower() == "0x":
        try:
            address = int(name, 16) & ~1
        except ValueError:
            raise cannot_start(file, f"{name!r} is no address", "digits of base 16 after 0x") from None
        if not any(at <= address < at + len(data) for at, data in image.segments):
            held = ", ".join(f"[{at:#x}, {at + len(data):#x})" for at, data in image.segments)
            raise cannot_start(file, f"nothing is at {address:#x}", f"an address within {held}")
        return address
    if not image.symbols:
        repair = f"use the image as it was before strip, or give an address: {file}:0x08000124"
        raise cannot_start(file, "it has no symbols", f"the symbol {name}", repair)
    if name not in image.symbols:
        within = [known for known in sorted(image.functions) if name.lower() in known.lower()]
        near = ", ".join(within[:5] or difflib.get_close_matches(name, sorted(image.functions), 5))
        expected = f"one of its {len(image.functions)} functions" + f"; near are {near}" * bool(near)
        repair = "a static function may have been inlined, and one that nothing calls dropped by the linker"
        raise cannot_start(file, f"it has no symbol {name}", expected, repair)
    if name in image.data:
        raise cannot_start(file, f"{name} is data, not a function", "a function")
    return image.symbols[name][0]


def around(image: Image, buffers: int) -> tuple[Memory, int]:
    """The pages of ``image``, and apart from them stack and ``buffers`` bytes; the address of these."""
    pages: dict[int, bool] = {}
    for (address, data), writable in zip(image.segments, image.writable, strict=True):
        for page in range(address // PAGE, -(-(address + len(data)) // PAGE)):
            pages[page] = pages.get(page, False) or writable
    taken = {page * PAGE // _BLOCK for page in pages}
    base = next(block for block in range(0x3F, -1, -1) if block not in taken) * _BLOCK
    regions: list[tuple[int, int, bool]] = []
    for page, writable in sorted(pages.items()):
        if regions and regions[-1][2] == writable and sum(regions[-1][:2]) == page * PAGE:
            regions[-1] = (regions[-1][0], regions[-1][1] + PAGE, writable)
        else:
            regions.append((page * PAGE, PAGE, writable))
    room = -(-buffers // PAGE) * PAGE
    regions += [(base + _X, room, True), (base + _STACK - _STACK_SIZE, _STACK_SIZE, True)]
    return Memory(tuple(regions), top=base + _STACK, back=base), base + _X


class Emulated(Device):
    """The function at an address of ``image``; ``types`` are those of x and y where it takes others than the network's.
    See :func:`elf`."""

    def __init__(
        self,
        net: Network,
        name: str,
        image: Image,
        function: int,
        most_instructions: int = 50_000_000,
        types: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(name)
        if most_instructions < 1:
            raise UsageError("usage.option", f"a limit of {most_instructions} instructions", expected="1 or more")
        kinds = types or (net.input.type, net.output.type)
        self._x = Frame(np.dtype(kinds[0]).newbyteorder("<"), net.sizes[0])
        self._y = Frame(np.dtype(kinds[1]).newbyteorder("<"), net.sizes[-1])
        self._net, self._image, self._function, self._most = net, image, function, most_instructions
        self._memory, self._x_at = around(image, self._x.stride + self._y.stride)
        self._y_at = self._x_at + self._x.stride
        self._ram = [(at, len(data)) for (at, data), w in zip(image.segments, image.writable, strict=True) if w]
        self._counts: list[Count] = []
        self._most_counted = MOST_COUNTED if sum(size for _, size in self._ram) <= _MOST_RAM else COUNTED
        self._untimed = ""
        self._deaths = 0
        self._load()
        self.facts["start code"] = "not run: variables have their initial values"

    def ask(self, question: Question, rows: Int64) -> Answers:
        """See :class:`Device`."""
        x_area: Bytes = np.zeros((min(len(rows), _ROWS) or 1, self._x.stride), np.uint8)
        y_area: Bytes = np.zeros((len(x_area), self._y.stride), np.uint8)
        self._deaths = min(self._deaths, MOST_DEATHS - 1)

        def execute(count: int) -> dict[int, Failure]:
            failures = {}
            for row in range(count):
                if self._deaths >= MOST_DEATHS:
                    failures[row] = Failure("unasked", "")
                    continue
                failure = self._call(x_area[row], y_area[row])
                if failure is not None:
                    failures[row] = failure
                    self._load()
                self._deaths = 0 if failure is None else self._deaths + 1
            return failures

        answers = frame.answers(rows, self._x, self._y, x_area, y_area, execute)
        if self._counts:
            cycles, stack = max(c.cycles for c in self._counts), max(c.stack for c in self._counts)
            self.facts["cycles"] = f"{cycles} at most, over {len(self._counts)} inputs"
            self.facts["stack"] = f"{stack} bytes"
        if self._untimed:
            self.facts["cycles"] = f"unknown: {self._untimed}; nor was it checked that accesses are aligned"
        return answers

    def _load(self) -> None:
        """Put the image into fresh memory, twice."""
        self._emulator = Emulator(self._image.segments, self._memory, self._most)
        self._core: Core | None = None  # made when it is needed

    def _call(self, x: Bytes, y: Bytes) -> Failure | None:
        """Call the function with these buffers, which are changed as it changes them."""
        buffers = x.tobytes() + y.tobytes()
        count = not self._untimed and len(self._counts) < self._most_counted
        variables = [(at, self._emulator.read(at, size)) for at, size in self._ram] if count else []
        self._emulator.new_code = False
        self._emulator.write(self._x_at, buffers)
        try:
            self._emulator.execute(self._function, self._x_at + self._x.start, self._y_at + self._y.start)
        except UsageError as error:
            return self._failure(error, self._emulator)
        result = self._emulator.read(self._x_at, len(buffers))
        x[:], y[:] = np.split(np.frombuffer(result, np.uint8), [len(x)])
        if count and (self._emulator.new_code or len(self._counts) < COUNTED):
            return self._count([*variables, (self._x_at, buffers)], result)
        return None

    def _count(self, before: list[tuple[int, bytes]], result: bytes) -> Failure | None:
        """The same call on the counting core, with memory as it was ``before``."""
        if self._core is None:
            self._core = Core(self._image.segments, memory=self._memory, most_instructions=self._most)
        for address, data in before:
            self._core.write(address, data)
        self._core.write(self._memory.top - _FRESH, bytes([frame.POISON[1]]) * _FRESH)
        try:
            count = self._core.call(self._function, self._x_at + self._x.start, self._y_at + self._y.start)
        except UsageError as error:
            if error.code == "target.run":
                return self._failure(error, self._core)
            self._untimed = error.found
            return None
        self._counts.append(count)
        if self._core.read(self._x_at, len(result)) != result:
            return Failure("trap", "called twice alike, it gives two outputs: it reads memory before it is written")
        return None

    def _failure(self, error: UsageError, emulator: Emulator) -> Failure:
        pc, symbols = emulator.pc, self._image.symbols
        inside = [name for name in self._image.functions if 0 <= pc - symbols[name][0] < max(symbols[name][1], 2)]
        place = f", in {min(inside)}" if inside else ""
        if emulator.stack > _STACK_SIZE - PAGE:
            place += f", with {emulator.stack} bytes of stack in use"
        return Failure("hang" if isinstance(error, EndlessError) else "crash", error.found + place)
