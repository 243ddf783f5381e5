"""A map of classes as a condition: what is to be where (LDM's semantic synthesis, by `concat`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graphcore import InputError, TensorSpec, node, runtime
from nodes.models.handles import config_of
from nodes.pictures.images import Side, picture_file
from nodes.types import Conditioning, EncoderModel, LabelMap, LatentSpace


def _content(path: Path) -> str:
    return runtime().digest(picture_file(path))


def infer_load(path: Path | None = None) -> LabelMap:
    """The size is in the file's header, and whether its values are classes or colours."""
    if path is None:
        return _described(1, None, None)
    from nodes.pictures import labels

    width, height = labels.size(picture_file(path))
    return _described(1, height, width)


def preview(labels: LabelMap) -> bytes | None:
    """The map in false colours."""
    from nodes.pictures import labels as drawing
    from nodes.pictures import png
    from nodes.types import Image

    return png.thumbnail(Image(drawing.colours(labels.ids)))


@node(category="image", fingerprint=_content, infer=infer_load, preview=preview)
def load_label_map(path: Path) -> LabelMap:
    """A map of classes from a picture whose values are class numbers: a palette picture (PNG, GIF) or a grey one.

    Of a palette, the numbers count, not the colours; a grey picture of 8 or 16 bits holds numbers as they are.

    Returns:
        One map, (1, height, width).

    Raises:
        InputError: no picture file, or one in colours, which do not say which class they mean.
    """
    from nodes.pictures import labels

    return LabelMap(labels.load(picture_file(path)))


def infer_resize(
    labels: LabelMap | None = None, width: int | None = None, height: int | None = None,
    space: LatentSpace | None = None,
) -> LabelMap:  # fmt: skip
    """The size that is asked for."""
    batch, old_height, old_width = (None, None, None) if labels is None else labels.ids.shape
    if width is None or height is None:
        return _described(batch, None, None)
    own = space.sample_size * space.downsampling if space is not None else None
    return _described(batch, height or own or old_height, width or own or old_width)


@node(category="image", infer=infer_resize, preview=preview)
def resize_label_map(labels: LabelMap, width: Side = 0, height: Side = 0, space: LatentSpace | None = None) -> LabelMap:
    """A map of classes at another size: each pixel has the class of the nearest one, as classes have no means.

    Args:
        width: 0 takes the size that `space` says; without `space`, the map's own width.
        height: As `width`.
        space: The latent space of the model that the map is for.
    """
    own = space.sample_size * space.downsampling if space is not None else None
    old_height, old_width = (int(side) for side in labels.ids.shape[1:])
    size = (height or own or old_height, width or own or old_width)
    if size == (old_height, old_width):
        return labels
    from torch.nn.functional import interpolate

    # Class numbers below 2^53 are exact in float64.
    return LabelMap(interpolate(labels.ids[:, None].double(), size=size, mode="nearest-exact")[:, 0].long())


def infer_encode(encoder: EncoderModel | None = None, labels: LabelMap | None = None) -> Conditioning | None:
    """Shape of the channels."""
    if encoder is None:
        return None
    config = _rescaler(encoder)
    batch, *sides = (None, None, None) if labels is None else labels.ids.shape
    shrunk = [None if side is None else _shrunk(int(side), config) for side in sides]
    channels = config.get("out_channels") or config.get("in_channels", 3)
    concat: Any = TensorSpec((batch, int(channels), *shrunk), encoder.dtype)
    return Conditioning(concat=concat)


@node(category="conditioning", infer=infer_encode)
def encode_semantic_map(encoder: EncoderModel, labels: LabelMap) -> Conditioning:
    """Further input channels of the UNet from a map of classes: one-hot, shrunk, then mixed by a learned convolution.

    Args:
        encoder: From `load_model`, of a semantic synthesis model (`SpatialRescaler`).
        labels: (batch, height, width), as large as the picture to be made; one serves all images of a batch.

    Returns:
        `concat`: (batch, channels, height / 4, width / 4) for the published models, as large as the latents.

    Raises:
        InputError: the model has no such encoder, or does not know a class of the map.

    Source: Rombach et al. 2022 (arXiv:2112.10752), sec. 4.3.2; `SpatialRescaler` of its code.
    """
    import torch

    from nodes.models.memory import weights

    classes = int(_rescaler(encoder).get("in_channels", 3))
    if runtime().pretended is None and int(labels.ids.max()) >= classes:
        raise InputError(
            "labels", expected=f"classes from 0 to {classes - 1}, as this model knows them",
            got=f"class {int(labels.ids.max())}", fix="give these pixels another class (background, say)",
        )  # fmt: skip
    there = torch.arange(classes, device=labels.ids.device)[None, :, None, None]
    one_hot = (labels.ids[:, None] == there).to(encoder.device, weights.torch_dtype(encoder.dtype))
    with weights.use(encoder) as module, torch.no_grad():
        return Conditioning(concat=module(one_hot))


def _described(batch: int | None, height: int | None, width: int | None) -> LabelMap:
    ids: Any = TensorSpec((batch, height, width), "int64")
    return LabelMap(ids)


def _rescaler(encoder: EncoderModel) -> Mapping[str, Any]:
    config = config_of(encoder, "encoder", "an encoder of semantic maps")
    if encoder.class_name != "SpatialRescaler":
        raise InputError(
            "encoder", expected="an encoder of semantic maps (SpatialRescaler)", got=f"a {encoder.class_name}",
            fix="use a semantic synthesis model, or the encoder node of this model's family",
        )  # fmt: skip
    return config


def _shrunk(side: int, config: Mapping[str, Any]) -> int:
    """A side after all resizings, each rounded down as torch does."""
    for _ in range(int(config.get("n_stages", 1))):
        side = int(side * float(config.get("multiplier", 0.5)))
    return side
