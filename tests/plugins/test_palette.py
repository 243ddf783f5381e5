"""The worked example: loaded as a plugin, tried against truth, and run in its workflow."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import graphcore
from graphcore import InputError, TensorSpec, Workflow
from graphcore.declare.node import NodeType
from graphcore.errors import CheckFailed
from graphcore.plugins.loader import Plugins
from nodes.types import Conditioning, UNetModel
from plugins.palette.colors import oklab, parse
from plugins.palette.encoder import features, project

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / "plugins/palette/txt2img_palette.json"
ORANGE_AND_BLUE = ["#ff8800", "#2255cc"]


@pytest.fixture(scope="module")
def palette() -> NodeType:
    found = Plugins([ROOT / "plugins"])
    assert [state.error for state in found.states] == [""] * len(found.states)
    return found.registry.get("palette/palette_encoder")


def unet(**config: Any) -> UNetModel:
    text = json.dumps({"cross_attention_dim": 32, "block_out_channels": [8, 16], **config})
    return UNetModel("nowhere", "UNet2DConditionModel", text, "digest", "cpu", "float32")


# -- colours ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("color", "expected"),
    [  # from the CSS Color 4 specification's sample code, which computes them by matrices of its own
        ("#ffffff", (1.0, 0.0, 0.0)),
        ("#000000", (0.0, 0.0, 0.0)),
        ("#ff0000", (0.62796, 0.22486, 0.12585)),
        ("#00ff00", (0.86644, -0.23389, 0.17950)),
        ("#0000ff", (0.45201, -0.03246, -0.31153)),
    ],
)
def test_oklab_of_known_colors(color: str, expected: tuple[float, ...]) -> None:
    assert parse([color])[0] == pytest.approx(expected, abs=2e-4)


@given(st.floats(0, 1))
def test_greys_have_no_hue(grey: float) -> None:
    lightness, a, b = oklab(grey, grey, grey)
    assert -1e-9 <= lightness <= 1 + 1e-6
    assert math.hypot(a, b) < 1e-4


@pytest.mark.parametrize("wrong", [[], ["orange"], ["#ff88"], ["#ff8800 "], ["#ff8800\n"], [7], ["#ff8800"] * 17])
def test_what_is_no_palette_is_refused(palette: NodeType, wrong: list[Any]) -> None:
    with pytest.raises(InputError, match="colors"):
        palette.function(unet(), wrong)
    assert palette.infer is not None
    with pytest.raises(InputError, match="colors"):
        palette.infer(unet=unet(), colors=wrong)
    with pytest.raises(ValueError, match=r"."):
        palette.inputs["colors"].validate(wrong)


# -- tokens ----------------------------------------------------------------------------------------------------------


def test_features_lie_on_circles() -> None:
    seen = features(parse(ORANGE_AND_BLUE))
    assert seen.shape == (2, 24)
    sin, cos = seen[:, :].reshape(2, 3, 2, 4).unbind(2)
    assert torch.allclose(sin**2 + cos**2, torch.ones(2, 3, 4), atol=1e-5)


def test_tokens_have_unit_variance() -> None:
    colors = [f"#{r:02x}{g:02x}{b:02x}" for r in (0, 130, 255) for g in (0, 130, 255) for b in (255,)]
    assert float(project(parse(colors), 4096).var()) == pytest.approx(1, abs=0.1)


def test_a_token_depends_on_its_own_color_only(palette: NodeType) -> None:
    both = palette.function(unet(), ORANGE_AND_BLUE).context
    assert both.shape == (1, 2, 32)
    for index, color in enumerate(ORANGE_AND_BLUE):
        assert torch.allclose(palette.function(unet(), [color]).context[0, 0], both[0, index], atol=1e-6)
    assert not torch.allclose(both[0, 0], both[0, 1], atol=0.1)


def test_near_colors_have_near_tokens() -> None:
    orange, nearly, blue = project(parse(["#ff8800", "#fe8801", "#2255cc"]), 512)
    assert float((orange - nearly).norm()) < 0.1 * float((orange - blue).norm())


def test_tokens_are_the_same_in_every_process(palette: NodeType) -> None:
    script = "from plugins.palette.encoder import *; from plugins.palette.colors import parse; import sys;"
    script += "sys.stdout.buffer.write(project(parse(['#ff8800']), 32).numpy().tobytes())"
    torch.manual_seed(1)  # the global generator has no part in it
    here = palette.function(unet(), ["#ff8800"]).context
    there = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, cwd=ROOT).stdout
    assert here.numpy().tobytes() == there


@given(st.integers(1, 3), st.integers(1, 5), st.booleans())
def test_tokens_are_appended_to_the_text(batch: int, length: int, masked: bool) -> None:
    node = Plugins([ROOT / "plugins"]).registry.get("palette/palette_encoder")
    mask = torch.ones(batch, length) if masked else None
    context = torch.randn(batch, length, 32)
    before = context.clone()
    text = Conditioning(context=context, context_mask=mask, concat=torch.ones(1))
    made = node.function(unet(), ORANGE_AND_BLUE, text, strength=0.5)
    assert torch.equal(made.context[:, :length], before)
    assert torch.equal(context, before)
    alone = node.function(unet(), ORANGE_AND_BLUE).context
    assert torch.allclose(made.context[:, length:], 0.5 * alone.expand(batch, -1, -1), atol=1e-6)
    assert made.concat is text.concat
    assert (made.context_mask is None) if mask is None else made.context_mask.shape == (batch, length + 2)


VECTOR_UNETS: list[tuple[dict[str, Any], int]] = [
    ({"class_embed_type": "projection", "projection_class_embeddings_input_dim": 20}, 20),
    ({"class_embed_type": "simple_projection", "projection_class_embeddings_input_dim": 24}, 24),
    ({"class_embed_type": "identity"}, 32),
    (
        {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 4,
            "projection_class_embeddings_input_dim": 60,
        },
        36,
    ),
]


@pytest.mark.parametrize(("config", "width"), VECTOR_UNETS)
def test_a_vector_is_the_mean_of_the_tokens(palette: NodeType, config: dict[str, Any], width: int) -> None:
    made = palette.function(unet(**config), ORANGE_AND_BLUE, into="vector")
    assert made.context is None
    assert torch.allclose(made.vector, project(parse(ORANGE_AND_BLUE), width).mean(0)[None], atol=1e-6)
    text = Conditioning(context=torch.zeros(2, 7, 32), vector=torch.ones(2, width))
    added = palette.function(unet(**config), ORANGE_AND_BLUE, text, into="vector")
    assert torch.allclose(added.vector, 1 + made.vector.expand(2, -1), atol=1e-6)
    assert added.context is text.context


@pytest.mark.parametrize(("config", "width"), VECTOR_UNETS[:3])
def test_a_real_unet_takes_what_is_made_for_it(palette: NodeType, config: dict[str, Any], width: int) -> None:
    from diffusers import UNet2DConditionModel

    shape: dict[str, Any] = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4}
    blocks = {
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    }
    model = UNet2DConditionModel(**shape, **blocks, cross_attention_dim=32, sample_size=8, **config)
    handle = UNetModel("", "UNet2DConditionModel", json.dumps(dict(model.config)), "", "cpu", "float32")
    text = palette.function(handle, ORANGE_AND_BLUE)
    made = palette.function(handle, ORANGE_AND_BLUE, text, into="vector")
    with torch.no_grad():
        out = model(torch.zeros(1, 4, 8, 8), 1, made.context, class_labels=made.vector).sample
    assert out.shape == (1, 4, 8, 8)


# -- before the run --------------------------------------------------------------------------------------------------


def shapes(made: Conditioning) -> dict[str, tuple[int | None, ...]]:
    return {name: tuple(t.shape) for name in ("context", "vector") if (t := getattr(made, name)) is not None}


@pytest.mark.parametrize("with_text", [False, True])
@pytest.mark.parametrize("into", ["context", "vector"])
def test_infer_says_what_the_node_makes(palette: NodeType, with_text: bool, into: str) -> None:
    handle = unet(**VECTOR_UNETS[0][0])
    text = Conditioning(context=torch.zeros(2, 7, 32)) if with_text else None
    described: Any = TensorSpec((2, 7, 32))
    spec = Conditioning(context=described) if with_text else None
    assert palette.infer is not None
    inferred = palette.infer(unet=handle, colors=ORANGE_AND_BLUE, text=spec, into=into)
    assert shapes(inferred) == shapes(palette.function(handle, ORANGE_AND_BLUE, text, into))


def test_infer_does_not_guess(palette: NodeType) -> None:
    assert palette.infer is not None
    assert palette.infer() is None
    assert shapes(palette.infer(unet=unet())) == {"context": (None, None, 32)}
    assert shapes(palette.infer(unet=unet(), text=None)) == {"context": (1, None, 32)}


def test_what_does_not_fit_is_said_before_the_run(palette: NodeType) -> None:
    assert palette.infer is not None
    described: Any = TensorSpec((1, 7, 768))
    wide = Conditioning(context=described)
    with pytest.raises(InputError, match=r"`text` wants tokens of width 32.*got width 768"):
        palette.infer(unet=unet(), colors=ORANGE_AND_BLUE, text=wide)
    with pytest.raises(InputError, match="`into` wants a UNet that takes a vector"):
        palette.infer(unet=unet(), into="vector")
    with pytest.raises(InputError, match="`unet` wants a UNet with cross-attention"):
        palette.infer(unet=unet(cross_attention_dim=None))


def test_listing_the_plugin_does_not_load_torch() -> None:
    script = (
        "import sys; from pathlib import Path; from graphcore.plugins.loader import Plugins;"
        "p = Plugins([Path('plugins')]); print(p.states[-1].nodes, 'torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert said.split() == ["('palette/palette_encoder',)", "False"]


def test_it_says_that_it_is_untrained(palette: NodeType) -> None:
    assert "UNTRAINED" in palette.doc
    assert "**It is untrained.**" in (ROOT / "plugins/palette/README.md").read_text()


# -- the workflow ----------------------------------------------------------------------------------------------------


def test_its_workflow_runs_with_every_choice_of_conditioning(tmp_path: Path) -> None:
    registry = Plugins([ROOT / "plugins"]).registry
    images, ran = {}, {}
    with graphcore.Engine(registry=registry, cache=tmp_path, device="cpu", dtype="float32") as engine:
        workflow = Workflow.load(WORKFLOW)
        for choice in ("text", "palette", "both"):
            events: list[Any] = []
            made = engine.run(workflow, events.append, condition_on=choice, steps=2)
            images[choice] = made["image"].pixels
            ran[choice] = {event.node for event in events if event.event == "finished"}
    assert all(image.shape == (1, 3, 64, 64) for image in images.values())
    assert not torch.equal(images["text"], images["palette"])
    assert not torch.equal(images["text"], images["both"])
    assert "palette" not in ran["text"]
    assert "text_and_palette" not in ran["text"]
    assert {"palette"} <= ran["palette"]
    assert "text" not in ran["palette"] | ran["both"], "not needed, then reused"


def test_a_wrong_palette_is_refused_before_anything_runs() -> None:
    registry = Plugins([ROOT / "plugins"]).registry
    text = WORKFLOW.read_text().replace('["#ff8800", "#2255cc"]', '["orange"]')
    with graphcore.Engine(registry=registry, device="cpu") as engine, pytest.raises(CheckFailed, match="colors"):
        engine.run(Workflow.parse(text))
