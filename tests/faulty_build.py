"""Faulty implementations as devices: all of a network in one shared library, one program, one firmware image."""

from __future__ import annotations

import ctypes
import functools
import shlex
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from faulty import faulty_c, true_id, variants

from intnn.conform.device import Device
from intnn.conform.elf import elf
from intnn.conform.harness import harness
from intnn.conform.pipe import command
from intnn.conform.process import library
from intnn.conform.source import c_source
from intnn.model import Network
from intnn.targets.compilers import FREESTANDING, Compiler, find, require
from intnn.targets.host import HOST_COMPILERS

Int64 = npt.NDArray[np.int64]

FLAGS = ("-std=c99", "-O1", "-fwrapv", "-ffp-contract=off")
"""A sum that a fault makes too large wraps, as on the machines that firmware runs on."""

ADAPTERS = ("lib", "cmd", "elf", "c")


@dataclass(frozen=True)
class Variant:
    """A faulty implementation: the fault's ``name`` without its layer, its ``layer`` (``None``: every layer), and its
    ``function``. Without a name it is the right one."""

    name: str
    layer: int | None
    function: str

    @property
    def id(self) -> str:
        """The fault with its layer."""
        return true_id(self.name, self.layer) if self.name else ""

    def text(self, net: Network) -> str:
        """Its C."""
        text = faulty_c(net, self.name, self.layer, self.function.removesuffix("_run"))
        assert text is not None
        return text


@functools.cache
def corpus(net: Network) -> tuple[Variant, ...]:
    """All that have a meaning for the network, the right one first."""
    names = [("", None), *variants(net)]
    return tuple(Variant(name, layer, f"v{i:03}_run") for i, (name, layer) in enumerate(names))


def compiler() -> Compiler:
    """The first compiler for this machine. Raises :class:`UsageError` ``usage.extra`` if there is none."""
    return require(next((name for name in HOST_COMPILERS if find(name)), "zig"))


@functools.cache
def _root() -> str:
    """A folder that goes when this process ends, be it the first or one of a pool's."""
    folder = tempfile.mkdtemp(prefix="intnn-faulty-")
    Finalize(None, shutil.rmtree, (folder, True), exitpriority=0)
    return folder


class Build:
    """C that defines ``functions`` which compute ``net``, as devices of every adapter."""

    def __init__(self, net: Network, text: str, functions: Iterable[str]) -> None:
        self.net, self.text, self.functions = net, text, tuple(functions)
        self.folder = Path(tempfile.mkdtemp(dir=_root()))
        (self.folder / "model.c").write_text(text)
        self.x, self.y = f"const {net.input.type}_t *x", f"{net.output.type}_t *y"
        names = ", ".join(self.functions)
        declared = "".join(f"void {f}({self.x}, {self.y});\n" for f in self.functions)
        run = f"static void (*const all[])({self.x}, {self.y}) = {{{names}}};\n"
        self.dispatch = f"#include <stdint.h>\n#include <stdlib.h>\n{declared}{run}"

    def device(self, adapter: str, function: str) -> Device:
        """A function through one of :data:`ADAPTERS`."""
        match adapter:
            case "lib":
                return library(self.net, f"{self.library}:{function}")
            case "cmd":
                return command(self.net, shlex.join([str(self.program), str(self.functions.index(function))]))
            case "elf":
                return elf(self.net, f"{self.image}:{function}")
            case _:
                return c_source(self.net, str(self.folder / "model.c"), function)

    @functools.cached_property
    def library(self) -> Path:
        """A shared library, which also has ``batch``: one function on many rows."""
        (self.folder / "batch.c").write_text(
            self.dispatch
            + f"""void batch(int number, {self.x}, {self.y}, long rows);
void batch(int number, {self.x}, {self.y}, long rows)
{{
    for (; rows > 0; rows--, x += {self.net.sizes[0]}, y += {self.net.sizes[-1]}) all[number](x, y);
}}
"""
        )
        compiler().run(*FLAGS, "-shared", "-fPIC", "batch.c", "model.c", "-o", "model.so", folder=self.folder)
        return self.folder / "model.so"

    @functools.cached_property
    def program(self) -> Path:
        """A program that speaks the protocol; its argument is the number of the function."""
        (self.folder / "harness.c").write_text(harness(self.net, "c", "chosen"))
        (self.folder / "main.c").write_text(
            self.dispatch
            + f"""static int number;
int protocol(void);
void chosen_run({self.x}, {self.y});
void chosen_run({self.x}, {self.y}) {{ all[number](x, y); }}
int main(int count, char **words) {{ number = count > 1 ? atoi(words[1]) : 0; return protocol(); }}
"""
        )
        tool = compiler()
        tool.run(*FLAGS, "-Dmain=protocol", "-c", "harness.c", "-o", "harness.o", folder=self.folder)
        tool.run(*FLAGS, "main.c", "model.c", "harness.o", "-o", "program", folder=self.folder)
        return self.folder / "program"

    @functools.cached_property
    def image(self) -> Path:
        """An image for the Cortex-M0, in which nothing but the functions is."""
        zig = require("zig")
        options = ("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m0", *zig.level("1"), "-fwrapv", "-g")
        zig.run(*options, *FREESTANDING, "-c", "model.c", "-o", "model.o", folder=self.folder)
        zig.link(*options, "-static", f"-Wl,-e,{self.functions[0]}", "model.o", "-o", "model.elf", folder=self.folder)
        return self.folder / "model.elf"

    @functools.cached_property
    def _loaded(self) -> Any:
        return ctypes.CDLL(str(self.library))

    def outputs(self, function: str, x: Int64) -> Int64:
        """What a function answers to rows (batch, inputs), in this process and without a device."""
        into = np.ascontiguousarray(x, self.net.input.type)
        out = np.zeros((len(x), self.net.sizes[-1]), self.net.output.type)
        places = [ctypes.c_void_p(array.ctypes.data) for array in (into, out)]
        self._loaded.batch(ctypes.c_int(self.functions.index(function)), *places, ctypes.c_long(len(x)))
        return out.astype(np.int64)


@functools.cache
def built(net: Network) -> Build:
    """The whole corpus of a network, for as long as this process lives."""
    texts = [v.text(net).replace("#include <stdint.h>\n", "") for v in corpus(net)]
    return Build(net, "#include <stdint.h>\n" + "".join(texts), [v.function for v in corpus(net)])


def device(net: Network, variant: Variant, adapter: str) -> Device:
    """A variant through an adapter; ``c`` gets a file of its own."""
    if adapter == "c":
        return Build(net, variant.text(net), [variant.function]).device("c", variant.function)
    return built(net).device(adapter, variant.function)
