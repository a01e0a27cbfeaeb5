"""Where dialogs that save a file open, what files are called, and where private ones lie."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import numpy as np
import pytest

from helpers import mrml_geometry as mrml
from helpers.mrml_geometry import slicer
from helpers.samples import FIXED
from pddnet.errors import InputError


def volume(path: Path | None, name: str) -> object:
    """A volume that was saved at `path`, or nowhere."""
    node = mrml.add_volume(slicer.mrmlScene, np.zeros(FIXED.shape, np.int16), FIXED, name)
    if path is not None:
        assert slicer.util.saveNode(node, str(path))
    return node


def test_the_first_node_with_a_file_says_where(host, tmp_path: Path):
    from PDDRegistrationLib.scene.file_places import besideFiles

    first, second = tmp_path / "Größe a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
    nodes = [volume(None, "new"), None, volume(first / "x.nrrd", "x"), volume(second / "y.nrrd", "y")]
    assert besideFiles("out.csv", *nodes) == str(first / "out.csv")
    (first / "x.nrrd").unlink()
    first.rmdir()
    assert besideFiles("out.csv", *nodes) == str(second / "out.csv")


@pytest.mark.parametrize("place", ["temporary", "cache", "none"])
def test_nothing_is_suggested_where_files_do_not_stay(host, place: str):
    from PDDRegistrationLib.scene.file_places import besideFiles

    cache = Path(slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory())
    cache.mkdir(exist_ok=True)
    path = {"temporary": host.temporaryPath / "x.nrrd", "cache": cache / "x.nrrd", "none": None}[place]
    assert besideFiles("out.csv", volume(path, "x")) == "out.csv"


def test_a_node_is_called_as_a_file_may_be():
    from PDDRegistrationLib.base.files import fileName

    assert fileName('CT: "a/b" <1>|2?*\\ Größe') == "CT_ _a_b_ _1_2_ Größe"


def test_a_private_folder_sweeps_those_of_the_dead_and_says_where_none_can_be(tmp_path: Path):
    from PDDRegistrationLib.base.files import privateFolder
    from PDDRegistrationLib.scene.scan_files import ScanFiles

    dead = tmp_path / "pddnet-dead"
    dead.mkdir()
    for name in (".owner", "1-0.npy"):
        (dead / name).write_bytes(b"")
    os.utime(dead, (time.time() - 100,) * 2)
    folder = privateFolder(tmp_path)
    assert list(tmp_path.iterdir()) == [folder.path]
    folder.remove()
    text = "the folder for temporary files cannot be used (No such file or directory); free space or choose another"
    with pytest.raises(InputError, match=re.escape(f"{tmp_path / 'missing'}: {text}")):
        ScanFiles(tmp_path / "missing").path("scan.nrrd")
