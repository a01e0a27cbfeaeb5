"""Whether a scan is a CT in HU: recognised, repaired where that is certain, else refused in one sentence."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.samples import FIXED, ball, small_pair
from pddnet import register
from pddnet.core.image import Image
from pddnet.core.intensity import OFFSET_1024, Scale, hu_if_ct, scale_of, shows_air, to_hu
from pddnet.core.presets import PRESETS
from pddnet.errors import InputError
from pddnet.evaluation.transform_quality import jacobian
from pddnet.io.validation import check_volume

SCANS = Path(os.environ.get("PDDNET_DATA", "no such folder")) / "ct"


def _body() -> np.ndarray:
    """Noisy air, a body of fat and muscle, a lung and a bone; int16 HU, padded with -1024 at one side."""
    random, centre = np.random.default_rng(3), FIXED.centre
    hu = random.normal(-995, 8, FIXED.shape)
    for shift, radius, mean in (((0, 0, 0), 26, -100), ((0, 0, 0), 22, 45), ((6, 4, 9), 6, -780), ((-8, 5, 0), 4, 700)):
        inside = ball(FIXED, centre + shift, radius)
        hu[inside] = random.normal(mean, 15, int(inside.sum()))
    hu[:, :, :2] = -1024
    return np.rint(hu).clip(-1024).astype(np.int16)


def _head() -> np.ndarray:
    """A crop of a head: mostly bone, then fat and brain, hardly any air."""
    random = np.random.default_rng(4)
    kinds = random.choice(4, FIXED.shape, p=[0.14, 0.2, 0.65, 0.01])
    means = np.stack([random.uniform(500, 1900, FIXED.shape), *(np.full(FIXED.shape, hu) for hu in (-90.0, 40, -980))])
    return np.rint(np.take_along_axis(means, kinds[None], 0)[0] + random.normal(0, 9, FIXED.shape)).astype(np.int16)


BODY = _body()
Change = Callable[[np.ndarray], np.ndarray]
SCALES: dict[str, tuple[Change, Scale]] = {
    "hu": (lambda hu: hu, Scale.HU),
    "hu with metal": (lambda hu: np.where(ball(FIXED, FIXED.centre, 4), 3071, hu).astype(np.int16), Scale.HU),
    "hu, hardly any air": (lambda hu: _head(), Scale.HU),
    "hu padded far below": (lambda hu: np.where(hu == -1024, -3024, hu).astype(np.int16), Scale.HU),
    "lost intercept": (lambda hu: (hu + 1024).astype(np.uint16), Scale.OFFSET),
    "lost intercept, floats": (lambda hu: hu + np.float32(1024), Scale.OFFSET),
    "lost intercept of -1000": (lambda hu: hu.clip(-1000) + np.int16(1000), Scale.OFFSET),
    "lost intercept, padded far below": (lambda hu: np.where(hu == -1024, -2000, hu + 1024), Scale.OFFSET),
    "inverted": (lambda hu: -hu, Scale.INVERTED),
    "inverted in 12 bits": (lambda hu: (4095 - (hu + 1024)).astype(np.uint16), Scale.INVERTED),
    "0 to 1": (lambda hu: ((hu + 1024.0) / 2000).clip(0, 1), Scale.NORMALISED),
    "z-scores": (lambda hu: (hu - hu.mean()) / hu.std(), Scale.NORMALISED),
    "an 8-bit window": (lambda hu: ((hu + 160.0) / 400).clip(0, 1) * 255, Scale.BYTES),
    "soft tissue only": (lambda hu: np.where(hu < -200, 30, hu).astype(np.int16), Scale.HU_WITHOUT_AIR),
    "a soft-tissue window": (lambda hu: hu.clip(-160, 240), Scale.OTHER),
    "as MR": (lambda hu: np.abs(hu.astype(np.int32) + 1024) * 5 // 7 + 300, Scale.OTHER),
}


@pytest.mark.parametrize("name", SCALES)
def test_every_scale_is_recognised(name: str) -> None:
    change, scale = SCALES[name]
    assert scale_of(change(BODY)) is scale


@pytest.mark.parametrize("name", ["lost intercept", "lost intercept, floats"])
def test_a_lost_intercept_is_put_back_with_a_warning(name: str) -> None:
    stored = SCALES[name][0](BODY)
    before = stored.copy()
    found, warnings = to_hu(Image(stored, FIXED), "scan.nii.gz")
    assert np.array_equal(found.array, BODY)
    assert found.array.dtype == (np.int16 if stored.dtype == np.uint16 else np.float32)
    assert warnings == [
        "scan.nii.gz: the values are HU + 1024 (a lost rescale intercept); 1024 was subtracted to register, "
        "choose the intensity 'hu' if that is wrong"
    ]
    assert np.array_equal(stored, before)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("inverted", r"they are inverted, air is the brightest \(-\d+ to 1024\)"),
        ("0 to 1", r"they were normalised \(0 to 0\.\d+\)"),
        ("z-scores", r"they were normalised \("),
        ("an 8-bit window", r"they are an 8-bit window \(0 to 255\)"),
        ("a soft-tissue window", r"nothing lies below -500 \(-160 to 240\)"),
        ("as MR", "nothing lies below -500"),
    ],
)
def test_what_is_no_hu_is_refused_and_the_repair_offered(name: str, why: str) -> None:
    image = Image(SCALES[name][0](BODY), FIXED)
    with pytest.raises(InputError, match=f"^scan: the values are no HU, {why}.*'multimodal'.*'hu' or 'offset-1024'"):
        to_hu(image, "scan")
    assert to_hu(image, "scan", "hu") == (image, [])


def test_offset_1024_is_subtracted_where_no_air_shows_that_the_scan_is_in_hu() -> None:
    cropped = Image(np.where(BODY < -200, 30, BODY).astype(np.uint16) + np.uint16(1024), FIXED)
    with pytest.raises(InputError, match="nothing lies below -500"):
        to_hu(cropped, "scan")
    found, warnings = to_hu(cropped, "scan", OFFSET_1024)
    assert np.array_equal(found.array.astype(int), cropped.array.astype(int) - 1024)
    assert warnings == ["scan: 1024 was subtracted from every value, as asked for"]
    whole = Image(BODY, FIXED)
    assert to_hu(whole, "scan", OFFSET_1024) == (whole, [])
    with pytest.raises(InputError, match="there is no intensity 'HU'; choose one of auto, hu, offset-1024"):
        to_hu(whole, "scan", "HU")


def test_soft_tissue_alone_counts_as_hu_with_a_warning() -> None:
    image = Image(SCALES["soft tissue only"][0](BODY), FIXED)
    found, warnings = to_hu(image, "scan")
    assert found is image
    assert len(warnings) == 1
    assert warnings[0].startswith("scan: no air is shown, the values lie between -1")


def test_missing_voxels_and_measures_follow_the_same_decision() -> None:
    holed = (BODY + 1024).astype(np.float32)
    holed[9, 9, 9] = np.nan
    assert not shows_air(holed)
    assert check_volume(Image(holed, FIXED), "x")[0].array[9, 9, 9] == 0  # air of this scan, not water
    shift = sitk.TranslationTransform(3, (1.0, 2.0, 3.0))
    stored = Image((BODY + 1024).astype(np.uint16), FIXED)
    assert jacobian(shift, stored) == jacobian(shift, Image(BODY, FIXED))
    assert jacobian(shift, stored)["region"] == "fixed body"
    assert hu_if_ct(Image(SCALES["as MR"][0](BODY), FIXED)) is None


def test_the_same_transform_comes_out_with_and_without_the_intercept() -> None:
    fixed, moving = small_pair()
    plain = register(fixed, moving, PRESETS["mind"])
    stored = Image((moving.array.astype(np.int32) + 1024).astype(np.uint16), moving.grid)
    repaired = register(fixed, stored, PRESETS["mind"])
    assert np.array_equal(plain.field.array, repaired.field.array)
    assert [text for text in repaired.warnings if "1024 was subtracted" in text]
    assert repaired.warp(stored).array.dtype == np.uint16  # the warped scan keeps its own values
    assert repaired.warp(stored).array.min() == stored.array.min()
    with pytest.raises(InputError, match=r"^moving volume: the values are no HU, they were normalised"):
        register(fixed, Image(moving.array / np.float32(1000), moving.grid), PRESETS["mind"])
    with pytest.raises(InputError, match="there is no intensity 'mr'"):
        register(fixed, moving, "multimodal", intensity="mr")


@pytest.mark.slow
@pytest.mark.parametrize("offset", [0, 1024])
def test_real_scans_are_recognised(offset: int) -> None:
    paths = sorted(SCANS.glob("*/ct.nii.gz"))
    if not paths:
        pytest.skip("needs real scans")
    for path in itertools.islice(paths, 6):
        array = sitk.GetArrayFromImage(sitk.ReadImage(str(path))) + np.int16(offset)
        assert scale_of(array) is (Scale.OFFSET if offset else Scale.HU), path
