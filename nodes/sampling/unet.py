"""The UNet node: one noise prediction, and several in one forward pass."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from graphcore import Batch, node
from nodes.models import unet_inputs
from nodes.models.handles import identity, settings
from nodes.sampling import regions
from nodes.types import Conditioning, Latents, NoisePred, Region, Timestep, UNetModel

if TYPE_CHECKING:
    import torch

Arguments = Mapping[str, Any]


def group(arguments: Arguments) -> Hashable:
    """Calls with equal groups may share a forward pass: same weights, same shapes but for the number of images."""
    handle: UNetModel = arguments["unet"]
    parts = tuple(shapes(call) for call, _ in regions.plain(arguments))
    return identity(handle), handle.options, handle.device, handle.dtype, parts, arguments["timestep"].value.dtype


def shapes(call: Arguments) -> Hashable:
    """What calls without regions must share to be rows of one forward pass: names, shapes and dtypes of tensors."""
    tensors = (call["latents"].samples, *unet_inputs.tensors(call["conditioning"]).values())
    names = tuple(unet_inputs.tensors(call["conditioning"]))
    return names, tuple((tuple(t.shape[1:]), t.dtype) for t in tensors)


def predict_together(calls: Sequence[Arguments]) -> list[NoisePred]:
    """Several predictions in one forward pass, rows in the order of the calls; one by one where memory is short."""
    import torch

    try:
        return _predict(calls)
    except torch.OutOfMemoryError:
        if len(calls) == 1:
            raise
    return [_predict([call])[0] for call in calls]


def infer(
    unet: UNetModel | None = None,
    latents: Latents | None = None,
    timestep: Timestep | None = None,
    conditioning: Conditioning | None = None,
) -> NoisePred | None:
    """The prediction's shape is that of the latents; refuses what the UNet's configuration does not allow."""
    regions.check(conditioning)
    if unet is not None:
        unet_inputs.check(unet, latents, conditioning)
    if unet is None or latents is None:
        return None
    variance = latents.samples if _learns_variance(unet, latents) else None
    return NoisePred(latents.samples, _prediction_type(unet), variance)


@node(category="sampling", batch=Batch(group, predict_together), infer=infer)
def unet(unet: UNetModel, latents: Latents, timestep: Timestep, conditioning: Conditioning) -> NoisePred:
    """What the UNet says about noisy latents at one timestep: the noise, v, or the picture, as it was trained.

    Every way of conditioning enters here: `context` by cross-attention, `concat` as further input channels, `vector`
    and `time_ids` beside the time embedding, `residuals` and `features` on the skip connections, `image_embeds` by
    the attention of an IP-Adapter. A conditioning made for one image serves all images of the batch. Of one with
    regions, those that hold at this timestep are predicted together, and their weighted mean is the prediction.

    Args:
        unet: From `load_model`.
        latents: As the solver scales them (`scale_model_input`): (batch, channels, height, width).
        timestep: One entry of the schedule.
        conditioning: From an encoder node such as `encode_text`.

    Raises:
        InputError: latents or conditioning are of another model than the UNet.
    """
    return _predict([{"unet": unet, "latents": latents, "timestep": timestep, "conditioning": conditioning}])[0]


def _prediction_type(handle: UNetModel) -> str:
    return str(settings(handle.config).get("prediction_type", "epsilon"))


def _learns_variance(handle: UNetModel, latents: Latents) -> bool:
    """Whether the UNet says of each channel also how sure it is (improved DDPM, arXiv:2102.09672)."""
    return bool(settings(handle.config).get("out_channels", 4) == 2 * latents.space.channels)


def _predict(calls: Sequence[Arguments]) -> list[NoisePred]:
    """One prediction for each call; the regions of a call are rows of the same forward pass where shapes allow."""
    for call in calls:
        unet_inputs.check(call["unet"], call["latents"], call["conditioning"])
    rows = [(index, plain, region) for index, call in enumerate(calls) for plain, region in regions.plain(call)]
    alike: dict[Hashable, list[int]] = {}
    for position, (_, plain, _) in enumerate(rows):
        alike.setdefault(shapes(plain), []).append(position)
    samples: dict[int, torch.Tensor] = {}
    for positions in alike.values():
        samples.update(zip(positions, _forward([rows[position][1] for position in positions]), strict=True))
    found: list[list[tuple[torch.Tensor, Region | None]]] = [[] for _ in calls]
    for position, (index, _, region) in enumerate(rows):
        found[index].append((samples[position], region))
    return [_noise_pred(call, regions.blend(parts)) for call, parts in zip(calls, found, strict=True)]


def _noise_pred(call: Arguments, sample: torch.Tensor) -> NoisePred:
    handle, channels = call["unet"], call["latents"].space.channels
    if not _learns_variance(handle, call["latents"]):
        return NoisePred(sample, _prediction_type(handle))
    return NoisePred(sample[:, :channels].clone(), _prediction_type(handle), sample[:, channels:].clone())


def _forward(calls: Sequence[Arguments]) -> list[torch.Tensor]:
    """What the module gives for the rows of each call, all in one pass."""
    import torch

    from nodes.models.memory import weights

    handle: UNetModel = calls[0]["unet"]
    dtype = weights.torch_dtype(handle.dtype)  # `module.dtype` would go through all parameters
    with weights.use(handle) as module, torch.no_grad():
        samples = module(**module_inputs(handle, calls, dtype), return_dict=False)[0]
    rows = list(samples.split([len(call["latents"].samples) for call in calls]))
    if len(rows) > 1:  # each value on its own memory: one that is kept must not keep the others
        rows = [part.clone() for part in rows]
    return rows


def module_inputs(handle: UNetModel, calls: Sequence[Arguments], dtype: torch.dtype) -> dict[str, Any]:
    """The arguments of the module's `forward` for the rows of all calls."""
    device, config = handle.device, settings(handle.config)
    fields = {name: _gather(calls, name, device, dtype) for name in unet_inputs.tensors(calls[0]["conditioning"])}
    sample = join([call["latents"].samples.to(device, dtype) for call in calls])
    inputs: dict[str, Any] = {
        "sample": sample if "concat" not in fields else join([sample, fields["concat"]], dim=1),
        "timestep": _timesteps(calls, device),
    }
    if unet_inputs.takes_context(handle):
        inputs["encoder_hidden_states"] = fields.get("context")
        inputs["encoder_attention_mask"] = fields.get("context_mask")
    if unet_inputs.takes_text_time(config):
        inputs["added_cond_kwargs"] = {"text_embeds": fields["vector"], "time_ids": fields["time_ids"]}
    elif "vector" in fields:
        inputs["class_labels"] = fields["vector"]
    if embeds := _numbered(fields, "image_embeds"):
        inputs["added_cond_kwargs"] = {**inputs.get("added_cond_kwargs", {}), "image_embeds": embeds}
    if residuals := _numbered(fields, "residuals"):
        inputs["down_block_additional_residuals"] = tuple(residuals[:-1])
        inputs["mid_block_additional_residual"] = residuals[-1]
    if features := _numbered(fields, "features"):
        inputs["down_intrablock_additional_residuals"] = features
    return inputs


