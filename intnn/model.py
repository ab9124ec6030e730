"""Networks as data: spec/20-model.md made executable.

Everything here is frozen and validated when it is made; arrays are read-only. What needs
arithmetic to decide, whether every value stays within int32, is proved by :mod:`intnn.bounds`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from intnn.arithmetic import INT32_MAX, INT32_MIN, Word
from intnn.errors import ModelError

IntArray = npt.NDArray[np.integer[Any]]

TYPES: dict[str, tuple[int, int]] = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}
"""Activation types [model.activation] and their ranges."""

ROUNDINGS = ("single", "double", "upup")
"""Roundings of the q31 family."""


@dataclass(frozen=True)
class Activation:
    """Type and meaning of a vector between layers [model.activation].

    ``type`` is a key of :data:`TYPES`; ``zero_point``, ``min`` and ``max`` lie in its range, ``min <= max``.
    For the network's input [min, max] is the declared range; for a layer's output it is the clamp, of which
    ReLU (``min = zero_point``) is one case. ``None`` stands for the type's own bound. Raises
    :class:`ModelError` ``model.value``.
    """

    type: str = "int8"
    zero_point: int = 0
    min: int = None  # type: ignore[assignment]  # None is replaced below; readers always see an int
    max: int = None  # type: ignore[assignment]  # as above

    def __post_init__(self) -> None:
        if self.type not in [*TYPES]:
            raise _wrong("type", repr(self.type), "one of " + ", ".join(TYPES))
        low, high = TYPES[self.type]
        _set(self, min=low if self.min is None else self.min, max=high if self.max is None else self.max)
        for name in ("zero_point", "min", "max"):
            _set(self, **{name: _integers(getattr(self, name), name, low, high, ())})
        if self.min > self.max:
            raise _wrong("min", f"{self.min}, above max {self.max}", "min <= max")


@dataclass(frozen=True, eq=False)
class Fixed:
    """Requantization by int32 multiply and shift [model.fixed]: ``(((acc + rp) >> p) * m + rs) >> s``.

    Fields are ints, or int arrays of shape (outputs,) for per-channel: ``shift`` s and ``pre_shift`` p in [0, 31],
    ``round`` rs in [0, 2^s - 1], ``pre_round`` rp in [0, 2^p - 1], ``multiplier`` m in [1, 2^31-1]. The defaults
    p = 0, m = 1 are the power-of-two preset. Raises :class:`ModelError` ``model.value``.
    """

    shift: IntArray | int
    round: IntArray | int
    multiplier: IntArray | int = 1
    pre_shift: IntArray | int = 0
    pre_round: IntArray | int = 0

    def __post_init__(self) -> None:
        _set(
            self,
            multiplier=_integers(self.multiplier, "multiplier", 1, INT32_MAX, None),
            shift=_integers(self.shift, "shift", 0, 31, None),
            pre_shift=_integers(self.pre_shift, "pre_shift", 0, 31, None),
            round=_integers(self.round, "round", 0, INT32_MAX, None),
            pre_round=_integers(self.pre_round, "pre_round", 0, INT32_MAX, None),
        )
        for constant, amount in (("round", "shift"), ("pre_round", "pre_shift")):
            value, limit = np.asarray(getattr(self, constant)), INT32_MAX >> (31 - np.asarray(getattr(self, amount)))
            if value.shape not in ((), limit.shape) and limit.shape:
                raise _wrong(constant, f"of shape {value.shape}", f"shape {limit.shape} of {amount}")
            if np.any(value > limit):
                raise _wrong(constant, f"{value}", f"at most 2^{amount} - 1 = {limit}")

    @classmethod
    def half_up(cls, shift: int, multiplier: int = 1, pre_shift: int = 0) -> Fixed:
        """Both constants half the divisor: each shift rounds half up."""
        cls.floor(shift, multiplier, pre_shift)  # raises where a shift is not one
        return cls(shift, (1 << shift) // 2, multiplier, pre_shift, (1 << pre_shift) // 2)

    @classmethod
    def floor(cls, shift: int, multiplier: int = 1, pre_shift: int = 0) -> Fixed:
        """Both constants 0: each shift rounds down."""
        return cls(shift, 0, multiplier, pre_shift, 0)


@dataclass(frozen=True, eq=False)
class Q31:
    """Requantization by a 31-bit multiplier and a signed exponent [model.q31]: about ``acc * m * 2^(e-31)``.

    ``multiplier`` is 0 or in [2^30, 2^31-1], ``exponent`` in [-31, 30] (positive is a left shift, as in TFLite);
    both ints, or int arrays of shape (outputs,) for per-channel. ``rounding`` is one of :data:`ROUNDINGS`.
    Raises :class:`ModelError` ``model.value``.
    """

    multiplier: IntArray | int
    exponent: IntArray | int
    rounding: str

    def __post_init__(self) -> None:
        _set(
            self,
            multiplier=_integers(self.multiplier, "multiplier", 0, INT32_MAX, None),
            exponent=_integers(self.exponent, "exponent", -31, 30, None),
        )
        m = np.asarray(self.multiplier)
        if np.any((m != 0) & (m < 1 << 30)):
            small = int(m[(m != 0) & (m < 1 << 30)].flat[0])
            raise _wrong("multiplier", str(small), "0 or a value within [1073741824, 2147483647]")
        if self.rounding not in ROUNDINGS:
            raise _wrong("rounding", repr(self.rounding), "one of " + ", ".join(ROUNDINGS))


class HostRule(ABC):
    """A requantization that is not int32-only; :mod:`intnn.foreign` holds them (spec annex, informative).

    ``profile`` is its name.
    """

    profile: str

    @abstractmethod
    def validate(self, layer: Dense) -> None:
        """Raises :class:`ModelError` ``model.value`` where the rule cannot serve ``layer``."""

    @abstractmethod
    def rescale(self, acc: npt.NDArray[np.int32], layer: Dense) -> npt.NDArray[np.int32]:
        """The layer's output for ``acc`` (batch, outputs), before zero point and clamp."""

    @abstractmethod
    def real_scale(self, layer: Dense) -> npt.NDArray[np.float64]:
        """About what the accumulator is multiplied by: scalar or (outputs,)."""


