"""The latent space of a model, from the configurations of its UNet and its autoencoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nodes.models import families
from nodes.models.families import FAMILIES
from nodes.models.part import Part
from nodes.types import LatentSpace


def of_model(parts: Mapping[str, Part], family: str) -> LatentSpace:
    """What UNet and autoencoder say about latents (defaults: those of diffusers).

    Raises:
        TypeError, ValueError, OverflowError: a setting has no value that one can compute with.
    """
    unet = parts["unet"].settings
    if "vae" not in parts:
        return LatentSpace(int(unet.get("in_channels", 3)), 1, 1.0, _side(unet.get("sample_size") or 32))
    vae = parts["vae"]
    size = unet.get("sample_size") or int(vae.settings.get("sample_size", 512)) // families.downsampling(vae)
    return LatentSpace(
        channels=families.latent_channels(vae),
        downsampling=families.downsampling(vae),
        scaling_factor=scaling(family).get("scaling_factor", families.scaling_factor(vae)),
        sample_size=_side(size),
        shift_factor=float(vae.settings.get("shift_factor") or 0.0),
    )


def scaling(family: str) -> dict[str, float]:
    """What a family sets in the configuration of its autoencoder."""
    factor = FAMILIES[family].latent_scaling if family else None
    return {} if factor is None else {"scaling_factor": factor}


def _side(size: Any) -> int:
    return int(max(size) if isinstance(size, (list, tuple)) else size)
