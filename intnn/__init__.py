"""intnn: the referee for a microcontroller's neural network.

``run`` and ``trace`` execute a network bit-exactly with int32 multiply, add and arithmetic shift; ``prove`` shows
that no value leaves int32; ``load``, ``loads``, ``dump`` and ``dumps`` read and write model files; ``import_tflite``
brings a TFLite model over under the rounding of the engine you name.
"""

from __future__ import annotations

from pathlib import Path

from intnn.bounds import prove
from intnn.engines import run, trace
from intnn.errors import IntnnError
from intnn.formats.native import dump, dumps, load, loads
from intnn.model import Q31, Activation, Dense, Fixed, Network, Scales
from intnn.profiles import with_profile
from intnn.version import SPEC_VERSION, __version__


def import_tflite(path: str | Path, *, profile: str) -> Network:
    """The network in the TFLite file ``path``, valid and proved.

    ``profile`` names the engine's rounding: one of ``intnn.profiles.PROFILES``.
    Raises as :func:`intnn.formats.tflite.read_tflite`, which also gives a report.
    """
    from intnn.formats import tflite  # here, because `import intnn` is to be quick

    return tflite.import_tflite(path, profile=profile)


__all__ = [
    "Q31",
    "SPEC_VERSION",
    "Activation",
    "Dense",
    "Fixed",
    "IntnnError",
    "Network",
    "Scales",
    "__version__",
    "dump",
    "dumps",
    "import_tflite",
    "load",
    "loads",
    "prove",
    "run",
    "trace",
    "with_profile",
]
