"""ITK's messages stay off the terminal, and the terminal comes back, also where many threads read at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers.samples import FIXED, labels, save
from pddnet.core.image import Image
from pddnet.io.quiet import quiet

READ_IN_THREADS = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from pddnet.errors import InputError
from pddnet.files import read_labels

def read(path):
    try:
        return str(read_labels(path)[0].array.sum())
    except InputError:
        return "refused"

with ThreadPoolExecutor(8) as pool:
    found = list(pool.map(read, sorted(Path(sys.argv[1]).iterdir()) * 20))
print(*found)
print("all read", file=sys.stderr)
"""


def _run(program: str, *arguments: str, **settings: object) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, **settings)


def test_threads_that_read_at_once_leave_both_streams_as_they_were(tmp_path: Path) -> None:
    save(labels(FIXED, FIXED.centre), tmp_path / "a.nii.gz")
    (tmp_path / "b.nrrd").write_bytes(b"NRRD0005\n")
    save(Image(np.zeros(FIXED.shape, np.uint8), FIXED), tmp_path / "c.mha")
    done = _run(READ_IN_THREADS, str(tmp_path))
    assert done.returncode == 0
    assert done.stdout.split() == [str(labels(FIXED, FIXED.centre).array.sum()), "refused", "0"] * 20
    assert done.stderr == "all read\n"  # and nothing of what ITK says of the damaged file


def _say(text: str) -> None:
    os.write(1, text.encode())
    os.write(2, text.encode())


def test_blocks_that_overlap_are_quiet_until_the_last_one_ends(capfd: pytest.CaptureFixture[str]) -> None:
    first, second = quiet(), quiet()
    _say("a")
    first.__enter__()
    _say("b")
    second.__enter__()
    first.__exit__(None, None, None)
    _say("c")
    second.__exit__(None, None, None)
    _say("d")
    assert capfd.readouterr() == ("ad", "ad")


def test_an_exception_gives_the_streams_back(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        _say("hidden")
        raise RuntimeError("of ITK")

    with pytest.raises(RuntimeError, match="of ITK"), quiet():
        fail()
    _say("shown")
    assert capfd.readouterr() == ("shown", "shown")


def test_nothing_is_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = _opened()
    with quiet():
        pass
    assert _opened() == opened
    monkeypatch.setattr(os, "open", _refuse)
    with quiet():
        pass
    assert _opened() == opened


def _opened() -> list[int]:
    return [number for number in range(64) if _is_open(number)]


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _refuse(*_: object) -> int:
    raise OSError("too many open files")


@pytest.mark.parametrize("without", ["sys.stdout = sys.stderr = None", "sys.stderr = None", "os.close(1); os.close(2)"])
def test_an_application_without_a_console_reads_all_the_same(tmp_path: Path, without: str) -> None:
    path = save(labels(FIXED, FIXED.centre), tmp_path / "a.nii.gz")
    program = f"""
import os, sys
from pathlib import Path
{without}
from pddnet.files import read_labels
for _ in range(2):
    Path(sys.argv[2]).write_text(str(read_labels(sys.argv[1])[0].array.sum()))
os._exit(0)
"""
    assert _run(program, str(path), str(tmp_path / "found")).returncode == 0
    assert (tmp_path / "found").read_text() == str(labels(FIXED, FIXED.centre).array.sum())


def test_warnings_of_itk_are_heard_each_in_one_line() -> None:
    with quiet() as heard:
        os.write(2, b"WARNING: In /a/b/c.cxx, line 697\nThere is more\nthan one.\n\n")
        os.write(2, b"WARNING: In /a/b/d.cxx, line 1\nSeries (0x5a0f): Non uniform\n\n")
    assert heard.warnings == ["There is more than one.", "Non uniform"]
    with quiet() as later:
        pass
    assert (later.text, later.warnings) == ("", [])
