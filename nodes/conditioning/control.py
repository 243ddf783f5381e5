"""Pictures that guide the layout: ControlNet (arXiv:2302.05543), T2I-Adapter (arXiv:2302.08453), and edges."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from graphcore import Batch, InputError, TensorSpec, node
from nodes.conditioning import control_inputs
from nodes.models.handles import identity, settings
from nodes.pictures.images import preview
from nodes.sampling import regions, unet
from nodes.sampling.schedule import Share
from nodes.types import AdapterModel, Conditioning, ControlNetModel, Image, Latents, Timestep

if TYPE_CHECKING:
    import torch

Arguments = Mapping[str, Any]
Scale = Annotated[float, Field(ge=0, le=10)]
Gradient = Annotated[float, Field(ge=0, le=2040)]


# --- controlnet --------------------------------------------------------------------------------------------------


def works(timestep: Timestep, start: float, end: float) -> bool:
    """Whether a ControlNet counts at a step: those that lie within `start` .. `end` from beginning to end."""
    return not (timestep.index / timestep.count < start or (timestep.index + 1) / timestep.count > end)


def group(arguments: Arguments) -> Hashable:
    """Calls with equal groups may share a forward pass.

    So do those that need none: both halves of the guidance are done at the same time, and then share the UNet's.
    """
    handle: ControlNetModel = arguments["controlnet"]
    kept = (arguments["scale"], arguments["guess"], tuple(arguments["image"].pixels.shape[1:]))
    parts = tuple(unet.shapes(_plain(call)) for call, _ in regions.plain(arguments))
    return identity(handle), handle.options, handle.device, handle.dtype, kept, parts


def control_together(calls: Sequence[Arguments]) -> list[Conditioning]:
    """Several conditionings in one forward pass, rows in the order of the calls; one by one where memory is short."""
    import torch

    try:
        return _control(calls)
    except torch.OutOfMemoryError:
        if len(calls) == 1:
            raise
    return [_control([call])[0] for call in calls]


def infer(
    controlnet: ControlNetModel | None = None,
    image: Image | None = None,
    latents: Latents | None = None,
    conditioning: Conditioning | None = None,
) -> Conditioning | None:
    """The shapes of the residuals; refuses a ControlNet that was trained for another model."""
    if controlnet is None:
        return None
    control_inputs.check(controlnet, image, latents, conditioning)
    if conditioning is None:
        return None
    batch, _, height, width = (None,) * 4 if latents is None else latents.samples.shape
    shapes = control_inputs.residual_shapes(controlnet, height, width)
    made: list[Any] = [TensorSpec((batch, *shape), controlnet.dtype) for shape in shapes]
    return control_inputs.each(conditioning, lambda part: replace(part, residuals=tuple(made)))


@node(category="conditioning", batch=Batch(group, control_together), infer=infer)
def controlnet(
    controlnet: ControlNetModel,
    image: Image,
    latents: Latents,
    timestep: Timestep,
    conditioning: Conditioning,
    scale: Scale = 1.0,
    start: Share = 0.0,
    end: Share = 1.0,
    guess: bool = False,
    unconditional: bool = False,
) -> Conditioning:
    """A conditioning that holds the UNet to a picture of edges, depth or poses, at one step of the loop.

    The ControlNet reads the noisy latents and gives residuals for the UNet's skip connections and its middle block;
    they are added to those that the conditioning has already, so that several ControlNets stand one behind another.
    At steps outside of `start` .. `end` the conditioning stays as it is, and nothing is computed.

    Args:
        controlnet: From `load_controlnet`; it must have been trained for this UNet's family.
        image: What to follow, values in [0, 1]: `edges`, or any picture of depth, poses or the like (`load_image`).
            One serves all images of the batch. Its size is that of the picture to be made.
        latents: As the solver scales them (`scale_model_input`): (batch, channels, height, width).
        timestep: One entry of the schedule.
        conditioning: With context, and with pooled text and sizes for SDXL. Each of its regions is controlled.
        scale: How strongly to follow: the residuals are multiplied by it.
        start, end: The share of the schedule in which it counts, 0 .. 1; only whole steps do.
        guess: Follow the picture even without a prompt: residuals grow from a tenth, at the first skip connection, to
            one, and the unconditional prediction gets none. Always so for a ControlNet with `global_pool_conditions`.
        unconditional: Whether `conditioning` is the negative one, which gets zeros in guess mode.

    Raises:
        InputError: the ControlNet is of another family, or the picture has another size.
    """
    call = {
        "controlnet": controlnet, "image": image, "latents": latents, "timestep": timestep, "scale": scale,
        "conditioning": conditioning, "start": start, "end": end, "guess": guess, "unconditional": unconditional,
    }  # fmt: skip
    return _control([call])[0]


def _control(calls: Sequence[Arguments]) -> list[Conditioning]:
    """The conditioning of each call with its residuals; their regions are rows of the same pass where shapes allow."""
    for call in calls:
        control_inputs.check(call["controlnet"], call["image"], call["latents"], call["conditioning"])
    jobs = [(index, plain) for index, call in enumerate(calls) if _needs_pass(call) for plain, _ in regions.plain(call)]
    alike: dict[Hashable, list[int]] = {}
    for position, (_, plain) in enumerate(jobs):
        alike.setdefault(unet.shapes(_plain(plain)), []).append(position)
    made: dict[int, tuple[torch.Tensor, ...]] = {}
    for positions in alike.values():
        made.update(zip(positions, _forward([jobs[position][1] for position in positions]), strict=True))
    found: list[list[tuple[torch.Tensor, ...]]] = [[] for _ in calls]
    for position, (index, _) in enumerate(jobs):
        found[index].append(made[position])
    return [_controlled(call, residuals) for call, residuals in zip(calls, found, strict=True)]


def _needs_pass(call: Arguments) -> bool:
    return _counts(call) and not _left_out(call)


def _counts(call: Arguments) -> bool:
    return call["scale"] != 0 and works(call["timestep"], call["start"], call["end"])


def _left_out(call: Arguments) -> bool:
    """Whether this is the half of the guidance that guess mode leaves alone."""
    return bool(call["unconditional"] and _guesses(call))


def _guesses(call: Arguments) -> bool:
    return bool(call["guess"] or settings(call["controlnet"].config).get("global_pool_conditions"))


def _controlled(call: Arguments, made: Sequence[tuple[torch.Tensor, ...]]) -> Conditioning:
    """The conditioning with new residuals: one tuple of them for each region that holds now, or for the whole."""
    conditioning: Conditioning = call["conditioning"]
    if not _counts(call):
        return conditioning
    held = [plain["conditioning"] for plain, _ in regions.plain(call)]
    new = made or [_zeros(call)] * len(held)
    changed = [_add(part, residuals) for part, residuals in zip(held, new, strict=True)]
    if not conditioning.regions:
        return changed[0]
    following = iter(changed)
    progress = call["timestep"].progress
    parts = (
        replace(region, conditioning=next(following)) if regions.holds(region, progress) else region
        for region in conditioning.regions
    )
    return replace(conditioning, regions=tuple(parts))


def _add(conditioning: Conditioning, residuals: tuple[torch.Tensor, ...]) -> Conditioning:
    if conditioning.residuals is None:
        return replace(conditioning, residuals=residuals)
    pairs = zip(conditioning.residuals, residuals, strict=True)
    return replace(conditioning, residuals=tuple(before + new for before, new in pairs))


def _zeros(call: Arguments) -> tuple[torch.Tensor, ...]:
    """Residuals that change nothing: with them, both halves of the guidance have one shape and share a pass."""
    import torch

    from nodes.models.memory import weights

    handle, samples = call["controlnet"], call["latents"].samples
    shapes: list[Any] = control_inputs.residual_shapes(handle, *samples.shape[2:])
    dtype = weights.torch_dtype(handle.dtype)
    return tuple(torch.zeros((len(samples), *shape), dtype=dtype, device=handle.device) for shape in shapes)


def _plain(call: Arguments) -> Arguments:
    """A call with what the ControlNet reads of its conditioning: text, class and sizes."""
    conditioning: Conditioning = call["conditioning"]
    return {**call, "conditioning": control_inputs.readable(conditioning)}


def _forward(calls: Sequence[Arguments]) -> list[tuple[torch.Tensor, ...]]:
    """The residuals for the rows of each call, all in one pass."""
    import torch

    from nodes.models.memory import weights

    first, handle = calls[0], calls[0]["controlnet"]
    dtype = weights.torch_dtype(handle.dtype)
    counts = [len(call["latents"].samples) for call in calls]
    pictures = [call["image"].pixels.to(handle.device, dtype) for call in calls]
    inputs = unet.module_inputs(handle, [_plain(call) for call in calls], dtype)
    inputs.pop("encoder_attention_mask", None)  # a ControlNet has none
    joined = unet.join([unet.repeat(*pair) for pair in zip(pictures, counts, strict=True)])
    inputs["controlnet_cond"] = joined.contiguous()  # as in diffusers; another layout moves the last bits
    settled = {"conditioning_scale": first["scale"], "guess_mode": _guesses(first)}
    with weights.use(handle) as module, torch.no_grad():
        down, middle = module(**inputs, **settled, return_dict=False)
    if len(calls) == 1:
        return [(*down, middle)]
    split = [tensor.split(counts) for tensor in (*down, middle)]
    return [tuple(rows[index].clone() for rows in split) for index in range(len(calls))]


# --- adapter_features --------------------------------------------------------------------------------------------


def infer_features(
    adapter: AdapterModel | None = None, image: Image | None = None, conditioning: Conditioning | None = None
) -> Conditioning | None:
    """The shapes of the features; refuses a picture whose size the adapter cannot take."""
    if adapter is None or image is None:
        return None
    shapes = control_inputs.feature_shapes(adapter, image)
    if conditioning is None:
        return None
    batch = image.pixels.shape[0]
    made: list[Any] = [TensorSpec((batch, *shape), adapter.dtype) for shape in shapes]
    return control_inputs.each(conditioning, lambda part: replace(part, features=tuple(made)))


@node(category="conditioning", infer=infer_features)
def adapter_features(
    adapter: AdapterModel, image: Image, conditioning: Conditioning, scale: Scale = 1.0
) -> Conditioning:
    """A conditioning with the features that a T2I-Adapter sees in a picture; they are computed once, not at each step.

    They are added to those that the conditioning has already, so that several adapters stand one behind another. To
    let them count in the first steps only, give them to one of two conditionings that share the schedule (`in_steps`).

    Args:
        adapter: From `load_t2i_adapter`; it must have been trained for this UNet's family.
        image: What to follow, values in [0, 1]: as wide and high as the picture to be made. One serves all images of
            the batch.
        conditioning: Each of its regions gets the features.
        scale: How strongly to follow: the features are multiplied by it.

    Raises:
        InputError: the picture has a size that the adapter cannot divide, or other channels than the adapter.
    """
    import torch

    from nodes.models.memory import weights

    control_inputs.feature_shapes(adapter, image)
    pixels = control_inputs.picture(adapter, image)
    with weights.use(adapter) as module, torch.no_grad():
        # The layout in which pictures from files reach the network in diffusers; another one moves the last bits.
        layout = torch.channels_last
        seen = module(pixels.to(adapter.device, weights.torch_dtype(adapter.dtype), memory_format=layout))
    features = tuple(feature * scale for feature in seen)
    return control_inputs.each(conditioning, lambda part: _add_features(part, features))


def _add_features(conditioning: Conditioning, features: tuple[torch.Tensor, ...]) -> Conditioning:
    if conditioning.features is None:
        return replace(conditioning, features=features)
    if len(conditioning.features) != len(features):
        raise InputError(
            "adapter", expected=f"an adapter of {len(conditioning.features)} features, as the one before",
            got=f"one of {len(features)}", fix="both adapters must fit the same UNet",
        )  # fmt: skip
    pairs = zip(conditioning.features, features, strict=True)
    return replace(conditioning, features=tuple(before + new for before, new in pairs))


# --- edges -------------------------------------------------------------------------------------------------------


def _infer_edges(image: Image | None = None, low: float | None = None, high: float | None = None) -> Image | None:
    if low is not None and high is not None and low > high:
        raise InputError("low", expected=f"at most `high` ({high:g})", got=f"{low:g}")
    return image


@node(category="image", infer=_infer_edges, preview=preview)
def edges(image: Image, low: Gradient = 100.0, high: Gradient = 200.0) -> Image:
    """The edges of a picture, white on black, one pixel wide: what ControlNets of the kind `canny` follow.

    Canny's method with the conventions of OpenCV's `Canny`, by which those ControlNets were trained: of each pixel the
    colour that changes most, the sum of the absolute Sobel gradients of its values 0 .. 255, only the ridges of these,
    and of the ridges the strong ones with the weak ones that touch them.

    Args:
        image: Values in [0, 1].
        low: Gradients up to it are no edges. From black to white is 1020.
        high: Gradients above it are edges; those between count where they are connected to one.

    Returns:
        Pictures of the same size; 0 or 1.

    Raises:
        InputError: `low` is greater than `high`.

    Source: Canny 1986, A Computational Approach to Edge Detection.
    """
    _infer_edges(image, low, high)
    from nodes.pictures import canny

    return Image(canny.edges(image.pixels, low, high))
