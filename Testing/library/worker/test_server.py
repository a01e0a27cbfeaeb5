"""The worker's process side by its pipes, without Qt: protocol, results, cancellation, and what is left behind."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

import pddnet
from helpers.samples import (
    FIXED,
    MOVING,
    SHIFT,
    SLOPE,
    ball,
    body,
    centred,
    direction,
    fake_register,
    labels,
    ramp,
    save,
)
from pddnet import pipeline
from pddnet.cli.main import main
from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.errors import InputError
from pddnet.worker import folder as folder_module
from pddnet.worker import tasks as worker_tasks
from pddnet.worker.folder import WorkerFolder, sweep
from pddnet.worker.messages import pack, unpack
from pddnet.worker.server import arguments

PARENT = Path(pddnet.__file__).parents[1]


class Client:
    """A worker, and lines to and from it."""

    def __init__(self, folder: Path, idle: float = 60.0, before: str = "") -> None:
        """before: Python statements to run in the process before the worker's."""
        folder.mkdir()
        self.folder = folder
        argv = arguments(PARENT, folder, idle)
        argv[1] = argv[1].replace("from pddnet", f"{before}; from pddnet", 1) if before else argv[1]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([sys.executable, *argv], stdin=pipe, stdout=pipe, stderr=pipe)

    def send(self, message: dict[str, Any] | bytes) -> None:
        line = message if isinstance(message, bytes) else json.dumps(message).encode("ascii")
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        """The next line; {} at the end."""
        return json.loads(self.process.stdout.readline() or "{}")

    def ask(self, number: int, request: dict[str, Any]) -> dict[str, Any]:
        """The answer's fields, or the failure; progress is left out."""
        self.send({**pack(request, self.folder, str(number)), "id": number})
        return self.answer(number)

    def answer(self, number: int) -> dict[str, Any]:
        while True:
            message = self.receive()
            assert message, self.process.stderr.read().decode()
            if message.get("id") == number and "progress" not in message:
                return unpack(message["done"], self.folder) if "done" in message else message["failed"]

    def close(self) -> None:
        """End the process as the application does, by closing its input; kill it where that does not suffice."""
        with suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def gone(self) -> bool:
        """Whether the process ends, in a while, with nothing left of its folder."""
        self.process.wait(timeout=20)
        return not self.folder.exists()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    made = Client(tmp_path / "Ordner für Dateien")
    yield made
    made.close()


@pytest.fixture(scope="module")
def pair() -> tuple[Image, Image]:
    """Two small bodies on oblique grids, the second left-handed."""
    fixed = centred((24, 28, 28), (4.0, 4.0, 4.0), np.array([10.0, -20, 30]), direction(3))
    moving = centred((22, 27, 29), (4.5, 4.0, 4.0), np.array([25.0, -28, 41]), direction(5, flipped=True))
    return body(fixed), body(moving)


def _organ(scan: Image) -> Image:
    return Image(ball(scan.grid, scan.grid.centre + [8.0, 0, 0], 14).astype(np.uint8), scan.grid)


def test_the_handshake_comes_first_and_without_heavy_modules(client: Client) -> None:
    hello = client.receive()["hello"]
    assert hello["protocol"] == 1
    assert hello["version"] == pddnet.__version__
    assert hello["pid"] == client.process.pid
    assert Path(hello["file"]).parents[1] == PARENT
    code = "import sys, pddnet.worker.server; print([m for m in ('numpy', 'SimpleITK', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    code = "import sys, pddnet.worker.tasks, pddnet.worker.messages; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.slow
