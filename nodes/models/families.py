"""Families of models: what tells them apart and what is special about them. Only configurations are looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from nodes.models.part import Part


@dataclass(frozen=True, slots=True)
class Family:
    """What the nodes must know of a family.

    Args:
        title: For people.
        corrects_scheduler: Its pipelines in diffusers set `steps_offset` 1 and `clip_sample` False.
        latent_scaling: Its latents are the encoding times this, whatever the autoencoder's configuration says.
    """

    title: str
    corrects_scheduler: bool = False
    latent_scaling: float | None = None


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "sd1": Family("Stable Diffusion 1", corrects_scheduler=True),
        "sd1_inpaint": Family("Stable Diffusion 1 inpainting", corrects_scheduler=True),
        "sd2": Family("Stable Diffusion 2", corrects_scheduler=True),
        "sd2_inpaint": Family("Stable Diffusion 2 inpainting", corrects_scheduler=True),
        "sd": Family("a model like Stable Diffusion", corrects_scheduler=True),
        "sd_inpaint": Family("a model like Stable Diffusion inpainting", corrects_scheduler=True),
        "sd_x4_upscaler": Family("Stable Diffusion x4 upscaler", latent_scaling=0.08333),
        "sdxl": Family("Stable Diffusion XL"),
        "sdxl_inpaint": Family("Stable Diffusion XL inpainting"),
        "sdxl_refiner": Family("Stable Diffusion XL refiner"),
        "ldm_text2img": Family("latent diffusion, text to image"),
        "ldm_class": Family("latent diffusion, class-conditional"),
        "ldm_fmri": Family("latent diffusion, conditioned on fMRI"),
        "ldm_super_resolution": Family("latent diffusion, super-resolution", latent_scaling=1.0),
        "ldm_semantic": Family("latent diffusion, semantic map"),
        "ldm": Family("latent diffusion, unconditional"),
        "ddpm": Family("diffusion on pixels"),
    }
)

PIXELS = "ddpm"
"""The family that works on pixels, without an autoencoder."""

WIDTHS = {768: "sd1", 1024: "sd2"}
"""Context widths of the published Stable Diffusion models with one text encoder."""


def corrects_scheduler(family: str) -> bool:
    """Whether the pipelines of a family correct the configuration of the scheduler that they are given."""
    return family in FAMILIES and FAMILIES[family].corrects_scheduler


def recognise(parts: Mapping[str, Part]) -> str:
    """The family of a model, by the configurations of its parts."""
    unet = parts["unet"].settings
    if "vae" not in parts:
        return "ddpm"
    if parts["unet"].class_name == "UNet2DModel":
        return _without_context(parts)
    if unet.get("addition_embed_type") == "text_time":
        return _xl(parts)
    if "encoder" in parts:
        return "ldm_fmri" if parts["encoder"].class_name == "FmriEncoder" else "ldm_class"
    if "text_encoder" in parts and parts["text_encoder"].class_name == "LDMBertModel":
        return "ldm_text2img"
    if "low_res_scheduler" in parts:
        return "sd_x4_upscaler"
    base = WIDTHS.get(_width(unet), "sd")
    return f"{base}_inpaint" if unet.get("in_channels") == 2 * _latent_channels(parts) + 1 else base


def _xl(parts: Mapping[str, Part]) -> str:
    if "text_encoder" not in parts:
        return "sdxl_refiner"
    wide = parts["unet"].config.get("in_channels") == 2 * _latent_channels(parts) + 1
    return "sdxl_inpaint" if wide else "sdxl"


def _without_context(parts: Mapping[str, Part]) -> str:
    if "encoder" in parts:
        return "ldm_semantic"
    extra = int(parts["unet"].config.get("in_channels", 3)) - _latent_channels(parts)
    return "ldm_super_resolution" if extra > 0 else "ldm"


def _latent_channels(parts: Mapping[str, Part]) -> int:
    return latent_channels(parts["vae"])


def latent_channels(vae: Part) -> int:
    """Channels of an autoencoder's latents (where its configuration does not say: the default of its class)."""
    return int(vae.settings.get("latent_channels", 3 if vae.class_name == "VQModel" else 4))


def downsampling(vae: Part) -> int:
    """Pixels per latent along each side."""
    key = "encoder_block_out_channels" if vae.class_name == "AutoencoderTiny" else "block_out_channels"
    default = (64, 64, 64, 64) if vae.class_name == "AutoencoderTiny" else (64,)
    return int(2 ** (len(vae.settings.get(key, default)) - 1))


def scaling_factor(vae: Part) -> float:
    """Latents are the encoding times this."""
    return float(vae.settings.get("scaling_factor", 1.0 if vae.class_name == "AutoencoderTiny" else 0.18215))


def _width(unet: Mapping[str, Any]) -> int:
    width = unet.get("cross_attention_dim", 1280)
    return int(width[0] if isinstance(width, (list, tuple)) else width)
