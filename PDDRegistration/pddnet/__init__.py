"""pdd-net for 3-D scans: two volumes in, a transform out. torch is imported only by what computes."""

import os

__version__ = "0.1.0"

# torch's threads spin while they wait for each other: with one other busy process on two cores that makes the cost
# volume fifteen times slower. OpenMP reads this when torch is first imported; a value that the user set stays.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
