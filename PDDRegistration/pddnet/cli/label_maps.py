"""Read the label maps of both scans, as `pddnet register` and `pddnet evaluate` do."""

from __future__ import annotations

from ..core.grid import Grid
from ..evaluation.sentences import no_common_label
from ..io.label_layers import LabelLayers, match_names, read_label_layers


def read_label_maps(
    paths: tuple[str | None, str | None], grids: tuple[Grid | None, Grid | None] = (None, None)
) -> tuple[LabelLayers | None, LabelLayers | None, list[str]]:
    """Read the fixed and the moving label map; segments that have names are matched by them.

    Args:
        paths: None for a map that is not given.
        grids: to resample the maps on; None keeps a map's own.

    Returns:
        both maps, None for one that is not given, and warnings.

    Raises:
        InputError: a file cannot be read, or a name stands for two segments of it.
    """
    fixed, of_fixed = _read(paths[0], grids[0])
    moving, of_moving = _read(paths[1], grids[1])
    warnings = of_fixed + of_moving
    if fixed is None or moving is None:
        return fixed, moving, warnings
    fixed, moving, matched = match_names(fixed, moving, (str(paths[0]), str(paths[1])))
    return fixed, moving, warnings + matched + no_common_label(fixed.flat, moving.flat)


def _read(path: str | None, grid: Grid | None) -> tuple[LabelLayers | None, list[str]]:
    return read_label_layers(path, grid) if path else (None, [])
