"""Networks as portable C99: int32 multiply, add and arithmetic shift, constant tables and ``<stdint.h>``.

The C is byte-stable, keeps no state and allocates nothing; every symbol begins with the prefix.
"""

from __future__ import annotations

from intnn.emit.header import declarations, header
from intnn.emit.selftest import selftest_c
from intnn.emit.text import check_prefix
from intnn.emit.unit import unit
from intnn.model import Network


def emit_c(net: Network, prefix: str = "net", *, size: bool = False) -> str:
    """``net`` as one C99 translation unit, ASCII, that includes ``<stdint.h>`` and nothing else.

    Its one external symbol is ``void PREFIX_run(const T x[PREFIX_INPUTS], T y[PREFIX_OUTPUTS])``, with the types of
    the network's input and output. By default two neurons share each pass over the inputs, which is fast; with
    ``size``, simple loops take the least flash. The C executes the network bit-exactly [network.run].

    Raises :class:`UsageError` ``emit.prefix``; :class:`ModelError` ``model.host-only`` for a network with a foreign
    profile and ``model.overflow`` for one that is not valid.
    """
    check_prefix(prefix)
    return unit(net, prefix, size, f"#include <stdint.h>\n\n{declarations(net, prefix)}")


def emit_files(net: Network, prefix: str = "net", *, size: bool = False, selftest: bool = False) -> dict[str, str]:
    """``net`` as C99 files, name to text: ``PREFIX.h`` and ``PREFIX.c``, which do as the text of :func:`emit_c`.

    ``selftest`` adds ``PREFIX_selftest.c``: inputs, the outputs that :func:`intnn.run` gives for them, and
    ``int PREFIX_selftest(void)``, which returns the number of rows that ``PREFIX_run`` answers differently.
    Raises as :func:`emit_c`.
    """
    check_prefix(prefix)
    files = {
        f"{prefix}.c": unit(net, prefix, size, f'#include <stdint.h>\n#include "{prefix}.h"'),
        f"{prefix}.h": header(net, prefix, selftest),
    }
    if selftest:
        files[f"{prefix}_selftest.c"] = selftest_c(net, prefix)
    return files
