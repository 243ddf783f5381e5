"""From what a person writes as a model's path to the parts that lie there: no weights are read.

A folder in the diffusers layout, a single-file checkpoint, `owner/name` on a hub, `builtin:emoji`, `random:sd15`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from graphcore import InputError, StepgraphError, runtime
from nodes import resources
from nodes.models import random_models
from nodes.models.files import hub, model_folder, single_file
from nodes.models.part import Part
from nodes.resources import BUILTIN

T = TypeVar("T")

HELP = (
    "give a folder in the diffusers layout (with `model_index.json`), a checkpoint (.safetensors), the name of a model "
    "on a hub (`owner/name`), or `builtin:emoji`"
)


def parts(path: str, prediction_type: str = "auto", *, download: bool = True) -> dict[str, Part] | None:
    """The parts of the model at a path, by their names in `model_folder.PARTS`.

    Args:
        prediction_type: `auto`, or what the UNet predicts whatever its configuration says.
        download: Fetch a model from a hub if it is not in the cache.

    Returns:
        None for a model on a hub that is not here, and is not to be fetched now.

    Raises:
        InputError: there is no such model, it is incomplete, pickled, or of a kind that is not supported.
        StepgraphError: it lies outside of what this run may read.
    """
    if path.startswith(random_models.RANDOM):
        return _predicting(random_models.parts(path.removeprefix(random_models.RANDOM)), prediction_type)
    place = locate(path)
    if isinstance(place, hub.Name):
        found = from_hub(place, model_folder.read, download=download)
        return None if found is None else _predicting(found, prediction_type)
    if place.is_file():
        return single_file.read(place, prediction_type)
    return _predicting(model_folder.read(place), prediction_type)


def vae(path: str, scaling_factor: float | None = None, *, download: bool = True) -> dict[str, Part] | None:
    """An autoencoder: a part alone, or that of a model; with the parts around it, if any.

    Args:
        scaling_factor: Where given, it counts instead of what the configuration says.

    Raises, returns: as `parts`.
    """
    place = None if path.startswith(random_models.RANDOM) else locate(path)
    if isinstance(place, hub.Name):
        found = from_hub(place, _around_vae, download=download)
    elif place is not None:
        found = {"vae": single_file.read_vae(place)} if place.is_file() else _around_vae(place)
    else:
        found = random_models.parts(path.removeprefix(random_models.RANDOM))
    if found is not None and scaling_factor is not None and "vae" in found:
        more = {**found["vae"].more, "scaling_factor": scaling_factor}
        found = {**found, "vae": replace(found["vae"], more=more)}
    return found


def locate(path: str) -> Path | hub.Name:
    """The file or folder that a path means, or a name on a hub where there is none.

    Raises:
        InputError: there is no such thing, or it is a pickle.
        StepgraphError: it lies outside of what this run may read.
    """
    if path.startswith(BUILTIN):
        return _builtin(path)
    name = _hub_name(path)
    try:
        place = runtime().readable(path)
    except StepgraphError:
        if name is not None:
            return name
        if hub.holds(Path(path).expanduser()):
            return Path(path).expanduser()
        raise
    if not place.exists():
        looks_like_a_file = place.suffix in (*model_folder.PICKLES, ".safetensors") or place.parent.exists()
        if name is not None and not looks_like_a_file:
            return name
        raise InputError("path", expected="a model", got=f"{path!r}, which does not exist", fix=HELP)
    if place.is_file() and place.suffix != ".safetensors":
        fix = model_folder.pickle_help(place) if place.suffix in model_folder.PICKLES else HELP
        raise InputError("path", expected="a folder or a .safetensors file", got=f"the file {path!r}", fix=fix)
    return place


def _builtin(path: str) -> Path:
    name = path.removeprefix(BUILTIN)
    models = resources.model_names()
    if name in models:
        return resources.model_folder(name)
    listed = ", ".join(f"`{BUILTIN}{model}`" for model in models) or "none in this installation"
    near = [f"did you mean `{model}`?" for model in get_close_matches(name, models, n=1)]
    raise InputError("path", expected=f"a built-in model ({listed})", got=repr(path), fix="".join(near))


def _hub_name(path: str) -> hub.Name | None:
    """A path that may be a name on a hub; the command line makes it absolute, from the current folder."""
    given = Path(path)
    if given.is_absolute() and given.is_relative_to(Path.cwd()):
        path = given.relative_to(Path.cwd()).as_posix()
    return hub.parse(path)


def from_hub(name: hub.Name, read: Callable[[Path], T], *, download: bool) -> T | None:
    """What `read` makes of a model's folder: from the cache if it is whole there, else fetched.

    Returns:
        None if it is not there and not to be fetched now (`download`).

    Raises:
        InputError: it cannot be had, or `read` refuses what was fetched.
    """
    folder = hub.cached(name)
    if folder is not None:
        try:
            return read(folder)
        except InputError as error:
            if hub.offline():
                raise hub.refusal(name, f"a copy of it that is not whole ({error})") from error
    elif hub.offline():
        raise hub.refusal(name, "nothing of it (and HF_HUB_OFFLINE forbids to fetch it)")
    return read(hub.download(name, model_folder.FOLDERS)) if download else None


def _around_vae(folder: Path) -> dict[str, Part]:
    """The parts of a model, or an autoencoder alone."""
    alone = not (folder / "model_index.json").exists() and (folder / "config.json").exists()
    return {"vae": model_folder.read_vae(folder)} if alone else model_folder.read(folder)


def _predicting(parts: dict[str, Part], prediction_type: str) -> dict[str, Part]:
    if prediction_type == "auto" or "scheduler" not in parts:
        return parts
    scheduler = parts["scheduler"]
    changed = replace(scheduler, more={"prediction_type": prediction_type})
    return {**parts, "scheduler": changed}
