"""Check whether PyTorch is installed, and offer to install it through the PyTorch extension (`offerTorch`)."""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

from pddnet.errors import TorchMissing

REQUIREMENT = ">=2.1"
WINDOWS_REQUIREMENT = ">=2.1,<2.13"  # 2.13, freshly installed by light-the-torch, does not load there (its issue 176)


def torchRequirement(platform: str = sys.platform) -> str:
    """Return the versions of PyTorch to ask for on a platform, as `sys.platform` names it."""
    return WINDOWS_REQUIREMENT if platform == "win32" else REQUIREMENT


def torchInstalled() -> bool:
    """Return whether PyTorch is installed for the registration process, without importing it into this one."""
    importlib.invalidate_caches()
    return importlib.util.find_spec("torch") is not None


def offerTorch(stopWorker: Callable[[], None], broken: str = "") -> None:
    """Ask whether to install PyTorch, and do so on consent; return at once where it is installed.

    The PyTorch extension chooses the build that suits the computer's GPU or CPU. Nothing is installed without it.

    Args:
        stopWorker: ends the registration process; called before anything is installed, since a process that has
            loaded parts of the old PyTorch would keep its files, and never see the new ones.
        broken: why the registration process cannot load the installed PyTorch, which is then replaced.

    Raises:
        TorchMissing: PyTorch is not installed afterwards; the message tells the user why, and what to do.
    """
    if torchInstalled() and not broken:
        return
    try:
        import PyTorchUtils
    except ImportError as error:
        text = _(
            "The registration needs PyTorch, which is missing or cannot be loaded; install the PyTorch extension in "
            "the Extensions Manager, restart Slicer and press Apply again."
        )
        slicer.util.warningDisplay(text)
        raise TorchMissing(text) from error
    if not slicer.util.confirmOkCancelDisplay(_question(broken)):
        raise TorchMissing(_("The registration needs PyTorch, which was not installed; press Apply to be asked again."))
    stopWorker()
    _install(PyTorchUtils.PyTorchUtilsLogic(), replace=torchInstalled())
    if not torchInstalled():
        raise TorchMissing(_("PyTorch was installed but is not found; restart Slicer and press Apply again."))


def _question(broken: str) -> str:
    download = _(
        "It will be downloaded (some hundred megabytes, with a GPU gigabytes), which takes minutes. Install it now?"
    )
    if broken:
        return _("{reason} It will be removed first.").format(reason=broken) + " " + download
    return _("The registration needs PyTorch, which is not installed.") + " " + download


def _install(extension: Any, replace: bool) -> None:
    """Install PyTorch by its extension's logic, without further questions; pip would keep an installed version."""
    try:
        with slicer.util.WaitCursor():
            if replace:
                extension.uninstallTorch()
            extension.installTorch(askConfirmation=False, torchVersionRequirement=torchRequirement())
    except Exception as error:
        logging.exception("PyTorch could not be installed")
        text = _(
            "PyTorch could not be installed ({reason}); look into the Python console, install it in the module "
            "PyTorch Utils and press Apply again."
        ).format(reason=str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__)
        slicer.util.errorDisplay(text)
        raise TorchMissing(text) from error
