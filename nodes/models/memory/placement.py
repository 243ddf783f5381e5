"""Where the tensors of modules are: counting them and moving them.

Heavy: import this inside functions only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import torch

CPU = "cpu"

Place: TypeAlias = tuple[str, int]
"""A block of memory: device and address."""


def device_name(device: str) -> str:
    """The name under which a device is counted: `cuda:0` for `cuda`."""
    return f"cuda:{torch.cuda.current_device()}" if device == "cuda" else device


def is_accelerator(device: str) -> bool:
    """Whether a device has memory of its own, so that CPU memory is a place to go to."""
    return not device.startswith((CPU, "mps", "meta"))


def tensors(module: torch.nn.Module) -> Iterator[torch.Tensor]:
    """Parameters and buffers."""
    yield from module.parameters()
    yield from module.buffers()


def blocks(module: torch.nn.Module, place: str) -> dict[Place, int]:
    """The memory of a module: bytes of each block, each once, however many tensors lie in it."""
    storages = (tensor.untyped_storage() for tensor in tensors(module))
    return {(place, storage.data_ptr()): storage.nbytes() for storage in storages if storage.nbytes()}


def move(modules: Iterable[torch.nn.Module], device: str) -> None:
    """Move modules that share tensors, so that they share them afterwards; all or nothing.

    The tensor objects stay, as modules share them; what they hold changes. On the way to the CPU, the copies lie in
    page-locked memory if there is some, from which a GPU can read on its own.
    """
    moving = {id(tensor): tensor for module in modules for tensor in tensors(module)}
    copies: dict[tuple[object, ...], torch.Tensor] = {}
    moved = []
    for tensor in moving.values():
        same = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if same not in copies:
            copies[same] = _to_cpu(tensor) if device == CPU else tensor.data.to(device, non_blocking=True)
        moved.append((tensor, copies[same]))
    for tensor, copy in moved:
        tensor.data = copy


def _to_cpu(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.is_cuda:
        try:
            return torch.empty_like(tensor.data, device=CPU, pin_memory=True).copy_(tensor.data)
        except RuntimeError:  # no more memory can be locked; ordinary memory serves too, slower
            pass
    return tensor.data.to(CPU, copy=True)
