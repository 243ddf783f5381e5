"""Tiny models with random weights, one of each family: `random:sd15` runs everywhere, offline, in no time.

They make no pictures of anything. They have the parts, classes and settings of their families, in small, so that every
workflow can be tried and tested without a checkpoint. The weights depend on the name alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from graphcore import InputError
from nodes.models.part import Part

RANDOM = "random:"
"""Paths that start so name a model with random weights."""

Parts = dict[str, tuple[str, dict[str, Any]]]
"""Class and configuration of each part."""

BERT_WORDS = ("a", "the", "red", "apple", "cat", "on", "of")
MERGES = ("t h", "th e</w>", "a p", "ap p", "app l", "appl e</w>", "r e", "re d</w>", "c a", "ca t</w>", "o n</w>")
START, END = "<|startoftext|>", "<|endoftext|>"

BETAS: Mapping[str, Any] = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000,
    "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1,
}  # fmt: skip
"""Noise schedule of Stable Diffusion (arXiv:2112.10752, appendix)."""


@cache
def vocabulary() -> Mapping[str, int]:
    """Byte-level BPE in CLIP's order: 256 bytes, the same at the end of a word, one token per merge, two specials."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    characters = [chr(byte) for byte in printable] + [chr(256 + n) for n in range(len(others))]
    tokens = [*characters, *(f"{character}</w>" for character in characters)]
    tokens += ["".join(merge.split(" ")) for merge in MERGES]
    return {token: index for index, token in enumerate([*tokens, START, END])}


@cache
def bert_vocabulary() -> Mapping[str, int]:
    """WordPiece in BERT's order: the specials (padding is 0), printable characters at the start of a word and inside
    of one, then a few words.
    """
    characters = [chr(number) for number in range(ord("!"), ord("~") + 1) if not chr(number).isupper()]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *(f"##{letter}" for letter in characters)]
    return {token: index for index, token in enumerate(dict.fromkeys([*tokens, *BERT_WORDS]))}


def unet(**changes: Any) -> tuple[str, dict[str, Any]]:
    """A UNet of two levels with cross-attention."""
    config: dict[str, Any] = {
        "sample_size": 16, "in_channels": 4, "out_channels": 4, "block_out_channels": [8, 16], "layers_per_block": 1,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "cross_attention_dim": 32, "attention_head_dim": 2, "norm_num_groups": 4,
    }  # fmt: skip
    return "UNet2DConditionModel", {**config, **changes}


def plain_unet(**changes: Any) -> tuple[str, dict[str, Any]]:
    """A UNet of two levels without cross-attention."""
    config: dict[str, Any] = {
        "sample_size": 16, "in_channels": 3, "out_channels": 3, "block_out_channels": [8, 16], "layers_per_block": 1,
        "down_block_types": ["DownBlock2D", "AttnDownBlock2D"], "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
        "attention_head_dim": 8, "norm_num_groups": 4,
    }  # fmt: skip
    return "UNet2DModel", {**config, **changes}


def vae(**changes: Any) -> tuple[str, dict[str, Any]]:
    """An autoencoder that halves each side."""
    config: dict[str, Any] = {
        "block_out_channels": [8, 16], "down_block_types": ["DownEncoderBlock2D"] * 2,
        "up_block_types": ["UpDecoderBlock2D"] * 2, "latent_channels": 4, "norm_num_groups": 4, "sample_size": 32,
        "scaling_factor": 0.18215,
    }  # fmt: skip
    return "AutoencoderKL", {**config, **changes}


def text_encoder(width: int = 32, *, projection: bool = False, **changes: Any) -> tuple[str, dict[str, Any]]:
    """A CLIP text tower of two layers."""
    size = len(vocabulary())
    config: dict[str, Any] = {
        "vocab_size": size, "hidden_size": width, "intermediate_size": 37, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": 77, "projection_dim": width, "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5, "pad_token_id": 1, "bos_token_id": size - 2, "eos_token_id": size - 1,
        "model_type": "clip_text_model",
    }  # fmt: skip
    return ("CLIPTextModelWithProjection" if projection else "CLIPTextModel"), {**config, **changes}


def small_vae(**changes: Any) -> tuple[str, dict[str, Any]]:
    """An autoencoder that makes an eighth of each side, as those of the published models do."""
    blocks = {"block_out_channels": [8] * 4, "sample_size": 64}
    types = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}
    return vae(**blocks, **types, **changes)


def vq_vae() -> tuple[str, dict[str, Any]]:
    """LDM's VQ-f4 in small: a quarter of each side, three channels, a codebook; its latents are not scaled."""
    return "VQModel", {
        "block_out_channels": [8, 8, 8], "down_block_types": ["DownEncoderBlock2D"] * 3, "latent_channels": 3,
        "up_block_types": ["UpDecoderBlock2D"] * 3, "norm_num_groups": 4, "sample_size": 64, "num_vq_embeddings": 32,
        "vq_embed_dim": 3, "scaling_factor": 1.0,
    }  # fmt: skip


