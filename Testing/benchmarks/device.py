"""Measure speed and memory on one device, the volumes in memory: forward passes, a training step, a registration.

Usage: PYTHONPATH=Testing python -m benchmarks.device [--device cuda|cpu] [--times 5]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import pddnet
from benchmarks import pairs
from benchmarks.console import line, table, title
from pddnet import pipeline
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.features import semantic_codes, semantic_net
from pddnet.features.semantic_net import SEMANTIC_SPACING_MM
from pddnet.io.volumes import read_volume
from pddnet.matching.pdd_net import PDDNet
from pddnet.synthesis.patient import PatientSource
from pddnet.tensor.device import choose_device
from pddnet.tensor.scan import Scan, prepare
from pddnet.training.config import TrainingConfig
from pddnet.training.datasets import TwoScanDataset
from pddnet.training.sources import virtual_anatomy
from pddnet.training.tasks.semantic import SemanticTask

CONTROL_POINTS, DISPLACEMENTS = 32, 15  # per axis: the paper's
CAPTURE_RANGE_MM = 70.0
GIB = 2**30


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="cuda or cpu; default: what registration takes")
    parser.add_argument("--times", type=int, default=5, help="runs after the first, of which the median is shown")
    args = parser.parse_args()
    device = choose_device(args.device)
    pair = pairs.same_view(1)
    title("device")
    line("pddnet, torch", f"{pddnet.__version__}, {torch.__version__}")
    line("device", torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device}")
    line("volumes", pair.size)
    images = [read_volume(pair.files[side])[0] for side in ("fixed", "moving")]
    scans = [prepare(image, SEMANTIC_SPACING_MM, device) for image in images]
    rows = [
        ["forward: structures of one scan", *measured(_segmenting(scans[0]), device, args.times)],
        [
            f"forward: pdd-net, {CONTROL_POINTS}^3 points, {DISPLACEMENTS}^3 displacements",
            *measured(_pdd(scans), device, args.times),
        ],
        ["training step, two scans", *measured(_training(device), device, args.times)],
    ]
    for preset in ("default", "fast"):
        rows.append([f"registration, {preset}", *measured(_registering(images, preset, device), device, args.times)])
    table(["", "first", "then", "peak"], rows)
    return 0


def measured(function: Callable[[], object], device: torch.device, times: int) -> list[str]:
    """Return the first run's time, the median of the others, and the GPU's peak memory, as text."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    first, *later = (_seconds(function, device) for _ in range(times + 1))
    peak = f"{torch.cuda.max_memory_allocated(device) / GIB:.2f} GiB" if device.type == "cuda" else "-"
    return [f"{1000 * first:.0f} ms", f"{1000 * statistics.median(later):.0f} ms" if later else "-", peak]


def _seconds(function: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _segmenting(scan: Scan) -> Callable[[], object]:
    net = semantic_net.load(device=scan.values.device)
    return lambda: semantic_codes.with_semantic_codes(scan, net, 1.0)


def _pdd(scans: list[Scan]) -> Callable[[], object]:
    device = scans[0].values.device
    net = PDDNet().to(device).eval()
    box = scans[0].box
    extent = (np.array(box.shape[::-1]) - 1) * box.spacing
    control = Grid((CONTROL_POINTS,) * 3, extent / (CONTROL_POINTS - 1), box.origin, box.direction)
    steps = torch.linspace(-CAPTURE_RANGE_MM, CAPTURE_RANGE_MM, DISPLACEMENTS, device=device)

    def forward() -> object:
        with torch.no_grad():
            return net(*scans, control, steps).moments()

    return forward


def _training(device: torch.device) -> Callable[[], object]:
    task = SemanticTask(TrainingConfig(out=Path()))
    net = task.network().to(device)
    adam = torch.optim.AdamW(net.parameters())
    batch = [part.to(device) for part in next(iter(TwoScanDataset([PatientSource(virtual_anatomy(1))], [1.0], 1, 0)))]

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            loss, _ = task.loss(net, *batch)
        adam.zero_grad()
        loss.backward()
        adam.step()

    return step


def _registering(images: list[Image], preset: str, device: torch.device) -> Callable[[], object]:
    fixed, moving = images
    return lambda: pipeline.register(fixed, moving, preset, device=str(device))


if __name__ == "__main__":
    sys.exit(main())
