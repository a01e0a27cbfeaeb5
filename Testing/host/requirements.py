"""What the host needs, and what of it is missing here. Imports nothing that could be missing.

As a program (`make system-deps`): installs the libraries for rendering if it may, and says what stays untested if not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache

PACKAGES = ("libegl1", "libgl1-mesa-dri", "libglx-mesa0")
PROBE = """
import sys
from PySide6 import QtUiTools, QtWidgets
import slicer
from vtk import vtkRenderWindow
window = vtkRenderWindow()
window.SetOffScreenRendering(1)
window.Render()
sys.exit(0 if window.SupportsOpenGL() else "OpenGL cannot be used here")
"""


def environment(screen: bool = False) -> dict[str, str]:
    """The variables with which Qt and VTK work without a screen; those that are set already are kept."""
    needed = {} if screen else {"QT_QPA_PLATFORM": "offscreen"}
    if sys.platform == "linux" and "DISPLAY" not in os.environ:
        needed["VTK_DEFAULT_OPENGL_WINDOW"] = "vtkEGLRenderWindow"
    return needed | {name: value for name, value in os.environ.items() if name in needed}


@cache
def missing() -> str:
    """Why the host cannot start, in one line; empty if it can. Tried in another process: a failure may be a crash."""
    arguments = [sys.executable, "-c", PROBE]
    probe = subprocess.run(arguments, capture_output=True, text=True, env=os.environ | environment(), timeout=300)
    if probe.returncode == 0:
        return ""
    lines = probe.stderr.strip().splitlines() or [f"the probe ended with code {probe.returncode}"]
    return f"{lines[-1]} (needed: PySide6-Essentials, slicer-core; on Linux also {', '.join(PACKAGES)})"


def _absent() -> list[str]:
    """The packages that this Debian or Ubuntu lacks; none elsewhere."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-query")):
        return []
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}"]
    states = {name: subprocess.run([*query, name], capture_output=True, text=True).stdout for name in PACKAGES}
    return [name for name, state in states.items() if state != "installed"]


def _install(packages: list[str]) -> None:
    """With apt-get, as root or by a sudo that asks for no password; without either nothing happens."""
    root = os.geteuid() == 0
    if not root and (
        not shutil.which("sudo") or subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode
    ):
        return
    rights = [] if root else ["sudo", "-n"]
    subprocess.run([*rights, "apt-get", "update", "-qq"], check=False)
    subprocess.run([*rights, "apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], check=False)


if __name__ == "__main__":
    if absent := _absent():
        _install(absent)
    if reason := missing():
        print(f"Left out: the tests in Testing/Slicer that need a window. {reason}")
        print(f"To have them, install: {' '.join(_absent()) or 'what the line above names'}")
