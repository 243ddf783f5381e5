"""The built-in nodes: every stage of latent diffusion as a typed function.

They are found through the entry point `stepgraph.nodes`, as those of any package would be. Their modules are light:
heavy libraries are imported when a node first runs.
"""

from __future__ import annotations

from nodes.conditioning.text import encode_text, tokenize
from nodes.models.loading import load_model
from nodes.pictures.images import count, image_grid, label, load_image, resize_image, save_image
from nodes.pictures.vae import vae_decode, vae_encode
from nodes.sampling.guidance import classifier_free_guidance, guidance_mode
from nodes.sampling.noise import init_noise, seed_generators
from nodes.sampling.schedule import make_schedule, prepare_latents, scale_model_input, scheduler_step
from nodes.sampling.unet import unet
