"""Models by their name on a hub: a hub on this machine, the cache of huggingface_hub, and no network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from graphcore import InputError
from graphcore.runtime import Runtime, _runtime
from nodes import load_model, load_vae
from nodes.models import loading
from nodes.models.files import hub, model_folder
from nodes.models.memory import weights
from tests.nodes.conftest import TinyModel
from tests.nodes.models.files import fake_hub

FETCH = """
import json
from nodes import load_model, load_vae
from nodes.models import loading
unknown = loading.infer("owner/name") is None
model = load_model("owner/name")
print(json.dumps([unknown, model.unet.source, model.unet.digest, loading.infer("owner/name").unet.source]))
"""


@pytest.fixture(scope="module")
def fetched(tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process of its own fetched of a hub that has the tiny model and much that nobody needs."""
    import shutil

    folder = Path(shutil.copytree(tiny_model()[1], tmp_path_factory.mktemp("hub") / "model"))
    for name in ("v1-5-pruned.safetensors", "unet/diffusion_pytorch_model.fp16.safetensors", "README.md",
                 "unet/diffusion_pytorch_model.non_ema.safetensors", "unet/diffusion_pytorch_model.bin"):  # fmt: skip
        (folder / name).write_bytes(b"not needed")
    (folder / "safety_checker").mkdir()
    (folder / "safety_checker" / "model.safetensors").write_bytes(b"not needed")
    asked: list[str] = []
    home = tmp_path_factory.mktemp("home")
    with fake_hub.served("owner/name", folder, asked) as address:
        environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
        environment.pop("HF_HUB_OFFLINE", None)
        done = subprocess.run(
            [sys.executable, "-c", FETCH], env=environment, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    unknown, source, digest, inferred = json.loads(done.stdout.splitlines()[-1])
    return {
        "asked": asked, "home": home, "unknown": unknown, "source": source, "digest": digest, "inferred": inferred
    }  # fmt: skip


@pytest.fixture
def cache(fetched: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Path:
    """This process sees that cache and may not fetch anything."""
    cache: Path = fetched["home"] / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return cache


def test_a_model_is_fetched_once_and_no_more_than_is_needed(fetched: dict[str, Any], tiny_model: TinyModel) -> None:
    assert fetched["unknown"]  # the checker does not fetch
    assert Path(fetched["source"]).name == "unet"
    assert fetched["inferred"] == fetched["source"]
    assert fetched["digest"] == load_model(tiny_model()[1]).unet.digest
    gotten = {line.partition(fake_hub.COMMIT)[2][1:] for line in fetched["asked"] if line.startswith("GET /owner")}
    assert "unet/diffusion_pytorch_model.safetensors" in gotten
    assert not [name for name in gotten if "fp16" in name or "non_ema" in name or name.endswith((".bin", ".md"))]
    assert not [name for name in gotten if "safety_checker" in name or "pruned" in name]


def test_what_is_in_the_cache_needs_no_network(cache: Path, fetched: dict[str, Any]) -> None:
    for path in ("owner/name", f"owner/name@{fake_hub.COMMIT}"):
        assert load_model(path).unet.digest == fetched["digest"]
    with weights.use(load_model("owner/name").vae) as module:
        assert type(module).__name__ == "AutoencoderKL"


def test_the_command_line_makes_a_name_a_path(
    cache: Path, fetched: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_model(str(tmp_path / "owner" / "name")).unet.digest == fetched["digest"]
    (tmp_path / "owner").mkdir()
    with pytest.raises(InputError, match="does not exist"):  # then it is a folder that is meant
        load_model(str(tmp_path / "owner" / "name"))


def test_the_cache_may_be_read_whatever_the_roots_are(cache: Path, tmp_path: Path) -> None:
    token = _runtime.set(Runtime(roots=(tmp_path,)))
    try:
        assert load_model("owner/name").unet.digest
    finally:
        _runtime.reset(token)


@pytest.mark.parametrize("path", ["owner/other", "owner/name@dev"])
def test_what_is_not_there_is_said(cache: Path, path: str) -> None:
    name = hub.parse(path)
    assert name is not None
    for call in (load_model, loading.infer, loading.fingerprint):
        with pytest.raises(InputError, match=f"fetch it where there is a network with `{name.command}`.*{cache}"):
            call(path)


def test_a_copy_that_is_not_whole_is_said(cache: Path, fetched: dict[str, Any]) -> None:
    file = Path(fetched["source"]) / "diffusion_pytorch_model.safetensors"
    target = file.readlink()
    file.unlink()
    try:
        with pytest.raises(
            InputError, match=r"not whole.*diffusion_pytorch_model\.safetensors.*`hf download owner/name`"
        ):
            load_model("owner/name")
    finally:
        file.symlink_to(target)


def test_a_link_that_leaves_the_cache_is_not_followed(cache: Path, fetched: dict[str, Any], tmp_path: Path) -> None:
    file = Path(fetched["source"]) / "config.json"
    target = file.readlink()
    (tmp_path / "elsewhere.json").write_bytes(file.read_bytes())
    file.unlink()
    file.symlink_to(tmp_path / "elsewhere.json")
    token = _runtime.set(Runtime(roots=(tmp_path / "roots",)))
    try:
        with pytest.raises(Exception, match="outside the folders"):
            load_model("owner/name")
    finally:
        _runtime.reset(token)
        file.unlink()
        file.symlink_to(target)


@pytest.mark.parametrize("path", ["a", "./a/b", "../b", "a/b/c", "/a/b", "a/../b", "a b/c", "builtin:x/y"])
def test_paths_are_no_names(path: str) -> None:
    assert hub.parse(path) is None


def test_half_precision_is_taken_where_there_is_nothing_else() -> None:
    files = [
        "model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.fp16.safetensors", "vae/config.json",
        "vae/diffusion_pytorch_model-00001-of-00002.safetensors", "vae/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model-00002-of-00002.safetensors", "text_encoder/pytorch_model.bin",
        "vae/diffusion_pytorch_model.safetensors.index.json", "flax/config.json",
    ]  # fmt: skip
    found = hub.wanted(files, model_folder.FOLDERS)
    left = {"vae/diffusion_pytorch_model.fp16.safetensors", "text_encoder/pytorch_model.bin", "flax/config.json"}
    assert set(files) - set(found) == left


def test_a_part_alone_is_its_configuration_and_weights() -> None:
    files = ["config.json", "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin", "images/a.png"]
    assert hub.wanted(files, model_folder.FOLDERS) == files[:2]


def test_an_autoencoder_of_the_hub(cache: Path, tiny_model: TinyModel) -> None:
    """In the cache as huggingface_hub lays it out, a repository with nothing else."""
    import shutil

    place = cache / "models--owner--vae"
    shutil.copytree(Path(tiny_model()[1]) / "vae", place / "snapshots" / fake_hub.COMMIT)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(fake_hub.COMMIT)
    for path in ("owner/vae", "owner/name"):
        assert load_vae(path).digest == load_model(tiny_model()[1]).vae.digest
