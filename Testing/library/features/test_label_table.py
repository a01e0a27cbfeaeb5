"""Which structure of the common table a label's name means, in several namings."""

from __future__ import annotations

import pytest

from pddnet.features.label_table import LEVELS, NUMBER, STRUCTURES, structure_of, told_apart
from pddnet.phantom import phantom as cohort


def test_the_table_names_everything_once_and_the_background_first() -> None:
    assert STRUCTURES[0] == "background"
    assert len(set(STRUCTURES)) == len(STRUCTURES) == 42
    assert [NUMBER[name] for name in STRUCTURES] == list(range(42))
    assert (LEVELS[0], LEVELS[11], LEVELS[12], LEVELS[-1]) == ("T1", "T12", "L1", "L5")


def test_every_structure_of_the_table_means_itself() -> None:
    assert {name: structure_of(name) for name in STRUCTURES[1:]} == {name: name for name in STRUCTURES[1:]}


@pytest.mark.parametrize(
    ("name", "structure"),
    [
        # TotalSegmentator
        ("kidney_left", "kidney"),
        ("adrenal_gland_right", "adrenal_gland"),
        ("esophagus", "oesophagus"),
        ("inferior_vena_cava", "vena_cava"),
        ("portal_vein_and_splenic_vein", "portal_vein"),
        ("urinary_bladder", "bladder"),
        ("gallbladder", "gallbladder"),
        ("iliopsoas_left", "psoas"),
        ("autochthon_right", "erector_spinae"),
        ("gluteus_minimus_left", "gluteus"),
        ("lung_upper_lobe_right", "lung"),
        ("atrial_appendage_left", "heart"),
        ("duodenum", "small_bowel"),
        ("costal_cartilages", "sternum"),
        ("rib_left_10", "rib"),
        ("hip_left", "hip"),
        ("vertebrae_S1", "sacrum"),
        ("vertebrae_T1", "vertebra_T1"),
        ("vertebrae_T12", "vertebra_T12"),
        ("vertebrae_L5", "vertebra_L5"),
        # SPL abdominal atlas
        ("inferior vena cava", "vena_cava"),
        ("portal vein and superior mesenteric vein", "portal_vein"),
        ("stomach and duodenum", "stomach"),
        ("right erector spinae muscle", "erector_spinae"),
        ("Rib6", "rib"),
        ("Pelvis", "hip"),
        ("Thoracic9", "vertebra_T9"),
        ("Lumbar4", "vertebra_L4"),
        # AMOS and BTCV
        ("right kidney", "kidney"),
        ("gall bladder", "gallbladder"),
        ("arota", "aorta"),
        ("postcava", "vena_cava"),
        ("left adrenal gland", "adrenal_gland"),
        ("bladder", "bladder"),
        ("portal vein and splenic vein", "portal_vein"),
        # HuBMAP, and hand-written names
        ("aorta_and_branches", "aorta"),
        ("small_bowel", "small_bowel"),
        (" Gall Bladder ", "gallbladder"),
        ("Vertebra-T11", "vertebra_T11"),
        ("ribs", "rib"),
        ("IVC", "vena_cava"),
        ("IVC_infrarenal", "vena_cava"),
        ("Large Bowel", "colon"),
        ("large intestine", "colon"),
        ("small intestine", "small_bowel"),
        ("small-bowel", "small_bowel"),
        ("Oesophagus", "oesophagus"),
        ("left suprarenal gland", "adrenal_gland"),
    ],
)
def test_names_of_other_data_sets(name: str, structure: str) -> None:
    assert structure_of(name) == structure


@pytest.mark.parametrize(
    "name",
    [
        "", "body", "skin", "spinal_cord", "sacral canal", "discs", "L5-L4-IntervertebralDisc",
        "Sacrum-L5-IntervertebralDisc", "splenic artery", "left renal vein", "right renal pelvis", "right hepatic vein",
        "iliac_artery_left", "iliac_vena_left", "superior_vena_cava", "pulmonary_vein", "superior mesenteric artery",
        "vertebrae_C7", "vertebrae_L6", "vertebra_T0", "vertebra_T13", "vertebrae_5", "trachea", "prostate", "skull",
        "scapula_left", "humerus_right", "rectus abdominis muscle", "label 699", "ureter", "femoral vein", "brain",
        "hippocampus", "left chip", "tribe", "attributes",
        "bowel", "intestine", "prostate/uterus", "SVC", "superior vena cava", "left suprarenal vein", "carotid",
        "archive", "pivchar",
    ],
)  # fmt: skip
def test_names_that_are_none_of_ours(name: str) -> None:
    assert structure_of(name) is None


AMOS_AND_BTCV = [
    "spleen", "right kidney", "left kidney", "gall bladder", "esophagus", "liver", "stomach", "aorta", "postcava",
    "pancreas", "right adrenal gland", "left adrenal gland", "duodenum", "bladder", "gallbladder", "inferior vena cava",
]  # fmt: skip


def test_all_organs_of_amos_and_btcv_are_known() -> None:
    found = [structure_of(name) for name in AMOS_AND_BTCV]
    assert None not in found
    assert len(set(found)) == 12  # kidneys, adrenal glands, gallbladders and cavae come twice


def test_all_labels_of_virtual_patients_but_the_discs_are_known() -> None:
    known = {label: structure_of(label) for label in cohort.LABELS.values()}
    assert [label for label, structure in known.items() if structure is None] == ["discs"]
    assert known["right_hip_bone"] == "hip"
    assert known["portal_and_splenic_vein"] == "portal_vein"
    assert len(set(known.values()) - {None}) == len(cohort.LABELS) - 4  # the discs; kidneys, psoas and hips come twice


def test_a_map_whose_authors_looked_for_everything_tells_everything_apart() -> None:
    liver = frozenset({NUMBER["liver"]})
    assert told_apart(["liver", "autochthon_left", "spinal_cord"], liver) == set(range(1, len(STRUCTURES)))
    assert told_apart(["liver", "autochthon_left"], liver) == liver  # an older version, without sternum
    assert told_apart(["liver"], liver) == liver
    assert told_apart(["autochthon_left", "spinal_cord"], frozenset()) == frozenset()
