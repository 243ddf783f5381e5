"""`load_image_encoder`: the CLIP vision tower that embeds pictures for IP-Adapter and unCLIP."""

from __future__ import annotations

from graphcore import InputError, node, runtime
from nodes.models.files import model_folder
from nodes.models.handles import canonical
from nodes.models.part import Part
from nodes.models.random_models import RANDOM
from nodes.types import ImageEncoderModel

CLASS = "CLIPVisionModelWithProjection"

TINY = {
    "hidden_size": 24, "intermediate_size": 37, "projection_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "image_size": 32, "patch_size": 8, "num_channels": 3, "hidden_act": "gelu", "model_type": "clip_vision_model",
}  # fmt: skip
"""Configuration of `random:image_encoder`: pictures of 32 x 32, embeddings of 32, states of 24."""


def fingerprint(path: str) -> str:
    """Content of configuration and weights."""
    return _part(path).digest()


def infer(path: str | None = None) -> ImageEncoderModel | None:
    """The handle, without a digest."""
    return None if path is None else _handle(_part(path), digest=False)


@node(category="model", infer=infer, fingerprint=fingerprint)
def load_image_encoder(path: str) -> ImageEncoderModel:
    """A CLIP vision tower with its projection; its weights are loaded when a picture is embedded.

    Args:
        path: A folder with config.json and model.safetensors (`models/image_encoder` of IP-Adapter), or
            `random:image_encoder`.

    Raises:
        InputError: no such folder, one of another class, or pickled weights.
    """
    return _handle(_part(path), digest=True)


def _handle(part: Part, *, digest: bool) -> ImageEncoderModel:
    here = runtime()
    return ImageEncoderModel(
        part.source, part.class_name, canonical(part.config), part.digest() if digest else "", here.device, here.dtype,
        layout=part.layout,
    )  # fmt: skip


def _part(path: str) -> Part:
    if path.startswith(RANDOM):
        if path != f"{RANDOM}image_encoder":
            raise InputError("path", expected=f"`{RANDOM}image_encoder`, or a folder", got=repr(path))
        return Part(path, CLASS, TINY, layout="random")
    folder = runtime().readable(path)
    if not folder.is_dir():
        got = "which does not exist" if not folder.exists() else "which is a file"
        raise InputError(
            "path", expected="the folder of an image encoder", got=f"{path!r}, {got}",
            fix="give the folder that holds its config.json and model.safetensors",
        )  # fmt: skip
    named = model_folder.read_json(folder / "config.json").get("architectures") or [CLASS]
    if CLASS not in named:
        raise InputError("path", expected=f"an image encoder of class {CLASS}", got=f"a {named[0]}")
    part = model_folder.read_part(folder, CLASS)
    if "image_size" not in part.config and "hidden_size" not in part.config:
        raise InputError("path", expected="the configuration of an image encoder", got=f"{folder / 'config.json'}")
    return part
