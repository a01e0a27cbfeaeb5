"""Group labels into the organs that the picture shows, with their names and colours."""

from __future__ import annotations

import numpy as np

from pddnet.core.image import Image
from pddnet.core.masks import body_mask

# name shown: colour, and the beginnings of the label names that belong to it
ORGANS = {
    "liver": ("#ff9a3d", ("liver",)),
    "spleen": ("#c07bff", ("spleen",)),
    "kidneys": ("#ffe14d", ("right_kidney", "left_kidney")),
    "stomach": ("#5ac8fa", ("stomach",)),
    "pancreas": ("#ff6fa5", ("pancreas",)),
    "gallbladder": ("#6ee06e", ("gallbladder",)),
    "aorta": ("#ff4b4b", ("aorta",)),
    "vena cava": ("#6f9bff", ("inferior_vena_cava",)),
    "heart": ("#ffb3c7", ("heart",)),
    "lungs": ("#9fb4c4", ("lung",)),
    "psoas": ("#c98d68", ("right_psoas", "left_psoas")),
    "colon": ("#a9c96a", ("colon", "bowel")),
    "bladder": ("#40e0d0", ("bladder",)),
    "spine and pelvis": ("#f5efd8", ("vertebra", "sacrum", "right_hip", "left_hip")),
}
TISSUES = {"skin": ("#ff9a3d", ()), "bone": ("#f5efd8", ())}
BONE_HU = 250.0  # above most vessels and kidneys with contrast medium


def group(names: dict[int, str], largest: int) -> tuple[dict[str, str], np.ndarray]:
    """Return the organs present as name -> colour, and a table from label to 1 + the organ's place (0: not drawn)."""
    table = np.zeros(largest + 1, np.uint8)
    colours: dict[str, str] = {}
    for organ, (colour, beginnings) in ORGANS.items():
        labels = [label for label, name in names.items() if name.startswith(beginnings) and label <= largest]
        if labels:
            colours[organ] = colour
            table[labels] = len(colours)
    return colours, table


def tissues(image: Image) -> Image:
    """Return a map for a scan without labels: 1 inside the body, 2 where it is as dense as bone."""
    body = body_mask(image).array
    return Image(np.where(body & (image.array > BONE_HU), 2, body).astype(np.uint8), image.grid)
