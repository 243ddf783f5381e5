"""Stable Diffusion pipelines with tiny random weights, made in code: oracles that need no download.

Everything is genuine (diffusers and transformers classes), only small: pictures of 32 x 32 pixels, latents of 16 x 16,
text of 77 tokens. Making one takes some 50 ms, a step of its UNet a few ms.
"""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch

START, END = "<|startoftext|>", "<|endoftext|>"
MERGES = ("t h", "th e</w>", "a p", "ap p", "app l", "appl e</w>", "r e", "re d</w>", "c a", "ca t</w>", "o n</w>")
WIDTH = 32
"""Width of the text encoder and of the UNet's context."""

SCALED_LINEAR = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
"""Noise schedule of Stable Diffusion (arXiv:2112.10752, appendix)."""


def vocabulary() -> dict[str, int]:
    """Byte-level BPE in CLIP's order: 256 bytes, the same at the end of a word, one token per merge, two specials."""
    characters = _bytes_as_characters()
    tokens = [*characters, *(f"{character}</w>" for character in characters)]
    tokens += ["".join(merge.split(" ")) for merge in MERGES]
    return {token: index for index, token in enumerate([*tokens, START, END])}


def _bytes_as_characters() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes: themselves where printable, else from U+0100 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + n) for n in range(len(others))]


def tiny_tokenizer(model_max_length: int = 77) -> Any:
    """A CLIPTokenizer that can spell every text and knows a few words as one token."""
    from transformers import CLIPTokenizer

    merges = [tuple(merge.split(" ")) for merge in MERGES]
    return CLIPTokenizer(vocab=vocabulary(), merges=merges, model_max_length=model_max_length)


def tiny_text_encoder(vocab_size: int, *, width: int = WIDTH, positions: int = 77) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=vocab_size, hidden_size=width, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=positions, projection_dim=width, pad_token_id=1, bos_token_id=vocab_size - 2,
        eos_token_id=vocab_size - 1,
    )  # fmt: skip
    return CLIPTextModel(config).eval()


def tiny_unet(**options: Any) -> Any:
    """A UNet of two levels with cross-attention; `options` replace settings, such as `in_channels`."""
    from diffusers import UNet2DConditionModel

    settings: dict[str, Any] = {
        "sample_size": 16,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": WIDTH,
        "attention_head_dim": 2,
        "norm_num_groups": 4,
    }
    return UNet2DConditionModel(**{**settings, **options}).eval()


def tiny_vae(**options: Any) -> Any:
    """A VAE that halves each side; `options` replace settings."""
    from diffusers import AutoencoderKL

    settings: dict[str, Any] = {
        "block_out_channels": (8, 16),
        "down_block_types": ("DownEncoderBlock2D", "DownEncoderBlock2D"),
        "up_block_types": ("UpDecoderBlock2D", "UpDecoderBlock2D"),
        "latent_channels": 4,
        "norm_num_groups": 4,
        "sample_size": 32,
        "scaling_factor": 0.18215,
    }
    return AutoencoderKL(**{**settings, **options}).eval()


def tiny_scheduler(prediction_type: str = "epsilon") -> Any:
    from diffusers import DDIMScheduler

    return DDIMScheduler(**SCALED_LINEAR, prediction_type=prediction_type)


def tiny_pipeline(
    prediction_type: str = "epsilon", seed: int = 0, *, unet: dict[str, Any] | None = None,
    vae: dict[str, Any] | None = None,
) -> Any:  # fmt: skip
    """A StableDiffusionPipeline with random weights: equal for equal arguments, torch's global seed is left alone.

    Args:
        prediction_type: What the scheduler takes the UNet's output for: epsilon, v_prediction or sample.
        seed: Of the weights.
        unet, vae: Settings that replace those of `tiny_unet` and `tiny_vae`.
    """
    from diffusers import StableDiffusionPipeline

    tokenizer = tiny_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pipeline = StableDiffusionPipeline(
            vae=tiny_vae(**(vae or {})), text_encoder=tiny_text_encoder(len(tokenizer)), tokenizer=tokenizer,
            unet=tiny_unet(**(unet or {})), scheduler=tiny_scheduler(prediction_type), safety_checker=None,
            feature_extractor=None, image_encoder=None, requires_safety_checker=False,
        )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def save(pipeline: Any, folder: Path) -> str:
    """Write a pipeline in the diffusers layout (safetensors); returns the folder as `load_model` takes it."""
    pipeline.save_pretrained(folder, safe_serialization=True)
    return str(folder)


def long_prompt(words: int = 120) -> str:
    """A prompt that is longer than 77 tokens, each word its own."""
    letters = string.ascii_lowercase
    return " ".join(letters[i % 26] for i in range(words))