def test_two_registrations_one_after_the_other_are_what_the_command_finds(
    client: Client, pair: tuple[Image, Image], tmp_path: Path
) -> None:
    scans = {"F": pair[0], "M": pair[1], "A": _organ(pair[0]), "B": _organ(pair[1])}
    paths = {name: str(save(image, tmp_path / f"{name}.nrrd")) for name, image in scans.items()}
    scans = {name: Image.from_sitk(sitk.ReadImage(path)) for name, path in paths.items()}
    fixed, moving = scans["F"], scans["M"]
    organs = {"fixed": scans["A"], "moving": scans["B"]}
    request = {
        "do": "register", "fixed": fixed, "moving": moving, "preset": "fast", "device": "cpu", "jacobian": True,
        "warp": {"the volume": moving}, "warp_labels": {"Größe": organs["moving"]}, "evaluate": {"organs": organs},
    }  # fmt: skip
    first = client.ask(1, request)
    again = client.ask(2, request)
    assert np.array_equal(first["field"].array, again["field"].array)

    outputs = {name: str(tmp_path / file) for name, file in (("volume", "W.mha"), ("labels", "L.mha"))}
    argv = ["register", "--fixed", paths["F"], "--moving", paths["M"], "--preset", "fast", "--device", "cpu"]
    argv += ["--fixed-labels", paths["A"], "--moving-labels", paths["B"], "--report", str(tmp_path / "R.json")]
    argv += ["--output-transform", str(tmp_path / "T.nrrd")]
    argv += [word for name, path in outputs.items() for word in (f"--output-{name}", path)]
    assert main(argv) in (0, 3)
    field = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "T.nrrd")))
    assert np.linalg.norm(field, axis=-1).max() > 5
    assert np.array_equal(first["field"].array, field.astype(np.float32))
    assert np.array_equal(
        first["warped"]["the volume"].array, sitk.GetArrayFromImage(sitk.ReadImage(outputs["volume"]))
    )
    assert np.array_equal(
        first["warped_labels"]["Größe"].array, sitk.GetArrayFromImage(sitk.ReadImage(outputs["labels"]))
    )
    written = json.loads((tmp_path / "R.json").read_text())
    for key in ("verdict", "jacobian", "grids", "preset", "device", "warnings"):
        assert first["report"][key] == written[key], key
    assert first["evaluation"]["organs"] == written["labels"]
    assert written["labels"]["table"][0]["dice_after"] > written["labels"]["table"][0]["dice_before"]
    assert first["jacobian"].array.shape == first["field"].grid.shape
    assert os.listdir(client.folder) == []  # what was read is deleted


@pytest.mark.slow
def test_the_field_is_the_one_of_a_direct_call(client: Client, pair: tuple[Image, Image]) -> None:
    matrix = np.eye(4)
    matrix[:3, 3] = pair[1].grid.centre - pair[0].grid.centre
    settings = {"preset": "fast", "device": "cpu", "fixed_mask": _organ(pair[0])}
    done = client.ask(
        1, {"do": "register", "fixed": pair[0], "moving": pair[1], "initial_transform": matrix, **settings}
    )
    start = sitk.TranslationTransform(3, matrix[:3, 3].tolist())
    expected = pipeline.register(*pair, initial_transform=start, **settings)
    assert np.array_equal(done["field"].array, expected.field.array)
    assert done["field"].grid.same_as(expected.field.grid, 1e-12)
    assert np.array_equal(done["spread"].array, expected.uncertainty.array)


@pytest.mark.slow
def test_progress_rises_and_is_not_too_frequent(client: Client, pair: tuple[Image, Image]) -> None:
    client.send(
        {**pack({"do": "register", "fixed": pair[0], "moving": pair[1], "preset": "fast"}, client.folder, "1"), "id": 1}
    )
    fractions, stages = [], []
    while "done" not in (message := client.receive()):
        if "progress" in message:
            fractions.append(message["progress"])
            stages.append(message["stage"])
    assert fractions == sorted(fractions)
    assert fractions[-1] < 1
    expected = ["start", "prepare", "structures", "align", "match 1", "finish", "warp", "measure"]
    assert list(dict.fromkeys(stages)) == expected


NOISE = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
def noise(*_, **__):
    print("printed")
    os.write(1, b"written\\n")
    libc.puts(b"put")
    libc.fflush(None)
    os.system("echo echoed")