@dataclass(frozen=True, eq=False)
class Scales:
    """The real scales a layer was quantized with (informative): values are finite, positive float32.

    Carried beside multiplier and shift so that another engine's rule can be derived from them. ``weights`` is a
    float, or a float array of shape (outputs,) for per-channel. Raises :class:`ModelError` ``model.value``.
    """

    input: float
    weights: npt.NDArray[np.float64] | float
    output: float

    def __post_init__(self) -> None:
        for name in ("input", "weights", "output"):
            try:
                value = np.array(getattr(self, name), np.float64)
            except (TypeError, ValueError):
                raise _wrong(name, repr(getattr(self, name))[:80], "positive float32 values") from None
            with np.errstate(over="ignore"):  # too large for float32 is refused just below
                exact = value.astype(np.float32).astype(np.float64) == value
            if value.ndim > (name == "weights") or not np.all(exact & np.isfinite(value) & (value > 0)):
                raise _wrong(name, str(getattr(self, name)), "finite, positive float32 values")
            value.flags.writeable = False
            _set(self, **{name: value if value.ndim else float(value)})


@dataclass(frozen=True, eq=False)
class Dense:
    """A dense layer [model.dense].

    ``weights`` int8 (outputs, inputs) in [-128, 127]; ``bias`` int32 (outputs,) at accumulator scale;
    ``requantize`` takes the accumulator to the output's type; ``output`` says type, zero point and clamp.
    ``scales`` is informative. Raises :class:`ModelError` ``model.value``.
    """

    weights: IntArray
    bias: IntArray
    requantize: Fixed | Q31 | HostRule
    output: Activation
    scales: Scales | None = None

    def __post_init__(self) -> None:
        weights = _integers(self.weights, "weights", -128, 127, None)
        if np.ndim(weights) != 2 or 0 in weights.shape:
            raise _wrong("weights", f"of shape {np.shape(weights)}", "shape (outputs, inputs), both at least 1")
        weights = weights.astype(np.int8)
        bias = _integers(self.bias, "bias", INT32_MIN, INT32_MAX, weights.shape[:1])
        weights.flags.writeable = False
        _set(self, weights=weights, bias=bias)
        _require_kind(self.requantize, (Fixed, Q31, HostRule), "requantize", "Fixed, Q31 or a foreign profile")
        _require_kind(self.output, Activation, "output", "an Activation")
        _require_kind(self.scales, (Scales, type(None)), "scales", "Scales or None")
        parts: list[tuple[str, Any]] = [(n, v) for n, v in vars(self.requantize).items() if isinstance(v, np.ndarray)]
        if self.scales is not None:
            parts.append(("scales.weights", self.scales.weights))
        for name, value in parts:
            if np.shape(value) not in ((), weights.shape[:1]):
                raise _wrong(name, f"{len(value)} values", f"one value, or one for each of {len(weights)} outputs")
        if isinstance(self.requantize, HostRule):
            self.requantize.validate(self)

    def neurons(self, which: Sequence[int]) -> Dense:
        """The layer with only the neurons ``which``."""
        chosen, rule, scales = list(which), self.requantize, self.scales
        if scales is not None and isinstance(scales.weights, np.ndarray):
            scales = replace(scales, weights=scales.weights[chosen])
        picked: dict[str, Any] = {n: v[chosen] for n, v in vars(rule).items() if isinstance(v, np.ndarray)}
        if picked:  # per channel, which the foreign profiles are through the scales alone
            rule = replace(rule, **picked)  # type: ignore[type-var]  # HostRule itself is no dataclass, but has no arrays
        return Dense(self.weights[chosen], self.bias[chosen], rule, self.output, scales)


