"""Conditionings in files: what is written is read, and nothing else is."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from graphcore import InputError, StepgraphError, TensorSpec
from graphcore.runtime import Runtime, _runtime
from nodes import load_conditioning, save_conditioning
from nodes.conditioning import store
from nodes.types import Conditioning, Region

FLOATS = (torch.float32, torch.float16, torch.bfloat16)


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    token = _runtime.set(Runtime(out=tmp_path))
    yield tmp_path
    _runtime.reset(token)


@st.composite
def tensors(draw: st.DrawFn, *, whole: bool = False) -> torch.Tensor:
    shape = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    made = torch.randn(shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))
    if whole:
        return (made * 10).long()
    return made.to(draw(st.sampled_from(FLOATS)))


SEVERAL = st.none() | st.lists(tensors(), min_size=1, max_size=3).map(tuple)
PLAIN = st.builds(
    Conditioning, context=st.none() | tensors(), context_mask=st.none() | tensors(), concat=st.none() | tensors(),
    vector=st.none() | tensors() | tensors(whole=True), time_ids=st.none() | tensors(), image_embeds=SEVERAL,
    residuals=SEVERAL, features=SEVERAL,
)  # fmt: skip
REGIONS = st.builds(
    Region, PLAIN, st.none() | tensors(), st.floats(0, 0.5), st.floats(0.6, 1), st.floats(0.01, 100),
)  # fmt: skip
ANY = PLAIN | st.lists(REGIONS, min_size=1, max_size=12).map(lambda regions: Conditioning(regions=tuple(regions)))


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, torch.Tensor):
        return ours.dtype == theirs.dtype and torch.equal(ours, theirs)
    if isinstance(ours, tuple):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if dataclasses.is_dataclass(ours):
        return all(same(getattr(ours, f.name), getattr(theirs, f.name)) for f in dataclasses.fields(ours))
    return bool(ours == theirs)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(ANY)
def test_what_is_written_is_read(out: Path, conditioning: Conditioning) -> None:
    path = Path(save_conditioning(conditioning, "some/thing"))
    assert path == out / "some" / "thing.safetensors"
    assert same(load_conditioning(path), conditioning)
    inferred = store.infer(path)
    assert inferred is not None
    for name in ("context", "vector"):
        tensor = getattr(conditioning, name)
        shape = None if tensor is None else TensorSpec(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        assert getattr(inferred, name) == shape
    assert len(inferred.regions) == len(conditioning.regions)


def test_equal_content_has_an_equal_fingerprint_under_any_name(out: Path) -> None:
    one, other = Conditioning(torch.ones(1, 2, 3)), Conditioning(torch.zeros(1, 2, 3))
    paths = [Path(save_conditioning(value, name)) for value, name in ((one, "a"), (one, "b"), (other, "c"))]
    prints = [store.fingerprint(path) for path in paths]
    assert prints[0] == prints[1] != prints[2]


def test_tensors_that_share_memory_are_written_apart(out: Path) -> None:
    base = torch.arange(12.0).reshape(2, 1, 6)
    value = Conditioning(base[:1], residuals=(base, base[1:]))
    assert same(load_conditioning(Path(save_conditioning(value))), value)


def test_nothing_is_written_outside(out: Path) -> None:
    with pytest.raises(StepgraphError, match="leaves the output folder"):
        save_conditioning(Conditioning(torch.ones(1)), "../elsewhere")


class Trap:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("unpickled"),)


def test_bad_files_are_refused_in_words(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(out)
    good = Path(save_conditioning(Conditioning(regions=(Region(Conditioning(torch.ones(1, 2, 3))),)), "good"))
    (out / "trap.safetensors").write_bytes(pickle.dumps(Trap()))
    (out / "trap.pt").write_bytes(pickle.dumps(Trap()))
    (out / "cut.safetensors").write_bytes(good.read_bytes()[:-1])
    (out / "empty.safetensors").write_bytes(b"")
    save_file({"context": torch.ones(1)}, out / "other.safetensors")
    written = load_file(good)

    def marked(regions: str = "[]") -> dict[str, str]:
        return {store.MARK: f'{{"version": {store.VERSION}, "regions": {regions}}}'}

    save_file({"contents": torch.ones(1)}, out / "stranger.safetensors", marked())
    save_file({"residuals[1]": torch.ones(1)}, out / "hole.safetensors", marked())
    save_file(written, out / "unlisted.safetensors", marked())
    for number, regions in enumerate(
        ["{", "1", "[1]", "[{}]", '[{"start": 1, "end": 0, "weight": 1}]', '[{"start": 0, "end": 1, "weight": 0}]',
         '[{"start": "a", "end": 1, "weight": 1}]', "null"]
    ):  # fmt: skip
        save_file(written, out / f"regions{number}.safetensors", marked(regions))
    files = [*sorted(out.glob("*.safetensors")), out / "trap.pt", out / "absent.safetensors", out]
    for path in files:
        if path == good:
            continue
        for call in (load_conditioning, store.infer):
            with pytest.raises(InputError) as caught:
                call(path)
            assert caught.value.port == "path"
            assert "save_conditioning" in caught.value.fix
    assert not (out / "unpickled").exists()
    assert load_conditioning(good).regions
