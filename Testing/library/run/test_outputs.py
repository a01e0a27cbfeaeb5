"""One table of outputs: what is appended to it appears in the command and in the worker's answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.samples import FIXED, MOVING, SHIFT, fake_register, ramp, write_pair
from pddnet import pipeline
from pddnet.cli.main import build_parser, main
from pddnet.core.image import Image
from pddnet.io.atomic_outputs import IMAGES
from pddnet.run import outputs as run_outputs
from pddnet.run.outputs import OUTPUTS, REPORT, Output
from pddnet.run.registration import FinishedRun
from pddnet.worker import tasks


def _lengths(run: FinishedRun) -> Image:
    field = run.registration.field
    return Image(np.linalg.norm(field.array, axis=-1), field.grid)


LENGTHS = Output(
    key="lengths",
    option="--output-lengths",
    metavar="Z",
    help="length of the displacement, mm",
    endings=IMAGES,
    content=_lengths,
    needs="--moving-mask",
    needs_for="only to show it here",
    answer="lengths",
    on_request=True,
    stage="lengths",
)


@pytest.fixture(autouse=True)
def _appended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "register", fake_register())
    monkeypatch.setattr(run_outputs, "OUTPUTS", (*OUTPUTS, LENGTHS))


def _arguments(folder: Path, *more: str) -> list[str]:
    pair = write_pair(folder)
    transform, lengths = str(folder / "T.h5"), str(folder / "Z.mha")
    scans = ["register", "--fixed", pair["F"], "--moving", pair["M"], "--output-transform", transform]
    return [*scans, "--output-lengths", lengths, "--report", str(folder / "R.json"), *more]


def test_the_command_shows_an_appended_output_before_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["register", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--output-lengths Z length of the displacement, mm --report R.json" in text


def test_the_command_writes_an_appended_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = str(tmp_path / "A.nii.gz")
    assert main(_arguments(tmp_path, "--moving-mask", mask)) == 0
    written = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "Z.mha")))
    assert np.allclose(written, np.linalg.norm(SHIFT), atol=1e-3)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines if line.startswith("written")] == [
        str(tmp_path / name) for name in ("T.h5", "Z.mha", "R.json")
    ]


def test_the_command_refuses_an_appended_output_without_what_it_needs(tmp_path: Path, capsys) -> None:
    assert main(_arguments(tmp_path)) == 2
    assert capsys.readouterr().err == "pddnet: --output-lengths needs --moving-mask, only to show it here\n"
    assert not (tmp_path / "T.h5").exists()


def test_the_worker_answers_with_an_appended_output_where_it_is_asked_for() -> None:
    scans = {"fixed": ramp(FIXED), "moving": ramp(MOVING)}
    stages: list[str] = []
    done = tasks.register(lambda _, stage: stages.append(stage), **scans, lengths=True)
    assert np.allclose(done["lengths"].array, np.linalg.norm(SHIFT), atol=1e-3)
    assert stages[-1] == "lengths"
    assert "lengths" in done["report"]["seconds"]
    assert tasks.register(lambda *_: None, **scans)["lengths"] is None
    with pytest.raises(TypeError, match="knows no field, width"):
        tasks.register(lambda *_: None, **scans, width=True, field=True)


def test_every_output_has_its_own_names() -> None:
    entries = (*OUTPUTS, REPORT)
    for values in ([e.key for e in entries], [e.option for e in entries], [o.answer for o in OUTPUTS if o.answer]):
        assert len(set(values)) == len(values)
    required = ["--fixed", "F", "--moving", "M", "--output-transform", "T"]
    args = vars(build_parser("register").parse_args(["register", *required]))
    assert {entry.argument for entry in entries} <= args.keys()
