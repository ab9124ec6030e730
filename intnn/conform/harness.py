"""Sources that put somebody's own function behind the protocol: C99 and Rust, without an allocator or a library."""

from __future__ import annotations

from intnn.conform import harness_c, harness_rust
from intnn.conform.protocol import LONG, VERSION
from intnn.emit.text import check_prefix, harmless
from intnn.errors import UsageError
from intnn.formats.native import network_hash
from intnn.model import Network

LANGUAGES = ("c", "rust")


def harness(net: Network, language: str, prefix: str = "net") -> str:
    """The source of a device [protocol.device] around a function that executes ``net``, ASCII.

    In C that is ``void PREFIX_run(const T x[], T y[])``, with the types of the network's input and output; in Rust,
    ``run`` is a place to fill in, and answers skip until it is. So are, in both, the other operations. Bytes come and
    go through two functions: those of a PC are there, and firmware brings its own.

    Raises :class:`UsageError` ``usage.option`` for another language, and ``emit.prefix``.
    """
    if language not in LANGUAGES:
        found, expected = f"no harness in {language!r}", "one of " + ", ".join(LANGUAGES)
        raise UsageError("usage.option", found, expected=expected)
    check_prefix(prefix)
    hash, shape = network_hash(net), "-".join(map(str, net.sizes))
    c_types = {"X_TYPE": f"{net.input.type}_t", "Y_TYPE": f"{net.output.type}_t"}
    rust_types = {name: type.replace("uint", "u").replace("int", "i")[:-2] for name, type in c_types.items()}
    marks = {
        "PREFIX": prefix.upper(),
        "prefix": prefix,
        "MODEL": f"model {harmless(net.name) or 'without a name'}, {shape}, sha256 {hash[:16]}...",
        "VERSION": VERSION,
        "HASH": hash[:16],
        "LONG": str(LONG),
        "OUTPUTS": str(net.sizes[-1]),
        "INPUTS": str(net.sizes[0]),
        "LONGEST_INPUT": str(max(net.sizes[:-1])),
        "LONGEST_OUTPUT": str(max(net.sizes[1:])),
        **(c_types if language == "c" else rust_types),
    }
    text = harness_c.SOURCE if language == "c" else harness_rust.SOURCE
    for name, value in marks.items():
        text = text.replace(f"@{name}@", value)
    return text
