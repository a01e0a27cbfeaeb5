"""List published reference values of metrics, each with its source. They are no limits: what is enough depends on use.

Only values that could be looked up are listed. There are none by organ: those that could be found mix up data sets,
initial alignments and definitions.
"""

from __future__ import annotations

from dataclasses import dataclass

from slicer.i18n import tr as _

TG132 = "Brock et al. 2017, AAPM Task Group 132, doi:10.1002/mp.12256"
PDD = "Heinrich 2019, table 1, doi:10.1007/978-3-030-32226-7_6"


@dataclass(frozen=True)
class Reference:
    """Published value of a metric: `text` holds its numbers, `source` the publication."""

    measure: str
    text: str
    source: str


REFERENCES = (
    Reference("dice", _("0.80 to 0.90: as well as contours of one patient agree, less for small organs"), TG132),
    Reference("dice", _("between patients, abdominal CT, 9 organs: 0.30 before, 0.57 after (deeds, pdd-net)"), PDD),
    Reference("asd", _("2 to 3 mm: largest side of a voxel, or as well as contours agree"), TG132),
    Reference("tre", _("2 to 3 mm: largest side of a voxel"), TG132),
    Reference("folding", _("0: no determinant is negative"), TG132),
    Reference("inverse", _("2 to 3 mm: largest side of a voxel"), TG132),
)


def referencesFor(measure: str) -> tuple[str, str]:
    """Join the texts, and the sources, of all references for a measure by '; '; both are empty where there are none.

    measure: dice, asd, tre, folding or inverse.
    """
    known = [reference for reference in REFERENCES if reference.measure == measure]
    return "; ".join(reference.text for reference in known), "; ".join(reference.source for reference in known)
