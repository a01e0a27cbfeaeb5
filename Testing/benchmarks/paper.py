"""Print every table of the README, of docs/results and of the model card, all of one commit.

Usage: PYTHONPATH=Testing python -m benchmarks.paper [--out FOLDER] [--only NAME ...]

Each table is printed by a command of its own, with the seeds that its file names, and kept in FOLDER with the commit
and the command. The commit is the last one that changed what is measured: later ones of documents or tests alone do
not count. What is there already of that commit is not measured again. All together takes hours.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.console import progress
from benchmarks.validation_pairs import REPOSITORY
from pddnet.errors import InputError

OUT = REPOSITORY / "docs" / "results" / "measured"
CODE = (
    "PDDRegistration/pddnet",
    "Testing/benchmarks",
    "Testing/demo",
    "Testing/helpers",
    "Testing/labels",
    "Testing/training",
    ":(exclude,glob)**/*.md",
    ":(exclude,glob)**/test_*.py",
)
"""What the tables depend on, as git's pathspecs."""
TABLES: Mapping[str, Sequence[str]] = {
    "sample_pair": ("demo.demo",),
    "validate": ("benchmarks.validate", "--out", "{out}/validate_{commit}.jsonl"),
    "validate_mind": ("benchmarks.validate", "--preset", "mind", "--out", "{out}/validate_mind_{commit}.jsonl"),
    "verdict_fit": ("benchmarks.validate", "--fit", "{out}/validate_{commit}.jsonl"),
    "same_patient": ("benchmarks.same_patient", "--out", "{out}/same_patient_{commit}.jsonl"),
    "same_patient_breathing": (
        "benchmarks.same_patient",
        "--preset",
        "breathing",
        "--out",
        "{out}/same_patient_breathing_{commit}.jsonl",
    ),
    "same_patient_mind": (
        "benchmarks.same_patient",
        "--preset",
        "mind",
        "--out",
        "{out}/same_patient_mind_{commit}.jsonl",
    ),
    "alignment": ("benchmarks.alignment_crops",),
    "ablation_real": ("benchmarks.ablation", "real"),
    "ablation_painted": ("benchmarks.ablation", "painted"),
    "structures": ("benchmarks.structures",),
    "naming": ("benchmarks.naming",),
    "atlases": ("benchmarks.atlases",),
    "atlases_real": ("benchmarks.atlases_real",),
    "template": ("benchmarks.template",),
    "reference": ("benchmarks.reference",),
    "mr": ("benchmarks.mr",),
    "planes": ("benchmarks.planes", "--greedy"),
    "planes_deformed": ("benchmarks.planes_deformed",),
    "batch": ("benchmarks.batch",),
    "speed": ("benchmarks.bench",),
}
"""Module and arguments of each table's command, by its name; {out} is the folder, {commit} the commit. One may read
what an earlier one wrote."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the tables (%(default)s)")
    parser.add_argument("--only", nargs="+", choices=list(TABLES), default=list(TABLES), metavar="NAME")
    args = parser.parse_args()
    try:
        commit = commit_of(REPOSITORY)
        failed = measure({name: TABLES[name] for name in args.only}, args.out, commit)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    print("".join((args.out / f"{name}.txt").read_text("utf-8") for name in args.only if name not in failed))
    for name in failed:
        print(f"{name}: the command failed, see {args.out / name}.log", file=sys.stderr)
    return 1 if failed else 0


def commit_of(repository: Path) -> str:
    """Return the last commit, abbreviated, that changed what is measured.

    Raises:
        InputError: files differ from it: what is measured would belong to no commit; or no commit has such files.
    """
    changed = _git(repository, "status", "--porcelain", "--", *CODE)
    if changed:
        raise InputError(f"{repository}: {changed.splitlines()[0].strip()} is not committed; commit it, then measure")
    commit = _git(repository, "log", "-1", "--format=%h", "--abbrev=10", "--", *CODE)
    if not commit:
        raise InputError(f"{repository}: no commit has what is measured; measure in a whole clone of the repository")
    return commit


def measure(tables: Mapping[str, Sequence[str]], out: Path, commit: str) -> list[str]:
    """Run the commands one after the other; return the names of those that failed.

    A table appears whole, as NAME.txt, or not at all; NAME.log holds what its command said meanwhile.
    """
    out.mkdir(parents=True, exist_ok=True)
    failed = []
    for name, command in tables.items():
        arguments = [part.format(out=out, commit=commit) for part in command]
        head = f"\n# {name}: python -m {' '.join(command)}, commit {commit}\n"
        if not _is_done(out / f"{name}.txt", head):
            progress(f"{name}: python -m {' '.join(arguments)}")
            if not _run(arguments, out / f"{name}.txt", head):
                failed.append(name)
    return failed


def _is_done(table: Path, head: str) -> bool:
    return table.exists() and table.read_text("utf-8").startswith(head)


def _run(arguments: Sequence[str], table: Path, head: str) -> bool:
    with table.with_suffix(".log").open("w", encoding="utf-8") as log:
        process = subprocess.run(
            [sys.executable, "-m", *arguments], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=log, check=False
        )
    table.unlink(missing_ok=True)
    if process.returncode:
        return False
    part = table.with_suffix(".part")
    part.write_text(head + process.stdout.decode("utf-8"), encoding="utf-8")
    part.replace(table)
    return True


def _git(repository: Path, *arguments: str) -> str:
    found = subprocess.run(["git", "-C", str(repository), *arguments], capture_output=True, text=True, check=False)
    if found.returncode:
        raise InputError(f"{repository}: git says '{found.stderr.strip()}'; measure in a clone of the repository")
    return found.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
