"""A batch goes on whatever becomes of a pair, says why, and a second start completes the rest."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import distributed
import pytest
from distributed import Client

from helpers import batches
from pddnet.batch import cluster
from pddnet.batch.claim import claimed
from pddnet.batch.records import Outcome
from pddnet.batch.run import Batch
from pddnet.errors import InputError


def _run(batch: Batch, client: Client) -> dict[str, str]:
    """Run it; the verdict of every pair, or the reason why it is not done."""
    told: list[Outcome] = []
    batch.run(client, told.append)
    assert sorted(each.id for each in told if not each.busy) == sorted(job.id for job in batch.jobs if told)
    return {name: outcome.row.get("verdict") or outcome.reason for name, outcome in batch.outcomes.items()}


def test_pairs_that_go_wrong_are_named_and_the_others_finish(client: Client, tmp_path: Path) -> None:
    told = {
        "good": {},
        "bad": {"fail": "bad.nii.gz: not a scan"},
        "dies": {"die": signal.SIGKILL},
        "full": {"full": True},
        "doubtful": {"verdict": "doubtful"},
    }
    batch = batches.make_batch(tmp_path, told)
    found = _run(batch, client)
    assert (found["good"], found["doubtful"], found["bad"]) == ("ok", "doubtful", "bad.nii.gz: not a scan")
    assert found["dies"].startswith("its process ended with SIGKILL, perhaps because memory ran out")
    assert "No space left on device" in found["full"]
    assert batch.done == 2


def test_a_scan_that_is_missing_is_named(client: Client, tmp_path: Path) -> None:
    batch = batches.make_batch(tmp_path, {"a": {}, "b": {}})
    (tmp_path / "a.nii.gz").unlink()
    found = _run(batch, client)
    assert "a.nii.gz" in found["a"] and "No such file" in found["a"]
    assert found["b"] == "ok"


def test_a_second_start_completes_the_rest(client: Client, tmp_path: Path) -> None:
    marker = str(tmp_path / "once")
    told = {"a": {}, "b": {"die": signal.SIGKILL, "once": marker}, "c": {}}
    _run(batches.make_batch(tmp_path, told), client)
    stamps = {name: (tmp_path / "out" / name / "report.json").stat().st_mtime_ns for name in "ac"}
    again = Batch(tmp_path / "out", [batches.make_job(tmp_path, name) for name in told])
    assert again.resume() == 2
    assert [job.id for job in again.missing] == ["b"]
    again.run(client, lambda outcome: None)
    assert again.done == 3
    assert stamps == {name: (tmp_path / "out" / name / "report.json").stat().st_mtime_ns for name in "ac"}


def test_what_was_made_otherwise_is_made_again(client: Client, tmp_path: Path) -> None:
    _run(batches.make_batch(tmp_path, {"a": {}, "b": {}}), client)
    (tmp_path / "a.nii.gz").write_text(json.dumps({"verdict": "failed"}), "utf-8")
    os.utime(tmp_path / "b.nii.gz", (1, 1))  # the same scan, copied again
    again = Batch(tmp_path / "out", [batches.make_job(tmp_path, name) for name in "ab"])
    assert again.resume() == 0
    again.run(client, lambda outcome: None)
    assert again.outcomes["a"].row["verdict"] == "failed"
    assert again.outcomes["b"].kept and not again.outcomes["a"].kept
    made = {**batches.MADE, "options": {"preset": "mind"}}
    other = Batch(tmp_path / "out", [batches.make_job(tmp_path, name, made) for name in "ab"])
    assert other.resume() == 0
    other.run(client, lambda outcome: None)
    assert not any(outcome.kept for outcome in other.outcomes.values())


def test_a_pair_that_is_made_again_is_not_whole_meanwhile(client: Client, tmp_path: Path) -> None:
    _run(batches.make_batch(tmp_path, {"a": {}}), client)
    made = {**batches.MADE, "options": {"preset": "mind"}}
    (tmp_path / "a.nii.gz").write_text(json.dumps({"full": True}), "utf-8")  # the transform is new, nothing else
    _run(Batch(tmp_path / "out", [batches.make_job(tmp_path, "a", made)]), client)
    assert Batch(tmp_path / "out", [batches.make_job(tmp_path, "a")]).resume() == 0


def test_two_runs_share_one_folder(client: Client, tmp_path: Path) -> None:
    told = {f"m{n}": {"seconds": 0.05} for n in range(8)}
    runs = [batches.make_batch(tmp_path, told), Batch(tmp_path / "out", [batches.make_job(tmp_path, n) for n in told])]
    threads = [threading.Thread(target=run.run, args=(client, lambda outcome: None)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [run.done for run in runs] == [8, 8]
    kept = [{name for name, outcome in run.outcomes.items() if outcome.kept} for run in runs]
    assert kept[0] | kept[1] == set(told) and not kept[0] & kept[1]  # each was registered once


def test_a_pair_that_another_run_works_on_is_waited_for(client: Client, tmp_path: Path) -> None:
    batch = batches.make_batch(tmp_path, {"a": {}, "b": {}})
    told, waits = [], []
    claim = claimed(tmp_path / "out" / "a")
    assert claim.__enter__()

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            claim.__exit__(None, None, None)

    batch.run(client, told.append, wait)
    assert [(outcome.id, outcome.busy) for outcome in told if outcome.id == "a"] == [("a", True), ("a", False)]
    assert batch.done == 2 and len(waits) == 2


def test_a_worker_of_another_version_is_told(client: Client, tmp_path: Path) -> None:
    batch = batches.make_batch(tmp_path, {"a": {}}, {**batches.MADE, "version": "9.9"})
    assert _run(batch, client)["a"].endswith("the batch 9.9")


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="the folder cannot be made"):
        Batch(tmp_path / "file" / "out", []).make_folder()


def test_a_pair_runs_where_the_resources_are(client: Client, tmp_path: Path) -> None:
    batch = batches.make_batch(tmp_path, {name: {} for name in "abc"})
    batch.resources = {"SLOT": 1.0}
    assert set(_run(batch, client).values()) == {"ok"}


def test_many_tasks_come_back_with_their_numbers(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "AT_ONCE", 7)

    def doubled(job: dict[str, int]) -> dict[str, int]:
        if job["n"] == 5:
            raise KeyError("five")
        return {"n": 2 * job["n"]}

    found = dict(cluster.run_tasks(client, doubled, [{"n": n} for n in range(40)]))
    assert found.pop(5) == "the Dask worker failed (KeyError: 'five')"
    assert found == {n: {"n": 2 * n} for n in range(40) if n != 5}


def test_a_cluster_is_started_again_where_a_worker_died_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[int] = []

    def start(**options: object) -> str:
        starts.append(1)
        if len(starts) < enough:
            raise RuntimeError("Nanny failed to start.")
        return "a cluster"

    monkeypatch.setattr(distributed, "LocalCluster", start)
    enough = 2
    assert cluster._started({}) == "a cluster"
    enough = 9
    with pytest.raises(InputError, match=r"cannot start workers on this machine \(Nanny failed to start.\)"):
        cluster._started({})
