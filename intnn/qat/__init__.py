"""Training, on JAX and optax (extra ``train``): float networks, and integer networks tuned in their own arithmetic.

:func:`train` goes the whole way: float weights from data, quantization, and fine-tuning in which every forward pass is
the integer network's own (:mod:`intnn.qat.twin`), so that what is measured in training is what the exported network
does.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from intnn.bounds import require_valid
from intnn.errors import ModelError, UsageError
from intnn.floats.network import FloatNetwork, Floats
from intnn.floats.quantize import Quantized, input_activation, quantize, require_clamp
from intnn.floats.scheme import Scheme
from intnn.model import Network
from intnn.qat.data import Data, prepare
from intnn.qat.options import LANE, Options, Progress, Report, sizes_of, state_path
from intnn.qat.state import Checkpoint, fingerprint
from intnn.version import __version__

RATES = {"int8": 5e-3, "int4": 2e-2}
"""The learning rate of integer steps where none is given: coarse weights have farther to go to the next step."""


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network and what it came from.

    ``network`` is valid and proved; ``floats`` the float network before quantization, ``start`` its quantization, from
    which tuning began. ``float_history`` and ``history`` are float64 (validations, 3): step, mean loss of the steps
    since the one before, validation loss. ``training`` and ``validation`` are the numbers of the rows that were used
    so.
    """

    network: Network
    floats: FloatNetwork
    start: Quantized
    scheme: Scheme
    float_history: Floats
    history: Floats
    training: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]


