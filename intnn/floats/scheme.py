"""How a network of floats becomes one of integers: the choices, by name."""

from __future__ import annotations

from dataclasses import dataclass, fields

from intnn.errors import UsageError

CHOICES: dict[str, tuple[str, ...]] = {
    "activations": ("int8", "uint8", "int16"),
    "input": ("as activations", "int8", "uint8", "int16"),
    "output": ("int16", "int8", "uint8"),
    "weights": ("int8", "int4"),
    "requantize": ("8-bit", "power-of-two", "15-bit", "q31"),
    "calibration": ("min-max", "percentile", "squared-error"),
    "weight_calibration": ("squared-error", "min-max"),
    "weight_rounding": ("fitted", "nearest"),
}
"""The values of each field of :class:`Scheme` that is a name."""

MULTIPLIER_BITS = {"power-of-two": 1, "8-bit": 8, "15-bit": 15, "q31": 31}
"""Significant bits of the multipliers of a requantization."""


@dataclass(frozen=True)
class Scheme:
    """The choices of a quantization. Raises :class:`UsageError` ``usage.scheme``.

    - ``activations``: the type of hidden vectors; ``output``: of the last; ``input``: of the network's input where its
      samples are floats (integer samples, such as counts of an ADC, are taken as they are);
    - ``weights``: ``int8`` for [-127, 127], ``int4`` for [-7, 7]; ``per_channel``: a scale for each neuron;
    - ``requantize``: how long multipliers are. ``power-of-two``, ``8-bit`` and ``15-bit`` give the rule ``fixed``
      [model.fixed], ``q31`` the rule ``q31`` [model.q31] with single rounding;
    - ``absorb``: weights are rounded to the grid on which the multiplier is exact, so that its error becomes weight
      rounding;
    - ``bias_correction``: biases also make up for the mean error of each neuron on the samples;
    - ``calibration``: where activations are clipped: at the largest sample, at the 99.9th percentile, or where the
      squared error is least;
    - ``weight_calibration``: where weights are clipped: at the largest, or where the sums on the samples have the least
      squared error;
    - ``weight_rounding``: each weight to the ``nearest`` step, or ``fitted``: up or down, whichever makes the squared
      error of its neuron's sums on the samples less.
    """

    activations: str = "int8"
    input: str = "as activations"
    output: str = "int16"
    weights: str = "int8"
    per_channel: bool = True
    requantize: str = "8-bit"
    absorb: bool = True
    bias_correction: bool = True
    calibration: str = "min-max"
    weight_calibration: str = "squared-error"
    weight_rounding: str = "fitted"

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in CHOICES and value not in CHOICES[field.name]:
                expected = "one of " + ", ".join(CHOICES[field.name])
                raise UsageError("usage.scheme", f"{field.name} is {value!r}", expected=expected)
            if field.name not in CHOICES and not isinstance(value, bool):
                raise UsageError("usage.scheme", f"{field.name} is {value!r}", expected="True or False")

    @property
    def largest_weight(self) -> int:
        """The largest magnitude of a weight."""
        return {"int8": 127, "int4": 7}[self.weights]

    def __str__(self) -> str:
        grain = "per channel" if self.per_channel else "per tensor"
        multiplier = {"power-of-two": "power of two", "q31": "q31"}.get(
            self.requantize, f"{self.requantize} multiplier"
        )
        return f"{self.activations} activations, {self.weights} weights {grain}, {multiplier}"
