"""Where things lie in the repository, and the environment in which a program of the tests finds them."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
TESTING = REPOSITORY / "Testing"
LIBRARY = REPOSITORY / "PDDRegistration"  # the folder that Slicer has among its module paths
MODULE = LIBRARY / "PDDRegistration.py"
UI = LIBRARY / "Resources" / "UI"
HOST_EXAMPLE = TESTING / "host" / "example" / "HostExample.py"


def environment(*folders: Path, **variables: str) -> dict[str, str]:
    """This process's environment, with these folders and `Testing` where Python looks for modules first."""
    inherited = os.environ.get("PYTHONPATH")
    places = [*map(str, folders), str(TESTING), *([inherited] if inherited else [])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(places), **variables}
