"""Operations on torch tensors that know nothing of registration: sampling, pooling, lattices, folding, devices.

Importing this room without torch raises `TorchMissing`: whatever needs torch imports it first.
"""

from ..errors import TorchMissing
from ..process import restore_garbage_collection

try:
    import torch  # noqa: F401
except (ImportError, OSError) as error:
    raise TorchMissing(f"PyTorch cannot be loaded ({error}); install it: pip install torch") from error

restore_garbage_collection()