"""


@pytest.mark.skipif(os.name != "posix", reason="finds the C library as POSIX does")
def test_what_libraries_print_does_not_reach_the_protocol(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(NOISE)
    before = (
        f"sys.path.append({str(tmp_path)!r}); import noisy, pddnet.worker.tasks as t; t.TASKS['warm'] = noisy.noise"
    )
    client = Client(tmp_path / "private", before=before)
    client.receive()
    client.send({"do": "warm", "id": 1})
    assert client.receive() == {"id": 1, "done": None}
    client.send({"do": "quit"})
    log = client.process.stderr.read().decode()
    assert sorted(log.split()) == ["echoed", "printed", "put", "written"]
    assert client.gone()


@pytest.mark.slow
def test_lines_that_are_no_requests_do_no_harm(client: Client) -> None:
    client.receive()
    for line in (b"nonsense", b"[1, 2]", b"5", b"{}", b"\xff\xfe", b'{"do": "warm", "id": [1]}', b""):
        client.send(line)
        failed = client.receive()
        assert failed["id"] is None
        assert failed["failed"]["kind"] == "internal"
    client.send({"do": "dance", "id": 7})
    assert "there is no such request" in client.answer(7)["message"]
    client.send({"do": "warp", "id": 8, "colour": "red"})
    failure = client.answer(8)
    assert failure["kind"] == "internal"
    assert "TypeError" in failure["traceback"]
    client.send({"do": "cancel", "id": 99})
    client.send({"do": "warm", "id": 9})
    assert client.answer(9)["threads"] >= 1


@pytest.mark.slow
def test_a_wrong_input_is_one_sentence(client: Client, pair: tuple[Image, Image]) -> None:
    fixed, moving = pair
    flat = Image(np.zeros(fixed.grid.shape, np.int16), fixed.grid)
    base = {"do": "register", "fixed": fixed, "moving": moving, "preset": "fast"}
    cases = [
        ({"moving": flat}, "moving volume: every voxel has the same value"),
        ({"preset": "slow"}, "there is no preset 'slow'"),
        ({"device": "abacus"}, "there is no device 'abacus'"),
        ({"fixed_mask": flat}, "fixed mask: the mask is empty"),
        ({"fixed_labels": _organ(fixed)}, "labels of one scan alone"),
        ({"initial_transform": np.eye(3)}, "4 x 4"),
    ]
    for number, (change, text) in enumerate(cases):
        failure = client.ask(number, {**base, **change})
        assert failure["kind"] == "input"
        assert text in failure["message"]
        assert "traceback" not in failure
    assert os.listdir(client.folder) == []


def test_without_torch_warping_and_measuring_work_and_registering_says_why_not(tmp_path: Path) -> None:
    client = Client(tmp_path / "private", before="sys.modules['torch'] = None")
    moving, organs = ramp(MOVING), labels(MOVING, FIXED.centre + SHIFT)
    for number, do in enumerate(("warm", "register")):
        fields = {"fixed": ramp(FIXED), "moving": moving} if do == "register" else {}
        failure = client.ask(number, {"do": do, **fields})
        assert failure["kind"] == "torch_missing"
        assert "PyTorch cannot be loaded" in failure["message"]

    matrix = np.eye(4)
    matrix[:3, 3] = SHIFT
    done = client.ask(
        2, {"do": "warp", "transform": matrix, "grid": FIXED, "images": {"": moving}, "labels": {"B": organs}}
    )
    for i, j, k in ((13, 11, 9), (8, 12, 6), (17, 9, 11)):  # the moving volume is a ramp: its value tells the place
        place = FIXED.index_to_point([i, j, k]) + SHIFT
        assert abs(done["warped"][""].array[k, j, i] - (place - FIXED.centre) @ SLOPE) < 1.0
    assert done["warped"][""].array.dtype == np.int16
    assert set(np.unique(done["warped_labels"]["B"].array)) == {0, 1, 3}

    points = np.array([FIXED.centre, FIXED.centre + [5, -3, 2]])
    error = np.array([3.0, 4.0, 0.0])
    wide = FIXED.isotropic(5.0, 60.0)
    field = DisplacementField(np.broadcast_to(SHIFT, (*wide.shape, 3)).astype(np.float32), wide)
    pairs = {"organs": {"fixed": labels(FIXED, FIXED.centre), "moving": organs}}
    for number, transform in enumerate((field, matrix, sitk.TranslationTransform(3, SHIFT.tolist())), 3):
        request = {"do": "evaluate", "transform": transform, "labels": pairs, "fixed": body(FIXED)}
        done = client.ask(number, {**request, "fixed_points": points, "moving_points": points + SHIFT + error})
        assert done["tre_mm"]["mean"]["after"] == pytest.approx(5.0, abs=0.01)
        assert done["tre_mm"]["mean"]["before"] == pytest.approx(np.linalg.norm(SHIFT + error), abs=1e-6)
        rows = {row["label"]: row for row in done["evaluation"]["organs"]["table"]}
        assert rows[3]["dice_before"] == 0
        assert rows[3]["dice_after"] > 0.8
        assert done["jacobian"]["mean"] == pytest.approx(1.0, abs=1e-3)
        assert done["jacobian"]["folding_percent"] == 0
    client.process.stdin.close()
    assert client.gone()


SLOW = """
import time
def slow(progress, **_):
    for i in range(1200):
        progress(i / 1200, "wait")
        time.sleep(0.05)
def stuck(progress, **_):
    progress(0.0, "stuck")
    time.sleep(60)
def flood(progress, **_):
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        progress(0.5, "flood")
    return {"nan": float("nan")}
