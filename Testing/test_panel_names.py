"""The documents call the panel's sections and controls by the names that stand in the panel."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from helpers.paths import REPOSITORY, UI

DOCS = REPOSITORY / "docs"

FILES = ("PDDRegistration", "Compare", "Measure", "Sequence", "Batch", "AtlasSegmentation")  # in the order of the panel
SLICERS = {
    *("View", "Extensions Manager", "PyTorch", "Edit", "Application Settings", "Modules", "Additional module paths"),
    *("Registration", "PDD Registration", "Sample Data", "PDDRegistration", "PDDRegistrationPair", "Data"),
}
"""Names of Slicer itself, of the module, and of what it registers there."""
NOT_WRITTEN = {"Table of structures", "Table of motion", "Table of pairs", "..."}
"""What the table of controls describes and the panel does not name."""
EMPHASIS = re.compile(r"\*\*([A-Z][^*\n]*)\*\*|(?<![*\w])\*([A-Z][^*\n]*)\*(?!\*)")


def texts(*classes: str) -> list[str]:
    """The texts of all widgets, or of those of some classes, in the order of the panel, without colon and dots."""
    found = []
    for name in FILES:
        for widget in ET.parse(UI / f"{name}.ui").getroot().iter("widget"):
            tabs = [each for each in widget.findall("attribute") if each.get("name") == "title"]
            properties = [each for each in widget.findall("property") if each.get("name") == "text"]
            if not classes or widget.get("class") in classes:
                found += [plain(each.findtext("string") or "") for each in (*tabs, *properties)]
    return [text for text in found if text]


def plain(text: str) -> str:
    return text.strip().removesuffix("...").rstrip(": ")


def controls(cell: str) -> list[str]:
    """The names in a cell of the table: 'Fixed, Moving volume' are two that end alike."""
    known, found = set(texts()), []
    for group in re.split(r"[;:]", cell):
        names = [plain(name) for name in group.split(",") if plain(name)]
        last = names[-1].split()[-1] if names else ""
        longer = {name: f"{name} {last}" for name in names}
        found += [longer[name] if name not in known and longer[name] in known else name for name in names]
    return found


def rows() -> list[tuple[str, str]]:
    """Section and controls of each row of the table."""
    lines = (DOCS / "reference" / "panel.md").read_text("utf-8").splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:3]] for line in lines if line.startswith("| ")]
    return [(section, control) for section, control in cells[1:]]


def test_the_table_lists_the_sections_of_the_panel() -> None:
    sections = [section for section, _ in rows() if section]
    assert set(sections) == set(texts("ctkCollapsibleButton"))
    assert len(sections) == len(set(sections))


def test_the_table_names_controls_as_the_panel_does() -> None:
    known = set(texts()) | NOT_WRITTEN
    unknown = [name for _, cell in rows() for name in controls(cell) if name not in known]
    assert unknown == []


def test_every_button_is_in_the_table() -> None:
    told = {name for _, cell in rows() for name in controls(cell)}
    described = (DOCS / "reference" / "panel.md").read_text("utf-8")
    missing = [name for name in texts("QPushButton", "QCheckBox") if name not in told and name not in described]
    assert missing == []


@pytest.mark.parametrize("page", ["README.md", "docs/get_started/tutorial.md", "docs/get_started/slicer.md"])
def test_emphasised_names_are_the_panels_or_slicers(page: str) -> None:
    text = (REPOSITORY / page).read_text("utf-8")
    named = [first or second for first, second in EMPHASIS.findall(text) if not (first or second).endswith(".")]
    parts = [plain(part) for name in named for part in name.split(">")]
    known = {*texts(), *SLICERS}
    sentences = ("Get started", "How to", "How it works", "Reference", "What fails", "Results")  # headings of lists
    assert [part for part in parts if part not in known and part not in sentences] == []
