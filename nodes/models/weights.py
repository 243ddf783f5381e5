"""The weights in memory: each part of a model is loaded once per process, device and dtype, and lent to nodes.

Heavy: import this inside functions only.
"""

from __future__ import annotations

import gc
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import torch

from graphcore import InputError, StepgraphError, runtime
from nodes.models import classes, model_folder, patches, random_models
from nodes.models.handles import identity, settings
from nodes.models.part import place
from nodes.types import ModelHandle, TokenizerModel

Key: TypeAlias = tuple[str, str, str]
"""Digest, device, dtype."""


@dataclass(eq=False)
class _Held:
    """A module in memory, its size, and how many use it now."""

    module: torch.nn.Module
    bytes: int
    users: int = 0


_held: dict[Key, _Held] = {}
_table = threading.Lock()
_loading = threading.Lock()
_tokenizers: dict[str, Any] = {}
_pretended: ContextVar[dict[Key, torch.nn.Module] | None] = ContextVar("stepgraph_pretended", default=None)


@contextmanager
def use(handle: ModelHandle, dtype: str | None = None) -> Iterator[Any]:
    """Borrow the module of a handle (loaded if need be): in eval mode, frozen, on the handle's device.

    Args:
        handle: Handle of a UNet, a VAE or a text encoder.
        dtype: Another floating-point type than the handle's, for a VAE that must not run in half precision.

    Raises:
        StepgraphError: the files have changed since the handle was made, are gone, or do not fit the class.
    """
    key = (f"{identity(handle)} {handle.options}", handle.device, dtype or handle.dtype)
    pretended = runtime().pretended if _pretended.get() is None else _pretended.get()
    if pretended is not None:
        yield _pretend(pretended, handle, key)
        return
    held = _borrow(key) or _load_once(handle, key)
    try:
        yield held.module
    finally:
        with _table:
            held.users -= 1


def tokenizer(handle: TokenizerModel) -> Any:
    """The tokenizer of a handle (loaded once per process; it holds no weights, a few MB at most)."""
    with _loading:
        if (name := identity(handle)) not in _tokenizers:
            _tokenizers[name] = patches.apply_to_tokenizer(_load_tokenizer(handle), handle)
        return _tokenizers[name]


def _load_tokenizer(handle: TokenizerModel) -> Any:
    kind = classes.tokenizer(handle.class_name)
    if handle.layout == "random":
        return random_models.make_tokenizer(settings(handle.config))
    source = _source(handle)
    try:
        return kind.from_pretrained(str(source), local_files_only=True)
    except Exception as error:  # the Rust library raises bare Exception for a broken file
        raise StepgraphError(f"the tokenizer in {source} cannot be read: {error}") from error


def free_idle() -> int:
    """Drop the weights that no node uses now; returns bytes. They are loaded again when they are needed."""
    with _table:
        idle = [key for key, held in _held.items() if not held.users]
        freed = sum(_held.pop(key).bytes for key in idle)
    if idle:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return freed


def held_bytes() -> int:
    """Bytes of all weights in memory."""
    with _table:
        return sum(held.bytes for held in _held.values())


@contextmanager
def pretend() -> Iterator[None]:
    """Within, modules are built from their configuration alone (for torch's FakeTensorMode): nothing is read."""
    token = _pretended.set({})
    try:
        yield
    finally:
        _pretended.reset(token)


def torch_dtype(name: str) -> torch.dtype:
    """`float16` as torch's dtype.

    Raises:
        StepgraphError: it is no floating-point type.
    """
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise StepgraphError(f"{name!r} is no floating-point type; use float32, float16 or bfloat16")
    return found


def _borrow(key: Key) -> _Held | None:
    with _table:
        if (held := _held.get(key)) is not None:
            held.users += 1
        return held


def _load_once(handle: ModelHandle, key: Key) -> _Held:
    """Load, one at a time: building a module on the meta device changes `torch.nn` for the whole process."""
    if handle.patches:
        with use(replace(handle, patches=()), key[2]) as base, _loading:
            return _borrow(key) or _hold(key, patches.apply(patches.copy_modules(base), handle))
    with _loading:
        return _borrow(key) or _hold(key, _load(handle, key[2]))


def _hold(key: Key, module: torch.nn.Module) -> _Held:
    size = sum(t.nbytes for t in (*module.parameters(), *module.buffers()))
    with _table:
        held = _held[key] = _Held(module, size, users=1)
    return held


def _load(handle: ModelHandle, dtype: str) -> torch.nn.Module:
    module = _random(handle).to(torch_dtype(dtype)) if handle.layout == "random" else _from_folder(handle, dtype)
    loaded: torch.nn.Module = module.eval().requires_grad_(False).to(handle.device)
    return loaded


def _random(handle: ModelHandle) -> torch.nn.Module:
    """Weights that depend on the name of the part alone; torch's global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(zlib.crc32(handle.source.encode()))
        return classes.build(handle.class_name, settings(handle.config))


def _from_folder(handle: ModelHandle, dtype: str) -> torch.nn.Module:
    kind, folder = classes.module(handle.class_name), _source(handle)
    part = next(part for part in model_folder.PARTS.values() if handle.class_name in part.classes)
    _, variant = model_folder.weight_files(folder, part.weights)
    library = kind.__module__.partition(".")[0]
    name = "dtype" if library == "transformers" else "torch_dtype"
    try:
        with _quiet(library):
            module, report = kind.from_pretrained(
                str(folder), local_files_only=True, use_safetensors=True, low_cpu_mem_usage=True, variant=variant,
                output_loading_info=True, **{name: torch_dtype(dtype)},
            )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise StepgraphError(f"the weights in {folder} cannot be loaded as {handle.class_name}: {error}") from error
    if absent := sorted(report["missing_keys"]):
        raise StepgraphError(
            f"the weights in {folder} lack {len(absent)} tensors of a {handle.class_name} ({', '.join(absent[:3])}"
            f"{', ...' if len(absent) > 3 else ''}); its config.json belongs to another model, or the copy is broken"
        )
    found: torch.nn.Module = module
    return found


def _source(handle: ModelHandle) -> Path:
    """Where the content of a handle lies now.

    The digest is the name under which results are cached, so other content must never be loaded under it; and a
    handle that comes from the cache may name a folder that has moved since.
    """
    for source in (handle.source, place(handle.digest)):
        if source is not None and (not handle.digest or _holds(Path(source), handle)):
            return Path(source)
    raise StepgraphError(
        f"the model part {handle.source} is gone, or its files changed while the workflow ran; run it again"
    )


def _holds(folder: Path, handle: ModelHandle) -> bool:
    try:
        return model_folder.read_part(folder, handle.class_name).digest() == handle.digest
    except InputError:
        return False


def _pretend(pretended: dict[Key, torch.nn.Module], handle: ModelHandle, key: Key) -> torch.nn.Module:
    if key not in pretended:
        with _loading, torch.device(handle.device), _default_dtype(torch_dtype(key[2])):
            module = classes.build(handle.class_name, settings(handle.config))
        pretended[key] = patches.apply(module.eval().requires_grad_(False), handle)
    return pretended[key]


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Make parameters in a dtype (fake parameters cannot be converted)."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def _quiet(library: str) -> Iterator[None]:
    """Without the progress bars of a library: the engine's events say what happens."""
    logging = import_module(f"{library}.utils.logging")
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


runtime().on_low_memory(free_idle)