def _numbered(fields: Mapping[str, torch.Tensor], name: str) -> list[torch.Tensor]:
    """The tensors of a field that holds several, in order."""
    return [tensor for key, tensor in fields.items() if key.startswith(f"{name}[")]


def _gather(calls: Sequence[Arguments], field: str, device: str, dtype: torch.dtype) -> torch.Tensor:
    """One field of the conditionings for the rows of all calls, on the UNet's device."""
    parts = []
    for call in calls:
        tensor = unet_inputs.tensors(call["conditioning"])[field]
        floating = tensor.is_floating_point() and field != "time_ids"  # sizes keep their precision until embedded
        tensor = tensor.to(device, dtype) if floating else tensor.to(device)
        parts.append(repeat(tensor, len(call["latents"].samples)))
    return join(parts)


def repeat(tensor: torch.Tensor, rows: int) -> torch.Tensor:
    """A tensor made for one image, for `rows` images."""
    return tensor if len(tensor) == rows else tensor.repeat(rows, *[1] * (tensor.dim() - 1))


def join(parts: Sequence[torch.Tensor], dim: int = 0) -> torch.Tensor:
    """Tensors as one; a single one as it is."""
    import torch

    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=dim)


def _timesteps(calls: Sequence[Arguments], device: str) -> torch.Tensor:
    """The calls' common timestep (0-dimensional), or one per row where they differ.

    Timesteps live on the CPU: filling a tensor with a number there makes the host wait for nothing, copying would.
    """
    import torch

    values = [call["timestep"].value for call in calls]
    if all(value is values[0] or value.item() == values[0].item() for value in values):
        return _on(values[0], (), device)
    rows = [_on(value, (len(call["latents"].samples),), device) for value, call in zip(values, calls, strict=True)]
    return torch.cat(rows)


def _on(value: torch.Tensor, shape: tuple[int, ...], device: str) -> torch.Tensor:
    import torch

    return torch.full(shape, value.item(), dtype=value.dtype, device=device)
