"""Between pictures and latents: `vae_decode` and `vae_encode`."""

from __future__ import annotations

from typing import Any, NamedTuple

from graphcore import InputError, TensorSpec, node, note, runtime
from nodes.models.handles import config_of
from nodes.pictures import autoencoder
from nodes.pictures.images import preview
from nodes.types import Generators, Image, Latents, LatentSpace, VaeModel

ONE_MODEL = "`vae` and `latents` must come from one model"


class Encoded(NamedTuple):
    """Latents of a picture, and the generators after their draws."""

    latents: Latents
    generators: Generators


def infer_decode(vae: VaeModel | None = None, latents: Latents | None = None) -> Image | None:
    """Shape of the pictures; refuses latents of another space than the VAE's."""
    if vae is None or latents is None:
        return None
    check_latents(vae, latents)
    batch, _, height, width = latents.samples.shape
    scale = autoencoder.space(vae).downsampling
    sides = (None if size is None else size * scale for size in (height, width))
    pixels: Any = TensorSpec((batch, 3, *sides))
    return Image(pixels)


@node(category="image", infer=infer_decode, preview=preview)
def vae_decode(vae: VaeModel, latents: Latents, tiled: bool = False) -> Image:
    """The pictures that latents stand for, values in [0, 1].

    In half precision, a VAE whose configuration says `force_upcast` (SDXL's overflows) runs in float32. A VQModel
    puts each latent to the nearest entry of its codebook first. A model that works on pixels has no autoencoder: its
    values, around [-1, 1], only change their range.

    Args:
        vae: From `load_model`, or from `load_vae` for another one, such as the fast AutoencoderTiny.
        latents: (batch, channels, height, width), scaled as the UNet wants them.
        tiled: Decode in overlapping tiles, one image at a time: large pictures then need little memory, and their
            colours may shift a little. Where memory runs out without it, it is done all the same, and a note says so.

    Returns:
        Pictures, (batch, 3, height, width). What is NaN in them is black in a file; a note says so, and why.

    Raises:
        InputError: the latents are those of another model.
    """
    check_latents(vae, latents)
    pixels = autoencoder.decode(vae, latents.samples, tiled=tiled)
    if runtime().pretended is None and bool(pixels.isnan().any()):
        note(_no_numbers(vae, latents))
    return Image(pixels)


def _no_numbers(vae: VaeModel, latents: Latents) -> str:
    """Whose fault it is that a picture has pixels that are no numbers."""
    if bool(latents.samples.isfinite().all()):
        return (
            f"the picture has pixels that are no numbers (black): the autoencoder left the range of "
            f"{autoencoder.precision(vae)}, or its weights are damaged; `load_vae` with `dtype` float32 may help"
        )
    return (
        "the picture has pixels that are no numbers (black), as the latents are not finite: the model left the range "
        "of its `dtype`, or its weights are damaged; `load_model` with `dtype` float32 may help"
    )


def infer_encode(
    vae: VaeModel | None = None,
    image: Image | None = None,
    generators: Generators | None = None,
    space: LatentSpace | None = None,
) -> Encoded | None:
    """Shape of the latents; refuses a picture whose size does not fit."""
    if vae is None or image is None:
        return None
    found = _space(vae, space)
    check_image(vae, image, generators)
    samples: Any = latents_spec(vae, image, generators)
    after: Any = generators  # as many as before; None says that nothing is known of them
    return Encoded(Latents(samples, found), after)


@node(category="image", infer=infer_encode)
def vae_encode(
    vae: VaeModel,
    image: Image,
    generators: Generators,
    space: LatentSpace | None = None,
    sample: bool = True,
    tiled: bool = False,
) -> Encoded:
    """Latents of pictures: a sample of the VAE's posterior, scaled as the UNet wants it.

    Each image draws from its own generator. One picture serves all generators. A VQModel, an AutoencoderTiny and the
    pixels of a model without autoencoder have no posterior: nothing is drawn.

    Args:
        vae: From `load_model` or `load_vae`.
        image: Height and width must be multiples of the VAE's downsampling.
        generators: From `seed_generators`; one per image to make.
        space: The latent space of the model that the latents are for, where `vae` is another model's; an
            AutoencoderTiny does not know it by itself.
        sample: Draw from the posterior, as the diffusers pipelines do; else take its mean, and draw nothing.
        tiled: Encode in overlapping tiles: large pictures then need little memory.

    Raises:
        InputError: the picture's size does not fit, there are more pictures than generators, or the VAE's latents
            are not of `space`.
    """
    from nodes.sampling import noise

    found = _space(vae, space)
    check_image(vae, image, generators)
    opened = noise.torch_generators(generators) if sample else None
    samples = autoencoder.encode(vae, 2.0 * image.pixels - 1.0, opened, len(generators), tiled=tiled)
    after = generators if opened is None else noise.after_draws(generators, opened)
    return Encoded(Latents(samples, found), after)


