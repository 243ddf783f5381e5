"""Models by their name on a hub: `owner/name` or `owner/name@revision`, through the cache of huggingface_hub.

What is in the cache is used as it is, without asking the hub; `hf download owner/name` brings it up to date.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from graphcore import InputError, note

NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
TEXT = (".json", ".txt", ".model")
ROOTS = ("model_index.json", "config.json")
"""The file that every repository has: of a whole model, of a part alone."""

STEMS = ("model", "diffusion_pytorch_model")


class Name(NamedTuple):
    """A repository, and a branch, tag or commit of it (None: its main branch)."""

    repo: str
    revision: str | None

    @property
    def command(self) -> str:
        """What fetches it."""
        return f"hf download {self.repo}" + (f" --revision {self.revision}" if self.revision else "")


def parse(path: str) -> Name | None:
    """A name on a hub; None for a path that cannot be one."""
    found = NAME.fullmatch(path)
    if found is None or path.startswith(".") or ".." in path:
        return None
    return Name(found["repo"], found["revision"])


def cached(name: Name) -> Path | None:
    """The folder of a model, or of a part alone, in the cache (some of it may be missing); None if it is not there."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = [try_to_load_from_cache(name.repo, file, revision=name.revision) for file in ROOTS]
    except HFValidationError:
        return None
    return next((Path(file).parent for file in found if isinstance(file, str)), None)


def offline() -> bool:
    """Whether nothing may be downloaded (`HF_HUB_OFFLINE`)."""
    from huggingface_hub import constants

    return constants.is_offline_mode()


def download(name: Name, folders: Iterable[str]) -> Path:
    """Fetch configurations, token files and safetensors weights of a model into the cache; returns its folder.

    Args:
        folders: Names of the parts that are wanted.

    Raises:
        InputError: there is no such model, it has no safetensors weights, or the hub cannot be reached.
    """
    from huggingface_hub import HfApi, snapshot_download

    try:
        info = HfApi().model_info(name.repo, revision=name.revision, files_metadata=True)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
        files = wanted(sizes, folders)
        _refuse_pickles(name, sizes, files)
        note(f"fetching {name.repo} ({sum(sizes[file] for file in files) / 1e9:.1f} GB) into {cache_folder()}")
        patterns = [glob.escape(file) for file in files]
        return Path(snapshot_download(name.repo, revision=name.revision, allow_patterns=patterns, tqdm_class=_silent()))
    except _trouble() as error:
        raise refusal(name, f"{type(error).__name__}: {str(error).strip().splitlines()[0]}") from error


def _trouble() -> tuple[type[Exception], ...]:
    """What can go wrong on the way to a hub; among the bases of its error is that of its network library."""
    from huggingface_hub.errors import HfHubHTTPError

    return (*(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception)), OSError, ValueError)


def _silent() -> Any:
    """A progress bar that shows nothing: the engine's events say what happens."""
    from huggingface_hub.utils.tqdm import tqdm

    def __init__(self: Any, *args: Any, **options: Any) -> None:  # noqa: N807
        tqdm.__init__(self, *args, **{**options, "disable": True})  # type: ignore[no-untyped-call]

    return type("Silent", (tqdm,), {"__init__": __init__})


def wanted(files: Iterable[str], folders: Iterable[str]) -> list[str]:
    """Which files of a repository in the diffusers layout are needed; it may be a part alone.

    Of the weights of a part those in full precision, else the half-precision variant; no `non_ema` weights, none of
    other frameworks, no single-file checkpoints.
    """
    every, parts = set(files), {f"{folder}/" for folder in folders}
    texts = [file for file in every if file.endswith(TEXT) and (file.count("/") == 0 or file.startswith(tuple(parts)))]
    weights = [file for folder in (parts if ROOTS[0] in every else [""]) for file in _weights(every, folder)]
    return sorted({*texts, *weights})


def _weights(files: Iterable[str], folder: str) -> list[str]:
    stem = rf"{re.escape(folder)}(?:{'|'.join(STEMS)})"
    for pattern in (rf"{stem}\.safetensors", rf"{stem}-\d+-of-\d+\.safetensors", rf"{stem}\.fp16\.safetensors"):
        if found := [file for file in files if re.fullmatch(pattern, file)]:
            return found
    return []


def _refuse_pickles(name: Name, files: Iterable[str], chosen: Iterable[str]) -> None:
    folders = {file.split("/")[0] for file in chosen if file.endswith(".safetensors")}
    pickles = [file for file in files if file.endswith((".bin", ".ckpt", ".pt", ".pth"))]
    if not folders and pickles:
        raise InputError(
            "path", expected="safetensors weights", got=f"{name.repo}, which has only pickles ({pickles[0]}, ...)",
            fix="pickled weights are never opened, they can run code; look for another copy of the model",
        )  # fmt: skip


def refusal(name: Name, why: str) -> InputError:
    """In words: what is not there, how to fetch it, and where it is looked for."""
    return InputError(
        "path", expected=f"a folder `{name.repo}`, or a model of this name in the cache of the hub", got=why,
        fix=f"fetch it where there is a network with `{name.command}`; the cache is {cache_folder()} "
        "(`HF_HOME` sets another one), and a copy of it may be brought here",
    )  # fmt: skip


def cache_folder() -> Path:
    """Where huggingface_hub keeps what it has fetched."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def holds(path: Path) -> bool:
    """Whether a file lies in the cache, also by its real place (its snapshots are symbolic links)."""
    if not any(part.startswith("models--") for part in path.parts):
        return False
    cache = cache_folder()
    return path.is_relative_to(cache) and path.resolve().is_relative_to(cache.resolve())
