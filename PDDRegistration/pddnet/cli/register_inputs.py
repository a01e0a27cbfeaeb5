"""Read the scans of `pddnet register`, with masks, label maps and where to start."""

from __future__ import annotations

import argparse

from ..core.image import Image
from ..core.memo import Memo
from ..io import volumes
from ..io.file_identity import stamp
from ..io.landmark_init import affine_transform, start_from_points
from ..io.landmarks import match_points
from ..io.transforms import load_transform
from ..run.registration import RunInputs
from .label_maps import read_label_maps
from .register_arguments import preset_of


def read_inputs(args: argparse.Namespace, kept: Memo) -> RunInputs:
    """Read all inputs; kept: see `register.carry_out`. Raise InputError where one cannot be used."""
    fixed, warnings = _read_fixed(args, kept)
    moving, more = volumes.read_volume(args.moving, series=args.moving_series)
    inputs = RunInputs(fixed, moving, warnings=warnings + more)
    inputs.bring_to_hu(preset_of(args), args.intensity, (args.fixed, args.moving), kept)
    inputs.guided, inputs.align = args.guide_with_labels, not args.no_alignment
    inputs.transform_type, inputs.diffeomorphic = args.transform_type, args.diffeomorphic
    for side, image in (("fixed", fixed), ("moving", moving)):
        path = getattr(args, f"{side}_mask")
        if path is not None:
            mask, more = volumes.read_mask(path, image.grid)
            setattr(inputs, f"{side}_mask", mask)
            inputs.warnings += more
    _read_labels(args, inputs)
    if args.initial_transform:
        inputs.initial_transform, more = load_transform(args.initial_transform)
        inputs.warnings += more
    if args.fixed_points:
        _, *pairs, more = match_points(args.fixed_points, args.moving_points)
        inputs.initial_transform = affine_transform(start_from_points(*pairs))
        inputs.warnings += more
    inputs.check_start()
    return inputs


def _read_fixed(args: argparse.Namespace, kept: Memo) -> tuple[Image, list[str]]:
    """Read the fixed scan, unless the run before read the same file."""
    file = args.fixed, args.fixed_series, stamp(args.fixed)
    return kept("fixed volume", (), file, lambda: volumes.read_volume(args.fixed, series=args.fixed_series))


def _read_labels(args: argparse.Namespace, inputs: RunInputs) -> None:
    """Read the label maps on the grids of their scans."""
    paths, grids = (args.fixed_labels, args.moving_labels), (inputs.fixed.grid, inputs.moving.grid)
    fixed, moving, warnings = read_label_maps(paths, grids)
    inputs.warnings += warnings
    if fixed is not None:
        inputs.fixed_labels = fixed.flat
    if moving is None:
        return
    inputs.moving_labels = moving.flat
    if fixed is not None:
        inputs.label_layers = fixed.layers, moving.layers
    if len(moving.layers) > 1 and (args.output_labels or inputs.guided):
        shown = "segments overlap; the written or guiding map shows the last one there"
        inputs.warnings.append(f"{args.moving_labels}: {shown}")
