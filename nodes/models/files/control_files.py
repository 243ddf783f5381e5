"""A ControlNet or a T2I-Adapter on disk: what it is and whether it is whole. No weights are read."""

from __future__ import annotations

from pathlib import Path

from graphcore import InputError
from nodes.models import source
from nodes.models.files import hub, model_folder, single_file
from nodes.models.part import Part

CONTROLNET = "ControlNetModel"
ADAPTER = "T2IAdapter"

WORDS = {CONTROLNET: "a ControlNet", ADAPTER: "a T2I-Adapter"}

HELP = "`load_model` reads whole models, `load_controlnet` ControlNets, `load_t2i_adapter` T2I-Adapters"


def read(path: str, class_name: str) -> Part:
    """The part that lies at a path: a folder, a single file (ControlNets only), or a name in the cache of the hub.

    Raises:
        InputError: there is none, it is incomplete, pickled, or of another class.
    """
    place = source.locate(path)
    if isinstance(place, hub.Name):
        folder = hub.cached(place)
        if folder is None:
            raise hub.refusal(place, "nothing of it")
        return _folder(folder, class_name)
    return _folder(place, class_name) if place.is_dir() else _file(place, class_name)


def _folder(folder: Path, class_name: str) -> Part:
    found = model_folder.read_json(folder / "config.json").get("_class_name")
    if found != class_name:
        got = f"a {found}" if found else "a config.json without `_class_name`"
        raise InputError("path", expected=f"{WORDS[class_name]} ({class_name}) in {folder}", got=got, fix=HELP)
    return model_folder.read_part(folder, class_name)


def _file(file: Path, class_name: str) -> Part:
    if class_name != CONTROLNET:
        raise InputError(
            "path", expected=f"the folder of {WORDS[class_name]}, with its config.json", got=f"the file {str(file)!r}",
            fix="give the folder as diffusers saves it",
        )  # fmt: skip
    return single_file.read_controlnet(file)
