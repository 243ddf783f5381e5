"""The weights in memory: each part of a model is loaded once per process, device and dtype, and lent to nodes.

Heavy: import this inside functions only.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from importlib import import_module
from itertools import chain
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import torch

from graphcore import InputError, StepgraphError, runtime
from nodes.models import classes, options, random_models
from nodes.models.adapters import patches
from nodes.models.files import clip_tokenizer, model_folder, safetensors_header, single_file
from nodes.models.handles import identity, settings
from nodes.models.memory import attention, budget, placement
from nodes.models.memory.manager import Held, Memory, Report, full_memory_by_its_name, is_out_of_memory
from nodes.models.part import place
from nodes.types import ModelHandle, TokenizerModel

Key: TypeAlias = tuple[str, str, str]
"""Digest, device, dtype."""


_memory = Memory(budget.Budget())
_loading = _memory.loading
_sizes: dict[Key, int] = {}
_tokenizers: dict[str, Any] = {}
_pretended: ContextVar[dict[Key, torch.nn.Module] | None] = ContextVar("stepgraph_pretended", default=None)


@contextmanager
def use(handle: ModelHandle, dtype: str | None = None) -> Iterator[Any]:
    """Borrow the module of a handle (loaded if need be): in eval mode, frozen, on the handle's device.

    What is in use stays where it is; the rest leaves a device when the budget (`set_limit`) asks for it.

    Args:
        handle: Handle of a UNet, a VAE or a text encoder.
        dtype: Another floating-point type than the handle's, for a VAE that must not run in half precision.

    Raises:
        StepgraphError: the files have changed since the handle was made, are gone, or do not fit the class.
        torch.OutOfMemoryError: the device is full, also without idle weights; or the body says so.
    """
    key = _key(handle, dtype or handle.dtype)
    pretended = runtime().pretended if _pretended.get() is None else _pretended.get()
    if pretended is not None:
        yield _pretend(pretended, handle, key)
        return
    held = _memory.get(key, runtime()) or _bring(handle, key)
    try:
        with full_memory_by_its_name():
            yield held.module
    finally:
        _memory.give_back(held)


def tokenizer(handle: TokenizerModel) -> Any:
    """The tokenizer of a handle (loaded once per process; it holds no weights, a few MB at most)."""
    with _loading:
        if (name := identity(handle)) not in _tokenizers:
            _tokenizers[name] = patches.apply_to_tokenizer(_load_tokenizer(handle), handle)
        return _tokenizers[name]


def _load_tokenizer(handle: TokenizerModel) -> Any:
    kind = classes.tokenizer(handle.class_name)
    if handle.layout == "random":
        return random_models.make_tokenizer(handle.class_name, settings(handle.config))
    if handle.layout == "single_file":
        return clip_tokenizer.make(settings(handle.config))
    source = _source(handle)
    try:
        return kind.from_pretrained(str(source), local_files_only=True)
    except Exception as error:  # the Rust library raises bare Exception for a broken file
        raise StepgraphError(f"the tokenizer in {source} cannot be read: {error}") from error


def free_idle() -> int:
    """Drop the weights that no node uses now; returns bytes. They are loaded again when they are needed."""
    return _memory.free_idle()


def held_bytes() -> int:
    """Bytes of all weights in memory, those that modules share counted once."""
    return _memory.bytes()


def set_limit(limit: int | str | None, device: str = "cpu") -> None:
    """Set how many bytes of weights a device may hold; idle ones leave now, or when the next part needs room.

    Args:
        limit: Bytes, or text such as `6GiB`; None for the default: the environment variable
            `STEPGRAPH_WEIGHTS_LIMIT`, else a share of the memory that was free when the device was first used.

    Raises:
        StepgraphError: it is no size.
    """
    _memory.set_limit(limit, placement.device_name(device))


def report() -> Report:
    """What is in memory now, where, how large, and how many nodes use it."""
    return _memory.report()


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


def _bring(handle: ModelHandle, key: Key) -> Held:
    """Load a module. One that is patched or has options of its own is a variant of the plain one: it shares tensors."""
    chosen = options.parse(handle.options)
    plain = options.Options(channels_last=chosen.channels_last, offload=chosen.offload)
    name = " ".join((handle.class_name, handle.source, key[2], *(patch.kind for patch in handle.patches)))
    if not handle.patches and chosen == plain:
        held = _memory.bring(
            key, lambda: _load(handle, key[2]), name=name, device=placement.device_name(handle.device),
            expected=_expected(handle, key), offload=chosen.offload, during=runtime(),
        )  # fmt: skip
        _sizes[key] = sum(held.own.values())
        return held
    base = replace(handle, patches=(), options=plain.text())
    base_key = _key(base, key[2])
    lent = _memory.get(base_key, runtime()) or _bring(base, base_key)
    try:
        return _memory.bring(
            key, lambda: _variant(lent.module, handle), name=f"{name} {handle.options}", device=lent.device, base=lent,
            during=runtime(),
        )  # fmt: skip
    finally:
        _memory.give_back(lent)


def _variant(base: torch.nn.Module, handle: ModelHandle) -> torch.nn.Module:
    chosen = options.parse(handle.options)
    module = patches.apply(patches.copy_modules(base), handle).eval().requires_grad_(False)
    attention.apply(module, chosen.attention)
    if chosen.compile:
        called = ("encoder", "decoder") if hasattr(module, "decode") else ("",)  # an autoencoder is never called whole
        for name in called:
            module.get_submodule(name).compile()
    return module


def _expected(handle: ModelHandle, key: Key) -> int:
    """Bytes that weights will take in memory: as last time, else as their files or configuration say.

    Room must be there before they come. Random weights are tiny: 0 serves.
    """
    if handle.layout == "random" or key in _sizes:
        return _sizes.get(key, 0)
    if handle.layout == "single_file":
        with _loading, torch.device("meta"):
            built = classes.build(handle.class_name, settings(handle.config))
        values = sum(tensor.numel() for tensor in placement.tensors(built))
    else:
        part = next(part for part in model_folder.PARTS.values() if handle.class_name in part.classes)
        files, _ = model_folder.weight_files(_source(handle), part.weights)
        shapes = [safetensors_header.tensor_shapes(file).values() for file in files if file.suffix == ".safetensors"]
        values = sum(prod(shape) for shape in chain(*shapes))
    return values * torch_dtype(key[2]).itemsize


def _key(handle: ModelHandle, dtype: str) -> Key:
    return f"{identity(handle)} {handle.options}", handle.device, dtype


def _load(handle: ModelHandle, dtype: str) -> torch.nn.Module:
    if handle.layout == "single_file":
        module = single_file.load(handle, dtype)
    else:
        module = _random(handle, dtype) if handle.layout == "random" else _from_folder(handle, dtype)
    loaded: Any = module.eval().requires_grad_(False).to(handle.device)
    if options.parse(handle.options).channels_last:
        loaded.to(memory_format=torch.channels_last)
    found: torch.nn.Module = loaded
    return found


def _random(handle: ModelHandle, dtype: str) -> torch.nn.Module:
    """Weights that depend on the name of the part alone; torch's global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(zlib.crc32(handle.source.encode()))
        built = classes.build(handle.class_name, settings(handle.config))
        random_models.wake(built)
    return torch.nn.Module.to(built, torch_dtype(dtype))  # diffusers' own `to` warns, whatever the dtype


