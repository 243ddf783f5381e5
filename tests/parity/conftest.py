"""Models, pictures and engines of the parity tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers import StableDiffusionPipeline
from PIL import Image as Pillow

from graphcore import Engine
from tests.nodes import tiny
from tests.parity.shipped import REGISTRY

Model = Callable[[str], tuple[Any, str]]


@pytest.fixture
def engine() -> Iterator[Engine]:
    """A new one for each test: a prediction left by an earlier run may come from a batch of another size, and differ
    in its last bits from the pipeline's.
    """
    with Engine(registry=REGISTRY, cache=None, device="cpu", dtype="float32") as made:
        yield made


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """`model("v_prediction")` gives a tiny pipeline with random weights and the folder that it was loaded from.

    Loaded, not as it was made: a scheduler that was made in memory remembers which of its settings were defaults, and
    hands on only the others to a scheduler that takes its place; and the alignment of weights moves the last bits.
    """
    made: dict[str, tuple[Any, str]] = {}

    def load(prediction_type: str = "epsilon") -> tuple[Any, str]:
        if prediction_type not in made:
            folder = tiny.save(tiny.tiny_pipeline(prediction_type), tmp_path_factory.mktemp("model"))
            made[prediction_type] = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True), folder
        return made[prediction_type]

    return load


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture file of 32 x 32 random pixels: any loss on the way from file to latents shows."""
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("picture") / "random.png"
    Pillow.fromarray(pixels).save(path)
    return path
