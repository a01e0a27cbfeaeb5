"""pdd-net for 3-D scans: two volumes in, a transform out. torch is imported only by what computes."""

__version__ = "0.1.0"
