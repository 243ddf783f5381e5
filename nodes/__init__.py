"""The built-in nodes: every stage of latent diffusion as a typed function.

They are found through the entry point `stepgraph.nodes`, as those of any package would be. Their modules are light:
heavy libraries are imported when a node first runs.
"""

from __future__ import annotations

from nodes.conditioning.areas import in_area, in_steps, together
from nodes.conditioning.class_label import class_vector, encode_class
from nodes.conditioning.combine import combine, zero_out
from nodes.conditioning.control import adapter_features, controlnet, edges
from nodes.conditioning.empty import empty_conditioning
from nodes.conditioning.fmri import encode_fmri, load_fmri, normalise_fmri
from nodes.conditioning.image_embedding import encode_image_embedding, image_vector
from nodes.conditioning.low_resolution import encode_low_resolution
from nodes.conditioning.masked_image import add_concat, encode_masked_image, inpaint_mode
from nodes.conditioning.noise_augmentation import noise_low_resolution
from nodes.conditioning.semantic_map import encode_semantic_map, load_label_map, resize_label_map
from nodes.conditioning.sizes import add_sizes
from nodes.conditioning.store import load_conditioning, save_conditioning
from nodes.conditioning.text import encode_text, tokenize
from nodes.models.adapters.ip_adapter import load_ip_adapter
from nodes.models.adapters.lora import load_lora
from nodes.models.adapters.textual_inversion import load_textual_inversion
from nodes.models.control import load_controlnet, load_t2i_adapter
from nodes.models.image_encoder import load_image_encoder
from nodes.models.loading import load_model, load_vae
from nodes.pictures.blending import blend_latents, noise_latents
from nodes.pictures.images import count, image_grid, label, load_image, resize_image, save_image
from nodes.pictures.latents import latents_size, upscale_latents
from nodes.pictures.masks import (
    blur_mask,
    grow_mask,
    invert_mask,
    load_mask,
    mask_from_alpha,
    paste,
    resize_mask,
    threshold_mask,
)
from nodes.pictures.preview import fit_preview, preview_latents
from nodes.pictures.resizing import image_size, pad_image, upscale_image
from nodes.pictures.vae import vae_decode, vae_encode
from nodes.sampling.classifier import classifier_gradient, classifier_guidance, load_classifier
from nodes.sampling.guidance import classifier_free_guidance, guidance_mode, rescale_guidance, scheduled_scale
from nodes.sampling.noise import init_noise, interpolate_noise, seed_generators
from nodes.sampling.original import predict_original
from nodes.sampling.projection import adaptive_projected_guidance, perpendicular_guidance, zero_star_guidance
from nodes.sampling.schedule import make_schedule, prepare_latents, scale_model_input, scheduler_step
from nodes.sampling.split import split_schedule
from nodes.sampling.split_timesteps import split_timesteps
from nodes.sampling.unet import unet
