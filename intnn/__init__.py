"""intnn: the referee for a microcontroller's neural network.

``run`` and ``trace`` execute a network bit-exactly with int32 multiply, add and arithmetic shift; ``prove`` shows
that no value leaves int32; ``load``, ``loads``, ``dump`` and ``dumps`` read and write model files; ``import_tflite``
brings a TFLite model over under the rounding of the engine you name; ``emit_c`` writes a network as C and
``verify_c`` proves of C, whoever wrote it, that it computes the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from intnn.bounds import prove
from intnn.engines import run, trace
from intnn.errors import IntnnError
from intnn.floats.scheme import Scheme
from intnn.formats.native import dump, dumps, load, loads
from intnn.model import Q31, Activation, Dense, Fixed, Network, Scales
from intnn.profiles import with_profile
from intnn.version import SPEC_VERSION, __version__

if TYPE_CHECKING:
    import numpy.typing as npt

    from intnn.ccheck.verify import Verdict
    from intnn.floats.quantize import Quantized


def import_tflite(path: str | Path, *, profile: str) -> Network:
    """The network in the TFLite file ``path``, valid and proved.

    ``profile`` names the engine's rounding: one of ``intnn.profiles.PROFILES``.
    Raises as :func:`intnn.formats.tflite.read_tflite`, which also gives a report.
    """
    from intnn.formats import tflite  # here, because `import intnn` is to be quick

    return tflite.import_tflite(path, profile=profile)


def quantize(
    model: object,
    calib: npt.ArrayLike,
    scheme: Scheme = Scheme(),  # noqa: B008  # frozen
    *,
    input_range: tuple[int, int] | None = None,
) -> Quantized:
    """A float ``model`` in integers: ``.network`` is valid and proved, ``.report`` says of each field how it came
    about.

    ``model`` is a path of a file of weights, or a model of scikit-learn, PyTorch, Keras or JAX, or what
    :func:`intnn.formats.weights.from_object` takes besides; ``calib`` (batch, inputs) are samples of its input. See
    :func:`intnn.floats.quantize.quantize`, and :func:`intnn.floats.attribution.attribute` for what each step cost.
    """
    from intnn import files  # as above
    from intnn.floats.quantize import quantize as quantize_floats
    from intnn.formats import weights

    source = files.read_floats(str(model)) if isinstance(model, str | Path) else weights.from_object(model)
    return quantize_floats(source.network, calib, scheme=scheme, input_range=input_range)


def emit_c(net: Network, prefix: str = "net", *, size: bool = False) -> str:
    """``net`` as one C99 translation unit; see :func:`intnn.emit.emit_c`."""
    from intnn import emit  # as above

    return emit.emit_c(net, prefix, size=size)


def verify_c(
    source: str,
    net: Network,
    *,
    function: str | None = None,
    models: Sequence[str] = ("int16", "int32", "lp64"),
    headers: Mapping[str, str] | None = None,
    name: str = "source.c",
) -> Verdict:
    """Prove that C ``source`` computes ``net`` for every input, or say why not.

    See :func:`intnn.ccheck.verify.verify_c`; raises also :class:`IntnnError` ``model.overflow`` for an invalid network.
    """
    from intnn.bounds import require_valid
    from intnn.ccheck import verify  # as above

    require_valid(net)
    return verify.verify_c(source, net, function=function, models=models, headers=headers, name=name)


__all__ = [
    "Q31",
    "SPEC_VERSION",
    "Activation",
    "Dense",
    "Fixed",
    "IntnnError",
    "Network",
    "Scales",
    "Scheme",
    "__version__",
    "dump",
    "dumps",
    "emit_c",
    "import_tflite",
    "load",
    "loads",
    "prove",
    "quantize",
    "run",
    "trace",
    "verify_c",
    "with_profile",
]
