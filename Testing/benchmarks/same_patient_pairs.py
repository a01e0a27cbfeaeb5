"""List the pairs of one patient at two dates that `same_patient.py` registers, as one table."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.splits import splits

Box = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]

WHOLE, LUNG = "whole", "lung"
IDENTICAL = "identical"
EVERYTHING: Box = ((0.0, 1.0), (0.0, 1.0), (0.0, 1.0))


@dataclass(frozen=True, kw_only=True)
class SamePatient:
    """A pair made from one scan: what the second date changes. Lengths in mm, intensities in HU."""

    scan: str
    kind: str = WHOLE  # whole, lung (one lung, found by its air), or the name of the part in `box`
    side: str = "right"  # of the lung, the patient's
    box: Box = EVERYTHING  # part of the body's box that both scans show, as shares along x, y, z (LPS)
    amplitude_mm: float = 12.0  # of the breathing at the diaphragm
    random_mm: float = 3.0  # largest component of the random smooth motion
    sliding: bool = False  # organs move along the body wall, which stays
    degrees: float = 0.0  # turn of the patient on the table
    shift_mm: tuple[float, float, float] = (-8.0, -12.0, 35.0)
    slice_mm: float = 0.0  # thickness of the moving scan's slices; 0: as the scan's
    pixel_mm: float = 0.0  # of the moving scan; 0: as the scan's
    noise_hu: float = 20.0
    blur_mm: float = 0.0  # of another reconstruction kernel; below 0 it sharpens
    contrast: bool = False  # another contrast phase
    lesion_mm: float = 0.0  # radius of a ball of the fixed scan that is filled with water in the moving one
    seed: int = 5

    @property
    def key(self) -> str:
        """The name of the pair in tables and files."""
        parts = [self.scan, self.kind if self.kind != LUNG else f"{self.side} lung"]
        if self.identical:
            return " ".join([*parts, IDENTICAL])
        parts.append(f"{self.amplitude_mm:g} mm")
        switches = {
            "sliding": self.sliding, f"{self.degrees:g} deg": self.degrees, f"slices {self.slice_mm:g}": self.slice_mm,
            f"pixels {self.pixel_mm:g}": self.pixel_mm, "contrast": self.contrast, "lesion": self.lesion_mm,
            "smooth": self.blur_mm > 0, "sharp": self.blur_mm < 0,
        }  # fmt: skip
        return " ".join([*parts, *(name for name, on in switches.items() if on)])

    @property
    def identical(self) -> bool:
        """Whether the second scan is the first."""
        return not (self.moves or self.noise_hu)

    @property
    def whole(self) -> bool:
        """Whether both scans show all of the scan they are made from."""
        return self.kind == WHOLE

    @property
    def moves(self) -> bool:
        """Whether anything moves between the scans."""
        return bool(self.amplitude_mm or self.random_mm or self.degrees or any(self.shift_mm))

    @property
    def held_back(self) -> bool:
        """Whether its scan is held back from every choice."""
        return self.scan in held_back_scans()


def held_back_scans() -> set[str]:
    """Return the scans that choose nothing for pairs of one patient."""
    return set(splits("same_patient")["held_back"])


_P = SamePatient
_STILL = {"amplitude_mm": 0.0, "random_mm": 0.0, "shift_mm": (0.0, 0.0, 0.0)}

PAIRS: tuple[SamePatient, ...] = (
    # whole trunks
    _P(scan="lidc_0001", amplitude_mm=12),
    _P(scan="lidc_0002", amplitude_mm=20, sliding=True, blur_mm=-0.7),
    _P(scan="lidc_0004", amplitude_mm=25, sliding=True, degrees=4),
    _P(scan="lidc_0005", amplitude_mm=6, contrast=True, noise_hu=30),
    _P(scan="acrin_nsclc_042", amplitude_mm=15, sliding=True),
    _P(scan="cptac_pda_C3N-00249_chest", amplitude_mm=18, slice_mm=5, contrast=True),
    _P(scan="acrin_flt_breast_001", amplitude_mm=10, noise_hu=30),
    _P(scan="cort_liver", amplitude_mm=20, sliding=True, contrast=True),
    _P(scan="ts_example", amplitude_mm=12, degrees=5, contrast=True),
    _P(scan="crlm_1004", amplitude_mm=15, lesion_mm=18),
    _P(scan="tcga_ov_09-2043", amplitude_mm=8),
    _P(scan="tcga_BC-A10X", amplitude_mm=10),
    _P(scan="ts_s0009", amplitude_mm=6, slice_mm=5),
    _P(scan="ts_s0002", amplitude_mm=0, degrees=8),
    _P(scan="lidc_0002", **_STILL, noise_hu=0),
    _P(scan="acrin_flt_breast_001", **_STILL, noise_hu=15, seed=6),
    # crops
    _P(scan="lidc_0002", kind=LUNG, amplitude_mm=12),
    _P(scan="lidc_0001", kind=LUNG, side="left", amplitude_mm=20, sliding=True, pixel_mm=1.4, slice_mm=2.5),
    _P(scan="lidc_0004", kind=LUNG, amplitude_mm=25, sliding=True, blur_mm=-0.7),
    _P(scan="lidc_0005", kind=LUNG, amplitude_mm=4, lesion_mm=12, noise_hu=40),
    _P(scan="acrin_nsclc_042", kind=LUNG, amplitude_mm=15, slice_mm=5),
    _P(scan="cptac_pda_C3N-00249_chest", kind=LUNG, side="left", amplitude_mm=10),
    _P(scan="lidc_0001", kind=LUNG, **_STILL, noise_hu=20, seed=7),
    _P(scan="cort_liver", kind="liver", box=((0.08, 0.62), (0.1, 0.9), (0.4, 0.85)), amplitude_mm=15),
    _P(scan="crlm_1004", kind="liver", box=((0.08, 0.65), (0.1, 0.9), (0.2, 0.95)), amplitude_mm=12, contrast=True),
    _P(scan="acrin_flt_breast_001", kind="hip", box=((0.05, 0.5), (0.15, 0.95), (0, 0.35)), amplitude_mm=0, degrees=6),
    _P(scan="ts_example", kind="hip", box=((0.5, 0.97), (0.1, 0.95), (0.0, 0.4)), amplitude_mm=0, degrees=4),
    _P(scan="ts_example", kind="slab", box=((0, 1), (0, 1), (0.55, 0.7)), amplitude_mm=6),
    _P(scan="lidc_0004", kind="slab", box=((0, 1), (0, 1), (0.45, 0.6)), amplitude_mm=12),
    _P(scan="ts_s0009", kind="vertebra", box=((0.25, 0.75), (0.4, 0.95), (0.55, 0.85)), amplitude_mm=0, degrees=5),
    _P(scan="cort_liver", kind="vertebra", box=((0.35, 0.65), (0.5, 0.95), (0.3, 0.55)), amplitude_mm=4, degrees=3),
    # held back
    _P(scan="actc_3105759107", amplitude_mm=12),
    _P(scan="lungx_CT004", amplitude_mm=20, sliding=True, contrast=True),
    _P(scan="lidc_0003", amplitude_mm=25, sliding=True, degrees=4),
    _P(scan="lidc_0314", amplitude_mm=8, slice_mm=5),
    _P(scan="cptac_C3L-00189", amplitude_mm=12, lesion_mm=15),
    _P(scan="crlm_1006", amplitude_mm=15, blur_mm=0.8),
    _P(scan="ts_s0003", amplitude_mm=0, degrees=8),
    _P(scan="actc_3105759107", **_STILL, noise_hu=15, seed=8),
    _P(scan="lungx_CT004", kind=LUNG, amplitude_mm=12),
    _P(scan="lidc_0003", kind=LUNG, side="left", amplitude_mm=20, sliding=True, pixel_mm=1.4, slice_mm=2.5),
    _P(scan="lidc_0314", kind=LUNG, side="left", amplitude_mm=15, lesion_mm=12),
    _P(scan="crlm_1006", kind="liver", box=((0.08, 0.65), (0.1, 0.9), (0.2, 0.95)), amplitude_mm=15, contrast=True),
    _P(scan="actc_3105759107", kind="hip", box=((0.05, 0.5), (0.15, 0.95), (0.0, 0.4)), amplitude_mm=0, degrees=5),
    _P(scan="actc_3105759107", kind="slab", box=((0, 1), (0, 1), (0.5, 0.62)), amplitude_mm=10),
    _P(scan="lungx_CT004", kind="vertebra", box=((0.35, 0.65), (0.5, 0.95), (0.3, 0.6)), amplitude_mm=3, degrees=4),
)  # fmt: skip