@dataclass(frozen=True, eq=False)
class Network:
    """A chain of dense layers [model.network].

    ``input`` declares type, zero point and range of the input; each layer has as many inputs as the layer before
    has outputs. ``name`` and ``source`` are informative, printable ASCII of at most 200 characters.
    Raises :class:`ModelError` ``model.value`` or ``model.chain``.
    """

    input: Activation
    layers: tuple[Dense, ...]
    name: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        _require_kind(self.input, Activation, "input", "an Activation")
        _require_kind(self.layers, (tuple, list), "layers", "a tuple of Dense layers")
        _set(self, layers=tuple(self.layers))
        for i, layer in enumerate(self.layers):
            _require_kind(layer, Dense, f"layers[{i}]", "a Dense layer")
        if not self.layers:
            raise _wrong("layers", "none", "at least one layer")
        for name in ("name", "source"):
            text = getattr(self, name)
            if not (isinstance(text, str) and len(text) <= 200 and text.isascii() and text.isprintable()):
                raise _wrong(name, repr(text)[:80], "at most 200 printable ASCII characters")
        for i, (before, after) in enumerate(zip(self.layers, self.layers[1:], strict=False), 1):
            if after.weights.shape[1] != before.weights.shape[0]:
                raise ModelError(
                    "model.chain",
                    f"layer {i} takes {after.weights.shape[1]} inputs, layer {i - 1} has {len(before.weights)} outputs",
                    expected="the same number",
                )

    @property
    def inputs(self) -> tuple[Activation, ...]:
        """Each layer's input: the network's, then the outputs of the layers before."""
        return (self.input, *(layer.output for layer in self.layers[:-1]))

    @property
    def output(self) -> Activation:
        """The last layer's output."""
        return self.layers[-1].output

    @property
    def sizes(self) -> tuple[int, ...]:
        """Input count, then each layer's output count."""
        return (self.layers[0].weights.shape[1], *(len(layer.weights) for layer in self.layers))

    @property
    def int32_only(self) -> bool:
        """Whether every layer requantizes within int32 (no foreign profile)."""
        return not any(isinstance(layer.requantize, HostRule) for layer in self.layers)


def _set(target: object, **values: Word) -> None:
    for name, value in values.items():
        object.__setattr__(target, name, value)  # the one way to normalize a field of a frozen dataclass


def _require_kind(value: object, kind: Any, name: str, expected: str) -> None:
    if not isinstance(value, kind):
        raise _wrong(name, f"of type {type(value).__name__}", expected)


def _wrong(name: str, found: str, expected: str) -> ModelError:
    return ModelError("model.value", f"{name} is {found}", expected=expected)


def _integers(value: Any, name: str, low: int, high: int, shape: tuple[int, ...] | None) -> Any:
    """``value`` as an int (shape ()) or a read-only int32 array; any shape if ``shape`` is None. No float, no bool."""
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):  # ragged rows, or an int beyond int64
        raise _wrong(name, "not a rectangular array of integers", f"integers within [{low}, {high}]") from None
    if array.dtype.kind not in "iu" and array.size == 0:
        raise _wrong(name, "an empty array", "at least one integer")
    if array.dtype.kind not in "iu":
        raise _wrong(name, f"of type {array.dtype}", f"integers within [{low}, {high}]")
    if shape is not None and array.shape != shape:
        raise _wrong(name, f"of shape {array.shape}", f"shape {shape}")
    wrong = (array < low) | (array > high)
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        place = "".join(f"[{i}]" for i in at)
        raise _wrong(f"{name}{place}", str(array[at]), f"an integer within [{low}, {high}]")
    if array.shape == ():
        return int(array)
    result = array.astype(np.int32)
    result.flags.writeable = False
    return result