def _from_folder(handle: ModelHandle, dtype: str) -> torch.nn.Module:
    kind, folder = classes.module(handle.class_name), _source(handle)
    part = next(part for part in model_folder.PARTS.values() if handle.class_name in part.classes)
    _, variant = model_folder.weight_files(folder, part.weights)
    library = "transformers" if kind.__module__.startswith("transformers.") else "diffusers"  # our own are like these
    name = "dtype" if library == "transformers" else "torch_dtype"
    try:
        with _quiet(library):
            module, report = kind.from_pretrained(
                str(folder), local_files_only=True, use_safetensors=True, low_cpu_mem_usage=True, variant=variant,
                output_loading_info=True, **{name: torch_dtype(dtype)}, **_straight_to(handle.device),
            )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        raise StepgraphError(f"the weights in {folder} cannot be loaded as {handle.class_name}: {error}") from error
    if absent := sorted(report["missing_keys"]):
        raise StepgraphError(
            f"the weights in {folder} lack {len(absent)} tensors of a {handle.class_name} ({', '.join(absent[:3])}"
            f"{', ...' if len(absent) > 3 else ''}); its config.json belongs to another model, or the copy is broken"
        )
    found: torch.nn.Module = module
    return found


def _straight_to(device: str) -> dict[str, Any]:
    """Makes a library read tensors onto an accelerator one by one, rather than all into CPU memory first."""
    return {"device_map": {"": device}} if placement.is_accelerator(device) else {}


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
