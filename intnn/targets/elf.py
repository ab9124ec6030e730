"""What a linked program consists of, read from its ELF file."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from intnn.targets.extra import load


@dataclass(frozen=True)
class Image:
    """A linked program. ``segments`` are (address, bytes) to load, zero-filled parts included; ``sections`` sizes in
    bytes by name; ``symbols`` (address, size in bytes) by name, a Thumb function's lowest bit cleared."""

    entry: int
    segments: tuple[tuple[int, bytes], ...]
    sections: dict[str, int]
    symbols: dict[str, tuple[int, int]]


def read_image(path: Path) -> Image:
    """The program in the ELF file ``path``; raises :class:`UsageError` ``usage.extra`` without pyelftools."""
    elf = load("elftools.elf.elffile").ELFFile(io.BytesIO(path.read_bytes()))
    segments = tuple(
        (part["p_vaddr"], part.data().ljust(part["p_memsz"], b"\0"))
        for part in elf.iter_segments("PT_LOAD")
        if part["p_memsz"]
    )
    table = elf.get_section_by_name(".symtab")
    arm = elf["e_machine"] == "EM_ARM"
    symbols = {
        symbol.name: (symbol["st_value"] & ~int(arm and symbol["st_info"]["type"] == "STT_FUNC"), symbol["st_size"])
        for symbol in (table.iter_symbols() if table else ())
        if symbol.name and symbol["st_shndx"] != "SHN_UNDEF"
    }
    sections = {section.name: section["sh_size"] for section in elf.iter_sections() if section.name}
    return Image(elf["e_entry"] & ~int(arm), segments, sections, symbols)
