"""Define the numbers and names of the labels in a virtual patient's label map."""

from __future__ import annotations

SPLEEN, RIGHT_KIDNEY, LEFT_KIDNEY, GALLBLADDER, OESOPHAGUS, LIVER, STOMACH, AORTA, CAVA, PORTAL, PANCREAS = range(1, 12)
BLADDER, RIGHT_PSOAS, LEFT_PSOAS, LUNGS, COLON, SMALL_BOWEL, HEART = 14, 15, 16, 18, 20, 21, 22
RIBS, SACRUM, RIGHT_HIP, LEFT_HIP, DISCS = 23, 24, 25, 26, 27
FIRST_VERTEBRA = 40
VERTEBRA_LEVELS = ("T4", "T5", "T6", "T7", "T8", "T9", "T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5")

LABELS: dict[int, str] = {
    SPLEEN: "spleen",
    RIGHT_KIDNEY: "right_kidney",
    LEFT_KIDNEY: "left_kidney",
    GALLBLADDER: "gallbladder",
    OESOPHAGUS: "oesophagus",
    LIVER: "liver",
    STOMACH: "stomach",
    AORTA: "aorta",
    CAVA: "inferior_vena_cava",
    PORTAL: "portal_and_splenic_vein",
    PANCREAS: "pancreas",
    BLADDER: "bladder",
    RIGHT_PSOAS: "right_psoas",
    LEFT_PSOAS: "left_psoas",
    LUNGS: "lungs",
    COLON: "colon",
    SMALL_BOWEL: "small_bowel",
    HEART: "heart",
    RIBS: "ribs",
    SACRUM: "sacrum",
    RIGHT_HIP: "right_hip_bone",
    LEFT_HIP: "left_hip_bone",
    DISCS: "discs",
    **{FIRST_VERTEBRA + n: f"vertebra_{level}" for n, level in enumerate(VERTEBRA_LEVELS)},
}
