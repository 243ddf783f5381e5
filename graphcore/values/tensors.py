"""Tensors and devices: the only module of the engine that imports torch, and only when a tensor is near."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from graphcore.runtime import runtime
from graphcore.values import safetensors_file

DTYPES = ("float32", "float16", "bfloat16", "float64")

_GPU_FILES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg")
"""Device files of which one exists on a Linux machine with a usable GPU."""

Named = Mapping[str, Any]
"""Torch tensors and NumPy arrays by name."""


# -- what a tensor is -----------------------------------------------------------------------------------------------


def _loaded() -> Any:
    """torch, if it is loaded; None while another thread still imports it: nothing here can be a tensor then."""
    torch = sys.modules.get("torch")
    return None if torch is None or getattr(torch.__spec__, "_initializing", False) else torch


def is_tensor(value: Any) -> bool:
    """Whether a value is a torch tensor (without importing torch for values that cannot be one)."""
    torch = _loaded()
    return torch is not None and isinstance(value, torch.Tensor)


def nbytes(tensor: Any) -> int:
    """Bytes of the memory that a tensor (or array) keeps alive."""
    if isinstance(tensor, np.ndarray):
        return int(_owner(tensor).nbytes)
    try:
        return int(tensor.untyped_storage().nbytes())
    except (NotImplementedError, RuntimeError):
        return int(tensor.element_size() * tensor.numel())  # sparse and other tensors without plain memory


def storage_id(tensor: Any) -> int:
    """Equal for tensors that share memory."""
    if isinstance(tensor, np.ndarray):
        return id(_owner(tensor))
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):
        return id(tensor)


def _owner(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def unfit(tensor: Any) -> str | None:
    """Why a tensor (or array) cannot be stored, as the plural of what it is; None where it can."""
    if isinstance(tensor, np.ndarray):
        known = safetensors_file.CODES.get(tensor.dtype.name) is not None and tensor.dtype.isnative
        return None if known else f"arrays of {tensor.dtype}"
    import torch

    if type(tensor) is not torch.Tensor:
        return f"tensors of type {type(tensor).__qualname__}"
    if tensor.layout is not torch.strided or tensor.device.type == "meta":
        return f"{tensor.layout} tensors on device {tensor.device.type}"
    return None if dtype_name(tensor) in safetensors_file.CODES else f"tensors of {tensor.dtype}"


def dtype_name(tensor: Any) -> str:
    """`float32` for tensors and arrays alike."""
    return str(tensor.dtype).removeprefix("torch.")


# -- to files and back ----------------------------------------------------------------------------------------------


def serialise(tensors: Named, metadata: Mapping[str, str]) -> bytes:
    """Tensors as the bytes of a safetensors file."""
    return b"".join(file_parts(tensors, metadata))


def file_parts(tensors: Named, metadata: Mapping[str, str]) -> Iterator[memoryview]:
    """The parts of a safetensors file one after the other, without a copy of the whole."""
    shapes = {name: (dtype_name(tensor), tuple(tensor.shape)) for name, tensor in tensors.items()}
    header = safetensors_file.Header.plan(shapes, metadata)
    yield memoryview(header.encode())
    for name in header.places:
        yield _buffer(tensors[name])


def file_size(tensors: Named, metadata: Mapping[str, str]) -> int:
    """Bytes of the file that `file_parts` makes."""
    shapes = {name: (dtype_name(tensor), tuple(tensor.shape)) for name, tensor in tensors.items()}
    header = safetensors_file.Header.plan(shapes, metadata)
    return len(header.encode()) + header.data_size


def read_file(
    readinto: Callable[[memoryview], None], size: int, arrays: Callable[[str], bool]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Tensors and metadata of a safetensors file, each tensor in memory of its own.

    Args:
        readinto: Fills a buffer with the next bytes of the file, or raises.
        size: Bytes of the file.
        arrays: Whether a name stands for a NumPy array; torch is not imported for these.

    Raises:
        ValueError: the header is not one that `file_parts` writes.
    """
    header = safetensors_file.Header.read(readinto, size)
    found: dict[str, Any] = {}
    for name, place in header.places.items():
        found[name] = empty = (_empty_array if arrays(name) else _empty_tensor)(place)
        if buffer := _buffer(empty):
            readinto(buffer)
    return found, dict(header.metadata)


