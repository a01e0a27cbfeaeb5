"""Draw what each label code shows in one random patient: own organs, missing ones, exchanged ones (`RandomOrgans`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .organ_exchange import EXCHANGEABLE, RIGID_MATERIALS, OrganExchange
from .source import Source
from .tissue import MATERIAL_INDEX

MAY_MISS = ("kidney", "spleen", "gallbladder", "bladder", "stomach")
MISSING = 0.06  # share of patients who lack one such label: about one in three lacks something
MOST_EXCHANGED = 3  # organs taken from others
LOG_EXCHANGED_SIZE = 0.12  # standard deviation
EXCHANGED_ASIDE_MM = 6.0  # standard deviation along each axis
EXCHANGED_MARGIN_MM = 15.0  # over the organ's radius


@dataclass(frozen=True, eq=False)
class RandomOrgans:
    """Codes of one patient: those of its anatomy, then those of organs taken from others.

    Attributes:
        source: the anatomy.
        structure_of_code: (codes,) int64; 0 where an organ is missing.
        material_of_code: (codes,) int64; -1 where a code is painted as its surroundings, as a missing organ is.
        missing: (codes,) bool.
        own_code: (codes,) int64, the anatomy's code that each stands for: itself, or that of the organ that was
            replaced.
        exchanges: the organ exchanges, in the order in which they apply.
    """

    source: Source
    structure_of_code: Tensor
    material_of_code: Tensor
    missing: Tensor
    own_code: Tensor
    exchanges: tuple[OrganExchange, ...] = ()

    @classmethod
    def draw(cls, source: Source, rng: np.random.Generator) -> RandomOrgans:
        """Draw which organs are missing, and which are exchanged."""
        structure, material = source.structure_of_code.clone(), source.material_of_code.clone()
        missing = torch.zeros_like(structure, dtype=torch.bool)
        labels = [layer.label for layer in source.anatomy.layers]
        may_miss = {label for label in labels if any(name in label.lower() for name in MAY_MISS)}
        for label in sorted(may_miss):
            if rng.random() < MISSING:
                of_label = torch.tensor([other == label for other in labels], device=source.device)
                structure[of_label] = 0
                material[of_label] = -1
                missing |= of_label
        organs = cls(source, structure, material, missing, torch.arange(len(labels), device=source.device))
        for _ in range(rng.integers(0, MOST_EXCHANGED + 1) if source.others else 0):
            organs = organs.exchange_one(source.others[int(rng.integers(len(source.others)))], rng)
        return organs

    def exchange_one(self, other: Source, rng: np.random.Generator) -> RandomOrgans:
        """Exchange one organ for another anatomy's, slightly shifted and resized; return itself where none can be."""
        common = sorted(self.source.structures.keys() & other.structures.keys())
        common = [key for key in common if key[0] in EXCHANGEABLE and other.structures[key].complete]
        if not common:
            return self
        key = common[rng.integers(len(common))]
        own_organ, other_organ = self.source.structures[key], other.structures[key]
        scale = float(np.exp(rng.normal(0, LOG_EXCHANGED_SIZE)))
        aside = rng.normal(0, EXCHANGED_ASIDE_MM, 3)
        if bool(self.missing[own_organ.codes[0]]):
            return self
        device = self.source.device
        rigid_materials = torch.tensor([MATERIAL_INDEX[name] for name in RIGID_MATERIALS], device=device)
        other_codes = torch.arange(len(other.structure_of_code))
        exchange = OrganExchange(
            own_organ,
            removed=torch.isin(self.own_code, torch.tensor(own_organ.codes, device=device)),
            rigid=torch.isin(self.material_of_code, rigid_materials),
            added=torch.isin(other_codes, torch.tensor(other_organ.codes)).to(device),
            code_offset=len(self.structure_of_code),
            other_codes_at=other.codes_at,
            scale=scale,
            other_centre=other_organ.centre + aside,
            radius_mm=scale * other_organ.radius_mm + EXCHANGED_MARGIN_MM,
        )
        return RandomOrgans(
            self.source,
            torch.cat([self.structure_of_code, other.structure_of_code]),
            torch.cat([self.material_of_code, other.material_of_code]),
            torch.cat([self.missing, torch.zeros_like(other.structure_of_code, dtype=torch.bool)]),
            torch.cat([self.own_code, torch.full_like(other.structure_of_code, own_organ.codes[0])]),
            (*self.exchanges, exchange),
        )

    def codes_at(self, points: Tensor) -> Tensor:
        """Return the codes (D, H, W) int64 at LPS points (3, D, H, W) in mm."""
        codes = self.source.codes_at(points)
        for exchange in self.exchanges:
            codes = exchange.apply(codes, points)
        return codes
