"""Pictures from brain activity: `load_fmri`, `normalise_fmri` and `encode_fmri`.

Source: Chen et al. 2023, "Seeing Beyond the Brain" (MinD-Vis, arXiv:2211.06956), and its code (zjc062/mind-vis).
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

from pydantic import Field

from graphcore import InputError, TensorSpec, node, runtime
from nodes.conditioning import arrays
from nodes.models.handles import config_of
from nodes.types import Conditioning, EncoderModel, Voxels

RANDOM = "random:"
"""A path that starts so names a measurement of random numbers."""

MOST_VOXELS = 1 << 22

Count = Annotated[int, Field(ge=0, le=MOST_VOXELS)]


class Normalised(NamedTuple):
    """Voxels of about zero mean and unit spread, and the numbers that made them so."""

    voxels: Voxels
    mean: float
    std: float


# --- load_fmri ---------------------------------------------------------------------------------------------------


def fingerprint(path: str) -> str:
    """The content of the file; a random measurement is what its name says."""
    return path if path.startswith(RANDOM) else runtime().digest(runtime().readable(path))


def infer_load(
    path: str | None = None, name: str | None = None, region: str | None = None, first: int | None = None,
    count: int | None = None,
) -> Voxels | None:  # fmt: skip
    """The shape, from the file's header."""
    if path is None:
        return None
    if path.startswith(RANDOM):
        return _described(1, _random_size(path))
    found = arrays.shapes(runtime().readable(path))
    if name is None:
        return None
    rows, size = _table(found, arrays.choose(found, name, "name"))
    if region:
        _check_region(found, arrays.choose(found, region, "region"), size)
    rows_left = None if first is None or count is None else len(range(rows)[_rows(rows, first, count)])
    return _described(rows_left, size if region == "" else None)


@node(category="fmri", fingerprint=fingerprint, infer=infer_load)
def load_fmri(path: str, name: str = "", region: str = "", first: Count = 0, count: Count = 0) -> Voxels:
    """Measurements of brain activity from a file of arrays.

    Args:
        path: A file .npy, .npz or .safetensors with an array (measurements, voxels), or one measurement (voxels,); or
            `random:60`, say, for one measurement of 60 random numbers, the same ones each time.
        name: Which array of a file with several.
        region: Name of an array of booleans (voxels,) in the same file: only the voxels that it marks are taken.
        first: The first measurement to take.
        count: How many to take; 0 is all that are left.

    Returns:
        (measurements, voxels), float32, as measured.

    Raises:
        InputError: no such file or array, pickled objects, or fewer measurements than asked for.
    """
    import torch

    if path.startswith(RANDOM):
        generator = torch.Generator().manual_seed(_random_size(path))
        return Voxels(torch.randn(1, _random_size(path), generator=generator))
    file = runtime().readable(path)
    found = arrays.shapes(file)
    rows, size = _table(found, chosen := arrays.choose(found, name, "name"))
    values = torch.from_numpy(arrays.read(file, chosen)).float().reshape(rows, size)[_rows(rows, first, count)]
    if region:
        marked = arrays.choose(found, region, "region")
        _check_region(found, marked, size)
        values = values[:, torch.from_numpy(arrays.read(file, marked)).bool()]
    return Voxels(values.contiguous())


def _random_size(path: str) -> int:
    text = path.removeprefix(RANDOM)
    if not text.isdecimal() or not 1 <= int(text) <= MOST_VOXELS:
        raise InputError("path", expected=f"a number of voxels after `{RANDOM}`", got=repr(path), fix="as `random:60`")
    return int(text)


def _table(found: dict[str, tuple[int, ...]], name: str) -> tuple[int, int]:
    """Measurements and voxels of an array."""
    shape = found[name]
    if len(shape) not in (1, 2) or 0 in shape:
        raise InputError("name", expected="an array (measurements, voxels)", got=str(TensorSpec(shape)))
    return (1, shape[0]) if len(shape) == 1 else (shape[0], shape[1])


def _check_region(found: dict[str, tuple[int, ...]], name: str, size: int) -> None:
    if found[name] != (size,):
        raise InputError("region", expected=f"an array ({size},), a mark per voxel", got=str(TensorSpec(found[name])))


def _rows(rows: int, first: int, count: int) -> slice:
    last = first + (count or max(rows - first, 1))
    if last > rows:
        raise InputError("first", expected=f"measurements within the {rows} of the file", got=f"{first} to {last - 1}")
    return slice(first, last)


# --- normalise_fmri ----------------------------------------------------------------------------------------------


_UNKNOWN: Any = object()
"""Default of an `infer` hook's parameter where None is a value."""


def infer_normalise(
    voxels: Voxels | None = None, encoder: EncoderModel | None = _UNKNOWN, patch_size: int | None = None
) -> Normalised | None:
    """The padded shape."""
    if voxels is None or encoder is _UNKNOWN or patch_size is None:
        return None
    batch, size = voxels.values.shape
    padded = None if size is None else _padded(int(size), encoder, patch_size)
    return Normalised(_described(batch, padded), None, None)  # type: ignore[arg-type]  # not known before the run


