"""Provide tensor operations that do not depend on registration: sampling, pooling, lattices, folding, devices.

Importing this package without torch raises `TorchMissing`: every module that needs torch imports it first.
"""

from ..errors import TorchMissing
from ..process import restore_garbage_collection

try:
    import torch  # noqa: F401
except (ImportError, OSError) as error:
    raise TorchMissing(f"PyTorch cannot be loaded ({error}); install it: pip install torch") from error

restore_garbage_collection()
