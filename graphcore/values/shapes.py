"""Tensors that are only described: what `infer` hooks and the checker work with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Stands for a tensor in a value that is not computed yet; None is a size that is not known."""

    shape: tuple[int | None, ...]
    dtype: str = "float32"

    def __str__(self) -> str:
        return f"({', '.join('?' if size is None else str(size) for size in self.shape)})"

    def __getitem__(self, index: int) -> TensorSpec:
        """An entry along the first dimension."""
        return TensorSpec(self.shape[1:], self.dtype)
