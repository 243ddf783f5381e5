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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from graphcore import InputError, runtime
from nodes import resources
from nodes.models.part import Part
from nodes.resources import BUILTIN

BUILTIN_FOLDER = Path(__file__).parent.parent / "builtin"
LARGEST_TEXT_FILE = 64 << 20
"""Bytes; a configuration is a few kB, a tokenizer a few MB: more is no such file."""

PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
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
    "encoder": PartKind(("ClassEmbedder", "SpatialRescaler", "FmriEncoder"), weights="model"),
    "scheduler": PartKind((), config="scheduler_config.json"),
}

OTHER_NAMES: Mapping[str, str] = {"vqvae": "vae", "bert": "text_encoder"}
"""Names that the pipelines of latent diffusion have for parts."""

NEEDED = ("unet", "scheduler")

INDEX_SETTINGS: Mapping[str, str] = {
    "force_zeros_for_empty_prompt": "text_encoder",
    "requires_aesthetics_score": "unet",
}
"""Settings of a pipeline (in `model_index.json`), and the part to whose configuration they are added."""

TOKEN_FILES = (
    "tokenizer.json", "vocab.json", "merges.txt", "special_tokens_map.json", "added_tokens.json",
)  # fmt: skip
CLOSED_VOCABULARY = ("vocabulary.txt", "words.txt")
UNUSED_PARTS = ("safety_checker", "feature_extractor", "image_encoder")
"""Parts that no node asks the model for; an `image_encoder` is loaded by the node that needs it."""


def find(path: str) -> Path:
    """The folder that `path` means.

    Raises:
        InputError: there is no such model, or it is no folder.
        StepgraphError: it lies outside of what this run may read.
    """
    if path.startswith(BUILTIN):
        return _builtin(path)
    folder = runtime().readable(path)
    if not folder.exists():
        raise InputError(
            "path", expected="a model folder", got=f"{path!r}, which does not exist", fix=_missing_help(path)
        )
    if not folder.is_dir():
        raise InputError("path", expected="a model folder", got=f"the file {path!r}", fix=_file_help(folder))
    return folder


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
    for key, holder in INDEX_SETTINGS.items():
        if key in index and holder in parts:
            parts[holder] = replace(parts[holder], config={**parts[holder].config, key: index[key]})
    return parts


def read_part(folder: Path, class_name: str) -> Part:
    """One part by its folder (which is named after it).

    Raises:
        InputError: as `read`.
    """
    return _part(folder.parent, folder.name, class_name)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object.

    Raises:
        InputError: it is missing, too large, or something else.
    """
    try:
        real = runtime().readable(path) if not path.is_relative_to(BUILTIN_FOLDER) else path
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


def tensor_shapes(file: Path) -> dict[str, list[int]]:
    """Names and shapes of the tensors in a safetensors file, from its header alone.

    Layout: 8 bytes with the header's length, the header (JSON), then the data, whose ends the header gives.

    Raises:
        ValueError: it is no such file, or not all of it is there.
        OSError: it cannot be read.
    """
    size = file.stat().st_size
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if size < 8 or length > min(size - 8, LARGEST_TEXT_FILE):
            raise ValueError(f"a file of {size} bytes without a safetensors header")
        header = opened.read(length)
    try:
        tensors = {name: entry for name, entry in json.loads(header).items() if name != "__metadata__"}
        shapes = {name: [int(side) for side in entry["shape"]] for name, entry in tensors.items()}
        end = max((int(entry["data_offsets"][1]) for entry in tensors.values()), default=0)
    except (ValueError, RecursionError, AttributeError, KeyError, IndexError, TypeError) as error:
        raise ValueError(f"a damaged safetensors header ({type(error).__name__})") from error
    if size != 8 + length + end:
        raise ValueError(f"{size} bytes of the {8 + length + end} that its header tells of")
    return shapes


def _builtin(path: str) -> Path:
    name = path.removeprefix(BUILTIN)
    models = resources.model_names()
    if name in models:
        return resources.model_folder(name)
    listed = ", ".join(f"`{BUILTIN}{model}`" for model in models) or "none in this installation"
    near = [f"did you mean `{model}`?" for model in get_close_matches(name, models, n=1)]
    raise InputError("path", expected=f"a built-in model ({listed})", got=repr(path), fix="".join(near))


def _missing_help(path: str) -> str:
    if path.count("/") == 1 and not path.startswith((".", "/", "~")):
        return (
            "nothing is downloaded here; if this is a name on a model hub, fetch that folder first and give its path "
            f"({HELP_LAYOUT})"
        )
    return HELP_LAYOUT


def _file_help(file: Path) -> str:
    if file.suffix in PICKLES:
        return f"pickled weights are never opened, they can run code; {HELP_LAYOUT}"
    if file.suffix == ".safetensors":
        return (
            "single-file checkpoints are not read; convert it once with diffusers: "
            "`StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER)`"
        )
    return HELP_LAYOUT


def _index(folder: Path) -> dict[str, Any]:
    if (folder / "model_index.json").exists():
        return read_json(folder / "model_index.json")
    names = sorted(place.name for place in folder.iterdir())
    found = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") if names else "nothing"
    fix = HELP_LAYOUT
    if (folder / "config.json").exists() and (folder.parent / "model_index.json").exists():
        fix = f"this is one part of a model; give the folder above it, {str(folder.parent)!r}"
    elif checkpoint := next((name for name in names if name.endswith(".safetensors")), ""):
        fix = _file_help(folder / checkpoint)
    elif pickle := next((name for name in names if name.endswith(PICKLES)), ""):
        fix = _file_help(folder / pickle)
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
    config_file = folder / kind.config
    config = read_json(config_file)
    if kind.weights:
        files, _ = weight_files(folder, kind.weights)
        _check_headers(files, kind, config)
    else:
        files = _token_files(root, folder) if kind is _TOKENIZER else ()
    return Part(str(folder), class_name, config, tuple(_allowed(file) for file in files))


def _allowed(file: Path) -> Path:
    """The file itself, if it (or what a symbolic link in the folder leads to) may be read."""
    if not file.is_relative_to(BUILTIN_FOLDER):
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
        fix = (
            "pickled weights are never opened, they can run code; get the model's .safetensors files, or (if you trust "
            "the file) convert it once with diffusers: `from_pretrained(FOLDER, use_safetensors=False)`, then "
            "`save_pretrained(NEW_FOLDER, safe_serialization=True)`"
        )
    got = ", ".join(pickles or found[:5]) or "no weights"
    return InputError("path", expected=f"`{stem}.safetensors` in {folder}", got=got, fix=fix)


def _check_headers(files: Iterable[Path], kind: PartKind, config: Mapping[str, Any]) -> None:
    """Read every weights file as far as its header: it is whole, and its sizes are those of the configuration."""
    for file in files:
        if file.suffix != ".safetensors":
            continue
        try:
            shapes = tensor_shapes(_allowed(file))
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