def _buffer(tensor: Any) -> memoryview:
    """The bytes of a tensor in the order of its elements; its own memory where it is contiguous on the CPU."""
    if isinstance(tensor, np.ndarray):
        return np.asarray(tensor, order="C").reshape(-1).view(np.uint8).data
    import torch

    if not tensor.numel():
        return memoryview(b"")
    whole = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    flat = whole.as_strided((whole.numel(),), (1,))  # a single element may be "contiguous" with any stride
    return memoryview(flat.view(torch.uint8).numpy().data)


def _empty_tensor(place: safetensors_file.Place) -> Any:
    import torch

    return torch.empty(place.shape, dtype=getattr(torch, place.dtype))


def _empty_array(place: safetensors_file.Place) -> Any:
    return np.empty(place.shape, dtype=place.dtype)


def strides(tensor: Any) -> list[int] | None:
    """The strides of a tensor whose elements are not in row-major order; None where they are, or where gaps lie
    between them.

    Sums over other strides may round otherwise, so that a value from the disk must lie in memory as it did.
    """
    if tensor.is_contiguous():
        return None
    extent = 1
    for stride, length in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if length > 1 and stride:
            if stride != extent:
                return None
            extent *= length
    return list(tensor.stride())


def restore(tensor: Any, kind: str, strides: Sequence[int] | None) -> Any:
    """A tensor on the kind of device and with the strides that it had."""
    if kind != "cpu":
        device = runtime().device
        tensor = tensor.to(device if device_kind(device) == kind else kind)
    if strides is None:
        return tensor
    import torch

    once = tensor[tuple(slice(None) if stride else slice(1) for stride in strides)]
    placed = torch.empty_strided(once.shape, strides, dtype=once.dtype, device=once.device)
    return placed.copy_(once).expand(tensor.shape)


def as_array(tensor: Any) -> np.ndarray[Any, Any]:
    """A tensor of the CPU as a NumPy array; arrays stay as they are."""
    array: np.ndarray[Any, Any] = tensor if isinstance(tensor, np.ndarray) else tensor.numpy()
    return array


# -- copies that no run waits for -----------------------------------------------------------------------------------


def marks(tensors: Iterable[Any]) -> list[Any]:
    """Events after which the GPU tensors are computed: record them in the thread that queued the work."""
    torch = sys.modules["torch"]
    devices = {tensor.device for tensor in tensors if tensor.is_cuda}
    return [torch.cuda.current_stream(device).record_event() for device in sorted(devices, key=str)]


def uses_gpu() -> bool:
    """Whether this process has begun to use a CUDA device (then its tensors may not be computed yet)."""
    torch = _loaded()
    return torch is not None and torch.cuda.is_initialized()


def to_host(tensors: Named, marks: Sequence[Any]) -> dict[str, Any]:
    """The tensors on the CPU; copies from a GPU go over a stream of their own, so that only the caller waits.

    The caller holds the tensors until this returns.

    Args:
        marks: What `marks` recorded for these tensors.
    """
    copies = dict(tensors)
    if not marks:
        return copies
    import torch

    for device in sorted({tensor.device for tensor in tensors.values() if _on_cuda(tensor)}, key=str):
        stream = _side_stream(device)
        with torch.cuda.stream(stream):
            for mark in marks:
                stream.wait_event(mark)
            for name, tensor in tensors.items():
                if _on_cuda(tensor) and tensor.device == device:
                    copies[name] = _pinned_copy(tensor)
            done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            done.record(stream)
        done.synchronize()
    return copies


def _on_cuda(tensor: Any) -> bool:
    return is_tensor(tensor) and bool(tensor.is_cuda)


@cache
def _side_stream(device: Any) -> Any:
    import torch

    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _pinned_copy(tensor: Any) -> Any:
    """Begin a copy into memory that the GPU can write to by itself; complete once the stream is."""
    import torch

    source = tensor.detach().resolve_conj().resolve_neg().contiguous()
    return torch.empty(source.shape, dtype=source.dtype, pin_memory=True).copy_(source, non_blocking=True)


# -- devices --------------------------------------------------------------------------------------------------------


@cache
def _has_gpu() -> bool:
    """Whether torch can use a GPU; where that is plain from outside, torch is not imported to find out."""
    try:
        if metadata.version("torch").endswith("+cpu"):
            return False
    except metadata.PackageNotFoundError:
        return False
    if sys.platform == "linux" and not any(Path(file).exists() for file in _GPU_FILES):
        return False
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()


def resolve_device(device: str) -> str:
    """`auto`: a GPU where there is one, else the CPU."""
    if device != "auto":
        return device
    if not _has_gpu():
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "mps"