def tokenizer(pad_token: str = END) -> tuple[str, dict[str, Any]]:
    return "CLIPTokenizer", {"model_max_length": 77, "pad_token": pad_token}


def scheduler(name: str = "DDIMScheduler", **changes: Any) -> tuple[str, dict[str, Any]]:
    return name, {**BETAS, **changes}


def _sd15() -> Parts:
    return {
        "unet": unet(), "vae": vae(), "text_encoder": text_encoder(), "tokenizer": tokenizer(),
        "scheduler": scheduler("PNDMScheduler", skip_prk_steps=True),
    }  # fmt: skip


def _sd21() -> Parts:
    return {
        "unet": unet(cross_attention_dim=40, use_linear_projection=True, upcast_attention=True), "vae": vae(),
        "text_encoder": text_encoder(40, hidden_act="gelu"), "tokenizer": tokenizer("!"),
        "scheduler": scheduler(prediction_type="v_prediction"),
    }  # fmt: skip


def _sd21_base() -> Parts:
    return {**_sd21(), "scheduler": scheduler(prediction_type="epsilon")}


def _sd21_zero_snr() -> Parts:
    """A schedule whose first timestep is noise alone (arXiv:2305.08891), as fine-tuned models of v have it."""
    zero: dict[str, Any] = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return {**_sd21(), "scheduler": scheduler(prediction_type="v_prediction", **zero)}


def _sd15_inpaint() -> Parts:
    return {**_sd15(), "unet": unet(in_channels=9)}


def _sdxl_unet(width: int, pooled: int, ids: int) -> tuple[str, dict[str, Any]]:
    return unet(
        cross_attention_dim=width, addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=pooled + ids * 8, use_linear_projection=True,
        transformer_layers_per_block=[1, 2],
    )  # fmt: skip


def _sdxl() -> Parts:
    return {
        "unet": _sdxl_unet(72, 40, 6), "vae": vae(scaling_factor=0.13025, force_upcast=True),
        "text_encoder": text_encoder(force_zeros_for_empty_prompt=True), "tokenizer": tokenizer(),
        "text_encoder_2": text_encoder(40, projection=True, hidden_act="gelu"), "tokenizer_2": tokenizer("!"),
        "scheduler": scheduler("EulerDiscreteScheduler", timestep_spacing="leading"),
    }  # fmt: skip


def _sdxl_refiner() -> Parts:
    base = _sdxl()
    base["unet"] = _sdxl_unet(40, 40, 5)
    base["unet"][1]["requires_aesthetics_score"] = True
    base["text_encoder_2"][1]["force_zeros_for_empty_prompt"] = False
    return {name: part for name, part in base.items() if name not in ("text_encoder", "tokenizer")}


def _sdxl_inpaint() -> Parts:
    base = _sdxl()
    base["unet"][1]["in_channels"] = 9
    return base


def _ldm_text2img() -> Parts:
    bert = {
        "vocab_size": len(bert_vocabulary()), "max_position_embeddings": 77, "encoder_layers": 2, "d_model": 32,
        "encoder_ffn_dim": 37, "encoder_attention_heads": 4, "head_dim": 8, "pad_token_id": 0, "model_type": "ldmbert",
    }  # fmt: skip
    return {
        "unet": unet(), "vae": small_vae(), "text_encoder": ("LDMBertModel", bert),
        "tokenizer": ("BertTokenizer", {"model_max_length": 77, "do_lower_case": True}),
        "scheduler": scheduler(steps_offset=0),
    }  # fmt: skip


def _ldm_class() -> Parts:
    return {
        "unet": unet(in_channels=3, out_channels=3, attention_head_dim=1), "vae": vq_vae(),
        "encoder": ("ClassEmbedder", {"embed_dim": 32, "n_classes": 11}),
        "scheduler": _ldm_scheduler(0.0195),
    }  # fmt: skip


def _fmri() -> Parts:
    """MinD-Vis in small: both conditions, 64 voxels in patches of 8; the prior is a class-conditional model."""
    encoder = {
        "num_voxels": 64, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "mlp_ratio": 1.0, "tokens": 77,
        "context_dim": 32,
    }  # fmt: skip
    both = {"class_embed_type": "simple_projection", "projection_class_embeddings_input_dim": 32}
    return {
        "unet": unet(in_channels=3, out_channels=3, attention_head_dim=1, **both), "vae": vq_vae(),
        "encoder": ("FmriEncoder", encoder), "scheduler": _ldm_scheduler(0.0195),
    }  # fmt: skip


def _ldm_semantic() -> Parts:
    types = {"down_block_types": ["DownBlock2D"] * 2, "up_block_types": ["UpBlock2D"] * 2}
    mapper = {"n_stages": 2, "method": "bilinear", "multiplier": 0.5, "in_channels": 5, "out_channels": 3}
    return {
        "unet": plain_unet(in_channels=6, **types), "vae": vq_vae(), "encoder": ("SpatialRescaler", mapper),
        "scheduler": _ldm_scheduler(0.0205),
    }  # fmt: skip


