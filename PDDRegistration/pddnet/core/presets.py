"""Every preset as data: one table. All lengths in millimetres, equal along all axes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import InputError

SHARPNESS = 300.0  # of every stage, so that features weigh the same in all
_CODES = 4.0  # weight of the learned structures

DEVICES = ("auto", "cpu", "cuda")  # names that may be asked for; cuda:N names one of several GPUs


@dataclass(frozen=True)
class Stage:
    """One discrete matching step, from a control grid and a set of displacements."""

    control: float  # mm between control points; with `points` set it follows from the body's size instead
    reach: float  # mm, the largest displacement along each axis
    steps: int  # displacements per axis
    features: float  # mm, voxels of the features that are compared
    sharpness: float  # of the softmax: factor on the costs
    smoothness: float  # weight of the diffusion penalty in the instance optimisation
    iterations: int = 20  # of the instance optimisation
    points: int | None = None  # control points per axis, as the paper counts them
    both_ways: bool = False  # average with the inverse of the opposite direction


@dataclass(frozen=True)
class Refinement:
    """The descent after the matching, see `refinement.py`."""

    control: float = 8.0  # mm between control points
    smoothness: float = 0.06  # weight of the diffusion penalty
    iterations: int = 60


@dataclass(frozen=True)
class Preset:
    """What a registration run uses."""

    name: str
    purpose: str
    stages: tuple[Stage, ...]
    refinement: Refinement | None = None  # after the last stage
    hu: bool = True  # Hounsfield units; otherwise intensities scaled by their own range
    semantic: float = 0.0  # weight of the learned structures beside MIND; 0: the network is not used
    scales: tuple[float, ...] = (3.74, 4.28)  # mm, voxels in which the network sees the scans; see `semantic.named`
    mind: bool = True  # False: only what networks, or label maps, tell; to see their worth
    working: float = 4.0  # mm, voxels in which the features are computed
    affine_fit: bool = True  # after the alignment, to a coarse matching; a first stage that looks far makes it needless
    regularised: bool = True  # min-convolution and mean field over the costs; without them only to see their worth
    field: float = 4.0  # mm, spacing of the transform's grid
    fitted_risk: bool = False  # whether the verdict's risk was fitted to runs with these stages


_COARSE = Stage(control=16.0, reach=40.0, steps=11, features=8.0, sharpness=SHARPNESS, smoothness=0.005, both_ways=True)
_FAR = replace(_COARSE, control=24.0, reach=72.0, steps=11)  # so far codes of structures still lead, MIND does not
_NEAR = replace(_COARSE, reach=32.0, steps=9)
_FINE = Stage(control=12.0, reach=12.0, steps=7, features=8.0, sharpness=SHARPNESS, smoothness=0.01)
_FINE_MIND = replace(_FINE, features=4.0)  # without codes of structures, detail is worth its time
_REFINE_MIND = Refinement(smoothness=0.03, iterations=100)
_QUICK = Stage(control=20.0, reach=40.0, steps=11, features=8.0, sharpness=SHARPNESS, smoothness=0.005)
_PAPER = Stage(control=0.0, reach=70.0, steps=15, features=4.0, sharpness=SHARPNESS, smoothness=0.005, points=32)

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "default",
            "CT of one patient or of different patients",
            (_FAR, _NEAR, _FINE),
            refinement=Refinement(),
            semantic=_CODES,
            affine_fit=False,
            fitted_risk=True,
        ),
        Preset(
            "mind",
            "as default, without the network that names structures",
            (_COARSE, _FINE_MIND),
            _REFINE_MIND,
        ),
        Preset("fast", "a first look: one coarse stage, one direction", (_QUICK,), semantic=_CODES, scales=(4.0,)),
        Preset("paper", "the paper's sizes: one stage of 32^3 points, 15^3 displacements", (_PAPER,), semantic=_CODES),
        Preset(
            "multimodal",
            "scans of different kinds (untested for lack of data)",
            (_COARSE, _FINE_MIND),
            _REFINE_MIND,
            hu=False,
        ),
    )
}


def find_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        InputError: there is none.
    """
    if name not in PRESETS:
        raise InputError(f"there is no preset '{name}'; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
