"""Published models in the words of diffusers and transformers: class, configuration, number of parameters of each part.

Sources: CompVis `v1-inference.yaml`, Stability `v2-inference-v.yaml` and `sd_xl_base.yaml`, runwayml
`v1-inpainting-inference.yaml`, ControlNet `cldm_v15.yaml`.
"""

from __future__ import annotations

from typing import Any

Parts = dict[str, tuple[str, dict[str, Any], int]]

FOUR = [320, 640, 1280, 1280]
SD: dict[str, Any] = {
    "sample_size": 64, "in_channels": 4, "out_channels": 4, "block_out_channels": FOUR, "layers_per_block": 2,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3, "cross_attention_dim": 768, "attention_head_dim": 8,
}  # fmt: skip
SD2 = {
    **SD, "sample_size": 96, "cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20],
    "use_linear_projection": True,
}  # fmt: skip
XL = {
    **SD, "sample_size": 128, "block_out_channels": FOUR[:3], "cross_attention_dim": 2048,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"], "attention_head_dim": [5, 10, 20],
    "transformer_layers_per_block": [1, 2, 10], "use_linear_projection": True, "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816,
}  # fmt: skip
VAE: dict[str, Any] = {
    "sample_size": 512, "latent_channels": 4, "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2,
    "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
}  # fmt: skip
CONTROL = {
    **{name: SD[name] for name in ("in_channels", "block_out_channels", "layers_per_block", "down_block_types")},
    "cross_attention_dim": 768, "attention_head_dim": 8, "conditioning_channels": 3,
    "conditioning_embedding_out_channels": [16, 32, 96, 256],
}  # fmt: skip


def _text(width: int, layers: int, act: str, projection: int) -> dict[str, Any]:
    return {
        "vocab_size": 49408, "hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers,
        "num_attention_heads": width // 64, "max_position_embeddings": 77, "hidden_act": act,
        "projection_dim": projection, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
    }  # fmt: skip


CLIP = ("CLIPTextModel", _text(768, 12, "quick_gelu", 768), 123_060_480)
KL = ("AutoencoderKL", VAE, 83_653_863)

CHECKPOINTS: dict[str, Parts] = {
    "Stable Diffusion 1.5": {
        "unet": ("UNet2DConditionModel", SD, 859_520_964), "vae": KL, "text_encoder": CLIP,
    },
    "Stable Diffusion 1.5 inpainting": {"unet": ("UNet2DConditionModel", {**SD, "in_channels": 9}, 859_535_364)},
    "Stable Diffusion 2.1": {
        "unet": ("UNet2DConditionModel", SD2, 865_910_724),
        "text_encoder": ("CLIPTextModel", _text(1024, 23, "gelu", 512), 340_387_840),
    },
    "Stable Diffusion XL": {
        "unet": ("UNet2DConditionModel", XL, 2_567_463_684),
        "text_encoder_2": ("CLIPTextModelWithProjection", _text(1280, 32, "gelu", 1280), 694_659_840),
    },
    "ControlNet 1.5": {"controlnet": ("ControlNetModel", CONTROL, 361_279_120)},
}  # fmt: skip
