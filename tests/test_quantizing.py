"""The commands from floats to integers: quantize, train and report, in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_quantize import floats, samples

import intnn
from intnn import firmware
from intnn.__main__ import main
from intnn.floats import auto, meaning
from intnn.formats.weights import write_weights


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with float weights w.npz, samples x.npy, targets y.npy and labels l.npy, in which commands run."""
    monkeypatch.chdir(tmp_path)
    net, x = floats(6, 8, 3), samples()
    write_weights(net, "w.npz")
    np.save("x.npy", x)
    np.save("y.npy", net.run(x) + 0.01)
    np.save("l.npy", net.run(x).argmax(axis=1))
    return tmp_path


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs without a compiler: they are not what is tested here."""

    def cost(net: intnn.Network, source: str, **_: Any) -> Any:
        weights = sum(each.weights.size for each in net.layers)
        wide = sum(each.output.type == "int16" for each in net.layers)
        return _cost(weights + 100 * wide, 50, 8 * weights)

    monkeypatch.setattr(auto, "network_cost", cost)
    monkeypatch.setattr(firmware, "network_cost", cost)


def _cost(flash: int, ram: int, cycles: int) -> Any:
    from intnn.targets.cost import Cost, LayerCost

    return Cost(
        "cortex-m0",
        "none",
        "0",
        "s",
        flash,
        0,
        0,
        0,
        0,
        ram,
        cycles,
        cycles,
        (LayerCost("layer 0", 9, None),),
        np.zeros(1),
    )


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    out = capsys.readouterr()
    return code, out.out, out.err


QUANTIZE = ("quantize", "w.npz", "--calib", "x.npy", "-o", "net.json")


@pytest.mark.usefixtures("folder")
def test_from_floats_to_proved_c(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *QUANTIZE, "--target", "y.npy", "--c", "fw", "--prefix", "pose")
    assert code == 0
    net = intnn.load("net.json")
    assert net.sizes == (6, 8, 3)
    assert "fw/pose.c: proved: computes net.json, for every input" in out
    assert "RMSE against the target, 300 samples" in out
    assert Path("fw/pose.c").read_text().count("pose_run")
    assert main(("verify", "fw/pose.c", "--model", "net.json")) == 0
    # Every field of the source and of the result is accounted for.
    assert "layer 0 weights: exact: float64 [8, 6]" in err
    assert "layer 1 weights: approximated: int8 [3, 8]" in err
    assert "layer 1 multiplier, shift: exact: 8-bit multiplier" in err
    assert "input: re-derived: int8" in err


@pytest.mark.usefixtures("folder")
def test_the_same_as_json_and_in_python(capsys: pytest.CaptureFixture[str]) -> None:
    words = (*QUANTIZE, "--target", "y.npy", "--json", "--activations", "int16", "--per-tensor", "--requantize", "q31")
    code, out, _ = run(capsys, *words, "--no-absorb", "--no-bias-correction", "--weight-rounding", "nearest")
    assert code == 0
    document = json.loads(out)
    scheme = intnn.Scheme(
        activations="int16",
        per_channel=False,
        requantize="q31",
        absorb=False,
        bias_correction=False,
        weight_rounding="nearest",
    )
    assert intnn.Scheme(**document["scheme"]) == scheme
    q = intnn.quantize("w.npz", np.load("x.npy"), scheme)
    assert intnn.dumps(q.network) == Path("net.json").read_bytes()
    x, y = np.load("x.npy"), np.load("y.npy")
    found = meaning.decode(q.network, intnn.run(q.network, meaning.encode(q.network, x)))
    assert document["steps"][-1]["error"] == pytest.approx(np.sqrt(np.mean((found - y) ** 2)))
    assert document["steps"][0]["error"] == pytest.approx(0.01)
    assert (document["metric"], document["reference"], document["samples"]) == ("RMSE", "target", 300)


@pytest.mark.usefixtures("folder")
def test_labels_and_no_target(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, *QUANTIZE, "--target", "l.npy")
    assert code == 0
    assert "error rate against the target, 300 samples" in out
    assert "0.00 %" in out
    code, out, _ = run(capsys, *QUANTIZE)
    assert code == 0
    assert "RMSE against the float network" in out
    assert "of float" not in out
    assert "of spread" in out


def test_the_file_that_is_wrong_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("few.npy", np.zeros((49, 3)))
    _, _, err = run(capsys, *QUANTIZE, "--target", "few.npy")
    assert "few.npy: 49 targets" in err
    np.save("few.npy", np.zeros((49, 5)))
    _, _, err = run(capsys, *QUANTIZE[:3], "few.npy", "-o", "net.json")
    assert "few.npy: calib has shape (49, 5)" in err


def test_two_classes_by_one_output(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net, x = floats(6, 8, 1), samples()
    write_weights(net, "one.npz")
    labels = (net.run(x)[:, 0] > 0).astype(int)
    labels[:30] = 1 - labels[:30]
    np.save("two.npy", labels)
    code, out, _ = run(capsys, "quantize", "one.npz", "--calib", "x.npy", "--target", "two.npy", "-o", "one.json")
    assert code == 0
    assert "error rate against the target" in out
    assert "10.00 %" in out  # 30 of 300, of the float network


def test_counts_given_as_floats_are_noted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("counts.npy", np.rint(samples() * 100 + 500).astype(float))
    _, _, err = run(capsys, *QUANTIZE[:3], "counts.npy", "-o", "net.json")
    assert "every sample is a whole number, yet given as a float" in err
    assert "whole number" not in run(capsys, *QUANTIZE)[2]


@pytest.mark.usefixtures("folder")
def test_the_header_says_what_the_numbers_mean(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, *QUANTIZE, "--c", "fw")[0] == 0
    scales = [each.scales for each in intnn.load("net.json").layers]
    header = Path("fw/net.h").read_text()
    first, last = scales[0], scales[-1]
    assert first is not None
    assert last is not None
    assert f"; {first.input:.9g} a step; no other value may be fed" in header
    assert f" to 32767; {last.output:.9g} a step\n" in header


@pytest.mark.usefixtures("folder")
def test_auto_takes_the_best_that_fits(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, *QUANTIZE, "--target", "y.npy", "--auto", "--budget", "32k,16k", "--json")
    assert code == 0
    tried = json.loads(out)["candidates"]
    assert len(tried) == 32
    (chosen,) = [c for c in tried if c["chosen"]]
    assert chosen["error"] == min(c["error"] for c in tried)
    assert chosen["scheme"]["activations"] == "int16"
    # A budget that only int8 activations fit.
    code, out, _ = run(capsys, *QUANTIZE, "--target", "y.npy", "--auto", "--budget", "200,16k")
    assert code == 0
    assert "* " in out
    assert intnn.load("net.json").layers[0].output.type == "int8"


@pytest.mark.usefixtures("folder")
def test_c_beyond_the_budget_exits_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *QUANTIZE, "--c", "fw", "--budget", "100,16k")
    assert code == 1
    assert "error[target.budget]: flash" in err
    assert Path("fw/net.c").exists()
    assert "proved" in out


@pytest.mark.usefixtures("folder")
def test_a_model_made_in_a_python_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("made.py").write_text(
        "import numpy as np\n"
        "fitted = {'dense1': {'kernel': np.ones((6, 4)) / np.arange(1, 5), 'bias': np.zeros(4)},\n"
        "          'dense2': {'kernel': np.eye(4)[:, :2], 'bias': np.ones(2)}}\n"
    )
    words = list(QUANTIZE)
    words[1] = "made.py:fitted"
    code, _, err = run(capsys, *words)
    assert code == 0, err
    assert intnn.load("net.json").sizes == (6, 4, 2)
    assert "relu, taken for hidden layers" in err


@pytest.mark.usefixtures("folder")
def test_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, *QUANTIZE, "--target", "y.npy", "--report", "page.html")
    assert code == 0
    assert "page.html: " in err
    page = Path("page.html").read_text()
    assert "net.json" in page
    code, _, _ = run(capsys, "report", "net.json", "--data", "x.npy", "y.npy", "--float", "w.npz", "-o", "other.html")
    assert code == 0
    words = ("report", "net.json", "--data", "x.npy", "--float", "w.npz", "--auto", "-o", "front.html")
    assert run(capsys, *words)[0] == 0
    assert "Error against flash and cycles" in Path("front.html").read_text()
    assert "Error against flash and cycles" not in Path("other.html").read_text()
    code, _, _ = run(capsys, "report", "net.json", "-o", "bare.html")
    assert code == 0
    assert len(Path("bare.html").read_text()) < len(Path("other.html").read_text())


@pytest.mark.usefixtures("folder")
def test_real_values_in_and_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, *QUANTIZE, "--c", "fw")[0] == 0
    net, x = intnn.load("net.json"), np.load("x.npy")
    wanted = meaning.decode(net, intnn.run(net, meaning.encode(net, x)))
    assert run(capsys, "run", "net.json", "--input", "x.npy", "--real", "--output", "out.npy")[0] == 0
    assert np.array_equal(np.load("out.npy"), wanted)
    code, out, _ = run(capsys, "run", "fw/net.c", "--model", "net.json", "--input", "x.npy", "--real")
    assert code == 0
    assert np.allclose([[float(v) for v in line.split()] for line in out.splitlines()], wanted, rtol=1e-5)
    code, _, err = run(capsys, "run", "net.json", "--input", "x.npy")
    assert code == 2
    assert "--real" in err
    x[3] *= 1000  # six values far outside, and 1794 that the samples held
    np.save("far.npy", x)
    assert "note: 6 of 1800 values" in run(capsys, "run", "net.json", "--input", "far.npy", "--real")[2]


def test_a_value_that_begins_with_a_minus(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*QUANTIZE, "--input-range", "-5,5"])
    assert ended.value.code == 2
    assert "--option=-1,2" in capsys.readouterr().err


BAD = {
    "no weights": ("quantize gone.npz --calib x.npy -o net.json", "file.read"),
    "no samples": ("quantize w.npz --calib gone.npy -o net.json", "file.read"),
    "samples that are weights": ("quantize w.npz --calib w.npz -o net.json", "file.array"),
    "over the weights": ("quantize w.npz --calib x.npy -o w.npz", "usage.option"),
    "auto without budget": ("quantize w.npz --calib x.npy -o net.json --auto", "usage.option"),
    "budget for nothing": ("quantize w.npz --calib x.npy -o net.json --budget 32k,16k", "usage.option"),
    "over the script": ("quantize script.py:w --calib script.py:x -o script.py", "usage.option"),
    "one file twice": ("quantize w.npz --calib x.npy -o same.json --report same.json", "usage.option"),
    "over the header": ("quantize w.npz --calib x.npy -o ./net.h --c .", "usage.option"),
    "samples over which C would go": ("quantize w.npz --calib fw/net.c --c fw -o net.json", "usage.option"),
    "no such folder": ("quantize w.npz --calib x.npy -o nowhere/net.json", "file.write"),
    "no folder for the page": ("quantize w.npz --calib x.npy -o net.json --report nowhere/r.html", "file.write"),
    "a folder": ("quantize w.npz --calib x.npy -o fw", "file.write"),
    "text for samples": ("quantize w.npz --calib text.npy -o net.json", "file.array"),
    "ragged samples": ("quantize w.npz --calib script.py:ragged -o net.json", "file.array"),
    "a script that ends": ("quantize ends.py:w --calib x.npy -o net.json", "weights.file"),
    "a script that raises": ("quantize raises.py:w --calib x.npy -o net.json", "weights.file"),
    "no such name": ("quantize script.py:v --calib x.npy -o net.json", "weights.file"),
    "network and state in one": ("train --data x.npy y.npy --sizes 6-4-3 -o q.npz --resume q.npz", "usage.option"),
    "network and weights in one": (
        "train --data x.npy y.npy --sizes 6-4-3 -o t.npz --weights-out t.npz",
        "usage.option",
    ),
    "no file of weights": ("train --data x.npy y.npy --sizes 6-4-3 -o t.json --weights-out w.txt", "usage.option"),
    "an impossible budget": ("quantize w.npz --calib x.npy -o net.json --auto --budget 10,10", "quantize.budget"),
    "not a budget": ("quantize w.npz --calib x.npy -o net.json --auto --budget much", "usage.budget"),
    "not a range": ("quantize w.npz --calib x.npy -o net.json --input-range 5", "usage.option"),
    "a range backwards": ("quantize w.npz --calib x.npy -o net.json --input-range 5,4", "usage.option"),
    "a range for floats": ("quantize w.npz --calib x.npy -o net.json --input-range 0,9", "quantize.range"),
    "a prefix that is none": ("quantize w.npz --calib x.npy -o net.json --c fw --prefix 9", "emit.prefix"),
    "NaN": ("quantize w.npz --calib nan.npy -o net.json", "input.value"),
    "wrong width": ("quantize w.npz --calib y.npy -o net.json", "input.shape"),
    "too few targets": ("quantize w.npz --calib x.npy --target few.npy -o net.json", "input.shape"),
    "labels beyond the outputs": ("quantize w.npz --calib x.npy --target high.npy -o net.json", "input.range"),
    "no such activation": ("quantize w.npz --calib x.npy -o net.json --layers relu,tanh", "usage.option"),
    "floats without data": ("report ok.json --float w.npz -o p.html", "usage.option"),
    "three files": ("report ok.json --data x.npy y.npy x.npy -o p.html", "usage.option"),
    "page over data": ("report ok.json --data x.npy -o x.npy", "usage.option"),
    "a front of nothing": ("report ok.json --data x.npy --auto -o p.html", "usage.option"),
    "other floats": ("report ok.json --data x.npy --float v.npz -o p.html", "model.chain"),
    "NaN to show": ("report ok.json --data nan.npy -o p.html", "input.value"),
    "train over data": ("train --data x.npy y.npy --sizes 6-4-3 -o y.npy", "usage.option"),
}


@pytest.mark.parametrize("case", BAD)
def test_mistakes_are_named(case: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = samples()
    x[0, 0] = np.nan
    np.save("nan.npy", x)
    np.save("few.npy", np.zeros((3, 3)))
    np.save("text.npy", np.full((300, 6), "1"))
    Path("fw").mkdir()
    np.save("x6.npy", samples())
    Path("x6.npy").rename("fw/net.c")
    Path("script.py").write_text(
        "import numpy as np\nw = [(np.eye(6), np.zeros(6))]\nx = np.eye(6)\nragged = [[1], []]\n"
    )
    Path("ends.py").write_text("raise SystemExit\n")
    Path("raises.py").write_text("class Own(BaseException): pass\nraise Own('bad')\n")
    np.save("high.npy", np.full(300, 3))
    write_weights(floats(6, 5, 3), "v.npz")
    intnn.dump(intnn.quantize("w.npz", samples()).network, "ok.json")
    words, code = BAD[case]
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    exit_code, out, err = run(capsys, *words.split())
    assert exit_code == 2
    assert f"error[{code}]" in err
    assert out == ""
    assert {path: path.read_bytes() for path in before} == before  # nothing is lost
