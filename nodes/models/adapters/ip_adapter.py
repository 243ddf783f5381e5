"""`load_ip_adapter`: a second cross-attention, to the tokens of a picture (IP-Adapter, arXiv:2308.06721)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import Field

from graphcore import InputError, node
from nodes.models import random_models
from nodes.models.adapters import layers, lora_names
from nodes.models.files import adapter_file
from nodes.models.files.adapter_file import AdapterFile, Shapes
from nodes.models.handles import canonical, settings
from nodes.types import Patch, UNetModel

KIND = "ip_adapter"

TOKENS = 4
"""Tokens that the plain IP-Adapter makes of one embedding."""

Scale = Annotated[float, Field(ge=-10, le=10)]


@dataclass(frozen=True, slots=True)
class Projection:
    """What an adapter makes of a picture.

    Args:
        takes: `embedding`: the projected one of the image encoder (IP-Adapter); `states`: those of its tokens before
            its last layer (IP-Adapter Plus and Full Face).
        width: Of what it takes.
        context: Of the tokens that it gives to the UNet.
    """

    takes: str
    width: int
    context: int


def fingerprint(path: str) -> str:
    """Content of the file."""
    return read(path).digest()


def infer(path: str | None = None, unet: UNetModel | None = None, scale: float | None = None) -> UNetModel | None:
    """The handle, without a digest; refuses an adapter of another family by the shapes in the file's header."""
    if path is None:
        return None
    file = read(path)
    projection = _projection(file)
    if unet is None:
        return None
    _check(file, projection, unet)
    return _patched(file, projection, "", unet, 0.5 if scale is None else scale)


@node(category="model", infer=infer, fingerprint=fingerprint)
def load_ip_adapter(path: str, unet: UNetModel, scale: Scale = 0.5) -> UNetModel:
    """A UNet that also attends to a picture; `encode_image_embedding` then makes its conditioning.

    Each cross-attention becomes softmax(q k^T) v + scale * softmax(q k'^T) v', with k' and v' from the tokens of the
    picture. The UNet given is not changed, and shares its weights with the new one. For several adapters load one
    after the other, and embed a picture for each, in the same order.

    Args:
        path: A .safetensors file with `image_proj` and `ip_adapter` (IP-Adapter, Plus or Full Face; not Face ID);
            `random:ip_adapter_sd15`, `random:ip_adapter_plus_sd15` and `random:ip_adapter_sdxl` fit the models with
            random weights.
        unet: Of the model family that the adapter was trained for.
        scale: How much the picture counts; 0 is the UNet as it was.

    Raises:
        InputError: no IP-Adapter, a pickle, one for another family, or for faces.
    """
    file = read(path)
    projection = _projection(file)
    _check(file, projection, unet)
    return _patched(file, projection, file.digest(), unet, scale)


def apply(module: Any, patches: Sequence[Patch], *, content: bool) -> None:
    """Put the adapters of a handle into a UNet's attention, all at once, as diffusers' loader wants it."""
    states, scales = [], []
    for patch in patches:
        found = adapter_file.tensors(read(patch.source), patch.digest, content=content)
        states.append({part: _below(found, part) for part in ("image_proj", "ip_adapter")})
        scales.append(float(json.loads(patch.settings)["scale"]))
    module._load_ip_adapter_weights(states, low_cpu_mem_usage=content)
    for processor in module.attn_processors.values():
        if hasattr(processor, "to_k_ip"):
            processor.scale = list(scales)


def wanted(unet: UNetModel) -> list[Projection]:
    """What the adapters of a UNet take, in order; none for a UNet without adapters."""
    return [Projection(*one) for one in settings(unet.config).get("ip_adapters", ())]


def _below(tensors: Mapping[str, Any], part: str) -> dict[str, Any]:
    return {name.removeprefix(f"{part}."): value for name, value in tensors.items() if name.startswith(f"{part}.")}


def read(path: str) -> AdapterFile:
    return adapter_file.read(path, "an IP-Adapter", RANDOM)


def _patched(file: AdapterFile, projection: Projection, digest: str, unet: UNetModel, scale: float) -> UNetModel:
    config = settings(unet.config)
    mine = [projection.takes, projection.width, projection.context]
    config = {**config, "ip_adapters": [*config.get("ip_adapters", ()), mine]}
    patch = Patch(KIND, file.source, digest, canonical({"scale": float(scale)}))
    return replace(unet, config=canonical(config), patches=(*unet.patches, patch))


