"""A model on disk, in the folder layout of diffusers: what it holds and whether it is whole. No weights are read.

model_index.json                 which class each part is
unet/, vae/, text_encoder/       config.json and *.safetensors
tokenizer/                       tokenizer_config.json and the token files
scheduler/                       scheduler_config.json
vocabulary.txt                   only for a model that knows a closed list: one thing a line, alternatives by `|`
words.txt                        beside vocabulary.txt: the other words of its captions (colours, places, sizes)
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from graphcore import InputError, runtime
from nodes.models.files import hub
from nodes.models.files.safetensors_header import tensor_shapes
from nodes.models.part import Part

BUILTIN_FOLDER = Path(__file__).parent.parent.parent / "builtin"
LARGEST_TEXT_FILE = 64 << 20
"""Bytes; a configuration is a few kB, a tokenizer a few MB: more is no such file."""

PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
CONVERT = (
    'python -c "import sys, torch, safetensors.torch as s; '
    "d = torch.load(sys.argv[1], map_location='cpu', weights_only=True); d = d.get('state_dict', d); "
    's.save_file({k: v.contiguous().clone() for k, v in d.items() if torch.is_tensor(v)}, sys.argv[2])"'
)
"""Command that writes the tensors of a pickled file (and nothing else of it) into a safetensors file."""

HELP_LAYOUT = "give a folder in the diffusers layout (with `model_index.json`), or `builtin:emoji`"


@dataclass(frozen=True, slots=True)
class PartKind:
    """What a part of a model must look like on disk.

    Args:
        classes: The classes that the nodes can run.
        config: Name of its configuration file.
        weights: Name of its weights file without ending; empty for a part without weights.
        sizes: What the header of the weights must agree with: (end of a tensor's name, dimension, configuration key).
    """

    classes: tuple[str, ...]
    config: str = "config.json"
    weights: str = ""
    sizes: tuple[tuple[str, int, str], ...] = ()


_UNET = PartKind(
    ("UNet2DConditionModel", "UNet2DModel"),
    weights="diffusion_pytorch_model",
    sizes=(("conv_in.weight", 1, "in_channels"),),
)
_VAE = PartKind(
    ("AutoencoderKL", "VQModel", "AutoencoderTiny"),
    weights="diffusion_pytorch_model",
    sizes=(("decoder.conv_in.weight", 1, "latent_channels"),),
)
_TEXT_ENCODER = PartKind(
    ("CLIPTextModel", "CLIPTextModelWithProjection", "LDMBertModel"),
    weights="model",
    sizes=(
        ("embeddings.token_embedding.weight", 0, "vocab_size"),
        ("embeddings.token_embedding.weight", 1, "hidden_size"),
    ),
)
_TOKENIZER = PartKind(
    ("CLIPTokenizer", "CLIPTokenizerFast", "BertTokenizer", "BertTokenizerFast"), config="tokenizer_config.json"
)

PARTS: Mapping[str, PartKind] = {
    "unet": _UNET,
    "vae": _VAE,
    "text_encoder": _TEXT_ENCODER,
    "tokenizer": _TOKENIZER,
    "text_encoder_2": _TEXT_ENCODER,
    "tokenizer_2": _TOKENIZER,
    "encoder": PartKind(("ClassEmbedder", "SpatialRescaler", "FmriEncoder"), weights="diffusion_pytorch_model"),
    "image_encoder": PartKind(("CLIPVisionModelWithProjection",), weights="model"),
    "controlnet": PartKind(
        ("ControlNetModel",),
        weights="diffusion_pytorch_model",
        sizes=(
            ("controlnet_cond_embedding.conv_in.weight", 1, "conditioning_channels"),
            ("attn2.to_k.weight", 1, "cross_attention_dim"),
        ),
    ),
    "adapter": PartKind(("T2IAdapter",), weights="diffusion_pytorch_model"),
    "scheduler": PartKind((), config="scheduler_config.json"),
    "low_res_scheduler": PartKind(("DDPMScheduler",), config="scheduler_config.json"),
    "classifier": PartKind(
        ("NoisyClassifier",), weights="diffusion_pytorch_model", sizes=(("conv_in.weight", 1, "in_channels"),)
    ),
}

OTHER_NAMES: Mapping[str, str] = {"vqvae": "vae", "bert": "text_encoder"}
"""Names that the pipelines of latent diffusion have for parts."""

FOLDERS = (*PARTS, *OTHER_NAMES)
"""Folders of a model that are read."""

NEEDED = ("unet", "scheduler")

INDEX_SETTINGS: Mapping[str, tuple[str, ...]] = {
    "force_zeros_for_empty_prompt": ("text_encoder", "text_encoder_2"),
    "requires_aesthetics_score": ("unet",),
    "max_noise_level": ("low_res_scheduler",),
}
"""Settings of a pipeline (in `model_index.json`), and the part to whose configuration they are added: the first."""

TOKEN_FILES = (
    "tokenizer.json", "vocab.json", "merges.txt", "special_tokens_map.json", "added_tokens.json",
)  # fmt: skip
CLOSED_VOCABULARY = ("vocabulary.txt", "words.txt")
UNUSED_PARTS = ("safety_checker", "feature_extractor", "image_encoder", "watermarker")
"""Parts that no node asks the model for; an `image_encoder` is loaded by the node that needs it."""


def read(folder: Path) -> dict[str, Part]:
    """The parts of a model, each whole and of a class that the nodes can run; by their names in `PARTS`.

    Raises:
        InputError: something is missing, damaged or of another kind; the message says what to do.
    """
    index = _index(folder)
    family = str(index.get("_class_name", "a model without `_class_name`"))
    declared = {
        name: str(entry[1])
        for name, entry in index.items()
        if isinstance(entry, list) and len(entry) == 2 and entry[1] is not None and name not in UNUSED_PARTS
    }
    _refuse_strangers(folder, family, declared)
    parts = {OTHER_NAMES.get(name, name): _part(folder, name, class_name) for name, class_name in declared.items()}
    if family.startswith("StableDiffusionXL"):
        index.setdefault("force_zeros_for_empty_prompt", True)  # the pipeline's own default
    for key, holders in INDEX_SETTINGS.items():
        if key in index and (holder := next((name for name in holders if name in parts), None)):
            parts[holder] = replace(parts[holder], more={**parts[holder].more, key: index[key]})
    return parts


def read_part(folder: Path, class_name: str) -> Part:
    """One part by its folder.

    Raises:
        InputError: as `read`.
    """
    return _whole(folder, class_name, next(kind for kind in PARTS.values() if class_name in kind.classes))


def read_vae(folder: Path) -> Part:
    """An autoencoder in a folder of its own, with a config.json.

    Raises:
        InputError: as `read`, or the folder holds something else.
    """
    class_name = str(read_json(folder / "config.json").get("_class_name"))
    if class_name not in _VAE.classes:
        raise InputError(
            "path", expected=f"an autoencoder ({' or '.join(_VAE.classes)})", got=f"{folder} with a {class_name}",
            fix=HELP_LAYOUT,
        )  # fmt: skip
    return _whole(folder, class_name, _VAE)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object.

    Raises:
        InputError: it is missing, too large, or something else.
    """
    try:
        real = allowed(path)
        if real.stat().st_size > LARGEST_TEXT_FILE:
            raise ValueError(f"it has {real.stat().st_size} bytes")
        value = json.loads(real.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            "path", expected=f"a JSON file `{path.name}` in {path.parent}", got=_say(error), fix="copy the model anew"
        ) from error
    if not isinstance(value, dict):
        raise InputError("path", expected=f"a JSON object in {path}", got=f"a {type(value).__name__}")
    return value


def weight_files(folder: Path, stem: str) -> tuple[tuple[Path, ...], str | None]:
    """The safetensors files of a part and the diffusers `variant` that reads them (None for the plain one).

    Raises:
        InputError: there are none (the message names pickles that lie there instead), or a shard is missing.
    """
    if (plain := folder / f"{stem}.safetensors").exists():
        return (plain,), None
    if (index := folder / f"{stem}.safetensors.index.json").exists():
        return (index, *_shards(folder, index)), None
    if (half := folder / f"{stem}.fp16.safetensors").exists():
        return (half,), "fp16"
    raise _no_weights(folder, stem)


def pickle_help(file: Path, target: Path | None = None) -> str:
    """How pickled weights become safetensors without running code: torch's restricted unpickler opens nothing else."""
    names = f"{shlex.quote(str(file))} {shlex.quote(str(target or file.with_suffix('.safetensors')))}"
    return f"pickled weights are never opened, they can run code; this converts them safely: {CONVERT} {names}"


def _index(folder: Path) -> dict[str, Any]:
    if (folder / "model_index.json").exists():
        return read_json(folder / "model_index.json")
    names = sorted(place.name for place in folder.iterdir())
    found = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") if names else "nothing"
    fix = HELP_LAYOUT
    if (folder / "config.json").exists() and (folder.parent / "model_index.json").exists():
        fix = f"this is one part of a model; give the folder above it, {str(folder.parent)!r}"
    elif checkpoint := next((name for name in names if name.endswith(".safetensors")), ""):
        fix = f"give the checkpoint in it, {str(folder / checkpoint)!r}"
    elif pickle := next((name for name in names if name.endswith(PICKLES)), ""):
        fix = pickle_help(folder / pickle)
    raise InputError("path", expected=f"`model_index.json` in {folder}", got=f"a folder with {found}", fix=fix)


def _refuse_strangers(folder: Path, family: str, declared: Mapping[str, str]) -> None:
    """Stop at models of other families: they would run wrongly, or fail late."""
    for name, class_name in declared.items():
        kind = PARTS.get(OTHER_NAMES.get(name, name))
        if kind is None:
            raise InputError(
                "path", expected=f"a model of the parts {', '.join(PARTS)}",
                got=f"a {family} with the part `{name}` ({class_name})",
                fix="this family is not supported; use another model",
            )  # fmt: skip
        if kind.classes and class_name not in kind.classes:
            raise InputError(
                "path", expected=f"`{name}` of class {' or '.join(kind.classes)}",
                got=f"a {family} whose `{name}` is a {class_name}", fix="this class is not supported",
            )  # fmt: skip
    if missing := [name for name in NEEDED if name not in declared]:
        raise InputError(
            "path", expected=f"the parts {', '.join(NEEDED)} in {folder / 'model_index.json'}",
            got=f"a {family} without {', '.join(missing)}", fix="use a complete model",
        )  # fmt: skip


def _part(root: Path, name: str, class_name: str) -> Part:
    kind, folder = PARTS[OTHER_NAMES.get(name, name)], root / name
    if not folder.is_dir():
        raise InputError(
            "path", expected=f"the part folder `{name}` in {root}", got="no such folder",
            fix="`model_index.json` names it, so the copy is incomplete: fetch the model anew",
        )  # fmt: skip
    return _whole(folder, class_name, kind)


def _whole(folder: Path, class_name: str, kind: PartKind) -> Part:
    """A part of which all is there."""
    config = read_json(folder / kind.config)
    if kind.weights:
        files, _ = weight_files(folder, kind.weights)
        _check_headers(files, kind, config)
    else:
        files = _token_files(folder.parent, folder) if kind is _TOKENIZER else ()
    return Part(str(folder), class_name, config, tuple(allowed(file) for file in files))


def allowed(file: Path) -> Path:
    """The file itself, if it (or what a symbolic link in the folder leads to) may be read."""
    if not file.is_relative_to(BUILTIN_FOLDER) and not hub.holds(file):
        runtime().readable(file)
    return file


def _token_files(root: Path, folder: Path) -> tuple[Path, ...]:
    files = [folder / name for name in TOKEN_FILES if (folder / name).exists()]
    names = {file.name for file in files}
    if "tokenizer.json" not in names and not {"vocab.json", "merges.txt"} <= names:
        raise InputError(
            "path", expected=f"`tokenizer.json`, or `vocab.json` and `merges.txt`, in {folder}",
            got=", ".join(sorted(names)) or "none of them", fix="copy the model anew",
        )  # fmt: skip
    closed = [root / name for name in CLOSED_VOCABULARY if (root / name).exists()]
    return (*files, *closed)


def _shards(folder: Path, index: Path) -> tuple[Path, ...]:
    names = sorted(set(map(str, dict(read_json(index).get("weight_map") or {}).values())))
    if strays := [name for name in names if Path(name).name != name]:
        raise InputError("path", expected=f"file names in {index}", got=repr(strays[0]), fix="copy the model anew")
    if missing := [name for name in names if not (folder / name).exists()] or ([] if names else ["every shard"]):
        raise InputError(
            "path", expected=f"the {len(names)} files that {index.name} names, in {folder}",
            got=f"a folder without {', '.join(missing)}", fix="copy the model anew",
        )  # fmt: skip
    return tuple(folder / name for name in names)


def _no_weights(folder: Path, stem: str) -> InputError:
    found = sorted(place.name for place in folder.iterdir() if place.name != "config.json")
    pickles = [name for name in found if name.endswith(PICKLES)]
    fix = "copy the model anew, with its .safetensors files"
    if pickles:
        fix = pickle_help(folder / pickles[0], folder / f"{stem}.safetensors")
    got = ", ".join(pickles or found[:5]) or "no weights"
    return InputError("path", expected=f"`{stem}.safetensors` in {folder}", got=got, fix=fix)


def _check_headers(files: Iterable[Path], kind: PartKind, config: Mapping[str, Any]) -> None:
    """Read every weights file as far as its header: it is whole, and its sizes are those of the configuration."""
    for file in files:
        if file.suffix != ".safetensors":
            continue
        try:
            shapes = tensor_shapes(allowed(file))
        except (OSError, ValueError) as error:
            raise InputError(
                "path", expected=f"whole weights in {file}", got=_say(error), fix="copy this file anew"
            ) from error
        for ending, dimension, key in kind.sizes:
            for name, shape in shapes.items():
                if (name == ending or name.endswith(f".{ending}")) and dimension < len(shape):
                    _check_size(file, name, shape[dimension], key, config)


def _check_size(file: Path, name: str, size: int, key: str, config: Mapping[str, Any]) -> None:
    if config.get(key, size) != size:
        raise InputError(
            "path", expected=f"`{key}` {config[key]} in {file.name}, as the config.json beside it says",
            got=f"{size} (tensor `{name}`)", fix="config.json and weights belong to different models",
        )  # fmt: skip


def _say(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return f"{type(error).__name__}: {error}"[:300]
