"""The methods that `pddnet compare --methods` sets beside each other, and what becomes of them there."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.samples import fake_register
from helpers.trunk import write_case
from pddnet import ablation
from pddnet.cli.main import main
from pddnet.errors import InputError
from pddnet.methods import TITLES, Method, methods
from pddnet.networks.base import Sizes, save
from pddnet.networks.registry import NETWORKS
from pddnet.networks.svf_net import SVFNet


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder of trained networks, in which there is one."""
    path = tmp_path / "runs" / "svf-net" / "best.npz"
    path.parent.mkdir(parents=True)
    save("svf-net", SVFNet(Sizes(16.0, 16.0, 3, 4, 4.0)), path, {})
    return tmp_path / "runs"


def test_all_methods_but_ours_start_from_one_alignment(runs: Path) -> None:
    told: list[str] = []
    found = methods(runs, told.append)
    names = list(found)
    assert (names[0], names[-1]) == ("before", "ours") and "SVF-Net" in names
    assert len(told) == len(NETWORKS) - 1
    assert "pddnet train Testing/training/guided_skips.json" in "".join(told)
    rows = [each for name, each in found.items() if isinstance(each, Method) and name != "ours"]
    assert {each.preset.semantic for each in rows} == {0.0}
    assert all(each.preset.affine_fit for each in rows)
    plain, optimised = found["pdd-net"], found["pdd-net + instance optimisation"]
    assert isinstance(plain, Method) and isinstance(optimised, Method)
    assert [stage.iterations for stage in plain.preset.stages] == [0]
    assert [stage.iterations for stage in optimised.preset.stages] == [20]
    assert plain.weights is not None and plain.weights.name == "pdd.npz" and not plain.preset.mind
    assert found["SVF-Net"].network == "svf-net"
    assert set(TITLES) == set(NETWORKS)


def test_a_damaged_file_is_refused(runs: Path) -> None:
    (runs / "svf-net" / "best.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"best\.npz"):
        methods(runs, lambda text: None)


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        write_case(tmp_path / "cases", name)
    return tmp_path / "cases"


def test_compare_prints_a_row_for_each(cases: Path, runs: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, register = [], fake_register()

    def noted(*given: object, **settings: object) -> object:
        calls.append(settings)
        return register(*given[:3])

    monkeypatch.setattr(ablation, "register", noted)
    assert main(["compare", str(cases), "--methods", str(runs), "--pairs", "1"]) == 0
    out = capsys.readouterr().out
    for name in ("before", "alignment alone", "pdd with MIND", "pdd-net", "SVF-Net", "ours"):
        assert f"\n| {name} | " in out
    assert "\n| guided" not in out and "'guided' is left out; make them with 'pddnet train" in out
    assert [each["network"] for each in calls].count("svf-net") == 1
    chosen = ["--configuration", "before", "--configuration", "SVF-Net"]
    assert main(["compare", str(cases), "--methods", str(runs), "--pairs", "1", *chosen]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows[1:]] == ["| before", "| SVF-Net"]


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (["--configuration", "half"], "no method 'half'"),
        (["--preset", "fast"], "--methods brings presets"),
        (["--weights", "w.npz"], "--methods brings presets"),
    ],
)
def test_compare_refuses(cases: Path, runs: Path, capsys, more: list[str], word: str) -> None:
    assert main(["compare", str(cases), "--methods", str(runs), *more]) == 2
    error = capsys.readouterr().err
    assert word in error and error.count("\n") == 1
