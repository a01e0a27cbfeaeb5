"""`pddnet phantom`, `compare` and `train`: exit codes, one line for what is wrong, and what is printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.samples import fake_register
from helpers.trunk import write_case
from pddnet import ablation
from pddnet.cli.main import main
from pddnet.errors import InputError
from pddnet.phantom import write as phantom_write
from pddnet.training import loop
from pddnet.training.loop import Outcome


def _fails(capsys: pytest.CaptureFixture, argv: list[str], *words: str) -> None:
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert error.startswith("pddnet: ") and error.count("\n") == 1
    for word in words:
        assert word in error


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("phantom", ["--out", "--count", "--seed", "--anatomy", "--spacing"]),
        ("compare", ["FOLDER", "--preset", "--configuration", "--methods", "--structure", "--pairs", "--json"]),
        ("train", ["CONFIG.json", "--init", "--minutes", "--device"]),
    ],
)
def test_help(capsys: pytest.CaptureFixture, command: str, words: list[str]) -> None:
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert all(word in text for word in words)
    assert main(["--help"]) == 0
    assert command in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        ([], "--out"),
        (["--out", "D", "--count", "0"], "--count"),
        (["--out", "D", "--count", "many"], "--count"),
        (["--out", "D", "--seed", "-1"], "--seed"),
        (["--out", "D", "--spacing", "0.5"], "--spacing"),
        (["--out", "D", "--spacing", "nan"], "--spacing"),
        (["--out", "D", "--anatomy", "none"], "no label map"),
        (["--out", "D", "--size", "3"], "--size"),
    ],
)
def test_phantom_refuses(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch, argv: list[str], word: str) -> None:
    monkeypatch.chdir(tmp_path)
    _fails(capsys, ["phantom", *argv], word)
    assert list(tmp_path.iterdir()) == []


def test_phantom_says_how_many_and_where(tmp_path: Path, capsys) -> None:
    out = str(tmp_path / "D")
    assert main(["phantom", "--out", out, "--count", "1", "--seed", "6", "--spacing", "10"]) == 0
    assert f"1 patients in {out}" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "D").iterdir()] == ["patient_0006"]


def test_what_an_interrupted_phantom_leaves(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(phantom_write, "_write", interrupted)
    assert main(["phantom", "--out", str(tmp_path), "--count", "1", "--spacing", "10"]) == 130
    assert capsys.readouterr().err == "pddnet: interrupted; the patients written so far are whole\n"


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        write_case(tmp_path / "cases", name)
    return tmp_path / "cases"


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        ([], "FOLDER"),
        (["none"], "fewer than two"),
        (["CASES", "--preset", "slow"], "no preset 'slow'"),
        (["CASES", "--configuration", "half"], "no configuration 'half'"),
        (["CASES", "--pairs", "0"], "--pairs"),
        (["CASES", "--pairs", "-1"], "--pairs"),
        (["CASES", "--pairs", "x"], "--pairs"),
        (["CASES", "--json", "r.txt"], ".json"),
    ],
)
def test_compare_refuses(cases: Path, capsys, argv: list[str], word: str) -> None:
    _fails(capsys, ["compare", *[str(cases) if a == "CASES" else a for a in argv]], word)


def test_compare_prints_the_table_and_writes_strict_json(cases: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(ablation, "register", fake_register())
    chosen = ["--configuration", "before", "--configuration", "full"]
    assert main(["compare", str(cases), *chosen, "--json", str(tmp_path / "r.json")]) == 0
    out, error = capsys.readouterr()
    assert error == ""
    assert "2 pairs of 2 scans" in out
    before = next(line for line in out.splitlines() if line.startswith("| before"))
    assert (
        before == "| before | 100.0 ± 0.0 | 100.0 ± 0.0 | 0.0 ± 0.0 | 0.00 ± 0.00 | - | 0.828 ± 0.000 | - | - | - | - |"
    )
    text = (tmp_path / "r.json").read_text()
    found = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not strict JSON"))
    assert found["pairs"] == ["one / two", "two / one"]
    assert list(found["rows"]) == ["before", "full"]
    nothing = dict.fromkeys(("tre", "jacobian_std", "sdlogj", "folding", "seconds"))
    alike = {"dice": 100, "dice30": 100, "hd95": 0, "asd": 0, "lcc": pytest.approx(0.828, abs=1e-3)}
    assert found["rows"]["before"][0] == alike | nothing
    assert found["rows"]["full"][1]["dice"] < 90  # the stand-in always finds the same shift


def test_compare_prints_a_table_of_one_structure(cases: Path, tmp_path: Path, capsys) -> None:
    names = json.loads(next(cases.rglob("labels.json")).read_text("utf-8")).values()
    name = next(iter(names))
    argv = ["compare", str(cases), "--configuration", "before", "--structure", name]
    assert main([*argv, "--json", str(tmp_path / "r.json")]) == 0
    assert f"\n{name}\n\n| | Dice % | HD95 mm | ASD mm |\n" in capsys.readouterr().out
    found = json.loads((tmp_path / "r.json").read_text("utf-8"))["structures"]
    assert [row["dice"] for row in found[name]["before"]] == [100, 100]
    _fails(capsys, [*argv, "--structure", "tail"], "no scan has a structure 'tail'", name)


def test_compare_refuses_foreign_weights(cases: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "w.npz").write_bytes(b"nothing")
    _fails(capsys, ["compare", str(cases), "--weights", str(tmp_path / "w.npz")], "w.npz")


def test_compare_goes_on_after_a_pair_that_cannot_be_registered(cases: Path, tmp_path: Path, capsys, monkeypatch):
    found, calls = fake_register(), iter(range(10))

    def register(*given: object, **settings: object) -> object:
        if next(calls) in bad:
            raise InputError("nothing in common")
        return found(*given, **settings)

    monkeypatch.setattr(ablation, "register", register)
    argv = ["compare", str(cases), "--configuration", "full", "--json", str(tmp_path / "r.json")]
    bad = [0]
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert "warning: one / two: nothing in common; the pair is left out" in out
    assert "1 pairs of 2 scans; 1 left out" in out
    written = json.loads((tmp_path / "r.json").read_text())
    assert written["pairs"] == ["two / one"] and len(written["rows"]["full"]) == 1
    assert written["left_out"] == {"one / two": "full: nothing in common"}
    assert "\n| one / two | not measured: full: nothing in common | | | | | | | | | |\n" in out
    (tmp_path / "r.json").unlink()
    bad = [2, 3]  # the first two calls are spent
    _fails(capsys, argv, "none of the 2 pairs")
    assert not (tmp_path / "r.json").exists()


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        ([], "CONFIG.json"),
        (["none.json"], "none.json"),
        (["CONFIG", "--minutes", "x"], "--minutes"),
        (["CONFIG", "--device", "tpu"], "no device 'tpu'"),
        (["CONFIG", "--init", "none.npz"], "none.npz"),
        (["CONFIG"], "no such folder of scans"),
        (["CONFIG", "--epochs", "3"], "--epochs"),
    ],
)
def test_train_refuses(tmp_path: Path, capsys, argv: list[str], word: str) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"out": "run", "scans": "none", "width": 8}))
    _fails(capsys, ["train", *[str(config) if a == "CONFIG" else a for a in argv]], word)


def test_train_says_how_it_went(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"out": "run", "virtual": 1, "iterations": 50}))
    weights = tmp_path / "run" / "best.npz"
    weights.parent.mkdir()
    calls = []

    def train(config: object, *, warn, **settings: object) -> Outcome:
        calls.append(settings)
        warn("scan seven is bad")
        return Outcome(20, weights, 0.5678, False)

    monkeypatch.setattr(loop, "train", train)
    assert main(["train", str(config), "--minutes", "2.5", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert calls[0]["minutes"] == 2.5 and calls[0]["init"] is None and calls[0]["device"] == "cpu"
    assert "warning: scan seven is bad" in out
    assert "20 of 50 iterations; best validation Dice 0.568" in out
    assert "best.npz" not in out  # there are none yet
    weights.touch()
    assert main(["train", str(config), "--init", "w.npz"]) == 0
    assert str(weights) in capsys.readouterr().out
    assert calls[1]["init"] == Path("w.npz")


def test_what_an_interrupted_training_leaves(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*given: object, **settings: object) -> None:
        raise KeyboardInterrupt

    config = tmp_path / "config.json"
    config.write_text(json.dumps({"out": "run", "virtual": 1}))
    monkeypatch.setattr(loop, "train", interrupted)
    assert main(["train", str(config)]) == 130
    assert capsys.readouterr().err == "pddnet: interrupted; the same command goes on from the last checkpoint\n"


def test_register_refuses_weights_that_are_none(tmp_path: Path, capsys) -> None:
    """Before a scan is read: a wrong file costs no time."""
    weights = tmp_path / "w.npz"
    weights.write_bytes(b"not weights")
    scan = tmp_path / "scan.nii.gz"
    scan.write_bytes(b"")
    argv = ["register", "--fixed", str(scan), "--moving", str(scan), "--output-transform", str(tmp_path / "t.h5")]
    _fails(capsys, [*argv, "--weights", str(weights)], "w.npz", "the preset 'mind'")
    assert not (tmp_path / "t.h5").exists()
