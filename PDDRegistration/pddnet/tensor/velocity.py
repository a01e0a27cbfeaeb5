"""Write a deformation as the exponential of a stationary velocity field, whose negative gives the inverse.

Arsigny et al. 2006 (doi:10.1007/11866565_113): exp(v) is the map that flows along v for one unit of time. It is
invertible whatever v is, and exp(-v) is its inverse.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..core.grid import Grid
from .convert import to_tensor
from .execution import ALONE, Work
from .folding import averaged, closeness, least_determinant
from .lattice import compose, mesh, sample

SQUARINGS = 2  # each interpolates between nodes, and blurs, but halves the steps
LEAST_STEPS = 2  # along v, none longer than a voxel
LOGARITHM_ROUNDS = 6
MOST_SMOOTHINGS = 40
LEAST_DETERMINANT = 0.02  # of a map and its inverse; those below it count as folds
REACH = 2  # nodes around a fold within which v is smoothed


def exponential(v: Tensor, lattice: Grid, squarings: int = 0) -> Tensor:
    """Return the displacement u with x + u(x) = exp(v)(x): scaling and squaring (Arsigny et al. 2006, section 3).

    The scaled flow is integrated in steps, which interpolate v alone. Each squaring halves their number, but
    interpolates u, so that exp(-v) undoes exp(v) less exactly; without squarings only what is read from u does.

    Args:
        v: (3, D, H, W) on `lattice`, mm per unit of time along its array axes, as is u in mm. Where the flow leaves the
            lattice, it goes on with the border's velocity.
    """
    part = v / 2**squarings
    steps = max(math.ceil(float(part.detach().abs().max()) / float(lattice.spacing.min())), LEAST_STEPS)
    spacing = to_tensor(lattice.spacing[::-1], v.device).view(3, 1, 1, 1)
    step, nodes = part / steps, mesh(lattice, v.device)
    at = nodes + sample(step, (nodes + step / 2) / spacing)  # the midpoint rule: -v undoes v to the third order
    for _ in range(steps - 1):
        half = at + sample(step, at / spacing) / 2
        at = at + sample(step, half / spacing)
    u = at - nodes
    for _ in range(squarings):
        u = compose(u, u, lattice)
    return u


def logarithm(u: Tensor, lattice: Grid, work: Work = ALONE) -> Tensor:
    """Return the velocity v (3, D, H, W) whose exponential is nearly x + u(x), and folds nowhere.

    It repeats v <- v + smooth(exp(-v/2) o phi o exp(-v/2) - identity), phi being x + u(x). With half of v on either
    side, the term of second order in the Baker-Campbell-Hausdorff formula vanishes (Bossa and Olmos 2008 compute it),
    and no derivative is needed.
    """
    v = u.clone()
    for _ in range(LOGARITHM_ROUNDS):
        back = exponential(-v / 2, lattice, SQUARINGS)
        work.tick()
        v += averaged(compose(back, compose(u, back, lattice), lattice), 1)
        work.tick()
    return v


def both_ways(v: Tensor, lattice: Grid, work: Work = ALONE) -> tuple[Tensor, Tensor]:
    """Return the exponentials of v and -v, see `both_ways_of`."""
    _, there, back = both_ways_of(v, lattice, work)
    return there, back


def both_ways_of(v: Tensor, lattice: Grid, work: Work = ALONE) -> tuple[Tensor, Tensor, Tensor]:
    """Return v and the exponentials of v and -v; v is smoothed where their samples fold between the lattice's nodes.

    The flow itself never folds. Its samples may, where v changes much from node to node.
    """
    for _ in range(MOST_SMOOTHINGS):
        used, both = v, (exponential(v, lattice, SQUARINGS), exponential(-v, lattice, SQUARINGS))
        work.tick()
        folded = torch.stack([least_determinant(u, lattice) for u in both]).amin(0) < LEAST_DETERMINANT
        if not bool(folded.any()):
            break
        v = v + closeness(folded, REACH, v.dtype) * (averaged(v, 1) - v)
    return used, *both
