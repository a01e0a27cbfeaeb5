"""PyTorch in Slicer: whether it is there, and the offer to install it through the PyTorch extension."""

from __future__ import annotations

import importlib.util

import slicer
from slicer.i18n import tr as _

REQUIREMENT = ">=2.1"


def torchInstalled() -> bool:
    """Whether PyTorch is there for the registration process, without importing it into this one."""
    importlib.invalidate_caches()
    return importlib.util.find_spec("torch") is not None


def offerTorch() -> bool:
    """Ask whether to install PyTorch, and do so on consent. Returns whether it is there afterwards.

    The PyTorch extension chooses the build that suits the computer's GPU or CPU. Nothing is installed without it.
    """
    if torchInstalled():
        return True
    try:
        import PyTorchUtils
    except ImportError:
        slicer.util.warningDisplay(
            _(
                "The registration needs PyTorch. Install the PyTorch extension in the Extensions Manager, "
                "restart Slicer and press Apply again."
            )
        )
        return False
    question = _(
        "The registration needs PyTorch, which is not installed. It will be downloaded (some hundred megabytes, "
        "with a GPU gigabytes), which takes minutes. Install it now?"
    )
    if not slicer.util.confirmOkCancelDisplay(question):
        return False
    with slicer.util.WaitCursor():
        PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=False, torchVersionRequirement=REQUIREMENT)
    return torchInstalled()
