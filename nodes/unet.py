"""The UNet node: one noise prediction, and several in one forward pass."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from graphcore import Batch, node
from nodes import unet_inputs
from nodes.model_folder import settings
from nodes.types import Conditioning, Latents, NoisePred, Timestep, UNetModel
from nodes.unet_inputs import FIELDS

if TYPE_CHECKING:
    import torch

Arguments = Mapping[str, Any]


def group(arguments: Arguments) -> Hashable:
    """Calls with equal groups may share a forward pass: same weights, same shapes but for the number of images."""
    handle, latents, conditioning = arguments["unet"], arguments["latents"].samples, arguments["conditioning"]
    tensors = (latents, *(getattr(conditioning, name) for name in FIELDS), *(conditioning.residuals or ()))
    shapes = tuple(None if t is None else (tuple(t.shape[1:]), t.dtype) for t in tensors)
    value = arguments["timestep"].value
    return handle.digest or handle.folder, handle.device, handle.dtype, shapes, value.dtype


def predict_together(calls: Sequence[Arguments]) -> list[NoisePred]:
    """Several predictions in one forward pass, rows in the order of the calls; one by one where memory is short."""
    import torch

    try:
        return _forward(calls)
    except torch.OutOfMemoryError:
        if len(calls) == 1:
            raise
    return [_forward([call])[0] for call in calls]


def infer(
    unet: UNetModel | None = None,
    latents: Latents | None = None,
    timestep: Timestep | None = None,
    conditioning: Conditioning | None = None,
) -> NoisePred | None:
    """The prediction's shape is that of the latents; refuses what the UNet's configuration does not allow."""
    if unet is not None:
        unet_inputs.check(settings(unet.config), latents, conditioning)
    if unet is None or latents is None:
        return None
    return NoisePred(latents.samples, _prediction_type(unet))


@node(category="sampling", batch=Batch(group, predict_together), infer=infer)
def unet(unet: UNetModel, latents: Latents, timestep: Timestep, conditioning: Conditioning) -> NoisePred:
    """What the UNet says about noisy latents at one timestep: the noise, v, or the picture, as it was trained.

    Every way of conditioning enters here: `context` by cross-attention, `concat` as further input channels, `vector`
    and `time_ids` beside the time embedding, `residuals` on the skip connections. A conditioning made for one image
    serves all images of the batch.

    Args:
        unet: From `load_model`.
        latents: As the solver scales them (`scale_model_input`): (batch, channels, height, width).
        timestep: One entry of the schedule.
        conditioning: From an encoder node such as `encode_text`.

    Raises:
        InputError: latents or conditioning are of another model than the UNet.
    """
    arguments = {"unet": unet, "latents": latents, "timestep": timestep, "conditioning": conditioning}
    return _forward([arguments])[0]


def _prediction_type(handle: UNetModel) -> str:
    return str(settings(handle.config).get("prediction_type", "epsilon"))


def _forward(calls: Sequence[Arguments]) -> list[NoisePred]:
    import torch

    from nodes import weights

    handle: UNetModel = calls[0]["unet"]
    config = settings(handle.config)
    for call in calls:
        unet_inputs.check(config, call["latents"], call["conditioning"])
    dtype = weights.torch_dtype(handle.dtype)  # `module.dtype` would go through all parameters
    with weights.use(handle) as module, torch.no_grad():
        samples = module(**_module_inputs(config, calls, handle.device, dtype), return_dict=False)[0]
    rows = list(samples.split([len(call["latents"].samples) for call in calls]))
    if len(rows) > 1:  # each value on its own memory: one that is kept must not keep the others
        rows = [part.clone() for part in rows]
    return [NoisePred(part, _prediction_type(handle)) for part in rows]


def _module_inputs(
    config: Mapping[str, Any], calls: Sequence[Arguments], device: str, dtype: torch.dtype
) -> dict[str, Any]:
    """The arguments of `UNet2DConditionModel.forward` for the rows of all calls."""
    fields = {name: _gather(calls, name, device, dtype) for name in FIELDS}
    sample = _join([call["latents"].samples.to(device, dtype) for call in calls])
    inputs: dict[str, Any] = {
        "sample": sample if fields["concat"] is None else _join([sample, fields["concat"]], dim=1),
        "timestep": _timesteps(calls, device),
        "encoder_hidden_states": fields["context"],
        "encoder_attention_mask": fields["context_mask"],
    }
    if unet_inputs.takes_text_time(config):
        inputs["added_cond_kwargs"] = {"text_embeds": fields["vector"], "time_ids": fields["time_ids"]}
    elif fields["vector"] is not None:
        inputs["class_labels"] = fields["vector"]
    if calls[0]["conditioning"].residuals is not None:
        count = len(calls[0]["conditioning"].residuals)
        residuals = [_gather(calls, index, device, dtype) for index in range(count)]
        inputs["down_block_additional_residuals"] = tuple(residuals[:-1])
        inputs["mid_block_additional_residual"] = residuals[-1]
    return inputs


def _gather(calls: Sequence[Arguments], field: str | int, device: str, dtype: torch.dtype) -> torch.Tensor | None:
    """One field of the conditionings (or one residual) for the rows of all calls, on the UNet's device."""
    parts = []
    for call in calls:
        conditioning: Conditioning = call["conditioning"]
        if isinstance(field, int):
            assert conditioning.residuals is not None
            tensor = conditioning.residuals[field]
        else:
            tensor = getattr(conditioning, field)
        if tensor is None:
            return None
        floating = tensor.is_floating_point() and field != "time_ids"  # sizes keep their precision until embedded
        tensor = tensor.to(device, dtype) if floating else tensor.to(device)
        parts.append(_repeat(tensor, len(call["latents"].samples)))
    return _join(parts)


def _repeat(tensor: torch.Tensor, rows: int) -> torch.Tensor:
    """A tensor made for one image, for `rows` images."""
    return tensor if len(tensor) == rows else tensor.repeat(rows, *[1] * (tensor.dim() - 1))


def _join(parts: Sequence[torch.Tensor], dim: int = 0) -> torch.Tensor:
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
