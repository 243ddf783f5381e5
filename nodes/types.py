"""The values that travel between diffusion nodes. Frozen; tensors in them are never written to.

Heavy libraries are not imported here: listing and checking nodes must not load torch. In a value that the checker
infers, a `TensorSpec` stands where a tensor would be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor: TypeAlias = Any


@dataclass(frozen=True, eq=False)
class LatentSpace:
    """What the latents of a model look like.

    Args:
        channels: Channels of the latents (4 for Stable Diffusion).
        downsampling: Pixels per latent along each side (8 for Stable Diffusion).
        scaling_factor: Latents are the VAE's encoding times this.
        sample_size: Height and width, in latents, for which the UNet was trained.
    """

    channels: int
    downsampling: int
    scaling_factor: float
    sample_size: int
    shift_factor: float = 0.0


@dataclass(frozen=True, eq=False)
class Generators:
    """One random generator per image, as a value.

    Args:
        seeds: The seed of each image.
        states: uint8, (batch, bytes): the state of each image's CPU generator; None where nothing was drawn yet.
    """

    seeds: tuple[int, ...]
    states: Tensor | None = None

    def __len__(self) -> int:
        return len(self.seeds)


@dataclass(frozen=True, eq=False)
class Latents:
    """Latent images: (batch, channels, height / downsampling, width / downsampling)."""

    samples: Tensor
    space: LatentSpace


@dataclass(frozen=True, eq=False)
class Image:
    """Pictures: float32, (batch, 3, height, width), values in [0, 1]."""

    pixels: Tensor

    def __len__(self) -> int:
        return int(self.pixels.shape[0])

    def export(self, stem: Path, provenance: Mapping[str, Any]) -> list[Path]:
        """Write PNG files: `stem`.png, or `stem`_00.png and so on for a batch; `provenance` goes into their metadata.

        Returns:
            The files, in the order of the batch.
        """
        # By name: how a picture is written is no part of what it is, so that code stays out of the keys of nodes.
        written: list[Path] = import_module("nodes.pictures.png").export(self, stem, provenance)
        return written

    def thumbnail(self) -> bytes:
        """The first picture as a small PNG: what a `preview` hook gives."""
        picture: bytes = import_module("nodes.pictures.png").thumbnail(self)
        return picture


@dataclass(frozen=True, eq=False)
class Mask:
    """Masks: float32, (batch, 1, height, width), values in [0, 1]; 1 is what is to be repainted."""

    values: Tensor


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Maps of classes: int64, (batch, height, width), the number of a class in each place."""

    ids: Tensor


@dataclass(frozen=True, eq=False)
class Voxels:
    """Brain activity: float32, (batch, voxels), one measurement (fMRI) in a row."""

    values: Tensor


@dataclass(frozen=True, eq=False)
class Tokens:
    """A text as token ids, in one or more chunks of the length that the text encoder reads.

    Args:
        ids: int64, (chunks, length), padded.
        text: What was tokenized.
        weights: float32, as `ids`: how much each token counts; None where all count 1.
        second: The same text by the second tokenizer of an SDXL model.
        tokenizer: Class of the tokenizer; empty where it is not known.
        words: What each token stands for in the text, those that were cut off too; for people who look at the value.
    """

    ids: Tensor
    text: str = ""
    weights: Tensor | None = None
    second: Tokens | None = None
    tokenizer: str = ""
    words: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Conditioning:
    """One value with the ways into the UNet (after the LDM conditioning keys; arXiv:2112.10752, sec. 3.3).

    Args:
        context: Cross-attention tokens, (batch, tokens, width); LDM's `crossattn`.
        context_mask: 1 for tokens to attend to, (batch, tokens); None attends to all.
        concat: Extra latent channels, (batch, channels, height, width); LDM's `concat`.
        vector: Added to the time embedding: class labels, int64 (batch,), or a vector (batch, width); LDM's `adm`.
        time_ids: SDXL's sizes and crops, (batch, 6), beside a pooled text `vector`.
        image_embeds: Embedded pictures for the attention of an IP-Adapter, (batch, pictures, width) for each adapter.
        residuals: Added to the UNet's skip connections, from the first to the last, then the middle block
            (ControlNet); None for none.
        features: Added inside the UNet's down blocks, one map for each (T2I-Adapter).
        regions: Other conditionings that hold in a part of the picture or of the schedule. Where there are any, the
            prediction is the weighted mean of theirs, and the fields above are empty.
    """

    context: Tensor | None = None
    context_mask: Tensor | None = None
    concat: Tensor | None = None
    vector: Tensor | None = None
    time_ids: Tensor | None = None
    image_embeds: tuple[Tensor, ...] | None = None
    residuals: tuple[Tensor, ...] | None = None
    features: tuple[Tensor, ...] | None = None
    regions: tuple[Region, ...] = ()


@dataclass(frozen=True, eq=False)
class Region:
    """Where, when and how much a conditioning counts.

    Args:
        conditioning: One without regions.
        mask: Weights in [0, 1] at any size, (batch or 1, 1, height, width); None is everywhere.
        start, end: Share of the schedule, 0 .. 1: it holds at a timestep with start <= progress < end (to the end
            where `end` is 1).
        weight: Against the other regions at the same place and time; greater than 0.
    """

    conditioning: Conditioning
    mask: Tensor | None = None
    start: float = 0.0
    end: float = 1.0
    weight: float = 1.0


