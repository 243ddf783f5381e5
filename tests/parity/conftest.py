"""Models, pictures and engines of the parity tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from graphcore import Engine
from tests.nodes.conftest import tiny_model
from tests.parity.shipped import REGISTRY

__all__ = ["engine", "picture", "tiny_model"]


@pytest.fixture
def engine() -> Iterator[Engine]:
    """A new one for each test: a prediction left by an earlier run may come from a batch of another size, and differ
    in its last bits from the pipeline's."""
    with Engine(registry=REGISTRY, cache=None, device="cpu", dtype="float32") as made:
        yield made


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture file of 32 x 32 random pixels: any loss on the way from file to latents shows."""
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("picture") / "random.png"
    Pillow.fromarray(pixels).save(path)
    return path
