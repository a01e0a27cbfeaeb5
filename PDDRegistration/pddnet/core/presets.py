"""Define the presets, the settings of a registration, as one table. Lengths are in mm, equal along all axes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import InputError

INVERSE_TEMPERATURE = 300.0  # the same in every stage, so that features have the same weight in all
_SEMANTIC = 4.0  # weight of the semantic features; that of MIND is 1

DEVICES = ("auto", "cpu", "cuda")  # names of devices; cuda:N is one of several GPUs


@dataclass(frozen=True)
class Stage:
    """Settings of one stage of discrete matching: a lattice of control points, a cube of displacements at each."""

    control_spacing_mm: float  # unused with `control_points_per_axis`: it then follows from the body's size
    capture_range_mm: float  # the largest displacement along each axis
    displacements_per_axis: int
    feature_spacing_mm: float  # voxels of the features that are compared
    smoothness: float  # weight of the diffusion penalty in the instance optimisation
    inverse_temperature: float = INVERSE_TEMPERATURE  # of the softmax: factor on the costs
    iterations: int = 20  # of the instance optimisation
    control_points_per_axis: int | None = None  # as Heinrich 2019 counts them
    both_ways: bool = False  # average with the inverse of the field from moving to fixed
    # Whether features see what lies at the view's end beyond it, too, instead of air. Crops of one patient need it;
    # between two patients it was measured to cost the liver of the sample pair 9 points of Dice.
    extended: bool = False


@dataclass(frozen=True)
class Refinement:
    """Settings of the descent on the feature difference after the last stage, see `matching/refinement.py`."""

    control_spacing_mm: float = 8.0
    smoothness: float = 0.06  # weight of the diffusion penalty on what the descent adds
    iterations: int = 60
    volume: float = 0.0  # weight of the penalty on the volume change of the whole displacement


@dataclass(frozen=True)
class ContrastLevel:
    """Settings of one level of the refinement by local contrast, see `matching/contrast_refinement.py`."""

    spacing_mm: float  # of the voxels that are compared
    control_spacing_mm: float
    window_mm: float  # standard deviation of the window of the local contrast
    iterations: int
    smoothness: float = 1.0  # factor on the weight of the penalty


@dataclass(frozen=True)
class OnePatient:
    """Settings for two scans of one patient, which look alike in detail: they replace the preset's stages.

    The scans count as one patient's where, once aligned, their local correlation (see `matching/resemblance.py`)
    reaches `least_resemblance`; None: they are known to be.
    """

    stages: tuple[Stage, ...]
    levels: tuple[ContrastLevel, ...]
    least_resemblance: float | None = 0.4


@dataclass(frozen=True)
class Preset:
    """Settings of a registration."""

    name: str
    purpose: str
    stages: tuple[Stage, ...]
    refinement: Refinement | None = None  # after the last stage
    one_patient: OnePatient | None = None  # None: two scans of one patient are treated as any other pair
    hu: bool = True  # Hounsfield units; otherwise intensities scaled by their own range
    semantic: float = 0.0  # weight of the semantic features beside MIND; 0: the network is not used
    network_spacings_mm: tuple[float, ...] = (
        3.74,
        4.28,
    )  # voxel sizes at which the network segments; see `semantic_codes`
    mind: bool = True  # False: compare only semantic features or label maps, to measure the contribution of MIND
    working_spacing_mm: float = 4.0  # voxel size for computing features
    affine_fit: bool = True  # to a coarse matching; unnecessary if the first stage has a long capture range
    regularised: bool = True  # min-convolution and mean field over the costs; False to measure their contribution
    field_spacing_mm: float = 4.0  # spacing of the transform's grid

    @property
    def usual_stages(self) -> tuple[Stage, ...]:
        """Return the stages of a run: those for one patient, if the preset is for nothing else."""
        return self.stages or (self.one_patient.stages if self.one_patient else ())


_COARSE = Stage(
    control_spacing_mm=16.0,
    capture_range_mm=40.0,
    displacements_per_axis=11,
    feature_spacing_mm=8.0,
    smoothness=0.005,
    both_ways=True,
)
# only with semantic features: MIND alone mismatches at such large displacements
_FAR = replace(_COARSE, control_spacing_mm=24.0, capture_range_mm=72.0)
_NEAR = replace(_COARSE, capture_range_mm=32.0, displacements_per_axis=9)
_FINE = Stage(
    control_spacing_mm=12.0,
    capture_range_mm=12.0,
    displacements_per_axis=7,
    feature_spacing_mm=8.0,
    smoothness=0.01,
)
_FINE_MIND = replace(_FINE, feature_spacing_mm=4.0)  # without semantic features, finer detail is worth the time
_REFINE_MIND = Refinement(smoothness=0.03, iterations=100)
_QUICK = replace(_COARSE, control_spacing_mm=20.0, both_ways=False)
_PAPER = Stage(
    control_spacing_mm=0.0,
    capture_range_mm=70.0,
    displacements_per_axis=15,
    feature_spacing_mm=4.0,
    smoothness=0.005,
    control_points_per_axis=32,
)
_CONTRAST_LEVELS = (
    ContrastLevel(spacing_mm=4.0, control_spacing_mm=12.0, window_mm=6.0, iterations=6),
    ContrastLevel(spacing_mm=2.0, control_spacing_mm=6.0, window_mm=4.0, iterations=4),
)
# Vessels of the lung and trabecular bone need features of 4 mm.
_BREATHING = replace(_COARSE, extended=True)
_DETAIL = replace(_BREATHING, capture_range_mm=24.0, displacements_per_axis=9, feature_spacing_mm=4.0, smoothness=0.01)
_ONE_PATIENT = OnePatient((_DETAIL,), _CONTRAST_LEVELS)

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "default",
            "CT of one patient or of different patients",
            (_FAR, _NEAR, _FINE),
            refinement=Refinement(volume=24.0),
            one_patient=_ONE_PATIENT,
            semantic=_SEMANTIC,
            affine_fit=False,
        ),
        Preset(
            "followup",
            "one patient at two dates: small motion, in fine detail",
            (),
            one_patient=replace(_ONE_PATIENT, least_resemblance=None),
            semantic=_SEMANTIC,
            affine_fit=False,
        ),
        Preset(
            "breathing",
            "one patient in two phases of breathing: up to 40 mm",
            (),
            one_patient=OnePatient((_BREATHING, _DETAIL), _CONTRAST_LEVELS, least_resemblance=None),
            semantic=_SEMANTIC,
            affine_fit=False,
        ),
        Preset(
            "mind",
            "as default, without the network that names structures",
            (_COARSE, _FINE_MIND),
            _REFINE_MIND,
            one_patient=_ONE_PATIENT,
        ),
        Preset(
            "fast",
            "a first look: one coarse stage, one direction",
            (_QUICK,),
            semantic=_SEMANTIC,
            network_spacings_mm=(4.0,),
        ),
        Preset(
            "paper",
            "the paper's sizes: one stage of 32^3 points, 15^3 displacements",
            (_PAPER,),
            semantic=_SEMANTIC,
        ),
        Preset(
            "multimodal",
            "CT with MR, or MR with MR (experimental)",
            (_COARSE, _FINE_MIND),
            _REFINE_MIND,
            hu=False,
            semantic=_SEMANTIC,
        ),
    )
}


def without_stages(preset: Preset) -> Preset:
    """Return what is left of a preset whose stages do not run: the alignment, from which other methods start."""
    return replace(preset, stages=(), refinement=None, one_patient=None)


def can_be_guided(preset: Preset) -> bool:
    """Tell whether label maps can lead the deformation: not where there is none, or where it follows detail alone."""
    known_to_be_one = preset.one_patient is not None and preset.one_patient.least_resemblance is None
    return bool(preset.stages) and not known_to_be_one


def find_preset(name: str) -> Preset:
    """Look up a preset by its name.

    Raises:
        InputError: there is none.
    """
    if name not in PRESETS:
        raise InputError(f"there is no preset '{name}'; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
