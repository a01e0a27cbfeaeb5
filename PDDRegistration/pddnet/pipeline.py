"""Check the inputs, and run the registration on a device that has memory for it: `register`."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from . import tensor  # noqa: F401  raises `TorchMissing` where torch cannot be loaded
from .core.image import Image
from .core.intensity import AUTO, check_intensity, hu_if_ct, to_hu
from .core.linear import DEFORMABLE, check_transform_type
from .core.memo import Memo
from .core.presets import Preset, can_be_guided, find_preset, without_stages
from .core.result import Progress, Registration
from .core.turn import turned_back
from .errors import InputError
from .io.validation import check_volume
from .io.weights_file import PDD, SEMANTIC, read_weights, reads_hu
from .matching.feature_types import FeatureScans, FeatureSettings
from .matching.job import Job
from .matching.job_run import Run
from .matching.orientation import (
    AS_STATED,
    FindOrientation,
    Orientation,
    find_mirrored,
    find_orientation,
    is_in_doubt,
    mirrored_gain,
    sure_ml,
)
from .matching.progress import Ticker
from .matching.verdict import failed_by, resemble_in_detail, similarity_fell
from .networks.base import load
from .networks.registry import check_run
from .tensor.device import choose_device, free_memory
from .tensor.execution import Work
from .tensor.scan import Scan, inside

if TYPE_CHECKING:
    import torch

STEP_MM = 5.0  # over which the Jacobian of an initial transform is measured
UNNAMED = "with the structures that the network names the scans became less similar; they were left out"
ONLY_START = (
    "the label maps could help to find the start only: linear transforms and the presets for one patient follow the "
    "scans themselves"
)
NO_CT = "no CT, and the verdict was fitted on CT; look at the result"
SMALLER_PIECES = 1 << 22  # values to compute at once on a GPU that ran out of memory


def register(
    fixed: Image,
    moving: Image,
    preset: Preset | str = "default",
    *,
    transform_type: str = DEFORMABLE,
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
    fixed_labels: Image | None = None,
    moving_labels: Image | None = None,
    initial_transform: sitk.Transform | None = None,
    align: bool = True,
    diffeomorphic: bool = False,
    intensity: str = AUTO,
    device: str = "auto",
    weights: Path | None = None,
    network: str | None = None,
    progress: Progress | None = None,
    kept: Memo | None = None,
) -> Registration:
    """Find the transform that aligns the moving scan with the fixed one.

    Args:
        fixed, moving: any geometry; Hounsfield units unless the preset says otherwise. Not changed.
        preset: a preset or its name.
        transform_type: deformable, rigid, similarity or affine; all but the first are linear, without the stages.
        fixed_mask, moving_mask: where each scan may be trusted (nonzero), on any grid.
        fixed_labels, moving_labels: label maps that guide the matching; pass them only for that purpose.
        initial_transform: fixed to moving points (LPS mm); it replaces the alignment.
        align: whether to search for the alignment when no initial transform is given.
        diffeomorphic: whether the deformation before the affine map is to be the exponential of a stationary velocity
            field (Arsigny et al. 2006), whose negative gives the inverse; without effect on a linear transform.
        intensity: what the values of the scans are, for a preset for CT: auto, hu or offset-1024; see
            `core.intensity.to_hu`.
        device: auto, cpu or cuda. A GPU that runs out of memory is tried once more in smaller pieces, then the CPU.
        weights: file with weights of your own training. Those of the segmentation network replace the bundled ones, if
            the preset uses it; those of pdd-net add its features to the ones that the preset compares.
        network: name of a network of `networks.registry` that predicts the deformation, in place of the preset's
            stages; `weights` are then its own.
        progress: called with (fraction, stage) at least once a second of work; it may raise `Cancelled`.
        kept: give the same one to runs after each other: what they compute of the same fixed scan is computed once.

    Raises:
        InputError: an input or setting cannot be used.
        Cancelled: the callback asked for it.
        MemoryError: neither the GPU nor the CPU has enough memory.
    """
    preset = find_preset(preset) if isinstance(preset, str) else preset
    check_transform_type(transform_type)
    path = None if network is None else check_run(network, weights, preset, transform_type)
    if transform_type != DEFORMABLE:
        preset = without_stages(preset)
    elif network is not None:  # it is affine, as the scans of the papers were registered before
        preset = dataclasses.replace(without_stages(preset), affine_fit=True)
    fixed, moving, warnings = _checked_scans(fixed, moving, preset, check_intensity(intensity))
    _check_mask(fixed_mask, fixed, "fixed mask")
    _check_mask(moving_mask, moving, "moving mask")
    _check_start(initial_transform, fixed)
    chosen = choose_device(device)
    semantic_weights, pdd_weights = _by_kind(None if network else weights, preset)
    predicting = None if path is None or network is None else load(network, path, chosen)
    features = FeatureSettings(preset, fixed_labels, moving_labels, semantic_weights, pdd_weights)
    if features.guided and not can_be_guided(preset):
        warnings.append(ONLY_START)
    masks = fixed_mask, moving_mask
    start = initial_transform, align
    kept = Memo() if kept is None else kept
    job = Job(
        fixed, moving, preset, transform_type, *masks, *start, diffeomorphic, features, network=predicting, kept=kept
    )  # fmt: skip
    return _run_in_memory(job, chosen, progress, warnings)


def _checked_scans(fixed: Image, moving: Image, preset: Preset, intensity: str) -> tuple[Image, Image, list[str]]:
    """Check both scans, and bring each CT to HU; return them with the warnings.

    Raises:
        InputError: one of them cannot be registered, or is no CT where the preset is for CT.
    """
    smallest = max((stage.control_spacing_mm for stage in preset.usual_stages), default=preset.field_spacing_mm)
    scans, warnings, others = [], list[str](), list[str]()
    for scan, name in ((fixed, "fixed volume"), (moving, "moving volume")):
        image, said = check_volume(scan, name, smallest=smallest)
        warnings += said
        if preset.hu:
            image, said = to_hu(image, name, intensity)
            warnings += said
        elif (ct := hu_if_ct(image)) is not None:
            image = ct
        else:
            others.append(name)
        scans.append(image)
    if others:
        warnings.append(f"{' and '.join(others)}: {NO_CT}")
    return scans[0], scans[1], warnings


def _check_mask(mask: Image | None, scan: Image, name: str) -> None:
    """Raise InputError if a mask trusts nothing of its scan."""
    if mask is not None and not inside(mask, scan.grid).any():
        raise InputError(f"{name}: the mask is empty inside the scan; draw it again or leave it out")


def _check_start(transform: sitk.Transform | None, fixed: Image) -> None:
    """Raise InputError if an initial transform mirrors, or has no inverse, in the middle of the fixed scan."""
    if transform is None:
        return
    middle = fixed.grid.centre
    at, *ends = (np.array(transform.TransformPoint(p.tolist())) for p in (middle, *(middle + STEP_MM * np.eye(3))))
    determinant = float(np.linalg.det((np.array(ends) - at) / STEP_MM))
    if determinant <= 0:
        raise InputError(
            f"initial transform: it mirrors or folds space (Jacobian determinant {determinant:.2f} in the middle of "
            "the fixed volume); leave it out, or use one that does not"
        )


def _by_kind(weights: Path | None, preset: Preset) -> tuple[Path | None, Path | None]:
    """Return the weights file as (segmentation network, pdd-net), with None for the network it is not for."""
    if weights is None:
        return None, None
    metadata = read_weights(weights, SEMANTIC, PDD)[1]
    if metadata["kind"] == PDD:
        if not preset.hu:
            raise InputError(f"{weights}: its features are of CT, which the preset '{preset.name}' is not for")
        return None, weights
    if preset.hu and not reads_hu(metadata):
        raise InputError(f"{weights}: this network reads MR, which the preset '{preset.name}' is not for")
    return weights, None


def _run_in_memory(job: Job, device: torch.device, progress: Progress | None, warnings: list[str]) -> Registration:
    """Run the job; on a GPU without enough memory once more in smaller pieces, then on the CPU."""
    ticker = Ticker(progress, job.expected_shares())  # one for all attempts: it never goes back
    attempts = [(device, Work(), "")]
    if device.type == "cuda":
        attempts.append((device, Work(gpu_values=SMALLER_PIECES), "tried again in smaller pieces"))
        attempts.append((choose_device("cpu"), Work(), "went on with the CPU"))
    for place, work, retry in attempts:
        if retry:
            # not in the `except` block, where the traceback of the failed attempt still holds its tensors
            free_memory(device)
            warnings = [*warnings, f"the GPU ran out of memory; {retry}"]
        try:
            return _run(job, place, work, ticker, tuple(warnings))
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
    raise MemoryError("not enough memory for this registration; close other programs or use the preset 'fast'")


def _is_out_of_memory(error: RuntimeError) -> bool:
    text = str(error)
    return any(sign in text for sign in ("out of memory", "ALLOC_FAILED", "can't allocate memory"))


def _run(job: Job, device: torch.device, work: Work, ticker: Ticker, warnings: tuple[str, ...]) -> Registration:
    """Run a job on one device; once more with turned scans if it went wrong, and their content lies otherwise."""
    work = dataclasses.replace(work, tick=ticker.tick)
    ticker.stage("prepare")
    scans = job.featured(device, work, ticker.stage)
    result = Run(job, *scans, device, work, ticker, warnings).run()
    if job.preset.semantic and not job.preset.hu and similarity_fell(result.verdict.measures):
        ticker.stage("structures")
        plain = job.without_structures()
        scans = plain.featured(device, work, lambda stage: None)
        return _more_similar(result, Run(plain, *scans, device, work, ticker, (*warnings, UNNAMED)).run())
    if resemble_in_detail(result.verdict.measures):
        return result  # scans of which one is mirrored or turned would not resemble each other in detail
    ticker.stage("finish")
    find = find_mirrored if result.verdict.status == "ok" else find_orientation
    found = _orientations(job, scans[1], find, device, work)
    if any(each.turned for each in found):
        turns = found[0].turn(job.fixed), found[1].turn(job.moving)
        upright = job.turned(*turns)
        scans = upright.featured(device, work, lambda stage: None)
        result = turned_back(Run(upright, *scans, device, work, ticker, warnings).run(), *turns)
    ticker.close()
    return _remarked(result, *found)


def _more_similar(one: Registration, other: Registration) -> Registration:
    """Return the result that makes the scans more similar."""
    similarity = [each.verdict.measures["similarity"] for each in (one, other)]
    return one if similarity[0] >= similarity[1] else other


def _orientations(
    job: Job, features: FeatureScans, find: FindOrientation, device: torch.device, work: Work
) -> tuple[Orientation, Orientation]:
    """Find how the content of both scans lies; as stated where the start is given, or the network is sure."""
    weights, preset = job.features.semantic_weights, job.preset
    named_ml_of = partial(sure_ml, weights=weights, preset=preset, device=device, work=work)
    given = job.initial_transform is not None or not job.align or not preset.hu

    def found(image: Image, scan: Scan, mask: Image | None) -> Orientation:
        if given or scan.named is None or not is_in_doubt(scan.named):
            return AS_STATED
        as_stated_ml = scan.named.sure_ml if mask is None else named_ml_of(image)  # a mask hides what is named
        return find(image, as_stated_ml, named_ml_of, mirrored_gain(scan.named))

    fixed, moving = features.scans
    return found(job.fixed, fixed, job.fixed_mask), found(job.moving, moving, job.moving_mask)


def _remarked(result: Registration, fixed: Orientation, moving: Orientation) -> Registration:
    """Say how the content of the scans lies; two that are mirrored alike can be registered all the same."""
    warnings, faults = list(result.warnings), list[str]()
    alike = fixed.mirrored and fixed.words == moving.words
    for name, found in (("fixed", fixed), ("moving", moving)):
        if found.turned:
            warnings.append(f"{name} volume: its content is {found.words}; it was turned for the registration")
        elif found.mirrored:
            said = warnings if alike else faults
            said.append(f"{name} volume: its content looks {found.words}; check how the file was made")
    return dataclasses.replace(result, warnings=tuple(warnings), verdict=failed_by(result.verdict, faults))
