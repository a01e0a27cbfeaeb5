"""Connect PDD Registration to Slicer: convert nodes for pddnet, run the registration process, drive the panels."""

import sys
from pathlib import Path

_FOLDER = str(Path(__file__).resolve().parent.parent)
if sys.path[:1] != [_FOLDER]:
    sys.path.insert(0, _FOLDER)  # Slicer appends module folders, so that a pddnet installed with pip would win
