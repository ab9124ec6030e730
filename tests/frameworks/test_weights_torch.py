"""PyTorch modules and their states as float networks, where PyTorch is installed (it is in no extra: it is large).

Outputs agree but for rounding: PyTorch sums in float32, in another order. Weights that are copied are compared exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from intnn.errors import IntnnError
from intnn.formats.weights import from_object

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.filterwarnings("default"),  # PyTorch's own, which differ from version to version
]

torch: Any = pytest.importorskip("torch")
nn: Any = torch.nn

X = np.random.default_rng(1).normal(0.5, 2.0, (300, 6)).astype(np.float32)


class Named(nn.Module):  # type: ignore[misc]  # PyTorch is not known to mypy, here and below
    """Layers as attributes, functions between them."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(6, 6)
        self.between = nn.Linear(6, 6)
        self.act = nn.ReLU()
        self.leave = nn.Linear(6, 6)

    def forward(self, x: Any) -> Any:
        return self.leave(self.act(self.between(torch.relu(self.enter(x)))))


class Wrapped(nn.Module):  # type: ignore[misc]  # as above
    """An nn.Sequential as the only attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 5), nn.ReLU6(), nn.Linear(5, 3))

    def forward(self, x: Any) -> Any:
        return self.net(x)


class Turned(nn.Sequential):  # type: ignore[misc]  # as above
    """Not what its modules say."""

    def forward(self, x: Any) -> Any:
        return -super().forward(x)


class Tanh(Named):
    def __init__(self) -> None:
        super().__init__()
        self.act = nn.Tanh()


def module(name: str) -> Any:
    torch.manual_seed(3)
    act = nn.ReLU()  # the same one twice
    modules = {
        "plain": nn.Sequential(nn.Linear(6, 16), act, nn.Linear(16, 8), act, nn.Linear(8, 3)),
        "relu6": nn.Sequential(nn.Flatten(), nn.Linear(6, 16, bias=False), nn.ReLU6(), nn.Dropout(), nn.Linear(16, 3)),
        "nested": nn.Sequential(nn.Sequential(nn.Linear(6, 4), nn.ReLU()), nn.Identity(), nn.Linear(4, 3), nn.ReLU()),
        "normalized": nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9, eps=0.01), nn.ReLU(), nn.Linear(9, 3)),
        "normalized after": nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.BatchNorm1d(9), nn.Linear(9, 3)),
        "normalized plainly": nn.Sequential(
            nn.Linear(6, 9), nn.BatchNorm1d(9, affine=False), nn.ReLU(), nn.Linear(9, 3)
        ),
        "named": Named(),
        "wrapped": Wrapped(),
        "linear": nn.Linear(6, 3),
        "ten": nn.Sequential(*(layer for _ in range(6) for layer in (nn.Linear(6, 6), nn.ReLU())), nn.Linear(6, 2)),
    }
    made = modules[name]
    with torch.no_grad():
        for part in made.modules():
            if isinstance(part, nn.BatchNorm1d):
                part.running_mean.uniform_(-1, 1)
                part.running_var.uniform_(0.5, 2)
                if part.affine:
                    part.weight.uniform_(-1, 1)
                    part.bias.uniform_(-1, 1)
    return made.eval()


def outputs(model: Any) -> Any:
    with torch.no_grad():
        return model(torch.from_numpy(X)).numpy()


@pytest.mark.parametrize("name", ["plain", "relu6", "nested", "wrapped", "linear", "ten"])
def test_modules(name: str) -> None:
    model = module(name)
    imported = from_object(model)
    np.testing.assert_allclose(imported.network.run(X), outputs(model), rtol=2e-5, atol=2e-5)
    linears = [part for part in model.modules() if isinstance(part, nn.Linear)]
    for layer, linear in zip(imported.network.layers, linears, strict=True):
        np.testing.assert_array_equal(layer.weights, linear.weight.detach().numpy())
    assert {line.how for line in imported.report} <= {"exact", "passed over"} | (
        {"note"} if name == "wrapped" else set()
    )


@pytest.mark.parametrize("name", ["normalized", "normalized after", "normalized plainly"])
def test_batch_normalization(name: str) -> None:
    model = module(name)
    imported = from_object(model)
    np.testing.assert_allclose(imported.network.run(X), outputs(model), rtol=1e-4, atol=1e-4)
    assert sum(line.how == "re-derived" for line in imported.report) == 2


@pytest.mark.parametrize("name", ["plain", "named", "ten"])
def test_states(name: str) -> None:
    """A state says nothing of activations; those of these modules are what is assumed."""
    model = module(name)
    imported = from_object(model.state_dict())
    np.testing.assert_allclose(imported.network.run(X), outputs(model), rtol=2e-5, atol=2e-5)
    assert sum("the source does not say" in line.text for line in imported.report) == len(imported.network.layers)


def test_a_module_that_is_not_sequential() -> None:
    """Its layers are in the order in which they were made."""
    imported = from_object(module("named"))
    np.testing.assert_allclose(imported.network.run(X), outputs(module("named")), rtol=2e-5, atol=2e-5)
    report = [str(line) for line in imported.report]
    assert "layers: note: in the order of the source: enter, between, leave" in report
    assert "Named: note: its forward is not seen: its layers are taken one after another" in report


def test_batch_normalization_in_a_state() -> None:
    model = module("normalized plainly")
    imported = from_object(model.state_dict())
    np.testing.assert_allclose(imported.network.run(X), outputs(model), rtol=1e-4, atol=1e-4)
    assert any("epsilon 1e-05" in line.text for line in imported.report if line.how == "note")
    with pytest.raises(IntnnError, match=r"2: batch normalization after 0, perhaps with an activation between"):
        from_object(module("normalized after").state_dict())


def test_half_precision() -> None:
    for type_ in (torch.bfloat16, torch.float16):
        model = module("linear").to(type_)
        (layer,) = from_object(model.state_dict()).network.layers
        np.testing.assert_array_equal(layer.weights, model.weight.detach().float().numpy())


@pytest.mark.parametrize(
    ("model", "part"),
    [
        (nn.Sequential(nn.Linear(6, 3), nn.Tanh(), nn.Linear(3, 2)), "1: a module Tanh"),
        (nn.Sequential(nn.Linear(6, 3), nn.Sigmoid(), nn.Linear(3, 2)), "1: sigmoid within the network"),
        (nn.Sequential(nn.Conv1d(6, 3, 1)), "0: a module Conv1d"),
        (nn.Sequential(nn.Linear(6, 3), nn.LayerNorm(3)), "1: a module LayerNorm"),
        (nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3, track_running_stats=False)), "without running statistics"),
        (nn.Sequential(nn.utils.weight_norm(nn.Linear(6, 3))).state_dict(), "0.weight_g"),
        (
            nn.Sequential(nn.Linear(6, 3), nn.LayerNorm(3)).state_dict(),
            "1.weight: weights of shape [3], perhaps of a norm",
        ),
        (
            nn.Sequential(nn.Conv1d(6, 3, 1)).state_dict(),
            "0.weight: weights of shape [3, 6, 1], perhaps of a convolution",
        ),
        (nn.LSTM(6, 3), "a module LSTM"),
        (nn.LSTM(6, 3).state_dict(), "weight_ih_l0"),
        (Tanh(), "a module Tanh"),
        (Turned(nn.Linear(6, 3), nn.Tanh()), "a module Tanh"),
    ],
)
def test_refused(model: Any, part: str) -> None:
    with pytest.raises(IntnnError) as refusal:
        from_object(model)
    assert refusal.value.code == "weights.layer"
    assert part in str(refusal.value)
