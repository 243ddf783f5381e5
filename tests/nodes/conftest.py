"""Models on disk that many tests read, made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.nodes import tiny

TinyModel = Callable[..., tuple[Any, str]]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    """`tiny_model("v_prediction", seed=1)` gives a pipeline (see `tiny.tiny_pipeline`) and the folder that holds it."""
    made: dict[str, tuple[Any, str]] = {}

    def make(prediction_type: str = "epsilon", **options: Any) -> tuple[Any, str]:
        name = repr((prediction_type, sorted(options.items(), key=repr)))
        if name not in made:
            pipeline = tiny.tiny_pipeline(prediction_type, **options)
            folder: Path = tmp_path_factory.mktemp("model")
            made[name] = pipeline, tiny.save(pipeline, folder)
        return made[name]

    return make
