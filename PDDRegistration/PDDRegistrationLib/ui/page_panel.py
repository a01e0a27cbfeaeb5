"""Save a result as a page to hand on (`PagePanel`)."""

from __future__ import annotations

import importlib.util
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..base.files import fileName, writeWhole
from ..base.qt_text import showText
from ..registration.page_job import PageJob, PageSubject
from ..worker.failure import Failure
from .starts import sayingWhyNot

REQUIREMENT = "matplotlib>=3.8"
HTML, PDF = ".html", ".pdf"  # endings; that of the name decides


class PagePanel:
    """Connect the button below the verdict; the page is drawn by the worker, and then written."""

    def __init__(self, ui: Any, logic: Any) -> None:
        """Connect the widgets of PDDRegistration.ui, `ui` by name; logic: has the `worker`."""
        self.ui, self.logic = ui, logic
        self._subject: PageSubject | None = None
        self._job: PageJob | None = None
        self._path = ""
        ui.savePageButton.connect("clicked(bool)", self._onClicked)

    def show(self, subject: PageSubject | None) -> None:
        """Offer the page of a result; None offers none."""
        self._subject = subject
        self.ui.savePageButton.visible = subject is not None

    def cancel(self) -> None:
        """Cancel a page that is being drawn."""
        if self._job is not None and self._job.isRunning:
            self._job.cancel()

    def _onClicked(self, checked: bool = False) -> None:
        if self._subject is None or self._job is not None:
            return
        if self.logic.worker.isBusy:
            showText(self.ui.statusLabel, _("Something else is being computed; save the page when it has ended."))
            return
        if not _matplotlibInstalled():
            return
        name = fileName(self._subject.transform.GetName()) + HTML
        kinds = _("Page, or with .pdf for paper (*.html *.pdf)")  # one: not every dialog changes the name with the kind
        path = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), _("Save the page"), name, kinds)
        if path:
            self.save(path)

    def save(self, path: str) -> None:
        """Draw the page of the offered result, and write it then: as PDF where the name ends so."""
        assert self._subject is not None
        self._path = path
        with self._sayingWhyNot():
            self._start(self._subject, pdf=path.lower().endswith(PDF))

    def _start(self, subject: PageSubject, *, pdf: bool) -> None:
        with slicer.util.WaitCursor():
            job = PageJob(self.logic.worker, subject, self._onFinished, self._onFailed, pdf=pdf)
        if job.isRunning:
            self._job = job
            self.ui.savePageButton.enabled = False
            showText(self.ui.statusLabel, _("Drawing the page"))

    def _onFinished(self, content: bytes) -> None:
        self._end("")  # first, whatever the rest raises
        failure = _("{path}: the page cannot be written ({reason}); choose another folder")
        with self._sayingWhyNot():
            writeWhole(self._path, content, failure)
            showText(self.ui.statusLabel, _("The page is written: {path}").format(path=self._path))

    def _sayingWhyNot(self) -> AbstractContextManager[None]:
        say = partial(showText, self.ui.statusLabel)
        return sayingWhyNot(say, _("The page could not be made; the Python console says why."))

    def _onFailed(self, failure: Failure) -> None:
        self._end(failure.message)

    def _end(self, text: str) -> None:
        self._job = None
        self.ui.savePageButton.enabled = True
        showText(self.ui.statusLabel, text)


def _matplotlibInstalled() -> bool:
    """Return whether matplotlib, which draws the pictures, is installed; offer to install it where it is not."""
    if _found():
        return True
    question = _("The pictures of the page are drawn by matplotlib, which is not installed. Install it now?")
    if not slicer.util.confirmOkCancelDisplay(question):
        return False
    with slicer.util.tryWithErrorDisplay(_("matplotlib could not be installed.")), slicer.util.WaitCursor():
        slicer.util.pip_install(REQUIREMENT)
    return _found()


def _found() -> bool:
    importlib.invalidate_caches()
    return importlib.util.find_spec("matplotlib") is not None
