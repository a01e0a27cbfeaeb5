"""All tables of one commit: what is done is kept, what fails is named, and what is not committed is refused."""

from __future__ import annotations

import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks import paper
from pddnet.errors import InputError

PRINTS = ("timeit", "-n", "1", "-r", "1", "-s", "print({text!r})", "pass")


def prints(text: str) -> tuple[str, ...]:
    """A command of Python's own library that prints a text."""
    return tuple(part.replace("{text!r}", repr(text)) for part in PRINTS)


def test_every_table_has_a_command_that_exists() -> None:
    for module, *arguments in paper.TABLES.values():
        assert find_spec(module) is not None, module
        assert all(part.format(out="o", commit="c") for part in arguments)


def test_tables_are_kept_with_commit_and_command(tmp_path: Path) -> None:
    assert paper.measure({"one": prints("first")}, tmp_path, "abc") == []
    found = (tmp_path / "one.txt").read_text("utf-8")
    assert found.startswith("\n# one: python -m timeit")
    assert "commit abc\nfirst\n" in found
    (tmp_path / "one.txt").write_text(found.replace("\nfirst\n", "\nkept\n"), "utf-8")
    paper.measure({"one": prints("first")}, tmp_path, "abc")
    assert "\nkept\n" in (tmp_path / "one.txt").read_text("utf-8")
    paper.measure({"one": prints("first")}, tmp_path, "abd")
    assert "commit abd\nfirst\n" in (tmp_path / "one.txt").read_text("utf-8")


def test_what_fails_is_named_and_leaves_no_table(tmp_path: Path) -> None:
    (tmp_path / "broken.txt").write_text("of another commit", "utf-8")
    assert paper.measure({"broken": ("timeit", "1/0"), "one": prints("first")}, tmp_path, "abc") == ["broken"]
    assert sorted(path.name for path in tmp_path.glob("*.txt")) == ["one.txt"]


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=n", "-c", "user.email=e")
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    git("init")
    (tmp_path / "a").write_text("1", "utf-8")
    git("add", "a")
    git("commit", "-m", "one")
    assert len(paper.commit_of(tmp_path)) == 10
    (tmp_path / "a").write_text("2", "utf-8")
    with pytest.raises(InputError, match="M a is not committed"):
        paper.commit_of(tmp_path)
