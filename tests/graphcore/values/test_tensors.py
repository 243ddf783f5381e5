"""Tensors to safetensors files and back, against the safetensors library; devices."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from graphcore.values import safetensors_file, tensors
from tests.graphcore import stored_values
from tests.graphcore.stored_values import same


def read(data: bytes, arrays: bool = False) -> tuple[dict[str, Any], dict[str, str]]:
    file = io.BytesIO(data)

    def readinto(buffer: memoryview) -> None:
        if file.readinto(buffer) != len(buffer):
            raise ValueError("cut short")

    return tensors.read_file(readinto, len(data), lambda name: arrays)


NAMED = st.dictionaries(st.text("abc.é", min_size=1, max_size=5), stored_values.tensors(), max_size=5)


@given(NAMED, st.dictionaries(st.text(max_size=4), st.text(max_size=6), max_size=3))
@settings(max_examples=150, deadline=None)
def test_the_library_reads_what_we_write(named: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    data = tensors.serialise(named, metadata)
    assert len(data) == tensors.file_size(named, metadata)
    found = load(data)
    assert found.keys() == named.keys()
    assert all(same(found[name], tensor.contiguous()) for name, tensor in named.items())


@given(NAMED, st.dictionaries(st.text(max_size=4), st.text(max_size=6), max_size=3))
@settings(max_examples=100, deadline=None)
def test_we_read_what_the_library_writes(named: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    whole = {name: tensor.contiguous().clone() for name, tensor in named.items()}
    found, texts = read(save(whole, {"x": "y", **metadata}))
    assert found.keys() == whole.keys()
    assert all(same(found[name], tensor) for name, tensor in whole.items())
    assert texts == {"x": "y", **metadata}


@given(stored_values.arrays())
@settings(max_examples=60, deadline=None)
def test_arrays_need_no_torch(array: np.ndarray[Any, Any]) -> None:
    found, _ = read(tensors.serialise({"a": array}, {}), arrays=True)
    assert same(found["a"], array)


def test_metadata_is_what_the_library_sees(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(tensors.serialise({"a": torch.ones(2)}, {"workflow": "{}", "é": "\n"}))
    with safetensors.safe_open(file, "pt") as opened:
        assert opened.metadata() == {"workflow": "{}", "é": "\n"}
        assert torch.equal(opened.get_tensor("a"), torch.ones(2))


def test_every_tensor_lies_aligned() -> None:
    named = {"a": torch.ones(3, dtype=torch.uint8), "b": torch.ones(3, dtype=torch.float64), "c": torch.ones(1).half()}
    shapes = {name: (tensors.dtype_name(tensor), tuple(tensor.shape)) for name, tensor in named.items()}
    header = safetensors_file.Header.plan(shapes, {"odd": "x" * 13})
    base = len(header.encode())
    assert all((base + header.places[name].begin) % tensor.element_size() == 0 for name, tensor in named.items())


@given(st.binary(max_size=200) | st.text(max_size=80).map(str.encode))
def test_bytes_that_are_no_file_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any reason will do
        read(data)
    framed = len(data).to_bytes(8, "little") + data
    with pytest.raises(ValueError):  # noqa: PT011
        read(framed)


GOOD_TENSOR = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "header",
    [
        [],
        {"a": GOOD_TENSOR},
        {"__metadata__": {}, "a": {**GOOD_TENSOR, "dtype": "F31"}},
        {"__metadata__": {}, "a": {**GOOD_TENSOR, "dtype": []}},
        {"__metadata__": {}, "a": {**GOOD_TENSOR, "shape": [-1, -2]}},
        {"__metadata__": {}, "a": {**GOOD_TENSOR, "shape": [2.0]}},
        {"__metadata__": {}, "a": {**GOOD_TENSOR, "shape": [1] * 65 + [2]}},
        {"__metadata__": {}, "a": {**GOOD_TENSOR, "shape": [10**18]}},
        {"__metadata__": {}, "a": {**GOOD_TENSOR, "data_offsets": [0, 4]}},
        {"__metadata__": {}, "a": {**GOOD_TENSOR, "data_offsets": [0]}},
        {"__metadata__": {}, "a": {**GOOD_TENSOR, "data_offsets": [8, 16]}},
        {"__metadata__": {}, "a": {**GOOD_TENSOR, "more": 1}},
        {"__metadata__": {}, "a": GOOD_TENSOR, "b": GOOD_TENSOR},
        {"__metadata__": {}, "a": None},
        {"__metadata__": 1, "a": GOOD_TENSOR},
        {"__metadata__": {}},
    ],
)
def test_headers_that_make_no_sense_are_refused(header: Any) -> None:
    text = json.dumps(header).encode()
    with pytest.raises(ValueError):  # noqa: PT011
        read(len(text).to_bytes(8, "little") + text + bytes(8))


def test_unfit_tensors_say_why() -> None:
    assert tensors.unfit(torch.ones(1)) is None
    assert tensors.unfit(np.ones(1)) is None
    assert "Parameter" in str(tensors.unfit(torch.nn.Parameter(torch.ones(1))))
    assert "meta" in str(tensors.unfit(torch.ones(1, device="meta")))
    assert "complex128" in str(tensors.unfit(np.ones(1, dtype=complex)))


@pytest.mark.parametrize(
    ("shape", "strides", "expected"),
    [
        ((2, 3), (3, 1), None),
        ((2, 3), (1, 2), [1, 2]),
        ((2, 3), (0, 1), [0, 1]),
        ((2, 3), (4, 1), None),  # gaps
        ((2, 2), (1, 1), None),  # elements overlap
        ((1, 3, 4, 5), (60, 1, 15, 3), [60, 1, 15, 3]),
        ((), (), None),
        ((0, 3), (1, 0), None),
    ],
)
def test_strides_that_are_kept(shape: tuple[int, ...], strides: tuple[int, ...], expected: list[int] | None) -> None:
    tensor = torch.arange(100.0).as_strided(shape, strides)
    assert tensors.strides(tensor) == expected
    back = tensors.restore(tensor.contiguous(), "cpu", tensors.strides(tensor))
    assert torch.equal(back, tensor)
    assert expected is None or list(back.stride()) == expected


def test_memory_and_its_owner() -> None:
    tensor, array = torch.zeros(100), np.zeros(100)
    assert tensors.nbytes(tensor[:3]) == 400
    assert tensors.nbytes(array[:3]) == 800
    assert tensors.storage_id(tensor[5:]) == tensors.storage_id(tensor)
    assert tensors.storage_id(array[5:]) == tensors.storage_id(array)
    assert tensors.storage_id(tensor.clone()) != tensors.storage_id(tensor)
    assert tensors.nbytes(torch.eye(10).to_sparse()) > 0


def test_devices_and_types() -> None:
    assert tensors.resolve_device("cuda:1") == "cuda:1"
    assert tensors.device_kind("cuda:1") == "cuda"
    assert tensors.resolve_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert tensors.resolve_dtype("auto", "cpu") == "float32"
    assert tensors.resolve_dtype("auto", "cuda") == "float16"
    assert tensors.resolve_dtype("bfloat16", "cpu") == "bfloat16"


def test_only_memory_errors_are_memory_errors() -> None:
    assert tensors.is_out_of_memory(MemoryError())
    assert tensors.is_out_of_memory(torch.OutOfMemoryError())
    assert not tensors.is_out_of_memory(RuntimeError("out of memory"))


def test_importing_it_does_not_import_torch() -> None:
    code = "import sys, graphcore.values.tensors as t; t.is_tensor(1); t.uses_gpu(); print('torch' in sys.modules)"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, text=True, capture_output=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_copies_from_a_gpu_are_complete() -> None:
    base = torch.randn(2048, 2048, device="cuda")
    value = base
    for _ in range(20):
        value = value @ base / 45
    named = {"a": value, "b": value.T, "c": torch.ones(3), "d": torch.zeros(0, device="cuda")}
    copies = tensors.to_host(named, tensors.marks(t for t in named.values()))
    assert all(same(copy, named[name].contiguous().cpu()) for name, copy in copies.items())
    assert tensors.restore(copies["a"], "cuda", None).is_cuda


def test_while_another_thread_imports_torch_nothing_is_a_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module is in `sys.modules` before it has what it will hold: the cache's writer must not stumble over it."""
    half = types.ModuleType("torch")
    half.__spec__ = ModuleSpec("torch", None)
    half.__spec__._initializing = True  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", half)
    assert not tensors.is_tensor(1)
    assert not tensors.uses_gpu()
    assert not tensors.is_out_of_memory(ValueError())
    tensors.release_memory()
