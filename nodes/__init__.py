"""The built-in nodes: every stage of latent diffusion as a typed function.

They are found through the entry point `stepgraph.nodes`, as those of any package would be. Their modules are light:
heavy libraries are imported when a node first runs.
"""

from __future__ import annotations

from nodes.guidance import classifier_free_guidance, guidance_mode
from nodes.images import count, image_grid, label, load_image, resize_image, save_image
from nodes.models import load_model
from nodes.noise import init_noise, seed_generators
from nodes.schedule import make_schedule, prepare_latents, scale_model_input, scheduler_step
from nodes.text import encode_text, tokenize
from nodes.unet import unet
from nodes.vae import vae_decode, vae_encode