"""


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Client]:
    """A worker whose requests are 'slow' (until cancelled), 'stuck' and 'flood'."""
    (tmp_path / "slow.py").write_text(SLOW)
    names = "slow=s.slow, stuck=s.stuck, flood=s.flood"
    before = f"sys.path.append({str(tmp_path)!r}); import slow as s, pddnet.worker.tasks as t; t.TASKS.update({names})"
    made = Client(tmp_path / "private", before=before)
    yield made
    made.close()


@pytest.mark.slow
def test_a_cancelled_request_leaves_the_worker_alive(slow: Client, pair: tuple[Image, Image]) -> None:
    slow.receive()
    slow.send({"do": "slow", "id": 1})
    assert slow.receive() == {"id": 1, "progress": 0.0, "stage": "wait"}
    slow.send({**pack({"do": "register", "fixed": pair[0], "moving": pair[1]}, slow.folder, "2"), "id": 2})
    slow.send({"do": "cancel", "id": 2})  # while it waits for its turn
    slow.send({"do": "cancel", "id": 1})
    assert slow.answer(1)["kind"] == "cancelled"
    assert slow.answer(2)["kind"] == "cancelled"
    assert os.listdir(slow.folder) == []
    assert slow.ask(3, {"do": "warm"})["threads"] >= 1


@pytest.mark.slow
def test_progress_comes_at_most_ten_times_a_second(slow: Client) -> None:
    slow.receive()
    slow.send({"do": "flood", "id": 1})
    count = 0
    while "progress" in (message := slow.receive()):
        count += 1
    assert message == {"id": 1, "done": {"nan": None}}
    assert 2 <= count <= 11


@pytest.mark.parametrize("end", ["close", "quit"])
def test_it_ends_in_the_middle_of_a_computation(slow: Client, end: str) -> None:
    slow.receive()
    (slow.folder / "1-0.npy").write_bytes(b"data of a patient")
    slow.send({"do": "stuck", "id": 1})
    slow.receive()
    if end == "close":
        slow.process.stdin.close()
    else:
        slow.send({"do": "quit"})
    assert slow.gone()
    assert slow.process.returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_an_interrupt_of_the_application_is_not_meant_for_it(slow: Client) -> None:
    slow.receive()
    slow.process.send_signal(signal.SIGINT)
    assert slow.ask(1, {"do": "flood"}) == {"nan": None}


def test_it_ends_when_nothing_comes(tmp_path: Path) -> None:
    before = "import pddnet.worker.server as w; w.GRACE = 0.3"
    client = Client(tmp_path / "private", idle=0.2, before=before)
    client.receive()
    assert client.receive() == {"bye": "idle"}
    assert client.receive() == {}
    assert client.gone()


@pytest.mark.slow
def test_a_request_after_the_goodbye_still_counts(tmp_path: Path) -> None:
    client = Client(tmp_path / "private", idle=0.1)
    client.receive()
    assert client.receive() == {"bye": "idle"}
    assert client.ask(1, {"do": "warm"})["threads"] >= 1
    client.process.stdin.close()
    assert client.gone()


def test_a_result_that_does_not_fit_on_the_disk(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="temporary files"):
        pack({"a": np.zeros(3), "b": ramp(FIXED)}, tmp_path / "missing", "1")


def test_what_was_written_before_the_disk_was_full_is_deleted(tmp_path: Path, monkeypatch) -> None:
    save, calls = np.save, iter(range(10))

    def full(path: Path, array: np.ndarray, **settings: object) -> None:
        save(path, array, **settings)
        if next(calls) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(InputError, match="No space left on device; free space on the disk of the temporary files"):
        pack({"a": np.zeros(3), "b": np.ones(3)}, tmp_path, "1")
    assert list(tmp_path.iterdir()) == []


def test_what_is_packed_comes_out_bit_identical(tmp_path: Path) -> None:
    grid = Grid((2, 3, 4), (0.1, 1 / 3, 2.5), (1e-9, -7.7, 300.1), direction(4, flipped=True))
    rng = np.random.default_rng(0)
    image = Image(rng.normal(size=grid.shape).astype(np.float32), grid)
    mask = Image(rng.uniform(size=grid.shape) > 0.5, grid)
    field = DisplacementField(rng.normal(size=(*grid.shape, 3)).astype(np.float32), grid)
    turn = sitk.Euler3DTransform((1.5, 2.5, -3.5), 0.1, 0.2, 0.3, (7, -13, 29))
    value = {"a": image, "b": [image, mask, {"ü": field}], "grid": grid, "t": turn, "n": np.float32(0.5), "nan": np.nan}
    message = json.loads(json.dumps(pack(value, tmp_path, "9"), allow_nan=False))
    assert len(list(tmp_path.iterdir())) == 4  # the image that occurs twice is written once
    back = unpack(message, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert back["b"][0] is back["a"]
    for got, sent in ((back["a"], image), (back["b"][1], mask), (back["b"][2]["ü"], field)):
        assert type(got) is type(sent)
        assert got.array.dtype == sent.array.dtype
        assert np.array_equal(got.array, sent.array)
        for name in ("shape", "spacing", "origin", "direction"):
            assert np.array_equal(getattr(got.grid, name), getattr(grid, name))
    assert np.array_equal(back["grid"].direction, grid.direction)
    assert back["t"].TransformPoint((1, 2, 3)) == turn.TransformPoint((1, 2, 3))
    assert (back["n"], back["nan"]) == (0.5, None)


def test_folders_of_the_dead_are_swept_and_those_of_the_living_are_not(tmp_path: Path) -> None:
    code = f"from pddnet.worker.folder import WorkerFolder; import os; f = WorkerFolder({str(tmp_path)!r}); os._exit(9)"
    subprocess.run([sys.executable, "-c", code], check=False)
    mine, other = WorkerFolder(tmp_path), tmp_path / "pddnet-notes"
    other.mkdir()
    (mine.path / "1-0.npy").write_bytes(b"in use")
    assert len(list(tmp_path.iterdir())) == 3
    sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3  # too young: its maker may not have locked it yet
    for folder in tmp_path.iterdir():
        os.utime(folder, (time.time() - 100,) * 2)
    sweep(tmp_path)
    assert set(tmp_path.iterdir()) == {mine.path, other}
    if os.name == "posix":
        assert mine.path.stat().st_mode & 0o777 == 0o700
    mine.remove()
    assert set(tmp_path.iterdir()) == {other}


@pytest.mark.parametrize("locks", [True, False], ids=["with locks", "as on Windows"])
def test_what_could_not_be_deleted_is_swept_later(tmp_path: Path, monkeypatch, locks: bool) -> None:
    """A virus scanner has an array open while its folder is removed, and also while it is swept for the first time."""
    if not locks:
        monkeypatch.setattr(folder_module, "fcntl", None)
    folder = WorkerFolder(tmp_path)
    (folder.path / "atlases").mkdir()
    for name in ("1-0.npy", "2-0.npy", "atlases/a.nrrd"):
        (folder.path / name).write_bytes(b"patient")
    held = ["1-0.npy", "a.nrrd"]
    for function in ("unlink", "remove"):  # of pathlib, and of shutil.rmtree
        original = getattr(os, function)

        def refuse(path, *arguments, original=original, **options) -> None:
            if Path(path).name in held:
                raise PermissionError(13, "in use", str(path))
            original(path, *arguments, **options)

        monkeypatch.setattr(os, function, refuse)
    folder.remove()
    assert {path.name for path in folder.path.rglob("*")} == {".owner", "1-0.npy", "atlases", "a.nrrd"}
    for _ in range(2):
        os.utime(folder.path, (time.time() - 100,) * 2)
        sweep(tmp_path)
        held.clear()
    assert list(tmp_path.iterdir()) == []


def test_a_moving_volume_with_missing_voxels_is_warped_without_them(pair: tuple[Image, Image], monkeypatch) -> None:
    monkeypatch.setattr(pipeline, "register", fake_register())
    array = pair[1].array.astype(np.float32)
    array[10, 10, 10] = np.nan
    moving = Image(array, pair[1].grid)
    done = worker_tasks.register(lambda *_: None, fixed=pair[0], moving=moving, warp={"v": moving})
    assert np.isfinite(done["warped"]["v"].array).all()
    assert any("NaN" in warning for warning in done["report"]["warnings"])
    assert np.isnan(array[10, 10, 10])


@pytest.mark.parametrize(
    "line",
    [
        b'{"do": "warm", "id": Infinity}',
        b'{"do": "warm", "id": 1e999}',
        b'{"do": "warm", "id": NaN}',
        b'{"do": "warm", "id": ' + b"[" * 100_000,
        b"[" * 100_000,
        b'{"do": "warm", "id": 1, "x": ' + b"[" * 400 + b"]" * 400 + b"}",
        b'{"do": "warm", "id": 1' + b"0" * 5000 + b"}",
        b"\xff\xfe\x00",
    ],
)
def test_a_line_that_is_no_request_is_answered_and_the_next_one_too(client: Client, line: bytes) -> None:
    client.receive()
    client.send(line)
    assert client.receive()["failed"]["kind"] == "internal"
    client.send({"do": "dance", "id": 7})
    assert "there is no such request" in client.answer(7)["message"]
