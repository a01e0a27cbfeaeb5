"""Learn the expected error from registrations of known error, and say how good it is.

Usage: PYTHONPATH=Testing python -m training.error_map --collect FOLDER    register; skip runs that are in the folder
       PYTHONPATH=Testing python -m training.error_map --fit FOLDER [--out WEIGHTS.npz]    learn, calibrate, report
       PYTHONPATH=Testing python -m training.error_map --report FOLDER    report the bundled model

Of every run two cases are learned: its result, and its alignment alone. The scans that splits.json holds back only
report. The factor of the calibration comes from models that did not learn from a pair's scans.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from benchmarks import logistic
from benchmarks.console import line, progress, table, title
from benchmarks.scores import auroc, spearman
from pddnet import pipeline
from pddnet.core.affine import Affine
from pddnet.io.weights_file import ERROR, write_weights
from pddnet.matching import job_run
from pddnet.matching.error_features import NAMES, error_features
from pddnet.matching.expected_error import (
    BUNDLED_WEIGHTS,
    OFFSET_MM,
    QUANTILE,
    ErrorModel,
    ExpectedError,
    in_both,
    load,
)
from pddnet.matching.feature_types import ScanPair
from pddnet.matching.stage import StageResult
from pddnet.tensor.convert import to_tensor
from pddnet.tensor.lattice import sample
from pddnet.tensor.scan import Scan
from training.error_runs import REAL, Known, Run, runs

HIDDEN, EPOCHS, BATCH, RATE, DECAY = 16, 60, 1024, 5e-3, 0.3
POINTS = 1200  # of a case, at most, in the fit
FOLDS = 5
WEIGHT_OF_ALIGNMENT, WEIGHT_OF_LANDMARKS = 0.6, 0.5  # of a case; a pair of people has few landmarks
WRONG_MM = 20.0
LEAST_MM = 0.01  # predicted errors are raised to it
FAR_MM = 150.0  # larger errors count as this
ALIGNMENT = " alignment"


@dataclass(frozen=True)
class Case:
    """A result of known error: features (N, F) at its points, their means over the body (F,), errors (N,) in mm."""

    name: str
    people: tuple[str, ...]
    held_back: bool
    features: np.ndarray
    context: np.ndarray
    error: np.ndarray

    @property
    def is_alignment(self) -> bool:
        """Whether it is the alignment alone."""
        return self.name.endswith(ALIGNMENT)

    @property
    def weight(self) -> float:
        """Weight in the fit and the calibration."""
        landmarks = WEIGHT_OF_LANDMARKS if self.name.startswith(REAL) else 1.0
        return landmarks * (WEIGHT_OF_ALIGNMENT if self.is_alignment else 1.0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--collect", type=Path, help="folder for the features and errors of all runs")
    what.add_argument("--fit", type=Path, help="folder of such")
    what.add_argument("--report", type=Path, help="folder of such")
    parser.add_argument("--out", type=Path, help="where the weights go")
    args = parser.parse_args()
    if args.collect:
        args.collect.mkdir(parents=True, exist_ok=True)
        for run in runs():
            collect(run, args.collect)
        return 0
    cases = [read_case(path) for path in sorted((args.fit or args.report).glob("*.npz"))]
    tune = [case for case in cases if not case.held_back]
    if args.fit:
        model, left_out = fitted(tune)
        print_risk(tune, [model.factor * each for each in left_out])
        report("tuning scans, each left out of the fit in turn", tune, left_out, model.factor)
        if args.out:
            write(args.out, model, tune)
    model = load(BUNDLED_WEIGHTS) if args.report else model
    held = [case for case in cases if case.held_back]
    report("held-back scans", held, [predictions(model, case) for case in held], 1.0)
    return 0


def collect(run: Run, folder: Path) -> None:
    """Register, and write the features and errors of the result and of its alignment."""
    stem = run.name.replace(":", "_")
    if (folder / f"{stem}.npz").exists():
        return
    progress(run.name)
    pair = run.load()
    cases: list[Case] = []

    def noted(
        fixed: Scan, scans: ScanPair, affine: Affine, field: torch.Tensor, steps: Sequence[StageResult], work: object
    ) -> ExpectedError:
        found = _case(run.name, pair, fixed, scans, affine, field, steps)
        aligned = _case(run.name + ALIGNMENT, pair, fixed, scans, affine, torch.zeros_like(field), [])
        cases.extend([found, aligned] if steps else [found])
        return ExpectedError(torch.zeros(fixed.grid.shape), 0.0)

    with patch.object(job_run, "expected_error", noted):
        result = pipeline.register(pair.fixed, pair.moving, run.preset, initial_transform=run.start(pair))
    errors = [np.linalg.norm(result.field.transform_points(pair.points) - pair.truth, axis=1)]
    for case, error in zip(cases, [*errors, *[case.error for case in cases[1:]]], strict=True):
        suffix = "_alignment" if case.is_alignment else ""
        write_case(folder / f"{stem}{suffix}.npz", case, error)


def _case(
    name: str, pair: Known, fixed: Scan, scans: ScanPair, affine: Affine, field: torch.Tensor,
    steps: Sequence[StageResult],
) -> Case:  # fmt: skip
    """Take the features at the points of a pair; the errors are those of the alignment."""
    moving = scans[1].warped(fixed.grid, affine, field)
    features = error_features(fixed, moving, scans, affine, field, steps)
    both = in_both(fixed, moving)
    context = features[:, both].nanmean(1) if bool(both.any()) else features.new_full((len(NAMES),), torch.nan)
    index = fixed.grid.point_to_index(pair.points).T[::-1].copy()
    at = sample(features, torch.as_tensor(index, dtype=torch.float32)).T
    error = np.linalg.norm(affine.points(pair.points) - pair.truth, axis=1)
    return Case(name, pair.people, pair.held_back, at.numpy(), context.numpy(), error)


def write_case(path: Path, case: Case, error: np.ndarray) -> None:
    """Write a case, with these errors (N,) in mm."""
    np.savez(
        path, X=case.features, ctx=case.context, err=error, people=list(case.people), held=case.held_back,
        name=case.name,
    )  # fmt: skip


def read_case(path: Path) -> Case:
    """Read a case."""
    with np.load(path, allow_pickle=False) as stored:
        people = tuple(map(str, stored["people"]))
        return Case(str(stored["name"]), people, bool(stored["held"]), stored["X"], stored["ctx"], stored["err"])


def fitted(cases: list[Case]) -> tuple[ErrorModel, list[np.ndarray]]:
    """Learn from all cases, and calibrate by models that did not know a case's people.

    Returns:
        the model, and for every case the errors (N,) that those models predict, in mm and before its factor.
    """
    left_out = cross_predicted(cases)
    results = [n for n, case in enumerate(cases) if not case.is_alignment]
    factor = quantile_of_ratios([cases[n] for n in results], [left_out[n] for n in results])
    return trained(cases, factor), left_out


def cross_predicted(cases: list[Case]) -> list[np.ndarray]:
    """Predict every case (N,) by a model trained without the folds that its people are in."""
    people = np.random.default_rng(1).permutation(sorted({name for case in cases for name in case.people}))
    fold = {str(name): number % FOLDS for number, name in enumerate(people)}
    folds = [frozenset(fold[name] for name in case.people) for case in cases]
    found: dict[int, np.ndarray] = {}
    for left in sorted(set(folds), key=sorted):
        model = trained([case for case, own in zip(cases, folds, strict=True) if not own & left], 1.0)
        found |= {n: predictions(model, case) for n, case in enumerate(cases) if folds[n] == left}
    return [np.maximum(found[n], LEAST_MM) for n in range(len(cases))]


def quantile_of_ratios(cases: list[Case], predicted: list[np.ndarray]) -> float:
    """Return the number below which QUANTILE of the ratios of true to predicted errors lie, over all cases."""
    ratios = np.concatenate([case.error / np.maximum(p, LEAST_MM) for case, p in zip(cases, predicted, strict=True)])
    weights = np.concatenate([np.full(len(case.error), case.weight / len(case.error)) for case in cases])
    order = np.argsort(ratios)
    total = np.cumsum(weights[order])
    return float(ratios[order][np.searchsorted(total, QUANTILE * total[-1])])


def trained(cases: list[Case], factor: float, seed: int = 0) -> ErrorModel:
    """Train the network on log(error): AdamW, Huber's loss, one cycle of the learning rate."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    parts = [_sampled(case, rng) for case in cases]
    inputs, target, weight = (np.concatenate(each) for each in zip(*parts, strict=True))
    means, scales = np.nanmean(inputs, 0), np.nanstd(inputs, 0) + 1e-3
    x = to_tensor(np.nan_to_num((inputs - means) / scales).clip(-3, 3).astype(np.float32))
    y, w = to_tensor(target.astype(np.float32)), to_tensor((weight / weight.mean()).astype(np.float32))
    sizes = (x.shape[1], HIDDEN, HIDDEN, 1)
    linear = [torch.nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
    network = torch.nn.Sequential(linear[0], torch.nn.SiLU(), linear[1], torch.nn.SiLU(), linear[2])
    adam = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    cycle = torch.optim.lr_scheduler.OneCycleLR(adam, RATE, total_steps=EPOCHS * (len(x) // BATCH + 1))
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x)).split(BATCH):
            errors = torch.nn.functional.huber_loss(network(x[batch])[:, 0], y[batch], reduction="none")
            adam.zero_grad()
            (w[batch] * errors).mean().backward()
            adam.step()
            cycle.step()
    layers = tuple((layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in linear)
    return ErrorModel(means.astype(np.float32), scales.astype(np.float32), layers, factor)


def _sampled(case: Case, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    picked = rng.permutation(len(case.error))[:POINTS]
    inputs = np.c_[case.features[picked], np.repeat(case.context[None], len(picked), 0)]
    target = np.log(np.minimum(case.error[picked], FAR_MM) + OFFSET_MM)
    return inputs, target, np.full(len(picked), case.weight / len(picked))


def predictions(model: ErrorModel, case: Case) -> np.ndarray:
    """Predict the errors (N,) of a case, mm."""
    return model(to_tensor(case.features.T.copy()), to_tensor(case.context)).numpy()


def write(path: Path, model: ErrorModel, cases: list[Case]) -> None:
    """Write the model with its metadata."""
    arrays = {"means": model.means, "scales": model.scales}
    for number, (weight, bias) in enumerate(model.layers):
        arrays |= {f"weight_{number}": weight, f"bias_{number}": bias}
    metadata = {
        "kind": ERROR, "features": list(NAMES), "layers": len(model.layers), "factor": model.factor,
        "quantile": QUANTILE, "cases": len(cases), "people": sorted({name for case in cases for name in case.people}),
    }  # fmt: skip
    write_weights(path, arrays, metadata)


def print_risk(cases: list[Case], expected: list[np.ndarray]) -> None:
    """Fit the chance that the median error is above WRONG_MM, for `matching/verdict.py`."""
    values = np.log([[np.median(each)] for each in expected])
    wrong = np.array([np.median(case.error) > WRONG_MM for case in cases])
    model = logistic.fit(values, wrong, np.array([1]))
    bias, weight = model.bias - float(model.means @ model.weights), float(model.weights[0])
    print(f"WITHIN_ONE = {bias:.4g}, {weight:.4g}  # {wrong.sum()} of {len(cases)} cases are wrong")


def report(text: str, cases: list[Case], predicted: list[np.ndarray], factor: float) -> None:
    """Print how the expected errors follow the true ones; predicted (N,) in mm, to be multiplied by the factor."""
    title(text)
    expected = [factor * each for each in predicted]
    groups: dict[str, Callable[[Case], bool]] = {
        "results": lambda case: not case.is_alignment,
        "... of one patient": lambda case: case.name.startswith("sp") and not case.is_alignment,
        "... of virtual patients": lambda case: case.name.startswith("vt") and not case.is_alignment,
        "... of two people": lambda case: case.name.startswith("rl") and not case.is_alignment,
        "alignments": lambda case: case.is_alignment,
    }
    rows = []
    for name, wanted in groups.items():
        chosen = [(case.error, e) for case, e in zip(cases, expected, strict=True) if wanted(case)]
        if chosen:
            rows.append([name, *_scores(*zip(*chosen, strict=True))])
    head = ("", "pairs", "Spearman of voxels", "Spearman of pairs", "below, %", "wrong", "AUROC wrong", "AUROC > 5 mm")
    table(head, rows)
    line("below", f"the share of errors below the expected error, which should be {100 * QUANTILE:.0f} %")


def _scores(errors: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> list[str]:
    within = [spearman(e, error) for error, e in zip(errors, expected, strict=True)]
    pairs = spearman(np.array([e.mean() for e in expected]), np.array([error.mean() for error in errors]))
    below = 100 * float(np.mean([(error <= e).mean() for error, e in zip(errors, expected, strict=True)]))
    medians = np.array([np.median(error) for error in errors])
    score = np.array([np.median(e) for e in expected])
    wrong = medians > WRONG_MM
    found = (auroc(score, wrong), auroc(score, medians > 5.0))
    return [
        str(len(errors)), f"{np.nanmean(within):.2f}", f"{pairs:.2f}", f"{below:.0f}", str(int(wrong.sum())),
        *(f"{value:.2f}" for value in found),
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
