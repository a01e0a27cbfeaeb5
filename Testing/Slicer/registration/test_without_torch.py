"""What works where PyTorch is not installed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from helpers import runs, samples
from helpers.worker_programs import answer_to

if TYPE_CHECKING:
    from host.host import Host


pytestmark = pytest.mark.skipif(os.name != "posix", reason="the launcher is a script")


@pytest.mark.slow
def test_the_rest_works_without_torch(
    host: Host,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Import, panel, sample data, conversions in this process, measuring and warping in the other; torch in neither."""
    (tmp_path / "torch.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "torch", None)
    with runs.fresh_library(), runs.opened(host, tmp_path, monkeypatch) as bench:
        import slicer

        from PDDRegistrationLib.scene.segmentations import labelsFromSegmentation
        from PDDRegistrationLib.scene.transforms import fieldFromGridTransform, gridTransformFromField
        from PDDRegistrationLib.scene.volumes import imageFromVolume

        assert bench.ui.applyButton.enabled
        pair = bench.widget.logic.loadSamplePair()
        assert pair["movingSegmentation"].GetSegmentation().GetNumberOfSegments() > 10
        fixed = imageFromVolume(bench.nodes["fixedVolume"])
        labels = [labelsFromSegmentation(bench.nodes[f"{side}Segmentation"]).images[0] for side in ("fixed", "moving")]
        shift = samples.fake_register()(samples.ramp(samples.FIXED), None).field
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode")
        gridTransformFromField(shift, node)
        field = fieldFromGridTransform(node)
        assert np.allclose(field.array[2, 3, 4], samples.SHIFT)
        request = {
            "do": "evaluate",
            "transform": field,
            "labels": {"organs": {"fixed": labels[0], "moving": labels[1]}},
        }
        table = answer_to(bench.worker, request)["evaluation"]["organs"]["table"]
        for row, (before, after) in zip(table, ((0.5, 0.9), (0.1, 0.7)), strict=True):  # a ball of 18 mm, one of 7 mm
            assert row["dice_before"] < before
            assert row["dice_after"] > after
        moving = imageFromVolume(bench.nodes["movingVolume"])
        warped = answer_to(
            bench.worker, {"do": "warp", "transform": field, "grid": fixed.grid, "images": {"m": moving}}
        )
        inside = samples.ball(samples.FIXED, samples.FIXED.centre, 15.0)
        found = warped["warped"]["m"].array[inside].astype(float)
        assert np.corrcoef(found, fixed.array[inside])[0, 1] > 0.5
        bench.host.processEvents()
        assert sys.modules["torch"] is None
