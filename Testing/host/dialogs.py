"""Answering modal dialogs in a test: they block the caller until someone does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import qt

INTERVAL = 20  # ms between looks for a dialog


@contextmanager
def answer(accept: bool) -> Iterator[list[str]]:
    """Accept or reject every modal dialog meanwhile; yields the list of their texts, which grows."""
    texts: list[str] = []
    timer = qt.QTimer()
    timer.timeout.connect(lambda: _answer_one(accept, texts))
    timer.start(INTERVAL)
    try:
        yield texts
    finally:
        timer.stop()


def _answer_one(accept: bool, texts: list[str]) -> None:
    dialog = qt.QApplication.activeModalWidget()
    if dialog is None:
        return
    texts.append(getattr(dialog, "text", "") or getattr(dialog, "labelText", "") or dialog.windowTitle)
    buttons = dialog.findChildren(qt.QPushButton)
    wanted = (
        (qt.QMessageBox.AcceptRole, qt.QMessageBox.YesRole)
        if accept
        else (
            qt.QMessageBox.RejectRole,
            qt.QMessageBox.NoRole,
        )
    )
    if hasattr(dialog, "buttonRole"):
        for button in buttons:
            if dialog.buttonRole(button) in wanted:
                button.click()
                return
    (dialog.accept if accept else dialog.reject)()