def _ldm_super_resolution() -> Parts:
    return {"unet": plain_unet(in_channels=6), "vae": vq_vae(), "scheduler": _ldm_scheduler(0.0155)}


def _sd_x4_upscaler() -> Parts:
    """The noise level comes as a class; attention to the picture itself only in the lower half, as in the true one."""
    three = {"block_out_channels": [8] * 3, "down_block_types": ["DownEncoderBlock2D"] * 3}
    betas: dict[str, Any] = {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "scaled_linear"}
    attention = {"cross_attention_dim": 40, "use_linear_projection": True, "only_cross_attention": [True, False]}
    return {
        **_sd21(), "unet": unet(in_channels=7, num_class_embeds=1000, **attention),
        "vae": vae(**three, up_block_types=["UpDecoderBlock2D"] * 3, sample_size=64, scaling_factor=0.08333),
        "scheduler": scheduler(**betas, prediction_type="v_prediction"),
        "low_res_scheduler": ("DDPMScheduler", {**betas, "num_train_timesteps": 1000}),
    }  # fmt: skip


def _ldm() -> Parts:
    return {"unet": plain_unet(), "vae": vq_vae(), "scheduler": _ldm_scheduler(0.0195)}


def _ldm_scheduler(beta_end: float) -> tuple[str, dict[str, Any]]:
    return scheduler(beta_start=0.0015, beta_end=beta_end, steps_offset=0)


def _ddpm() -> Parts:
    betas = {"num_train_timesteps": 1000, "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear"}
    return {"unet": plain_unet(), "scheduler": ("DDPMScheduler", {**betas, "variance_type": "fixed_large"})}


def _improved_ddpm() -> Parts:
    """Cosine schedule and learned variance (arXiv:2102.09672): the UNet gives twice the channels it is given."""
    settings = {"num_train_timesteps": 4000, "beta_schedule": "squaredcos_cap_v2", "variance_type": "learned_range"}
    return {"unet": plain_unet(out_channels=6), "scheduler": ("DDPMScheduler", settings)}


def _taesd() -> Parts:
    """The tiny autoencoder alone, as it is published."""
    blocks = {"encoder_block_out_channels": [8] * 2, "decoder_block_out_channels": [8] * 2}
    numbers = {"num_encoder_blocks": [1, 1], "num_decoder_blocks": [1, 1]}
    return {"vae": ("AutoencoderTiny", {**blocks, **numbers, "latent_channels": 4, "scaling_factor": 1.0})}


MODELS: Mapping[str, Callable[[], Parts]] = {
    "sd15": _sd15,
    "sd21": _sd21,
    "sd21_base": _sd21_base,
    "sd21_zero_snr": _sd21_zero_snr,
    "sd15_inpaint": _sd15_inpaint,
    "sdxl": _sdxl,
    "sdxl_inpaint": _sdxl_inpaint,
    "sdxl_refiner": _sdxl_refiner,
    "ldm_text2img": _ldm_text2img,
    "ldm_class": _ldm_class,
    "fmri": _fmri,
    "ldm_semantic": _ldm_semantic,
    "ldm_super_resolution": _ldm_super_resolution,
    "sd_x4_upscaler": _sd_x4_upscaler,
    "ldm": _ldm,
    "ddpm": _ddpm,
    "improved_ddpm": _improved_ddpm,
    "taesd": _taesd,
}


def parts(name: str) -> dict[str, Part]:
    """The parts of the random model of that name.

    Raises:
        InputError: there is none.
    """
    if name not in MODELS:
        raise InputError("path", expected=f"one of {', '.join(MODELS)} after `{RANDOM}`", got=repr(name))
    return {
        part: Part(f"{RANDOM}{name}/{part}", class_name, config, layout="random")
        for part, (class_name, config) in MODELS[name]().items()
    }


def make_tokenizer(class_name: str, config: Mapping[str, Any]) -> Any:
    """The tokenizer of the random models: it can spell every text and knows a few words as one token."""
    from transformers import BertTokenizer, CLIPTokenizer

    if class_name == "BertTokenizer":
        length = int(config["model_max_length"])
        return BertTokenizer(vocab=dict(bert_vocabulary()), do_lower_case=True, model_max_length=length)
    merges = [tuple(merge.split(" ")) for merge in MERGES]
    settings = {key: config[key] for key in ("model_max_length", "pad_token")}
    return CLIPTokenizer(vocab=dict(vocabulary()), merges=merges, **settings)


def wake(module: Any) -> None:
    """Put random numbers in the place of weights that begin as zeros, such as a ControlNet's zero convolutions
    (arXiv:2302.05543, sec. 3.1): with zeros, no mistake in what goes through them would show.
    """
    for tensor in module.parameters():
        if tensor.dim() > 1 and not tensor.any():
            tensor.data.normal_(std=0.1)
