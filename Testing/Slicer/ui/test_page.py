"""A result saved as a page from the panel: what it shows, what it asks for, and that it leaves the scene alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from helpers import runs
from pddnet.errors import InputError

if TYPE_CHECKING:
    from host.host import Host

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="the launcher is a script")]


@pytest.fixture(scope="module")
def registered(running_host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[runs.Bench]:
    """The module after a run on two small scans with organs."""
    with (
        pytest.MonkeyPatch.context() as patch,
        runs.opened(running_host, tmp_path_factory.mktemp("page"), patch) as bench,
    ):
        assert not bench.ui.savePageButton.visible
        bench.run()
        yield bench


def save(bench: runs.Bench, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Click the button, choose the path, and wait."""
    import qt

    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", staticmethod(lambda *_: str(path)))

    def body() -> None:
        runs.click(bench.ui.savePageButton)
        assert bench.host.waitUntil(lambda: bench.ui.savePageButton.enabled, 60), bench.status

    bench.host.runInEventLoop(body)


def test_the_page_shows_the_result_and_no_name(registered: runs.Bench, tmp_path: Path, monkeypatch) -> None:
    assert registered.ui.savePageButton.visible
    before = runs.fingerprint(registered.nodes["movingVolume"])
    path = tmp_path / "Größe.html"
    save(registered, path, monkeypatch)
    assert registered.status == f"The page is written: {path}"
    page = path.read_text("utf-8")
    assert page.count("data:image/png;base64,iVBOR") == 2
    assert "Expected error (mm)" in page
    for part in ("Verdict: ", "liver", "spleen", "Label maps", "SHA-256 of semantic.npz"):
        assert part in page, part
    assert "Patient" not in page
    assert runs.fingerprint(registered.nodes["movingVolume"]) == before


def test_the_page_for_paper(registered: runs.Bench, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "Größe.PDF"
    save(registered, path, monkeypatch)
    assert registered.status == f"The page is written: {path}"
    page = path.read_bytes()
    assert page.startswith(b"%PDF-")
    assert page.count(b"/Subtype /Image") == 2
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_the_dialog_offers_one_kind_so_that_the_name_alone_decides(registered: runs.Bench, monkeypatch) -> None:
    """A kind of its own for PDF wrote HTML where the dialog left the suggested ending as it was."""
    import qt

    asked: list[tuple] = []
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", staticmethod(lambda *arguments: asked.append(arguments)))
    runs.click(registered.ui.savePageButton)
    ((_window, _title, name, kinds),) = asked
    assert (name.endswith(".html"), kinds) == (True, "Page, or with .pdf for paper (*.html *.pdf)")


def test_a_page_that_cannot_be_written_says_why(registered: runs.Bench, tmp_path: Path, monkeypatch) -> None:
    save(registered, tmp_path / "missing" / "page.html", monkeypatch)
    assert "the page cannot be written" in registered.status
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("consents", [True, False])
def test_matplotlib_is_installed_only_on_request(registered: runs.Bench, tmp_path: Path, monkeypatch, consents) -> None:
    import slicer

    from PDDRegistrationLib.ui import page_panel

    asked: list[str] = []
    installed: list[str] = []
    monkeypatch.setattr(page_panel, "_found", lambda: bool(installed))
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text: asked.append(text) or consents)
    monkeypatch.setattr(slicer.util, "pip_install", installed.append, raising=False)
    path = tmp_path / "page.html"
    save(registered, path, monkeypatch)
    assert "matplotlib" in asked[0]
    assert installed == (["matplotlib>=3.8"] if consents else [])
    assert path.exists() is consents


def test_a_report_of_another_version_offers_no_page(registered: runs.Bench) -> None:
    from PDDRegistrationLib.registration.page_job import PageSubject, pageSubject

    transform = registered.parameters.outputTransform
    assert pageSubject(transform, None, None) is not None
    assert pageSubject(None, None, None) is None
    report = transform.GetAttribute("PDDRegistration.Report")
    try:
        for other in ('{"verdict": {"status": "ok"}}', "[]", ""):
            transform.SetAttribute("PDDRegistration.Report", other)
            assert pageSubject(transform, None, None) is None
        with pytest.raises(InputError, match="carries no report"):
            PageSubject(transform, *registered_volumes(registered)).request()
    finally:
        transform.SetAttribute("PDDRegistration.Report", report)


def registered_volumes(bench: runs.Bench) -> tuple[Any, Any]:
    return bench.nodes["fixedVolume"], bench.nodes["movingVolume"]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (InputError("a folder: cannot be used"), "a folder: cannot be used"),
        (MemoryError(), "The memory of this machine does not suffice; close other programs, or crop the volumes."),
    ],
)
def test_a_page_that_cannot_be_begun_says_why(registered: runs.Bench, tmp_path: Path, monkeypatch, error, text) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("PDDRegistrationLib.registration.page_job.imageFromVolume", fail)
    registered.widget._panel._page.save(str(tmp_path / "page.html"))
    assert (registered.status, registered.ui.savePageButton.enabled) == (text, True)


def test_it_waits_while_something_else_is_computed(registered: runs.Bench, monkeypatch) -> None:
    panel = registered.widget._panel._page
    monkeypatch.setattr(panel, "logic", SimpleNamespace(worker=SimpleNamespace(isBusy=True)))
    runs.click(registered.ui.savePageButton)
    assert "save the page when it has ended" in registered.status