def trouble_with(device: str) -> str:
    """Why torch cannot use a device; empty where it can."""
    if device in ("auto", "cpu"):
        return ""
    if device_kind(device) not in ("cpu", "cuda", "mps"):
        return "wanted is auto, cpu, cuda, cuda:1 (the second GPU) or mps"
    import torch

    try:
        torch.ones(1, device=device)
    except (RuntimeError, AssertionError) as error:
        return f"it cannot be used here ({str(error).splitlines()[0]}); `auto` takes a GPU where there is one"
    return ""


def resolve_dtype(dtype: str, device: str) -> str:
    """`auto`: half precision on a GPU, float32 on the CPU."""
    if dtype != "auto":
        return dtype
    return "float32" if device_kind(resolve_device(device)) == "cpu" else "float16"


def device_kind(device: str) -> str:
    """`cuda` for `cuda:1`."""
    return device.split(":")[0]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device or the machine is full."""
    torch = _loaded()
    return isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError))


def release_memory() -> None:
    """Give the allocator's unused blocks back to the device."""
    torch = _loaded()
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def memory_figures(device: str) -> str:
    """What is free and used, for messages."""
    if device_kind(device) == "cuda":
        import torch

        free, total = torch.cuda.mem_get_info(device)
        return f"{device}: {free / 2**20:.0f} MiB free of {total / 2**20:.0f} MiB"
    return f"{device}"


# -- tensors without content ----------------------------------------------------------------------------------------


class Fakes:
    """A session in which tensors have shapes but no content: what is computed costs neither time nor memory.

    Enter `session` first; `cost` of what ran within is counted in floating-point operations and bytes.
    """

    def __init__(self) -> None:
        self.flops = self.live = self.peak = 0
        self._known: set[int] = set()

    @contextmanager
    def session(self) -> Iterator[None]:
        from torch._subclasses.fake_tensor import FakeTensorMode

        with FakeTensorMode(allow_non_fake_inputs=True), _meter(self):
            yield

    def make(self, shape: Sequence[int], dtype: str) -> Any:
        """A tensor without content; a single number is 0, for nodes that look at a timestep."""
        import torch

        kind: torch.dtype = getattr(torch, dtype)
        return torch.empty(tuple(shape), dtype=kind) if shape else torch.tensor(0, dtype=kind)

    def begin(self) -> None:
        """Count operations, and the peak of memory, from here."""
        self.flops, self.peak = 0, self.live

    def note(self, tensor: Any) -> None:
        """A tensor that an operation gave: its memory counts once, until it is freed."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._known:
            size = int(storage.nbytes())
            self._known.add(key)
            self.live += size
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._freed, key, size).atexit = False

    def _freed(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


def is_content_needed(error: BaseException) -> bool:
    """Whether an error says that an operation looks at the content of a tensor, which a fake one lacks."""
    if isinstance(error, NotImplementedError):
        return True
    names = {kind.__name__ for kind in type(error).__mro__}
    told = {"DataDependentOutputException", "DynamicOutputShapeException", "UnsupportedOperatorException"}
    if names & told or "DataDependent" in type(error).__name__:
        return True
    return any(word in str(error) for word in ("FakeTensor", "Fake Tensor", "fake tensor", "numpy", "tensor subclass"))


def _meter(fakes: Fakes) -> Any:
    """A dispatch mode that tells the session of every operation."""
    from torch import Tensor
    from torch.utils import _python_dispatch as dispatch
    from torch.utils import flop_counter
    from torch.utils._pytree import tree_leaves

    def attention(query: Any, key: Any, value: Any, *args: Any, out_val: Any = None, **kwargs: Any) -> int:
        count: Any = flop_counter.sdpa_flop_count
        return int(count(query.shape, key.shape, value.shape))

    mode: Any = dispatch.TorchDispatchMode

    class Meter(mode):  # type: ignore[misc]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            operation = func._overloadpacket
            counted = flop_counter.flop_registry.get(operation)
            if counted is None and "scaled_dot_product" in str(operation) and "backward" not in str(operation):
                counted = attention  # torch counts that of GPUs, not that of the CPU
            if counted is not None:
                fakes.flops += int(counted(*args, **(kwargs or {}), out_val=result))
            for leaf in tree_leaves(result):
                if isinstance(leaf, Tensor):
                    fakes.note(leaf)
            return result

    return Meter()
