"""Provide tensor operations that do not depend on registration: sampling, pooling, lattices, folding, devices.

Importing this package without torch raises `TorchMissing`, and MemoryError where memory does not hold torch: every
module that needs torch imports it first.
"""

from ..errors import TorchMissing, lacks_memory
from ..process import restore_garbage_collection

try:
    import torch  # noqa: F401
except (ImportError, OSError) as error:
    if lacks_memory(error):
        raise MemoryError(str(error)) from error
    raise TorchMissing(f"PyTorch cannot be loaded ({error}); install it: pip install torch") from error

restore_garbage_collection()
