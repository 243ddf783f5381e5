"""ControlNet, T2I-Adapter and edges, against diffusers' modules and closed forms; what does not fit is refused."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from graphcore import Engine, InputError, TensorSpec
from graphcore.errors import CheckFailed
from nodes import adapter_features, controlnet, edges, load_controlnet, load_t2i_adapter
from nodes.conditioning import control_inputs
from nodes.models.memory import weights
from nodes.types import (
    AdapterModel,
    Conditioning,
    ControlNetModel,
    Image,
    Latents,
    LatentSpace,
    ModelHandle,
    Region,
    Timestep,
)
from tests.parity.shipped import REGISTRY, workflow

control = sys.modules["nodes.conditioning.control"]
SPACE = LatentSpace(4, 2, 0.18215, 16)


def _noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _latents(batch: int = 1, height: int = 16, width: int = 16) -> Latents:
    return Latents(_noise(batch, 4, height, width), SPACE)


def _image(batch: int = 1, height: int = 32, width: int = 32) -> Image:
    return Image(_noise(batch, 3, height, width, seed=2).sigmoid())


def _text(seed: int = 1, width: int = 32) -> Conditioning:
    return Conditioning(_noise(1, 77, width, seed=seed))


def _at(index: int = 0, count: int = 10) -> Timestep:
    return Timestep(torch.tensor(801), index, count)


def _call(handle: ControlNetModel, conditioning: Conditioning, **changes: Any) -> dict[str, Any]:
    call: dict[str, Any] = {
        "controlnet": handle, "image": _image(), "latents": _latents(), "timestep": _at(), "conditioning": conditioning,
        "scale": 1.0, "start": 0.0, "end": 1.0, "guess": False, "unconditional": False,
    }  # fmt: skip
    return {**call, **changes}


def _residuals(conditioning: Conditioning) -> tuple[Tensor, ...]:
    assert conditioning.residuals is not None
    return conditioning.residuals


def _equal(ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...]) -> bool:
    return len(ours) == len(theirs) and all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.fixture(scope="module")
def handle() -> ControlNetModel:
    return load_controlnet("random:controlnet")


def test_both_halves_of_guidance_are_one_call_of_the_module(handle: ControlNetModel) -> None:
    latents, image = _latents(2), _image(2)
    calls = [_call(handle, _text(seed), latents=latents, image=image, scale=0.7) for seed in (1, 5)]
    assert control.group(calls[0]) == control.group(calls[1])
    made = [_residuals(one) for one in control.control_together(calls)]
    contexts = [_noise(1, 77, 32, seed=seed).repeat(2, 1, 1) for seed in (1, 5)]
    with weights.use(handle) as module, torch.no_grad():
        down, middle = module(
            torch.cat([latents.samples] * 2), torch.tensor(801), torch.cat(contexts), torch.cat([image.pixels] * 2),
            conditioning_scale=0.7, return_dict=False,
        )  # fmt: skip
    assert _equal(tuple(torch.cat(rows) for rows in zip(*made, strict=True)), (*down, middle))
    assert min(float(residual.abs().max()) for residual in (*down, middle)) > 0.01, "zeros would hide mistakes"


def test_one_picture_serves_all_latents(handle: ControlNetModel) -> None:
    ours = controlnet(handle, _image(), _latents(3), _at(), _text())
    assert all(len(residual) == 3 for residual in _residuals(ours))
    three = controlnet(handle, Image(_image().pixels.repeat(3, 1, 1, 1)), _latents(3), _at(), _text())
    assert _equal(_residuals(ours), _residuals(three))


@pytest.mark.parametrize("name", ["controlnet", "controlnet_shuffle", "controlnet_sd21"])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (9, 14), (6, 3)])
def test_shapes_are_known_before(name: str, height: int, width: int) -> None:
    handle = load_controlnet(f"random:{name}")
    text = _text(width=40 if name.endswith("21") else 32)
    given = {"image": _image(1, 2 * height, 2 * width), "latents": _latents(2, height, width), "conditioning": text}
    made = _residuals(controlnet(handle, timestep=_at(), **given))
    inferred = control.infer(handle, **given)
    assert inferred.residuals == tuple(TensorSpec(tuple(residual.shape), "float32") for residual in made)
    assert control.infer(handle, conditioning=text).residuals[0].shape[1] == made[0].shape[1]


@given(st.integers(1, 60), st.data(), st.floats(0, 1), st.floats(0, 1))
def test_the_range_of_steps_is_that_of_the_pipelines(count: int, data: st.DataObject, start: float, end: float) -> None:
    """The rule of `StableDiffusionControlNetPipeline` (`controlnet_keep`)."""
    index = data.draw(st.integers(0, count - 1))
    keep = 1.0 - float(index / count < start or (index + 1) / count > end)
    assert control.works(_at(index, count), start, end) == bool(keep)


@pytest.mark.parametrize("changes", [{"start": 0.5}, {"end": 0.05}, {"scale": 0.0}])
def test_outside_of_its_range_nothing_changes_and_nothing_is_loaded(changes: dict[str, float]) -> None:
    gone = replace(load_controlnet("random:controlnet"), source="nowhere", layout="folder", digest="other")
    text = _text()
    assert controlnet(gone, _image(), _latents(), _at(), text, **changes) is text


def test_residuals_add_up_and_scale(handle: ControlNetModel) -> None:
    other = load_controlnet("random:controlnet_depth")
    text, given = _text(), (_image(), _latents(), _at())
    one, two = (_residuals(controlnet(each, *given, text)) for each in (handle, other))
    first = controlnet(handle, *given, text)
    both = _residuals(controlnet(other, *given, first))
    assert _equal(both, tuple(a + b for a, b in zip(one, two, strict=True)))
    assert _equal(_residuals(first), one), "the first value is as it was"
    doubled = _residuals(controlnet(handle, *given, text, scale=2.0))
    assert _equal(doubled, tuple(2 * residual for residual in one))


def test_guess_mode_grows_from_a_tenth_and_leaves_the_other_half_alone(handle: ControlNetModel) -> None:
    given = (_image(), _latents(), _at(), _text())
    plain = _residuals(controlnet(handle, *given))
    guessed = _residuals(controlnet(handle, *given, guess=True))
    for index, (ours, whole) in enumerate(zip(guessed, plain, strict=True)):
        torch.testing.assert_close(ours, whole * 10 ** (index / (len(plain) - 1) - 1))
    zeros = _residuals(controlnet(handle, *given, guess=True, unconditional=True))
    assert [residual.shape for residual in zeros] == [residual.shape for residual in plain]
    assert not any(residual.any() for residual in zeros)
    assert _equal(_residuals(controlnet(handle, *given, unconditional=True)), plain), "only in guess mode"


def test_regions_are_controlled_one_by_one(handle: ControlNetModel) -> None:
    here, there, later = _text(1), _text(5), _text(6)
    mask = torch.ones(1, 1, 16, 16)
    whole = Conditioning(regions=(Region(here, mask), Region(there, 1 - mask), Region(later, start=0.5)))
    found = controlnet(handle, _image(), _latents(), _at(), whole).regions
    for region, alone in zip(found, (here, there), strict=False):
        expected = _residuals(controlnet(handle, _image(), _latents(), _at(), alone))
        for ours, theirs in zip(_residuals(region.conditioning), expected, strict=True):
            torch.testing.assert_close(ours, theirs)
    assert found[2] is whole.regions[2], "it does not hold yet"
    assert torch.equal(found[0].mask, mask)


SDXL = Conditioning(_noise(1, 77, 72), vector=_noise(1, 40), time_ids=_noise(1, 6))
WRONG: list[tuple[str, dict[str, Any], str, str]] = [
    ("controlnet_sd21", {}, "controlnet", r"context of width 32, got one for 40.*family"),
    ("controlnet_sdxl", {}, "controlnet", r"width 32, got one for 72"),
    ("controlnet_sdxl", {"conditioning": _text(width=72)}, "controlnet", "without pooled text.*SDXL"),
    ("controlnet", {"conditioning": replace(SDXL, context=_noise(1, 77, 32))}, "controlnet", "SDXL, got.*without"),
    ("controlnet", {"conditioning": Conditioning()}, "conditioning", "context of width 32"),
    ("controlnet", {"latents": Latents(_noise(1, 3, 16, 16), SPACE)}, "controlnet", "3 channels, got one for 4"),
    ("controlnet", {"latents": Latents(_noise(1, 4, 4, 4), replace(SPACE, downsampling=8))}, "controlnet", "8 pixels"),
    ("controlnet", {"image": _image(1, 32, 48)}, "image", "32 x 32 pixels.*got 48 x 32.*resize_image"),
    ("controlnet", {"image": _image(3), "latents": _latents(2)}, "image", "each of the 2 latents, got 3"),
    ("controlnet", {"conditioning": replace(_text(), residuals=(_noise(1, 8, 16, 16),))}, "controlnet", "1 residuals"),
    ("controlnet", {"conditioning": Conditioning(regions=(Region(_text(width=40)),))}, "controlnet", "width 40"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "changes", "port", "message"), WRONG)
def test_what_does_not_fit_is_refused_before_and_in_the_run(
    name: str, changes: dict[str, Any], port: str, message: str
) -> None:
    call = _call(load_controlnet(f"random:{name}"), _text()) | changes
    known = {key: call[key] for key in ("controlnet", "image", "latents", "conditioning")}
    for refuse in (lambda: control.infer(**known), lambda: controlnet(**call)):
        with pytest.raises(InputError, match=message) as caught:
            refuse()
        assert caught.value.port == port


@pytest.mark.parametrize(
    ("name", "inputs", "message"),
    [
        ("controlnet", {"controlnet": "random:controlnet_sdxl"}, "context of width 32"),
        ("controlnet", {"model": "random:sdxl"}, "context of width 72"),
        ("t2i_adapter", {"adapter": "WIDE"}, r"features of shape \(8, 8, 8\)"),
        ("controlnet", {"controlnet": "WIDE"}, "residuals of 8 channels"),
    ],
)
def test_the_checker_says_it_before_anything_runs(
    tmp_path: Path, name: str, inputs: dict[str, str], message: str
) -> None:
    if "WIDE" in inputs.values():
        inputs = dict.fromkeys(inputs, str(_wide(tmp_path, name)))
    events: list[Any] = []
    with Engine(registry=REGISTRY, cache=None) as engine, pytest.raises(CheckFailed, match=message):
        engine.run(workflow(name), events.append, **inputs)
    assert not events


def _wide(folder: Path, name: str) -> Path:
    """A network of the right kind for a UNet with other channels, as diffusers saves it."""
    known = {"controlnet": load_controlnet, "t2i_adapter": load_t2i_adapter}[name](f"random:{name}")
    config = json.loads(known.config)
    config |= {"block_out_channels": [16, 16]} if name == "controlnet" else {"channels": [16, 16]}
    with weights.use(replace(known, config=json.dumps(config), digest="", source=f"random:wide {name}")) as module:
        module.save_pretrained(folder)
    return folder


# --- loading -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("load", "name"),
    [(load_controlnet, "controlnet_sdxl"), (load_t2i_adapter, "t2i_adapter"), (load_t2i_adapter, "t2i_adapter_sketch")],
)
def test_what_diffusers_saves_comes_back(tmp_path: Path, load: Any, name: str) -> None:
    known = load(f"random:{name}")
    with weights.use(known) as module:
        module.save_pretrained(tmp_path)
        found = load(str(tmp_path))
        assert (found.class_name, found.layout) == (known.class_name, "folder")
        with weights.use(found) as again:
            assert _equal(tuple(again.state_dict().values()), tuple(module.state_dict().values()))


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    with weights.use(load_controlnet("random:controlnet")) as module:
        module.save_pretrained(tmp_path / "one")
        module.save_pretrained(tmp_path / "two")
        one, two = (load_controlnet(str(tmp_path / name)) for name in ("one", "two"))
    with weights.use(load_controlnet("random:controlnet_depth")) as module:
        module.save_pretrained(tmp_path / "three")
    assert one.digest == two.digest != load_controlnet(str(tmp_path / "three")).digest


def test_other_files_are_refused(tmp_path: Path) -> None:
    with weights.use(load_t2i_adapter("random:t2i_adapter")) as module:
        module.save_pretrained(tmp_path / "adapter")
    with pytest.raises(InputError, match=r"a ControlNet \(ControlNetModel\).*got a T2IAdapter.*load_t2i_adapter"):
        load_controlnet(str(tmp_path / "adapter"))
    (tmp_path / "adapter" / "diffusion_pytorch_model.safetensors").rename(tmp_path / "adapter.safetensors")
    with pytest.raises(InputError, match="the folder of a T2I-Adapter"):
        load_t2i_adapter(str(tmp_path / "adapter.safetensors"))
    (tmp_path / "adapter" / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(InputError, match="pickled weights are never opened"):
        load_t2i_adapter(str(tmp_path / "adapter"))
    with pytest.raises(InputError, match="one of controlnet,"):
        load_controlnet("random:unknown")


# --- T2I-Adapter -------------------------------------------------------------------------------------------------


def _adapter(kind: str, **more: Any) -> AdapterModel:
    known = load_t2i_adapter("random:t2i_adapter")
    config = {"adapter_type": kind, "channels": [8, 8, 16, 16], "downscale_factor": 4, "num_res_blocks": 1, **more}
    return replace(
        known, config=json.dumps(config), source=f"random:{kind} {config['channels']}", digest=kind + str(more)
    )


@pytest.mark.parametrize("kind", ["full_adapter", "full_adapter_xl", "light_adapter"])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (36, 52)])
def test_features_are_those_of_the_module(kind: str, height: int, width: int) -> None:
    adapter, image, text = _adapter(kind), _image(2, height, width), _text()
    made = adapter_features(adapter, image, text, 0.5)
    assert made.features is not None
    with weights.use(adapter) as module, torch.no_grad():
        for ours, theirs in zip(made.features, module(image.pixels), strict=True):
            torch.testing.assert_close(ours, 0.5 * theirs)
    inferred = control.infer_features(adapter, image, text)
    assert inferred.features == tuple(TensorSpec(tuple(feature.shape), "float32") for feature in made.features)
    twice = adapter_features(adapter, image, made, 0.5)
    assert twice.features is not None
    assert _equal(twice.features, tuple(2 * feature for feature in made.features))
    assert (made.context, text.features) == (text.context, None)


def test_a_sketch_has_one_channel() -> None:
    adapter, grey = load_t2i_adapter("random:t2i_adapter_sketch"), _noise(1, 1, 32, 32).sigmoid()
    made = adapter_features(adapter, Image(grey.repeat(1, 3, 1, 1)), Conditioning())
    assert made.features is not None
    with weights.use(adapter) as module, torch.no_grad():
        assert _equal(made.features, tuple(module(grey.to(memory_format=torch.channels_last))))


def test_regions_get_features_too() -> None:
    adapter = load_t2i_adapter("random:t2i_adapter")
    whole = Conditioning(regions=(Region(_text(1), end=0.5), Region(_text(2), start=0.5)))
    found = adapter_features(adapter, _image(), whole)
    assert found.features is None
    assert all(region.conditioning.features for region in found.regions)


def test_sides_that_cannot_be_divided_and_other_adapters_are_refused() -> None:
    adapter = load_t2i_adapter("random:t2i_adapter")
    for refuse in (control.infer_features, adapter_features):
        with pytest.raises(InputError, match=r"multiples of 4, got 34 x 32.*makes 32 x 32"):
            refuse(adapter, _image(1, 32, 34), Conditioning())
    with pytest.raises(InputError, match="2 features, as the one before, got one of 4"):
        adapter_features(_adapter("full_adapter"), _image(), adapter_features(adapter, _image(), Conditioning()))
    with pytest.raises(InputError, match="a T2I-Adapter"):
        control_inputs.feature_shapes(AdapterModel("", "", "{}", "", "cpu", "float32"), _image())
    with pytest.raises(InputError, match="a ControlNet, got a model without one"):
        control_inputs.check(ControlNetModel("", "", "{}", "", "cpu", "float32"), None, None, None)


# --- edges -------------------------------------------------------------------------------------------------------


def _step(width: int = 32, at: int = 13, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Black on the left, white on the right."""
    picture = torch.full((1, 3, 24, width), low)
    picture[..., at:] = high
    return picture