@dataclass(frozen=True, eq=False)
class NoisePred:
    """What the UNet says: (batch, channels, height, width) of `prediction_type` epsilon, v_prediction or sample.

    Args:
        variance: What a model with learned variance says of it, as many channels: the fraction v of improved DDPM
            (arXiv:2102.09672, eq. 15) for `learned_range`.
    """

    sample: Tensor
    prediction_type: str = "epsilon"
    variance: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Gradient:
    """Where noisy latents should move, (batch, channels, height, width): such as s * grad_x log p(y | x_t)."""

    samples: Tensor


@dataclass(frozen=True, eq=False)
class Timestep:
    """One entry of a schedule.

    Args:
        value: 0-dimensional CPU tensor within 0 .. num_train_timesteps - 1.
        index: Its place in the schedule of this run, from 0.
        count: Entries of the schedule of this run.
    """

    value: Tensor
    index: int
    count: int = 1

    @property
    def progress(self) -> float:
        """Share of the schedule that lies before this entry, 0 .. 1."""
        return self.index / self.count


@dataclass(frozen=True, eq=False)
class Timesteps:
    """A decreasing schedule: CPU tensor (num_inference_steps * order,).

    Args:
        begin, whole: Of a piece of a schedule: where in it the piece begins, and how many entries it has in all. The
            entries of a piece are those of the whole.
    """

    values: Tensor
    begin: int = 0
    whole: int | None = None

    def __len__(self) -> int:
        return int(self.values.shape[0])

    def __iter__(self) -> Iterator[Timestep]:
        count = len(self) if self.whole is None else self.whole
        for index in range(len(self)):
            yield Timestep(self.values[index], self.begin + index, count)


@dataclass(frozen=True, eq=False)
class Solver:
    """A scheduler between two steps, as a value (never changed: a step makes the next one).

    Args:
        scheduler: Class name in diffusers, such as `DDIMScheduler`.
        config: Its configuration, canonical JSON.
        steps: num_inference_steps.
        begin_index: Index of the first timestep of this run in the whole schedule (img2img starts late).
        eta: Share of DDIM noise (arXiv:2010.02502, eq. 16).
        state: What the scheduler object would hold in attributes that change: names to numbers, tensors, lists.
        generators: The random state of each image.
    """

    scheduler: str
    config: str
    steps: int
    begin_index: int = 0
    eta: float = 0.0
    state: dict[str, Any] | None = None
    generators: Generators | None = None


@dataclass(frozen=True, eq=False)
class Patch:
    """A change to a model part that makes another part of it; the base stays as it is.

    Args:
        kind: What it is: `lora`, `ip_adapter`, `textual_inversion`.
        source: File with its weights, or `random:...`.
        digest: Content digest of that file.
        settings: What it is applied with (weight, name), canonical JSON.
    """

    kind: str
    source: str
    digest: str
    settings: str = "{}"


@dataclass(frozen=True, eq=False)
class ModelHandle:
    """A part of a model, by identity: weights are loaded when a node first needs them.

    Args:
        source: Where config and weights lie: the folder of the part, or a checkpoint file.
        class_name: Its class in diffusers or transformers; empty for a part that the model does not have.
        config: Its configuration, canonical JSON.
        digest: Content digest of configuration and weights.
        device, dtype: Where and how it is to run.
        family: What kind of model it belongs to: a name of `nodes.models.families`.
        layout: How the weights lie at `source`: `folder`, `single_file` or `random`.
        options: How it is to run beside that (attention backend, compile, channels_last), canonical JSON.
        patches: What changes it, in order.
    """

    __stepgraph_transient__ = True  # refers to files outside: never written to the cache
    __stepgraph_weights__ = True  # a deep check runs the nodes that use it, on tensors without content

    source: str
    class_name: str
    config: str
    digest: str
    device: str
    dtype: str
    family: str = ""
    layout: str = "folder"
    options: str = "{}"
    patches: tuple[Patch, ...] = ()


class UNetModel(ModelHandle):
    """Handle of a UNet; its `config` says context width, channels and the like."""


class VaeModel(ModelHandle):
    """Handle of an autoencoder; of class `PixelSpace` where the model works on pixels and has none."""


@dataclass(frozen=True, eq=False)
class TextEncoderModel(ModelHandle):
    """Handle of a text encoder; `second` is SDXL's other one."""

    second: TextEncoderModel | None = None


@dataclass(frozen=True, eq=False)
class TokenizerModel(ModelHandle):
    """Handle of a tokenizer; `second` is SDXL's other one."""

    __stepgraph_weights__ = False

    second: TokenizerModel | None = None


class EncoderModel(ModelHandle):
    """Handle of what a model brings along to encode a condition that is no text: classes, maps, fMRI."""


class ControlNetModel(ModelHandle):
    """Handle of a ControlNet, which makes `residuals` of a picture, latents and a timestep."""


class AdapterModel(ModelHandle):
    """Handle of a T2I-Adapter, which makes `features` of a picture."""


class ImageEncoderModel(ModelHandle):
    """Handle of a CLIP vision tower, which embeds pictures."""


class ClassifierModel(ModelHandle):
    """Handle of a classifier of noisy pictures or latents."""


class SchedulerConfig(ModelHandle):
    """The scheduler that a model comes with (configuration only)."""

    __stepgraph_weights__ = False
