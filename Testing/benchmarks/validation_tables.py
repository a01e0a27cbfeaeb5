"""Print the tables of `validate.py`: errors by kind, how well the verdict predicts them, and a fit of its risk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.console import line, table, title
from benchmarks.logistic import fit, left_out
from benchmarks.scores import auroc, auroc_interval, interval, spearman
from benchmarks.splits import splits
from benchmarks.validation_pairs import KINDS
from pddnet.core.result import Verdict
from pddnet.matching.verdict import STRUCTURES_ASTRAY, judge, log_error

WRONG_MM = 20.0  # limit of the median error at the landmarks
Row = dict[str, Any]  # one pair: see `measure` in validate.py
LOWER_IS_WORSE = {"overlap", "similarity", "similarity_before", "gain", "agreement"}


def summary(rows: list[Row]) -> None:
    """Print all tables."""
    rows = _usable(rows)
    if not rows:
        print("no pair was registered")
        return
    _by_kind(rows)
    _held_back(rows)
    _organs(rows)
    _ranking(rows)
    _confusion(rows)
    _uncertainty(rows)


def wrong(row: Row) -> bool:
    """Say whether the median error is above WRONG_MM, or the pair has no anatomy in common."""
    return "after" not in row or float(np.median(row["after"])) > WRONG_MM


def _usable(rows: list[Row]) -> list[Row]:
    for row in rows:
        if "error" in row:
            print(f"refused: {row['key']}: {row['error']}")
    rows = [row for row in rows if "error" not in row]
    verdicts = [judge(row["measures"]) for row in rows]  # as the verdict is now: it needs no new run
    return [row | {"risk": v.risk, "status": _status(row, v)} for row, v in zip(rows, verdicts, strict=True)]


def _status(row: Row, verdict: Verdict) -> str:
    """Return the status by the measures, and by the structures that lay astray in the run."""
    astray = any(reason.startswith(STRUCTURES_ASTRAY) for reason in row["reasons"])
    return "doubtful" if astray and verdict.status == "ok" else verdict.status


def _by_kind(rows: list[Row]) -> None:
    title("errors at landmarks, mm")
    head = ("kind", "pairs", "before", "median", "mean", "p90", f"> {WRONG_MM:.0f} mm", "folding %", "seconds")
    body = []
    for kind in KINDS:
        part = [row for row in rows if row["kind"] == kind]
        if not part:
            continue
        cells = ["-"] * 4
        if kind != "none":
            medians = [np.median(row["after"]) for row in part]
            before = np.median([np.median(row["before"]) for row in part])
            means = np.median([np.mean(row["after"]) for row in part])
            cells = [f"{v:.1f}" for v in (before, np.median(medians), means, np.percentile(medians, 90))]
        share = 100 * np.mean([wrong(row) for row in part])
        folding = np.median([row["measures"]["folding_percent"] for row in part])
        seconds = np.median([sum(row["seconds"].values()) for row in part])
        body.append((kind, str(len(part)), *cells, f"{share:.0f} %", f"{folding:.3f}", f"{seconds:.1f}"))
    table(head, body)
    print("medians over the pairs of: the median before and after, the mean after; then the 90th percentile of medians")


def _held_back(rows: list[Row]) -> None:
    """Print the real pairs with a scan that no choice since `splits.json` has used, and the others."""
    rows = [row for row in rows if row["kind"] == "real"]
    if not rows:
        return
    title("real pairs: TRE in mm with 95 % bootstrap intervals over the pairs (they share scans: too narrow)")
    unseen = set(splits("ct")["held_back"])
    body = []
    for name, wanted in (("with a held-back scan", True), ("the others", False)):
        part = [row for row in rows if bool(unseen & set(row["scans"])) == wanted]
        if part:
            medians, means = (np.array([f(row["after"]) for row in part]) for f in (np.median, np.mean))
            cells = [_with_interval(f, values) for values in (medians, means) for f in (np.median, np.mean)]
            body.append((name, str(len(part)), *cells))
    table(("", "pairs", "median of medians", "mean of medians", "median of means", "mean of means"), body)


def _organs(rows: list[Row]) -> None:
    """Print the Dice of the organs outlined in both scans of the real pairs."""
    rows = [row for row in rows if row.get("dice")]
    if not rows:
        return
    title("real pairs: Dice of the outlined organs, mean of the pairs' means with 95 % bootstrap intervals")
    unseen = set(splits("ct")["held_back"])
    body, organs = [], {}
    groups = (("with a held-back scan", (1, 2)), ("both held back", (2,)), ("the others: trained on", (0,)))
    for name, wanted in groups:
        part = [row["dice"] for row in rows if len(unseen & set(row["scans"])) in wanted]
        if part:
            means = [np.array([np.mean(list(d[when].values())) for d in part]) for when in ("before", "after")]
            body.append((name, str(len(part)), *(_with_interval(np.mean, m, digits=3) for m in means)))
            names = sorted({organ for d in part for organ in d["after"]})
            organs[name] = {organ: [d["after"][organ] for d in part if organ in d["after"]] for organ in names}
    table(("", "pairs", "before", "after"), body)
    for name, found in organs.items():
        line(name, ", ".join(f"{organ} {np.mean(values):.2f}" for organ, values in found.items()))


def _with_interval(statistic: Callable[[np.ndarray], float], values: np.ndarray, digits: int = 1) -> str:
    low, high = interval(statistic, values)
    return f"{statistic(values):.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def _ranking(rows: list[Row]) -> None:
    title(f"AUROC for 'median error above {WRONG_MM:.0f} mm' (or no anatomy in common), 95 % bootstrap interval")
    target = np.array([wrong(row) for row in rows])
    shared = np.array([row["kind"] != "none" for row in rows])
    measures = [row["measures"] | {"gain": _gain(row)} for row in rows]
    columns = {"risk": np.array([row["risk"] for row in rows])}
    for name in (name for name in measures[0] if all(name in m for m in measures)):
        sign = -1 if name in LOWER_IS_WORSE else 1
        columns[name] = sign * np.array([m[name] for m in measures])
    body = [
        (name, _interval(score, target), _interval(score[shared], target[shared])) for name, score in columns.items()
    ]
    table(("measure", f"all {len(rows)} pairs", f"{shared.sum()} pairs that share anatomy"), body)


def _interval(score: np.ndarray, target: np.ndarray) -> str:
    value = auroc(score, target)
    if not np.isfinite(value):
        return "needs right and wrong pairs"
    low, high = auroc_interval(score, target)
    return f"{value:.3f} ({low:.2f}-{high:.2f})"


def _confusion(rows: list[Row]) -> None:
    title("verdict against truth, pairs")
    limits = ((0, 10), (10, WRONG_MM), (WRONG_MM, np.inf))
    head = ("verdict", *(f"{low:.0f}-{high:.0f} mm" for low, high in limits[:2]), f"> {WRONG_MM:.0f} mm", "no anatomy")
    body = []
    for status in ("ok", "doubtful", "failed"):
        part = [row for row in rows if row["status"] == status]
        medians = np.array([np.median(row["after"]) for row in part if "after" in row])
        counts = [np.count_nonzero((medians > low) & (medians <= high)) for low, high in limits]
        body.append((status, *map(str, counts), str(len(part) - len(medians))))
    table(head, body)


def _uncertainty(rows: list[Row]) -> None:
    title("Spearman correlation of spread and error at the landmarks")
    for kind in ("real", "virtual"):
        part = [row for row in rows if row["kind"] == kind]
        right = [row for row in part if not wrong(row)]
        for text, some in ((f"{kind} pairs", part), (f"{kind} pairs within {WRONG_MM:.0f} mm", right)):
            if some:
                pooled = spearman(*(np.concatenate([row[key] for row in some]) for key in ("spread", "after")))
                within = [spearman(row["spread"], row["after"]) for row in some if len(row["after"]) >= 5]
                own = np.nanmedian(within) if np.isfinite(within).any() else np.nan
                count = sum(len(row["after"]) for row in some)
                line(text, f"{pooled:.2f} over {count} landmarks; median within a pair {own:.2f}")


def fitted(rows: list[Row]) -> None:
    """Fit the risk's logistic functions to `wrong`, one of each measure alone; validate with each scan left out."""
    rows = _usable(rows)
    target = np.array([wrong(row) for row in rows])
    if len(set(target.tolist())) < 2:
        print("right and wrong pairs are needed")
        return
    _fitted("BETWEEN_TWO", np.array([log_error(row["measures"]) for row in rows]), 1, rows, target)
    _fitted("BY_SIMILARITY", np.array([row["measures"]["similarity"] for row in rows]), -1, rows, target)


def _fitted(name: str, values: np.ndarray, sign: int, rows: list[Row], target: np.ndarray) -> None:
    title(f"{name}: logistic regression of 'wrong' on {len(rows)} pairs, {target.sum()} of them wrong")
    column, signs = values[:, None], np.array([sign])
    logits = left_out(column, target, [row["scans"] for row in rows], signs)
    known = np.isfinite(logits)
    model = fit(column, target, signs)
    line("AUROC, fitted to all", _interval(model.logit(column), target))
    line("AUROC, each scan left out", _interval(logits[known], target[known]))
    shared = known & np.array([row["kind"] != "none" for row in rows])
    line("the same, anatomy in common", _interval(logits[shared], target[shared]))
    chance = 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
    for limit in (0.25, 0.75):
        high = known & (chance >= limit)
        line(
            f"left out, risk >= {limit:g}",
            f"{np.mean(high[target]):.0%} of the wrong pairs, {np.mean(high[~target]):.0%} of the right ones",
        )
    print(f"{name} = {model.bias - float(model.means @ model.weights):.4g}, {float(model.weights[0]):.4g}")


def _gain(row: Row) -> float:
    return float(row["measures"]["similarity"] - row["measures"]["similarity_before"])
