"""Which 2-D images the bundled network of axial slices is asked about: slices of a CT that lie as it learned them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from pddnet.cli.main import main
from pddnet.core.image import Image
from pddnet.core.plane import Plane
from pddnet.features.plane_net import BUNDLED_WEIGHTS
from pddnet.io.weights_file import BUNDLED_SHA256
from pddnet.run.plane_network import network_weights
from pddnet.worker.tasks import register


def _slice(across: int = 2, turn: Rotation | None = None, flips: tuple[int, ...] = (), *, ct: bool = True) -> Plane:
    """A slice through a body of 40 HU in air, with some fat and bone, one voxel thick along an axis of space."""
    rng = np.random.default_rng(0)
    j, i = np.mgrid[:80, :96]
    body = ((j - 40) / 30) ** 2 + ((i - 48) / 40) ** 2 < 1
    values = np.where(body, 40.0, -1000.0) + rng.normal(0, 8, body.shape)
    values[body & (((j - 40) / 26) ** 2 + ((i - 48) / 36) ** 2 > 1)] = -100
    values[(np.abs(j - 60) < 4) & (np.abs(i - 48) < 4)] = 500
    if not ct:
        values = (values + 1000) / 1500
    volume = sitk.GetImageFromArray(np.expand_dims(values, 2 - across))
    direction = np.eye(3) if turn is None else turn.as_matrix()
    for axis in flips:
        direction[:, axis] *= -1
    volume.SetDirection(direction.ravel().tolist())
    return Plane.from_sitk(volume)


def _volume(plane: Plane) -> Image:
    return Image.from_sitk(plane.as_stored())


def _turned(axis: str, degrees: float) -> Rotation:
    return Rotation.from_euler(axis, degrees, degrees=True)


@pytest.mark.parametrize(
    ("plane", "asked"),
    [
        (_slice(), True),
        (_slice(flips=(0,)), True),  # stored from the left to the right
        (_slice(flips=(0, 1)), True),
        (_slice(turn=_turned("x", 20)), True),  # a tilted gantry
        (_slice(turn=_turned("z", -20)), True),
        (_slice(turn=_turned("x", 40)), False),
        (_slice(turn=_turned("z", 40)), False),
        (_slice(turn=_turned("y", 20), flips=(0,)), False),  # its own axes count, and they run to the right
        (_slice(across=1), False),  # coronal
        (_slice(across=0), False),
        (_slice(ct=False), False),
        (Plane(_slice().image), False),  # 2-D by itself
    ],
)
def test_the_bundled_network_is_asked_about_axial_slices_of_a_ct(plane: Plane, asked: bool) -> None:
    axial = _slice()
    expected = BUNDLED_WEIGHTS if asked else None
    assert network_weights(axial, plane) == network_weights(plane, axial) == expected
    own = Path("mine.npz")
    assert network_weights(axial, plane, own) == own


@pytest.mark.parametrize(("ct", "used"), [(True, {"plane.npz": BUNDLED_SHA256["plane.npz"]}), (False, {})])
def test_the_report_of_two_slices_names_the_network_that_took_part(ct: bool, used: dict[str, str]) -> None:
    scan = _volume(_slice(ct=ct))
    report = register(lambda fraction, stage: None, fixed=scan, moving=scan)["report"]
    assert report["dimension"] == 2
    assert report["weights"] == used


def test_the_command_uses_it_too_and_a_sequence_of_slices(tmp_path: Path) -> None:
    scan, t, r = (str(tmp_path / name) for name in ("ct.nii.gz", "t.h5", "r.json"))
    sitk.WriteImage(_slice().as_stored(), scan)
    assert main(["register", "--fixed", scan, "--moving", scan, "--output-transform", t, "--report", r]) == 0
    assert set(json.loads(Path(r).read_text("utf-8"))["weights"]) == {"plane.npz"}
    frames = ["sequence", "--frames", scan, scan, "--reference", "0", "--out", str(tmp_path / "out")]
    assert main(frames) == 0
    frame = json.loads((tmp_path / "out" / "frame_001.json").read_text("utf-8"))
    assert set(frame["weights"]) == {"plane.npz"}
