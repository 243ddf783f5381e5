"""Tensors and devices: the only module of the engine that imports torch, and only when a tensor is near."""

from __future__ import annotations

import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

DTYPES = ("float32", "float16", "bfloat16", "float64")

_GPU_FILES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg")
"""Device files of which one exists on a Linux machine with a usable GPU."""


def is_tensor(value: Any) -> bool:
    """Whether a value is a torch tensor (without importing torch for values that cannot be one)."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def nbytes(tensor: Any) -> int:
    """Bytes of the storage that a tensor (or array) keeps alive."""
    if isinstance(tensor, np.ndarray):
        return int(tensor.nbytes)
    return int(tensor.untyped_storage().nbytes())


def storage_id(tensor: Any) -> int:
    """Equal for tensors that share memory."""
    return id(tensor) if isinstance(tensor, np.ndarray) else int(tensor.untyped_storage()._cdata)


def serialise(tensors: dict[str, Any], metadata: dict[str, str]) -> bytes:
    """Tensors as the bytes of a safetensors file; every tensor is brought to the CPU and made contiguous."""
    if not tensors:
        from safetensors.numpy import save as save_numpy

        return save_numpy({}, metadata)
    from safetensors.torch import save

    return save({name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}, metadata)


def deserialise(data: bytes) -> dict[str, Any]:
    """The tensors of the bytes of a safetensors file, on the CPU."""
    from safetensors.torch import load

    return load(data)


def from_numpy(array: np.ndarray[Any, Any]) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(array).reshape(array.shape).copy())


def to_device(tensor: Any, device: str) -> Any:
    return tensor.to(device)


def device_of(tensor: Any) -> str:
    return "cpu" if isinstance(tensor, np.ndarray) else str(tensor.device)


@cache
def _has_gpu() -> bool:
    """Whether torch can use a GPU; where that is plain from outside, torch is not imported to find out."""
    try:
        if metadata.version("torch").endswith("+cpu"):
            return False
    except metadata.PackageNotFoundError:
        return False
    if sys.platform == "linux" and not any(Path(file).exists() for file in _GPU_FILES):
        return False
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()


def resolve_device(device: str) -> str:
    """`auto`: a GPU where there is one, else the CPU."""
    if device != "auto":
        return device
    if not _has_gpu():
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "mps"


def resolve_dtype(dtype: str, device: str) -> str:
    """`auto`: half precision on a GPU, float32 on the CPU."""
    if dtype != "auto":
        return dtype
    return "float32" if device_kind(resolve_device(device)) == "cpu" else "float16"


def device_kind(device: str) -> str:
    """`cuda` for `cuda:1`."""
    return device.split(":")[0]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device or the machine is full."""
    torch = sys.modules.get("torch")
    return isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError))


def release_memory() -> None:
    """Give the allocator's unused blocks back to the device."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def memory_figures(device: str) -> str:
    """What is free and used, for messages."""
    if device_kind(device) == "cuda":
        import torch

        free, total = torch.cuda.mem_get_info(device)
        return f"{device}: {free / 2**20:.0f} MiB free of {total / 2**20:.0f} MiB"
    return f"{device}"