@node(category="fmri", infer=infer_normalise)
def normalise_fmri(
    voxels: Voxels,
    encoder: EncoderModel | None = None,
    mean: float | None = None,
    std: float | None = None,
    patch_size: Annotated[int, Field(ge=1, le=65536)] = 16,
) -> Normalised:
    """Voxels as an fMRI encoder is trained with: padded by beginning anew (wrap), then z = (x - mean) / std.

    Mean and spread are single numbers, taken over all measurements and voxels of a subject after padding. For the
    measurements of a test, link those of the training ones.

    Args:
        voxels: (measurements, voxels).
        encoder: The encoder that they are for: they are padded to its `num_voxels`. That need not be the next multiple
            of a patch, as the paper's code adds a whole patch to what is a multiple already, and pads all subjects to
            the longest.
        mean, std: None: of these voxels.
        patch_size: Without `encoder`, voxels are padded to the next multiple of it.

    Returns:
        The voxels, (measurements, padded length), and the mean and std that were used.

    Raises:
        InputError: there are more voxels than the encoder takes, or all are equal.

    Source: `pad_to_patch_size`, `pad_to_length` and `normalize` of the paper's code.
    """
    import torch

    size = int(voxels.values.shape[1])
    padded = voxels.values[:, torch.arange(_padded(size, encoder, patch_size)) % size]
    mean = float(padded.mean()) if mean is None else mean
    std = float(padded.std(correction=0)) if std is None else std
    if not std > 0:
        raise InputError("std", expected="a spread above 0", got=f"{std:g}", fix="these voxels hold no measurement")
    return Normalised(Voxels((padded - mean) / std), mean, std)


def _padded(size: int, encoder: EncoderModel | None, patch_size: int) -> int:
    """Voxels after padding."""
    if encoder is None:
        return -(-size // patch_size) * patch_size
    wanted = int(_config(encoder)["num_voxels"])
    if size > wanted:
        raise InputError(
            "voxels", expected=f"at most {wanted}, the voxels that this encoder was trained with", got=str(size),
            fix="choose the subject and the `region` (in `load_fmri`) that it was trained with",
        )  # fmt: skip
    return wanted


# --- encode_fmri -------------------------------------------------------------------------------------------------


def infer_encode(encoder: EncoderModel | None = None, voxels: Voxels | None = None) -> Conditioning | None:
    """Shapes of both conditions; refuses voxels of another subject or region as far as their number shows it."""
    if encoder is None:
        return None
    config = _config(encoder)
    if voxels is not None:
        _check_voxels(int(config["num_voxels"]), voxels)
    batch = None if voxels is None else voxels.values.shape[0]
    tokens, width = int(config.get("tokens", 77)), int(config["context_dim"])
    return Conditioning(_spec((batch, tokens, width), encoder.dtype), vector=_spec((batch, width), encoder.dtype))


@node(category="conditioning", infer=infer_encode)
def encode_fmri(encoder: EncoderModel, voxels: Voxels) -> Conditioning:
    """Both conditions of MinD-Vis: tokens to attend to, and a vector for the time embedding.

    Args:
        encoder: From `load_model`, of a model whose encoder is an `FmriEncoder`.
        voxels: From `normalise_fmri`, as many as the encoder was trained with.

    Returns:
        Conditioning with `context` (batch, tokens, width) and `vector` (batch, width), one row per measurement. One
        measurement serves all images of a batch.

    Raises:
        InputError: the model has no such encoder, or it wants another number of voxels.
    """
    import torch

    from nodes.models.memory import weights

    _check_voxels(int(_config(encoder)["num_voxels"]), voxels)
    with weights.use(encoder) as module, torch.no_grad():
        context, vector = module(voxels.values.to(encoder.device, weights.torch_dtype(encoder.dtype)))
    return Conditioning(context=context, vector=vector)


def _config(encoder: EncoderModel) -> dict[str, Any]:
    config = config_of(encoder, "encoder", "an encoder of fMRI")
    if encoder.class_name != "FmriEncoder":
        raise InputError(
            "encoder", expected="an FmriEncoder", got=f"a {encoder.class_name}",
            fix="load a model that is conditioned on fMRI, or use the node for what this one encodes",
        )  # fmt: skip
    return dict(config)


def _check_voxels(wanted: int, voxels: Voxels) -> None:
    shape = tuple(voxels.values.shape)
    if len(shape) != 2 or shape[1] not in (None, wanted):
        raise InputError(
            "voxels", expected=f"(batch, {wanted}), the voxels that this encoder was trained with",
            got=str(TensorSpec(shape)), fix="`normalise_fmri`, with this encoder linked to it, pads them",
        )  # fmt: skip


def _described(batch: int | None, size: int | None) -> Voxels:
    """Voxels of which only the shape is known."""
    return Voxels(_spec((batch, size), "float32"))


def _spec(shape: tuple[int | None, ...], dtype: str) -> Any:
    """Stands where a tensor would be (hence Any)."""
    return TensorSpec(shape, dtype)
