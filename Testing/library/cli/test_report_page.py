"""`--report-html` and `--report-pdf`: the command writes the page, and refuses early what it could not draw."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.samples import write_pair
from pddnet.cli.main import main
from pddnet.page.pictures import Picture


def _arguments(folder: Path, *more: str) -> list[str]:
    pair = write_pair(folder)
    return ["register", "--fixed", pair["F"], "--moving", pair["M"], "--output-transform", str(folder / "T.h5"), *more]


@pytest.mark.slow
def test_the_page_is_written_with_its_pictures(tmp_path: Path, calls: list[dict]) -> None:
    path = tmp_path / "page.html"
    paper = tmp_path / "page.pdf"
    assert main(_arguments(tmp_path, "--report-html", str(path), "--report-pdf", str(paper))) == 0
    assert paper.read_bytes().count(b"/Subtype /Image") == 2
    page = path.read_text("utf-8")
    assert page.count("data:image/png;base64,iVBOR") == 2
    assert "<h1>Registration report</h1>" in page


def test_the_options_of_the_page(tmp_path: Path, calls: list[dict], capsys, monkeypatch) -> None:
    monkeypatch.setattr("pddnet.cli.register.draw", lambda subject: [Picture(("one",), "drawn", b"PNG")])
    path = tmp_path / "page.html"
    assert main(_arguments(tmp_path, "--report-html", str(path), "--report-title", "Case 17")) == 0
    page = path.read_text("utf-8")
    assert "<h1>Case 17</h1>" in page
    assert str(tmp_path) not in page
    assert f"written   {path}" in capsys.readouterr().out
    assert main(_arguments(tmp_path, "--report-html", str(path), "--report-names")) == 0
    assert str(tmp_path / "F.nii.gz") in path.read_text("utf-8")


def test_what_cannot_be_drawn_is_refused_before_the_run(tmp_path: Path, calls: list[dict], capsys, monkeypatch) -> None:
    assert main(_arguments(tmp_path, "--report-names")) == 2
    assert "belong to --report-html or --report-pdf" in capsys.readouterr().err
    assert main(_arguments(tmp_path, "--report-html", str(tmp_path / "page.pdf"))) == 2
    assert "use one of .html, .htm" in capsys.readouterr().err
    assert main(_arguments(tmp_path, "--report-pdf", str(tmp_path / "page.html"))) == 2
    assert "use one of .pdf" in capsys.readouterr().err
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for option, name in (("--report-html", "page.html"), ("--report-pdf", "page.pdf")):
        assert main(_arguments(tmp_path, option, str(tmp_path / name))) == 2
        told = capsys.readouterr().err
        assert option in told
        assert "pip install matplotlib" in told
    assert calls == []
    assert not (tmp_path / "page.html").exists()
