"""Operations on torch tensors that know nothing of registration: sampling, pooling, lattices, folding, devices.

Importing this room without torch raises `TorchMissing`: whatever needs torch imports it first.
"""

from ..errors import TorchMissing
from ..process import torch_is_loaded

try:
    import torch  # noqa: F401
except (ImportError, OSError) as error:
    raise TorchMissing(f"PyTorch cannot be loaded ({error}); install it: pip install torch") from error

torch_is_loaded()
