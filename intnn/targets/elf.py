"""What a linked program consists of, read from its ELF file."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intnn.targets.extra import load


@dataclass(frozen=True)
class Image:
    """A linked program.

    ``kind`` is such as ``ELF32 little-endian ARM executable``. ``segments`` are (run-time address, bytes) to load,
    zero-filled parts included; ``writable`` says which of them can be written. ``sections`` gives sizes in bytes by
    name, ``symbols`` (address, size in bytes), a Thumb function's lowest bit cleared; ``functions`` and ``data`` are
    the symbols marked as such.
    """

    kind: str
    entry: int
    segments: tuple[tuple[int, bytes], ...]
    writable: tuple[bool, ...]
    sections: dict[str, int]
    symbols: dict[str, tuple[int, int]]
    functions: frozenset[str]
    data: frozenset[str]


def read_image(path: Path) -> Image:
    """The program in the ELF file ``path``; raises :class:`UsageError` ``usage.extra`` without pyelftools."""
    elf = load("elftools.elf.elffile").ELFFile(io.BytesIO(path.read_bytes()))
    parts = [part for part in elf.iter_segments("PT_LOAD") if part["p_memsz"]]
    table = elf.get_section_by_name(".symtab")
    named = [symbol for symbol in (table.iter_symbols() if table else ()) if symbol.name]
    defined = [symbol for symbol in named if symbol["st_shndx"] != "SHN_UNDEF"]
    arm = elf["e_machine"] == "EM_ARM"
    order = "little-endian" if elf.little_endian else "big-endian"
    file_type = {"ET_EXEC": "executable", "ET_REL": "object file", "ET_DYN": "shared object"}.get(
        elf["e_type"], "other"
    )
    return Image(
        kind=f"ELF{elf.elfclass} {order} {str(elf['e_machine']).removeprefix('EM_')} {file_type}",
        entry=elf["e_entry"] & ~int(arm),
        segments=tuple((part["p_vaddr"], part.data().ljust(part["p_memsz"], b"\0")) for part in parts),
        writable=tuple(bool(part["p_flags"] & 2) for part in parts),  # PF_W
        sections={section.name: section["sh_size"] for section in elf.iter_sections() if section.name},
        symbols={
            symbol.name: (symbol["st_value"] & ~int(arm and _is(symbol, "FUNC")), symbol["st_size"])
            for symbol in defined
        },
        functions=frozenset(symbol.name for symbol in defined if _is(symbol, "FUNC")),
        data=frozenset(symbol.name for symbol in defined if _is(symbol, "OBJECT")),
    )


def _is(symbol: Any, kind: str) -> bool:
    return bool(symbol["st_info"]["type"] == f"STT_{kind}")
