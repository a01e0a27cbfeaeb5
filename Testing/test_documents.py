"""The documents hold what they promise: examples run, links lead somewhere, and what is named exists.

A block that cannot run here has a comment on the line before it, <!-- not executed: why -->, and is parsed instead.
"""

from __future__ import annotations

import ast
import json
import pydoc
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import pddnet
from helpers.paths import LIBRARY
from helpers.paths import REPOSITORY as ROOT
from pddnet import pipeline
from pddnet.cli.exit_codes import OK
from pddnet.cli.main import build_parser, main
from pddnet.core.presets import PRESETS, find_preset
from pddnet.training.config import read_config

DOCS = ROOT / "docs"
SAMPLE = LIBRARY / "Resources" / "SampleData"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]

FENCE = re.compile(r"^( *)```([\w{}-]*)")
NOT_EXECUTED = re.compile(r"^ *<!-- not executed: (.+) -->$")
CODE = re.compile(r"^ *```.*?^ *```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
NAMED_OBJECT = re.compile(r"`(pddnet(?:\.\w+)+)`")
NOT_CHECKED = ("text", "toctree", "eval-rst", "include", "room", "command-arguments")  # the last ones by Sphinx


@dataclass(frozen=True)
class Block:
    """A fenced block of a document. line: of its first line of text, from 1; reason: why it is not executed."""

    page: Path
    line: int
    language: str
    text: str
    reason: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def read_blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    lines = page.read_text("utf-8").splitlines()
    blocks, number = [], 0
    while number < len(lines):
        fence = FENCE.match(lines[number])
        number += 1
        if not fence:
            continue
        indent, start = len(fence[1]), number
        while lines[number].strip() != "```":
            number += 1
        before = NOT_EXECUTED.match(lines[start - 2]) if start > 1 else None
        text = "\n".join(line[indent:] for line in lines[start:number])
        blocks.append(Block(page, start + 1, fence[2].strip("{}"), text, before[1] if before else ""))
        number += 1
    return blocks


BLOCKS = [block for page in PAGES for block in read_blocks(page)]
PROGRAMS = [block for block in BLOCKS if block.language in ("bash", "python")]
EXECUTED = {}
for each in PROGRAMS:
    if not each.reason:
        EXECUTED.setdefault(str(each.page.relative_to(ROOT)), []).append(each)


def commands(block: Block) -> Iterator[list[str]]:
    """The words of every command of a bash block, comments left out, continued lines joined."""
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words and words[0] == "PYTHONPATH=Testing":
            del words[0]
        if words:
            yield words


def by_page(block: Block) -> str:
    """The name of a parametrised test."""
    return str(block)


def quick_register(monkeypatch: pytest.MonkeyPatch, known: dict[Any, Any]) -> None:
    """Let `register` use a quick preset, and look up what was registered before. known: the results so far."""
    quick = replace(PRESETS["fast"], semantic=0.0)
    real = pipeline.register

    def register(fixed: Any, moving: Any, preset: Any = "default", **options: Any) -> Any:
        find_preset(preset if isinstance(preset, str) else preset.name.removesuffix(" (changed)"))
        chosen = {name: _identity(value) for name, value in options.items() if name not in ("progress", "device")}
        key = (_identity(fixed), _identity(moving), *sorted(chosen.items()))
        if key not in known:
            known[key] = real(fixed, moving, quick, **options)
        return known[key]

    monkeypatch.setattr(pipeline, "register", register)


def _identity(value: Any) -> str:
    if isinstance(value, pddnet.Image):
        return f"{hash(value.array.tobytes())} {value.grid.corners().tolist()}"
    return str(value)


@pytest.fixture(scope="module")
def registered() -> dict[Any, Any]:
    """Registrations that all pages share."""
    return {}


@pytest.mark.slow
@pytest.mark.parametrize("page", EXECUTED)
def test_the_examples_run(
    page: str, registered: dict[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of one page after each other, in a folder that holds the sample pair."""
    for path in (*SAMPLE.iterdir(), LIBRARY):
        (tmp_path / path.name).symlink_to(path)
    for name in ("early.nii.gz", "late.nii.gz"):  # two scans of one patient
        (tmp_path / name).symlink_to(SAMPLE / "fixed.nii.gz")
    monkeypatch.chdir(tmp_path)
    quick_register(monkeypatch, registered)
    names: dict[str, Any] = {"__name__": "__main__"}
    run: dict[str, Callable[[Block], None]] = {"bash": run_commands, "python": lambda block: run_python(block, names)}
    for block in EXECUTED[page]:
        run[block.language](block)


def run_commands(block: Block) -> None:
    """Run a block of `pddnet` commands in this process."""
    for program, *arguments in commands(block):
        assert program == "pddnet", f"{block}: '{program}' cannot run here; say so by <!-- not executed: why -->"
        assert main(arguments) == OK, f"{block}: pddnet {shlex.join(arguments)}"


def run_python(block: Block, names: dict[str, Any]) -> None:
    """Run a block of Python; names: what the page's blocks before it have left, and what this one adds."""
    source = "\n" * (block.line - 1) + block.text  # a traceback names the page's line
    exec(compile(source, str(block.page), "exec"), names)


@pytest.mark.parametrize("block", [block for block in PROGRAMS if block.reason], ids=by_page)
def test_what_is_not_executed_is_parsed(block: Block) -> None:
    """Python by its grammar, commands by what they name: arguments, targets of make, files."""
    if block.language == "python":
        ast.parse(block.text)
        return
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for program, *arguments in commands(block):
        if program == "pddnet":
            build_parser().parse_args(arguments)
        elif program == "make":
            assert arguments[0] in targets, f"{block}: make has no target {arguments[0]}"
        elif program == "python":
            assert arguments[0] == "-m"
            path = ROOT / "Testing" / f"{arguments[1].replace('.', '/')}.py"
            assert path.is_file(), f"{block}: there is no {path}"
        else:
            assert program == "pip", f"{block}: what is '{program}'?"


def test_every_block_names_its_language() -> None:
    """So that each is executed, parsed, or known to be plain text."""
    known = {"bash", "python", "json", *NOT_CHECKED}
    assert not [str(block) for block in BLOCKS if block.language not in known]


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "json"], ids=by_page)
def test_json_is_read(block: Block, tmp_path: Path) -> None:
    """Also as the configuration of a training where it is one."""
    path = tmp_path / "example.json"
    path.write_text(block.text)
    if "out" in json.loads(block.text):
        assert read_config(path).out == tmp_path / "run"


def test_the_console_examples_use_keywords_of_the_module() -> None:
    """The options of `PDDRegistrationLogic.register` are the fields of `Selection`."""
    path = LIBRARY / "PDDRegistrationLib" / "registration" / "selection.py"
    classes = [node for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.ClassDef)]
    (selection,) = (node for node in classes if node.name == "Selection")
    fields = {node.target.id for node in selection.body if isinstance(node, ast.AnnAssign)} | {"progress"}
    blocks = [block for block in PROGRAMS if block.reason == "needs Slicer"]
    calls = [node for block in blocks for node in ast.walk(ast.parse(block.text)) if isinstance(node, ast.Call)]
    used = {word.arg for call in calls if getattr(call.func, "attr", "") == "register" for word in call.keywords}
    assert "fixedSegmentation" in used
    assert used <= fields


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Relative links and pictures, from where the page lies: so they work on a forge as well as on the site."""
    text = CODE.sub("", page.read_text("utf-8"))
    targets = [target.partition("#")[0] for target in LINK.findall(text) if not re.match(r"https?:|#", target)]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_of_the_library_exists(page: Path) -> None:
    names = NAMED_OBJECT.findall(page.read_text("utf-8"))
    assert [name for name in names if pydoc.locate(name) is None] == []


def test_files_that_the_map_names_exist() -> None:
    """The last table of the developer's map."""
    text = (DOCS / "how_it_works" / "rooms.md").read_text("utf-8")
    paths = re.findall(r"\| `((?:pddnet|PDDRegistrationLib)/[\w/.]+)`", text)
    assert len(paths) > 10
    assert [path for path in paths if not (LIBRARY / path).is_file()] == []


def test_every_page_is_in_a_table_of_contents() -> None:
    listed = {DOCS / "index.md"}
    for block in BLOCKS:
        if block.language == "toctree":
            entries = [line for line in block.text.splitlines() if line and not line.startswith(":")]
            listed |= {block.page.parent / f"{entry}.md" for entry in entries}
    assert set(DOCS.rglob("*.md")) == listed


def test_the_version_is_the_same_everywhere() -> None:
    assert f"version: {pddnet.__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"## [{pddnet.__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


@pytest.mark.slow
def test_the_site_builds_without_warnings_and_loads_nothing_remote(tmp_path: Path) -> None:
    pytest.importorskip("furo", reason="the site's tools are not installed: pip install '.[docs]'")
    pytest.importorskip("myst_parser", reason="the site's tools are not installed: pip install '.[docs]'")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "-q",
        "-b",
        "html",
        "-d",
        tmp_path / "trees",
        DOCS,
        tmp_path / "site",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    remote = re.compile(r"<(?:script|img|link|iframe)\b[^>]*\b(?:src|href)=\"(?:https?:)?//[^\"]*")
    assert len(pages) > 40
    assert [(page.name, *found) for page in pages if (found := remote.findall(page.read_text("utf-8")))] == []