def _projection(file: AdapterFile) -> Projection:
    """The kind of an adapter, by the names that diffusers' loader tells them apart by.

    Raises:
        InputError: it is none, or one that needs more than a picture.
    """
    shapes = _below(file.shapes, "image_proj")
    face = any("lora" in name for name in file.shapes) or "perceiver_resampler.proj_in.weight" in shapes
    try:
        if not face and "proj.weight" in shapes:
            return Projection("embedding", shapes["proj.weight"][1], shapes["proj.weight"][0] // TOKENS)
        if not face and "proj.3.weight" in shapes:
            return Projection("states", shapes["proj.0.weight"][0], shapes["proj.3.weight"][0])
        if not face and "latents" in shapes:
            return Projection("states", shapes["proj_in.weight"][1], shapes["proj_out.weight"][0])
    except (KeyError, IndexError) as error:
        raise InputError(
            "path", expected="a whole IP-Adapter", got=f"one without {error}", fix="copy it anew"
        ) from error
    if shapes and (face or "norm.weight" in shapes):
        raise InputError(
            "path", expected="an IP-Adapter for pictures", got="an IP-Adapter Face ID",
            fix="it wants the embedding of a face recogniser, which is not served; use IP-Adapter Plus Face instead",
        )  # fmt: skip
    some = ", ".join(f"`{name}`" for name in list(file.shapes)[:3]) or "nothing"
    raise InputError(
        "path", expected="an IP-Adapter (tensors `image_proj...` and `ip_adapter...`)", got=f"a file with {some}",
        fix="`load_lora` and `load_textual_inversion` read other kinds of files",
    )  # fmt: skip


def _check(file: AdapterFile, projection: Projection, unet: UNetModel) -> None:
    """Refuse an adapter whose keys and values do not fit the cross-attentions of this UNet."""
    config = settings(unet.config)
    width = config.get("cross_attention_dim", 1280)
    if unet.class_name != "UNet2DConditionModel" or isinstance(width, (list, tuple)):
        raise InputError(
            "unet", expected="a UNet with cross-attention to one context", got=unet.class_name or "none",
            fix="use a text-to-image model",
        )  # fmt: skip
    if projection.context != width:
        raise InputError(
            "path", expected=f"an IP-Adapter for a context of {width} ({lora_names.family(width)})",
            got=f"one for {projection.context} ({lora_names.family(projection.context)})", fix=_OTHER_FAMILY,
        )  # fmt: skip
    sizes = layers.unet(config)
    places = [sizes[f"{name}.to_k"] for name in layers.cross_attentions(config)]
    wanted = {
        f"{2 * index + 1}.{key}.weight": size for index, size in enumerate(places) for key in ("to_k_ip", "to_v_ip")
    }
    given = _below(file.shapes, "ip_adapter")
    if given != wanted:
        odd = next((name for name, size in wanted.items() if given.get(name) != size), next(iter(given), ""))
        raise InputError(
            "path", expected=f"an IP-Adapter for the {len(places)} cross-attentions of this UNet",
            got=f"one with {len(given) // 2} (`ip_adapter.{odd}`: {given.get(odd, 'absent')})", fix=_OTHER_FAMILY,
        )  # fmt: skip


_OTHER_FAMILY = "an adapter fits only the family that it was trained for: take another adapter, or another model"


def _random_shapes(model: str, *, plus: bool = False) -> Shapes:
    """An adapter for `random:image_encoder` (embeddings of 32, states of 24) and a random model's UNet."""
    config = random_models.parts(model)["unet"].config
    context = int(config["cross_attention_dim"])
    shapes = {
        f"image_proj.{name}": shape for name, shape in (_resampler(context) if plus else _linear(context)).items()
    }
    sizes = layers.unet(config)
    for index, name in enumerate(layers.cross_attentions(config)):
        for key in ("to_k_ip", "to_v_ip"):
            shapes[f"ip_adapter.{2 * index + 1}.{key}.weight"] = sizes[f"{name}.to_k"]
    return shapes


def _linear(context: int) -> Shapes:
    flat = TOKENS * context
    return {"proj.weight": (flat, 32), "proj.bias": (flat,), "norm.weight": (context,), "norm.bias": (context,)}


def _resampler(context: int) -> Shapes:
    """Names as in IP-Adapter's own code (`resampler.py`): four layers of attention and feed-forward."""
    shapes: dict[str, tuple[int, ...]] = {
        "latents": (1, 3, 16), "proj_in.weight": (16, 24), "proj_in.bias": (16,), "proj_out.weight": (context, 16),
        "proj_out.bias": (context,), "norm_out.weight": (context,), "norm_out.bias": (context,),
    }  # fmt: skip
    for layer in range(4):
        attention, forward = f"layers.{layer}.0", f"layers.{layer}.1"
        for norm in (f"{attention}.norm1", f"{attention}.norm2", f"{forward}.0"):
            shapes |= {f"{norm}.weight": (16,), f"{norm}.bias": (16,)}
        shapes |= {f"{attention}.to_q.weight": (64, 16), f"{attention}.to_kv.weight": (128, 16)}
        shapes |= {f"{attention}.to_out.weight": (16, 64)}
        shapes |= {f"{forward}.1.weight": (64, 16), f"{forward}.3.weight": (16, 64)}
    return shapes


RANDOM = {
    "ip_adapter_sd15": lambda: _random_shapes("sd15"),
    "ip_adapter_plus_sd15": lambda: _random_shapes("sd15", plus=True),
    "ip_adapter_sdxl": lambda: _random_shapes("sdxl"),
}
"""Adapters with random weights."""
