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


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init")
    for name in ("PDDRegistration/pddnet/a.py", "Testing/benchmarks/test_a.py", "docs/a.md"):
        write(tmp_path / name, "1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "one")
    return tmp_path


def git(repository: Path, *arguments: str) -> str:
    who = ("-c", "user.name=n", "-c", "user.email=e")
    command = ["git", "-C", str(repository), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def head(repository: Path) -> str:
    return git(repository, "rev-parse", "--short=10", "HEAD")


def test_documents_and_tests_leave_the_commit_as_it_is(repository: Path) -> None:
    first = head(repository)
    write(repository / "docs/a.md", "2")
    write(repository / "Testing/benchmarks/test_a.py", "2")
    assert paper.commit_of(repository) == first
    git(repository, "commit", "-am", "two")
    assert paper.commit_of(repository) == first
    write(repository / "PDDRegistration/pddnet/a.py", "2")
    git(repository, "commit", "-am", "three")
    assert paper.commit_of(repository) == head(repository) != first


def test_code_that_is_not_committed_is_refused(repository: Path) -> None:
    write(repository / "PDDRegistration/pddnet/a.py", "2")
    with pytest.raises(InputError, match=r"M PDDRegistration/pddnet/a\.py is not committed"):
        paper.commit_of(repository)
    git(repository, "checkout", ".")
    write(repository / "Testing/benchmarks/b.py", "1")
    with pytest.raises(InputError, match=r"Testing/benchmarks/b\.py is not committed"):
        paper.commit_of(repository)


def test_a_repository_without_the_code_is_refused(tmp_path: Path) -> None:
    git(tmp_path, "init")
    write(tmp_path / "a", "1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-m", "one")
    with pytest.raises(InputError, match="no commit has what is measured"):
        paper.commit_of(tmp_path)