def train(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    sizes: tuple[int, ...] | str | None = None,
    start: FloatNetwork | None = None,
    scheme: Scheme = Scheme(),  # noqa: B008  # frozen
    seed: int = 0,
    loss: str | None = None,
    float_steps: int | None = None,
    qat_steps: int = 6_000,
    batch: int = 1024,
    learning_rate: float = 1e-2,
    qat_learning_rate: float | None = None,
    every: int = 250,
    validation: float = 0.1,
    patience: int | None = None,
    input_range: tuple[int, int] | None = None,
    lanes: bool = False,
    state: str | Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Trained:
    """An integer network that computes ``y`` from ``x``: floats trained, quantized, and tuned as integers.

    - ``x`` (rows, inputs): integers, such as counts of an ADC, are taken as they are within ``input_range``; floats are
      quantized, as by :func:`intnn.floats.quantize.quantize`. ``y`` (rows, outputs) real values, or integer labels
      (rows,); the ``loss`` is ``mse``, each output in units of its standard deviation, or ``cross-entropy``, which None
      chooses for labels.
    - ``sizes`` such as ``(6, 32, 32, 6)`` or ``"6-32-32-6"`` for a new network with ReLU between its layers; or
      ``start``, which is only tuned unless ``float_steps`` says otherwise.
    - ``float_steps`` (20,000 for a new network) and ``qat_steps`` are steps of Adam on ``batch`` rows, with rates that
      fall to 0 by a cosine, from ``learning_rate`` and from ``qat_learning_rate`` (0.005, or 0.02 for int4 weights).
      Every ``every`` steps the loss is taken on the ``validation`` part of the rows, which is held back; the parameters
      of the least are kept, and ``patience`` such validations without a better one end the phase. Most of what tuning
      gains comes as the rate nears 0 and weights settle: fewer steps do better than a small ``patience``.
    - ``lanes`` keeps each row's ``sum|w| * max|x - zero_point|`` within 65535, for kernels with two 16-bit sums in a
      word.
    - ``state`` names a file (.npz) to go on from and to keep the state in, every ``every`` steps; ``progress`` is
      called as often.

    The same data, options and seed give the same network on the same machine, interrupted or not.

    Raises :class:`UsageError` ``usage.extra``, ``usage.option`` or ``train.state``; :class:`InputError` ``input.type``,
    ``input.shape``, ``input.value``, ``input.range``, ``train.data`` or ``quantize.range``; :class:`ModelError`
    ``quantize.overflow``, ``model.value`` or ``train.diverged``; :class:`FileError` for ``state``.
    """
    options = Options(
        scheme=scheme,
        seed=seed,
        float_steps=(0 if start else 20_000) if float_steps is None else float_steps,
        qat_steps=qat_steps,
        batch=batch,
        learning_rate=learning_rate,
        qat_learning_rate=RATES[scheme.weights] if qat_learning_rate is None else qat_learning_rate,
        every=every,
        validation=validation,
        patience=patience,
        input_range=input_range,
        lanes=lanes,
    )
    data, chain = _prepared(x, y, sizes, start, loss, options)
    state = state_path(state)
    # What quantization would refuse is refused before the training.
    input_activation(data.x, data.inputs, scheme, input_range)
    for i, layer in enumerate(start.layers if start else ()):
        require_clamp(layer, f"layer {i}")
    require_packages()
    from intnn.qat import tuning

    checkpoint = _checkpoint(data, chain, start, options, state)
    floats, float_history = _floats(data, chain, start, options, checkpoint, progress)
    quantized = quantize(floats, data.x, scheme=scheme, input_range=input_range)
    network, history = tuning.tune(quantized, data, options, checkpoint, progress)
    require_valid(network)
    if lanes:
        _require_lanes(network)
    return Trained(network, floats, quantized, scheme, float_history, history, data.training, data.validation)


def train_float(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    sizes: tuple[int, ...] | str | None = None,
    start: FloatNetwork | None = None,
    seed: int = 0,
    loss: str | None = None,
    steps: int = 20_000,
    batch: int = 1024,
    learning_rate: float = 1e-2,
    every: int = 250,
    validation: float = 0.1,
    patience: int | None = None,
    state: str | Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> FloatNetwork:
    """The float network only, a new one of ``sizes`` or ``start`` trained further: the first phase of :func:`train`,
    which explains the arguments and what is raised."""
    options = Options(
        seed=seed,
        float_steps=steps,
        batch=batch,
        learning_rate=learning_rate,
        every=every,
        validation=validation,
        patience=patience,
    )
    data, chain = _prepared(x, y, sizes, start, loss, options)
    require_packages()
    return _floats(data, chain, start, options, _checkpoint(data, chain, start, options, state), progress)[0]


def require_packages() -> None:
    """Raises :class:`UsageError` ``usage.extra`` where JAX or optax is not installed."""
    for package in ("jax", "optax"):
        try:
            importlib.import_module(package)
        except ImportError:
            found = f"training needs the package {package}"
            raise UsageError("usage.extra", found, repair="pip install 'intnn[train]'") from None


def lane_use(net: Network) -> tuple[npt.NDArray[np.int64], ...]:
    """``sum|w| * max|x - zero_point|`` of every row, (outputs,) for each layer; 16-bit lanes hold 65535."""
    found = []
    for layer, source in zip(net.layers, net.inputs, strict=True):
        span = max(source.max - source.zero_point, source.zero_point - source.min)
        found.append(np.abs(layer.weights.astype(np.int64)).sum(axis=1) * span)
    return tuple(found)


def _require_lanes(net: Network) -> None:
    """What :func:`intnn.floats.numbers.layer_numbers` promised, looked at once more."""
    for i, used in enumerate(lane_use(net)):
        if used.max() > LANE:
            neuron = int(used.argmax())
            found = f"neuron {neuron} needs {used[neuron]} of a lane's {LANE}"
            raise ModelError("quantize.overflow", found, where=f"layer {i}", expected="rows that fit 16-bit lanes")


def _prepared(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    sizes: tuple[int, ...] | str | None,
    start: FloatNetwork | None,
    loss: str | None,
    options: Options,
) -> tuple[Data, tuple[int, ...]]:
    if (sizes is None) == (start is None):
        found = "neither sizes nor a start" if start is None else "both sizes and a start"
        expected = "one of them: the sizes of a new network, or a network to start from"
        raise UsageError("usage.option", found, expected=expected)
    chain = start.sizes if start else sizes_of(sizes)
    return prepare(x, y, chain, loss, options.validation, options.seed), chain


def _checkpoint(
    data: Data, chain: tuple[int, ...], start: FloatNetwork | None, options: Options, state: str | Path | None
) -> Checkpoint:
    from_floats = [] if start is None else [(n.weights.tobytes(), n.bias.tobytes(), n.min, n.max) for n in start.layers]
    decides = sorted(asdict(options).items())
    return Checkpoint(state_path(state), fingerprint(__version__, data.digest(), chain, from_floats, decides))


def _floats(
    data: Data,
    chain: tuple[int, ...],
    start: FloatNetwork | None,
    options: Options,
    checkpoint: Checkpoint,
    progress: Report | None,
) -> tuple[FloatNetwork, Floats]:
    from intnn.qat import floating

    if start is not None and options.float_steps == 0:
        return start, np.empty((0, 3))
    begin = start or floating.initial(chain, options.seed)
    return floating.fit(begin, start is None, data, options, checkpoint, progress)
