"""Pictures as PNG files that say how they were made."""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL.Image import Resampling
from PIL.PngImagePlugin import PngInfo

from nodes.pictures import pixels
from nodes.types import Image

CHUNK = "stepgraph"
"""Keyword of the iTXt chunk that holds the provenance as JSON; `graphcore.files.provenance.read` reads it back."""

THUMBNAIL = 256
"""Longest side of a preview."""


def export(image: Image, stem: Path, provenance: Mapping[str, Any]) -> list[Path]:
    """Write each picture as PNG; a file appears whole or not at all.

    Args:
        image: Rounded to 256 levels as diffusers does.
        stem: Path without suffix: `out/image` gives `out/image.png`, or for a batch `out/image_00.png` and so on.
        provenance: What made the pictures (see `graphcore.files.provenance.record`); empty writes no metadata.

    Returns:
        The files, in the order of the batch.
    """
    pictures = pixels.to_pictures(image.pixels)
    digits = max(2, len(str(len(pictures) - 1)))
    paths = []
    for number, picture in enumerate(pictures):
        name = f"{stem.name}_{number:0{digits}d}.png" if len(pictures) > 1 else f"{stem.name}.png"
        data = io.BytesIO()
        picture.save(data, "PNG", pnginfo=_metadata(provenance, number, *picture.size))
        _write(stem.with_name(name), data.getvalue())
        paths.append(stem.with_name(name))
    return paths


def thumbnail(image: Image) -> bytes:
    """The first picture as a small PNG without metadata."""
    picture = pixels.to_pictures(image.pixels[:1])[0]
    picture.thumbnail((THUMBNAIL, THUMBNAIL), Resampling.BILINEAR)
    data = io.BytesIO()
    picture.save(data, "PNG")
    return data.getvalue()


def _metadata(provenance: Mapping[str, Any], number: int, width: int, height: int) -> PngInfo:
    info = PngInfo()
    if provenance:
        text = json.dumps({**provenance, "picture": number}, ensure_ascii=False, default=str)
        info.add_itxt(CHUNK, text, zip=True)
        if parameters := _parameters(provenance.get("inputs", {}), number, width, height):
            info.add_text("parameters", parameters)
    return info


def _parameters(inputs: Mapping[str, Any], number: int, width: int, height: int) -> str:
    """The line that picture galleries read, in the form of the AUTOMATIC1111 web UI; empty without a prompt."""
    if not isinstance(inputs.get("prompt"), str):
        return ""
    seed = inputs.get("seed")
    settings = {
        "Steps": inputs.get("steps"),
        "Sampler": inputs.get("scheduler"),
        "CFG scale": inputs.get("guidance_scale"),
        "Seed": seed + number if isinstance(seed, int) else None,
        "Size": f"{width}x{height}",
        "Denoising strength": inputs.get("strength"),
        "Model": str(inputs["model"]).rpartition("/")[2] if "model" in inputs else None,
    }
    negative = inputs.get("negative_prompt")
    lines = [inputs["prompt"]] + ([f"Negative prompt: {negative}"] if negative else [])
    return "\n".join([*lines, ", ".join(f"{name}: {value}" for name, value in settings.items() if value is not None)])


def _write(path: Path, data: bytes) -> None:
    """Replace a file at once, so that a crash leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
