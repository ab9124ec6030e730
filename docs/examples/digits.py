"""Train, quantize and write the network that ``intnn demo`` shows.

    pip install 'intnn[train]'
    python docs/examples/digits.py             # writes digits.json and digits.npz to intnn/demo

The data are scikit-learn's handwritten digits: 8 x 8 pixels, each an integer from 0 to 16, as a small sensor would
deliver them. Every sixth image is held out; the others train a float network of 64 inputs, 16 ReLU neurons and 10
outputs, the logits. Then every float becomes an integer, in five steps that fit any chain of dense layers:

1. Each vector of floats gets a *scale*, the float value of one integer step, and a *zero point*, the integer
   that stands for 0.0. The input keeps the sensor's own integers: scale 1/16, zero point 0, range [0, 16].
2. Weights are divided by their scale and rounded half even, to int8 within [-127, 127]. Their zero point is 0.
3. An accumulator is a sum of input * weight, so one step of it is worth input scale * weight scale. The bias is
   rounded to that scale and starts the sum, as int32.
4. ReLU costs nothing: the hidden vector's zero point is -128, where int8 saturates anyway.
5. The factor from accumulator to output, input scale * weight scale / output scale, becomes a 31-bit multiplier and
   a shift. Its rounding has a name: here ``double``, the rule of TFLite Micro. The scales stay in the model file,
   so that the same network can be had under the rule of another engine (``intnn.with_profile``).

The output depends on nothing but the versions installed: one seed, one thread, and scales of 12 significant bits, so
that the last bits of a float, which differ from processor to processor, do not reach the integers.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import sklearn
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

import intnn
from intnn.profiles import requantization

SEED = 0
ROUNDING = "double"
DEMO = Path(__file__).resolve().parents[2] / "intnn" / "demo"

Floats = npt.NDArray[np.float64]


def split() -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Images and labels to train with, then images and labels held out: every sixth."""
    images, labels = load_digits(return_X_y=True)
    images, labels = images.astype(np.int8), labels.astype(np.int8)
    held_out = np.arange(len(labels)) % 6 == 0
    return images[~held_out], labels[~held_out], images[held_out], labels[held_out]


def train(x: Floats, labels: npt.NDArray[Any]) -> MLPClassifier:
    """The float network; its layers are ``coefs_`` (inputs, outputs) and ``intercepts_`` (outputs,)."""
    with threadpool_limits(limits=1):
        return MLPClassifier((16,), alpha=0.1, max_iter=1000, random_state=SEED).fit(x, labels)


def forward(model: MLPClassifier, x: Floats) -> tuple[Floats, Floats]:
    """What the float network computes: hidden vectors and logits."""
    hidden = np.maximum(x @ model.coefs_[0] + model.intercepts_[0], 0.0)
    return hidden, hidden @ model.coefs_[1] + model.intercepts_[1]


def scale_for(span: float, steps: int) -> float:
    """The least scale of 12 significant bits with which ``steps`` steps cover ``span``."""
    fraction, exponent = math.frexp(span / steps)
    return math.ldexp(math.ceil(math.ldexp(fraction, 12)), exponent - 12)


def quantize_layer(
    weights: Floats, bias: Floats, input_scale: float, output_scale: float, output: intnn.Activation
) -> intnn.Dense:
    """One dense layer with int8 weights (outputs, inputs) and int32 bias."""
    weight_scale = scale_for(float(np.abs(weights).max()), 127)
    scales = intnn.Scales(input_scale, weight_scale, output_scale)
    return intnn.Dense(
        weights=np.rint(weights.T / weight_scale).astype(np.int8),
        bias=np.rint(bias / (input_scale * weight_scale)).astype(np.int32),
        requantize=requantization(ROUNDING, scales),
        output=output,
        scales=scales,
    )


def quantize(model: MLPClassifier, x: Floats) -> intnn.Network:
    """``model`` in integers; ``x``, the training inputs, show how far hidden vectors and logits reach."""
    hidden, logits = forward(model, x)
    input_scale = 1 / 16
    hidden_scale = scale_for(float(hidden.max()), 255)
    logit_scale = scale_for(float(logits.max() - logits.min()), 254)  # one step is left for rounding the zero point
    hidden_type = intnn.Activation("int8", zero_point=-128)  # its clamp [-128, 127] is the ReLU
    logit_type = intnn.Activation("int8", zero_point=round(-128 - float(logits.min()) / logit_scale))
    (w0, w1), (b0, b1) = model.coefs_, model.intercepts_
    return intnn.Network(
        input=intnn.Activation("int8", zero_point=0, min=0, max=16),
        layers=(
            quantize_layer(w0, b0, input_scale, hidden_scale, hidden_type),
            quantize_layer(w1, b1, hidden_scale, logit_scale, logit_type),
        ),
        name="digits",
        source=f"digits.py scikit-learn {sklearn.__version__} seed {SEED}",
    )


def main(folder: Path = DEMO) -> None:
    """Write ``digits.json`` and ``digits.npz`` to ``folder`` and print both accuracies."""
    images, labels, test_images, test_labels = split()
    model = train(images / 16, labels)
    net = quantize(model, images / 16)
    intnn.dump(net, folder / "digits.json")
    np.savez(folder / "digits.npz", images=test_images, labels=test_labels)

    float_right = int((forward(model, test_images / 16)[1].argmax(axis=1) == test_labels).sum())
    int_right = int((intnn.run(net, test_images).argmax(axis=1) == test_labels).sum())
    print(f"held-out images right, of {len(test_labels)}: float {float_right}, integer {int_right}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