def latents_spec(vae: VaeModel, image: Image, generators: Generators | None) -> TensorSpec:
    """Shape of the latents of a picture that fits."""
    own, (height, width) = autoencoder.space(vae), image.pixels.shape[2:]
    sides = (None if size is None else size // own.downsampling for size in (height, width))
    return TensorSpec((None if generators is None else len(generators), own.channels, *sides), vae.dtype)


def check_latents(vae: VaeModel, latents: Latents) -> None:
    """Refuse latents of another space than the VAE's.

    Raises:
        InputError: they differ in channels, downsampling or scaling.
    """
    config_of(vae, "vae", "an autoencoder")
    wanted = autoencoder.space(vae)
    shape = tuple(latents.samples.shape)
    if len(shape) != 4 or shape[1] not in (None, wanted.channels):
        raise InputError(
            "latents", expected=f"latents (batch, {wanted.channels}, height, width)", got=str(TensorSpec(shape)),
            fix=ONE_MODEL,
        )  # fmt: skip
    _same_space("latents", vae, latents.space, ONE_MODEL)


def check_image(vae: VaeModel, image: Image, generators: Generators | None) -> None:
    """Refuse pictures that cannot be encoded for these images.

    Raises:
        InputError: a size that is no multiple of the downsampling, or as many pictures as there are no images.
    """
    config_of(vae, "vae", "an autoencoder")
    scale, shape = autoencoder.space(vae).downsampling, tuple(image.pixels.shape)
    if len(shape) != 4 or shape[1] not in (None, 3):
        raise InputError("image", expected="a picture (batch, 3, height, width)", got=str(TensorSpec(shape)))
    height, width = shape[2:]
    if any(size is not None and (size < scale or size % scale) for size in (height, width)):
        near = [None if size is None else max(scale, size // scale * scale) for size in (width, height)]
        raise InputError(
            "image", expected=f"a width and height that are multiples of {scale}", got=f"{width} x {height} pixels",
            fix=f"`resize_image` makes {near[0]} x {near[1]}",
        )  # fmt: skip
    if generators is not None and shape[0] not in (None, 1, len(generators)):
        raise InputError(
            "generators", expected=f"as many generators as pictures ({shape[0]})", got=str(len(generators)),
            fix=f"`seed_generators` with `batch_size` {shape[0]}",
        )  # fmt: skip


def _space(vae: VaeModel, space: LatentSpace | None) -> LatentSpace:
    """The space of the latents that a VAE makes: its own, or the given one, which must be like it."""
    config_of(vae, "vae", "an autoencoder")
    own = autoencoder.space(vae)
    if space is None:
        return own
    if space.channels != own.channels:
        raise InputError(
            "vae", expected=f"an autoencoder with {space.channels} latent channels", got=f"one with {own.channels}",
            fix="use one that was made for this model",
        )  # fmt: skip
    _same_space("space", vae, space, "use an autoencoder that was made for this model")
    return space


def _same_space(port: str, vae: VaeModel, space: LatentSpace, fix: str) -> None:
    """Latents of one space mean the same in the other; an AutoencoderTiny is made for scaled latents of any scaling."""
    wanted = autoencoder.space(vae)
    names = ["channels", "downsampling"]
    if vae.class_name != autoencoder.TINY:
        names += ["scaling_factor", "shift_factor"]
    for name in names:
        if getattr(space, name) != getattr(wanted, name):
            raise InputError(
                port, expected=f"latents of a space with {name} {getattr(wanted, name)}, as the VAE's",
                got=f"{name} {getattr(space, name)}", fix=fix,
            )  # fmt: skip