@pytest.mark.parametrize("turned", [False, True])
def test_a_straight_step_is_one_straight_line(turned: bool) -> None:
    picture = _step().transpose(2, 3) if turned else _step()
    found = edges(Image(picture)).pixels
    found = found.transpose(2, 3) if turned else found
    assert set(found.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(found[:, 0], found[:, 2])
    columns = found[0, 0].sum(0).nonzero().flatten().tolist()
    assert columns in ([12], [13]), "beside the step, one pixel wide"
    assert found[0, 0].sum() == 24


def test_the_outline_of_a_disc_is_closed_and_thin() -> None:
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    radius = ((x - 31.3) ** 2 + (y - 31.6) ** 2).sqrt()
    found = edges(Image((21 - radius).div(2).clamp(0, 1).expand(1, 3, 64, 64))).pixels[0, 0] > 0
    assert (radius[found] - 20).abs().max() < 1.5
    angles = torch.atan2(y - 31.6, x - 31.3)[found].sort().values
    assert (angles.diff() < 0.15).all(), "no gap"
    assert 100 < int(found.sum()) < 180, "about 2 pi r pixels"


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_a_gradient_is_what_sobels_filter_gives_of_the_colour_that_changes(channel: int) -> None:
    """A step of h, in values of 0 .. 255, gives (1 + 2 + 1) h."""
    step = torch.zeros(1, 3, 24, 32)
    step[:, channel] = _step(high=0.6)[:, 0]  # 153 of 255
    assert edges(Image(step), 611, 611).pixels.sum() == 3 * 24
    assert not edges(Image(step), 100, 612).pixels.any()
    assert not edges(Image(torch.full((1, 3, 16, 16), 0.7))).pixels.any()


def test_weak_edges_count_where_they_touch_a_strong_one() -> None:
    """A step that gets fainter downwards, and a faint one by itself."""
    picture = torch.zeros(1, 3, 40, 64)
    picture[..., 16:40] = torch.linspace(1, 0.1, 40)[:, None]
    picture[..., 20:, 52:] = 0.15
    weak, strong = (edges(Image(picture), level, level).pixels[0, 0] for level in (60, 400))
    found = edges(Image(picture), 60, 400).pixels[0, 0]
    assert (strong <= found).all()
    assert (found <= weak).all()
    assert found[38, 14:18].any()
    assert not strong[38, 14:18].any()
    assert weak[24:, 48:].any()
    assert not found[24:, 48:].any()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 600), st.floats(0, 600), st.floats(0, 300))
def test_lower_thresholds_only_add(seed: int, low: float, more: float, less: float) -> None:
    picture = Image(torch.rand(2, 3, 12, 17, generator=torch.Generator().manual_seed(seed)))
    few = edges(picture, low, low + more).pixels
    many = edges(picture, max(0.0, low - less), low + more / 2).pixels
    assert (few <= many).all()
    assert few.shape == picture.pixels.shape


def test_low_above_high_is_refused() -> None:
    for refuse in (control._infer_edges, edges):
        with pytest.raises(InputError, match=r"at most `high` \(200\), got 300"):
            refuse(_image(), 300, 200)


def test_handles_are_light() -> None:
    assert isinstance(load_controlnet("random:controlnet"), ModelHandle)
    assert json.loads(load_controlnet("random:controlnet").config)["cross_attention_dim"] == 32
