"""Running networks: ``run`` and ``trace``, which verify the input and choose the engine.

- ``reference`` is the interpreter on int32 arrays; the overflow proof makes wrapping impossible.
- ``checked`` is the interpreter on values that verify every operation (for tests; slower).
- ``fast`` is bit-identical and made for bulk (:mod:`intnn.fast`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from intnn import interpreter
from intnn.bounds import require_valid
from intnn.checked import Int32
from intnn.errors import InputError, ModelError, UsageError
from intnn.interpreter import LayerTrace
from intnn.model import IntArray, Network

ENGINES = ("reference", "fast", "checked")


def run(net: Network, x: npt.ArrayLike, *, engine: str = "reference") -> IntArray:
    """The network's output for ``x`` [network.run].

    ``x`` holds integers of shape (batch, inputs), or (inputs,) for a single one, within the declared range; the
    output has the output's type (int8, uint8 or int16) and shape (batch, outputs) or (outputs,).

    Raises :class:`InputError` ``input.type``, ``input.shape`` or ``input.range``; :class:`ModelError`
    ``model.overflow`` for a network that is not valid, ``model.host-only`` where ``checked`` meets a foreign
    profile; :class:`UsageError` ``usage.engine``.
    """
    rows, single = batch(net, x)
    if engine == "fast":
        from intnn import fast  # here, because `import intnn` is to be quick

        y = fast.run(net, rows)
    else:
        y = _execute(net, rows, engine)[-1].output
    return y[0] if single else y


def trace(net: Network, x: npt.ArrayLike, *, engine: str = "reference") -> list[LayerTrace]:
    """Every layer's accumulators (int32) and outputs (their own type) for ``x``; see :func:`run`.

    ``engine`` is ``reference`` or ``checked``.
    """
    rows, single = batch(net, x)
    traces = _execute(net, rows, engine)
    return [LayerTrace(t.acc[0], t.output[0]) for t in traces] if single else traces


def _execute(net: Network, rows: IntArray, engine: str) -> list[LayerTrace]:
    if engine not in ("reference", "checked"):
        raise UsageError("usage.engine", f"no engine {engine!r} here", expected="one of " + ", ".join(ENGINES))
    require_valid(net)
    if engine == "reference":
        traces = list(interpreter.execute(net, interpreter.columns(rows.astype(np.int32))))
    elif net.int32_only:
        checked = interpreter.execute(net, interpreter.columns(Int32(rows)))
        traces = [LayerTrace(t.acc.values.astype(np.int32), t.output.values) for t in checked]
    else:
        raise ModelError(
            "model.host-only",
            "the checked engine verifies int32 operations, but the network uses a foreign profile",
            repair="use engine='reference'",
        )
    return [LayerTrace(t.acc, t.output.astype(layer.output.type)) for t, layer in zip(traces, net.layers, strict=True)]


def batch(net: Network, x: npt.ArrayLike) -> tuple[IntArray, bool]:
    """``x`` as rows, verified, in its own integer type; and whether it was a single vector. Raises as :func:`run`."""
    try:
        array: npt.NDArray[Any] = np.asarray(x)
    except (ValueError, OverflowError):
        raise InputError("input.type", "not a rectangular array of integers", expected="integers") from None
    if array.dtype.kind not in "iu" and array.size:
        raise InputError(
            "input.type",
            f"an array of {array.dtype}",
            expected="integers",
            repair="real values: intnn run --real, or intnn.floats.meaning.encode(net, x)"
            if array.dtype.kind == "f"
            else "",
        )
    size = net.sizes[0]
    if array.ndim not in (1, 2) or array.shape[-1] != size:
        raise InputError("input.shape", f"shape {array.shape}", expected=f"(batch, {size}) or ({size},)")
    low, high = net.input.min, net.input.max
    if array.size and (array.min() < low or array.max() > high):
        at = tuple(int(i) for i in np.argwhere((array < low) | (array > high))[0])
        raise InputError(
            "input.range",
            f"{array[at]}",
            where="input" + "".join(f"[{i}]" for i in at),
            expected=f"a value within the declared range [{low}, {high}]",
        )
    return np.atleast_2d(array), array.ndim == 1
