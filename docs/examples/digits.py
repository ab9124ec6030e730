"""scikit-learn's handwritten digits, from a fitted MLPClassifier to firmware.

    pip install 'intnn[targets]' scikit-learn
    intnn quantize docs/examples/digits.py:model --calib docs/examples/digits.py:images \
        --target docs/examples/digits.py:labels --input-range 0,16 -o digits.json --c firmware

The command runs this file and takes what it then calls ``model``, ``images`` and ``labels``. The images are 8 x 8
pixels, each an integer from 0 to 16, as a small sensor would deliver them; every sixth is held out.

    python docs/examples/digits.py             # right answers on the images held out, of floats and of integers
    python docs/examples/digits.py FOLDER      # also writes the network that `intnn demo rounding` shows

The output depends on nothing but the versions installed: one seed, one thread, and scales of 12 significant bits, so
that the last bits of a float, which differ from processor to processor, hardly reach the integers.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import sklearn
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

import intnn

SEED = 0

every_image, every_label = load_digits(return_X_y=True)
held_out = np.arange(len(every_label)) % 6 == 0
images, labels = every_image[~held_out].astype(np.int8), every_label[~held_out].astype(np.int8)
test_images, test_labels = every_image[held_out].astype(np.int8), every_label[held_out].astype(np.int8)

with threadpool_limits(limits=1):
    model = MLPClassifier((16,), alpha=0.1, max_iter=1000, random_state=SEED).fit(images, labels)


def right(net: intnn.Network) -> int:
    """How many of the images held out ``net`` answers rightly."""
    return int((intnn.run(net, test_images).argmax(axis=1) == test_labels).sum())


def main(folder: str | None = None) -> None:
    """Print how many answers are right, and write ``digits.json`` and ``digits.npz`` to ``folder``."""
    net = intnn.quantize(model, images, input_range=(0, 16)).network
    float_right = int((model.predict(test_images) == test_labels).sum())
    print(f"held-out images right, of {len(test_labels)}: float {float_right}, integer {right(net)}")
    if folder is not None:
        # Other engines have one scale a layer, and a multiplier of 31 bits; `double` is the rounding of TFLite Micro.
        scheme = intnn.Scheme(output="int8", per_channel=False, requantize="q31")
        net = intnn.quantize(model, images, scheme, input_range=(0, 16)).network
        source = f"digits.py scikit-learn {sklearn.__version__} seed {SEED}"
        net = replace(intnn.with_profile(net, "double"), name="digits", source=source)
        intnn.dump(net, Path(folder) / "digits.json")
        np.savez(Path(folder) / "digits.npz", images=test_images, labels=test_labels)
        print(f"digits.json: {right(net)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
