"""The networks of the corpus of faulty implementations: weights spread as training leaves them, some biases large.

All is integers from one stream, so that the networks are the same everywhere.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import intnn
from intnn import Q31, Activation, Dense, Fixed, Network, Scales, with_profile

POSE = Path(__file__).parents[1] / "docs" / "examples" / "pose.json"


def _weights(random: np.random.RandomState, outputs: int, inputs: int) -> np.ndarray:
    """About normal, with a -128 or 127 in each layer."""
    w = random.randint(-24, 25, (outputs, inputs, 6)).sum(2).clip(-127, 127)
    w[random.randint(outputs), random.randint(inputs)] = -128
    return np.asarray(w)


def _bias(random: np.random.RandomState, outputs: int, spread: int) -> np.ndarray:
    """Most within ``spread``, every seventh up to twelve times that."""
    b = random.randint(-spread, spread + 1, outputs)
    return np.where(np.arange(outputs) % 7 == 3, b * 12, b)


def _gesture() -> Network:
    """6-16-16-6, int8, int32 multiply with a pre-shift, the last layer per channel, no zero point at 0."""
    r = np.random.RandomState(1)
    return Network(
        Activation("int8", -7),
        (
            Dense(
                _weights(r, 16, 6),
                _bias(r, 16, 3000),
                Fixed.half_up(14, 748, 3),
                Activation("int8", -113, min=-113),
            ),
            Dense(
                _weights(r, 16, 16),
                _bias(r, 16, 2500),
                Fixed.half_up(11, 115, 3),
                Activation("int8", -121, min=-121),
            ),
            Dense(
                _weights(r, 6, 16),
                _bias(r, 6, 3000),
                Fixed(10, 512, np.array([47, 41, 52, 37, 61, 44]), 3, 4),
                Activation("int8", 11),
            ),
        ),
        "gesture",
    )


def _sensor() -> Network:
    """4-12-9-3, int8, per-channel scales, TensorFlow Lite for Microcontrollers' rounding."""
    r = np.random.RandomState(2)
    shapes = ((4, 12, 0.034, -101, True, 0.014), (12, 9, 0.014, -97, True, 0.008), (9, 3, 0.008, 17, False, 0.003))
    layers = []
    for inputs, outputs, into, zero, relu, out in shapes:
        channel = np.float32(0.002) * r.randint(60, 130, outputs).astype(np.float32) / np.float32(64)
        scales = Scales(float(np.float32(into)), channel.astype(np.float64), float(np.float32(out)))
        layers.append(
            Dense(
                _weights(r, outputs, inputs),
                _bias(r, outputs, 3000),
                Q31(1 << 30, 0, "double"),
                Activation("int8", zero, min=zero if relu else -128),
                scales,
            )
        )
    return with_profile(Network(Activation("int8", 5), tuple(layers), "sensor"), "double")


def _camera() -> Network:
    """8-10-7-5, uint8, one multiplier a layer, half up twice, as LiteRT without delegate."""
    r = np.random.RandomState(3)
    return Network(
        Activation("uint8", 117),
        (
            Dense(_weights(r, 10, 8), _bias(r, 10, 4000), Q31(1717986919, -7, "upup"), Activation("uint8", 9, min=9)),
            Dense(_weights(r, 7, 10), _bias(r, 7, 1500), Q31(1181116007, -6, "upup"), Activation("uint8", 21, min=21)),
            Dense(_weights(r, 5, 7), _bias(r, 5, 1500), Q31(1395864371, -6, "upup"), Activation("uint8", 131)),
        ),
        "camera",
    )


def _meter() -> Network:
    """A 12-bit ADC: 5-9-6-4, int16, int8 between, powers of two, then one rounding to int16."""
    r = np.random.RandomState(4)
    return Network(
        Activation("int16", 2041, 0, 4095),
        (
            Dense(_weights(r, 9, 5), _bias(r, 9, 20000), Fixed.half_up(11), Activation("int8", -90, min=-90)),
            Dense(_weights(r, 6, 9), _bias(r, 6, 2900), Fixed.half_up(8), Activation("int8", -13)),
            Dense(_weights(r, 4, 6), _bias(r, 4, 3000), Q31(1932735283, -1, "single"), Activation("int16", 100)),
        ),
        "meter",
    )


NETWORKS: dict[str, Network] = {
    "gesture": _gesture(),
    "pose": intnn.load(POSE),
    "sensor": _sensor(),
    "camera": _camera(),
    "meter": _meter(),
}
