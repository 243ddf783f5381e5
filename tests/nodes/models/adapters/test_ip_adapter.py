"""IP-Adapter, image encoder and image embeddings: what diffusers makes of the same files; refusals by the header."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.pipelines.stable_diffusion.pipeline_stable_unclip import StableUnCLIPPipeline
from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer
from PIL import Image as Pillow
from safetensors.torch import save_file
from transformers import CLIPImageProcessorPil

from graphcore import InputError
from nodes import (
    encode_image_embedding,
    image_vector,
    load_image,
    load_image_encoder,
    load_ip_adapter,
    load_model,
    resources,
    seed_generators,
    unet,
)
from nodes.conditioning import image_embedding
from nodes.models import image_encoder, loading, unet_inputs
from nodes.models.adapters import ip_adapter
from nodes.models.handles import identity
from nodes.models.memory import weights
from nodes.types import Conditioning, Generators, Image, Latents, Timestep
from tests.parity.rows.adapters import content, pipeline

BASIC, PLUS, ENCODER = "random:ip_adapter_sd15", "random:ip_adapter_plus_sd15", "random:image_encoder"
EXAMPLE = resources.workflow_folder() / "example.png"


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def text(batch: int = 1) -> Conditioning:
    return Conditioning(context=drawn(batch, 77, 32))


def predicted(handle: Any, conditioning: Conditioning, batch: int = 1) -> torch.Tensor:
    space = load_model("random:sd15").latent_space
    noise = Latents(drawn(batch, 4, 16, 16, seed=1), space)
    return unet(handle, noise, Timestep(torch.tensor(500), 0), conditioning).sample


@pytest.fixture
def oracle() -> Any:
    with weights.use(load_image_encoder(ENCODER)) as module:
        return pipeline("sd15", image_encoder=module, feature_extractor=CLIPImageProcessorPil(size=32, crop_size=32))


# -- adapters --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [BASIC, PLUS])
def test_scale_zero_is_the_unet_as_it_was(name: str) -> None:
    base = load_model("random:sd15").unet
    picture = load_image(EXAMPLE)
    without, some = (load_ip_adapter(name, base, scale) for scale in (0.0, 0.5))
    given = encode_image_embedding(without, load_image_encoder(ENCODER), picture, text())
    assert predicted(without, given).equal(predicted(base, text()))
    assert (predicted(some, given) - predicted(base, text())).abs().max() > 0.001


def test_the_base_stays_as_it_is() -> None:
    base = load_model("random:sd15").unet
    with weights.use(base) as module:
        before = {key: value.clone() for key, value in module.state_dict().items()}
        processors = {name: type(one) for name, one in module.attn_processors.items()}
    adapted = load_ip_adapter(BASIC, base)
    assert identity(adapted) != identity(base) != identity(load_ip_adapter(BASIC, base, 0.6))
    with weights.use(adapted) as patched, weights.use(base) as module:
        assert all(value.equal(before[key]) for key, value in module.state_dict().items())
        assert {name: type(one) for name, one in module.attn_processors.items()} == processors
        assert module.encoder_hid_proj is None
        assert module.config.encoder_hid_dim_type is None
        held = {value.data_ptr() for value in patched.state_dict().values()}
        assert {value.data_ptr() for value in module.state_dict().values()} <= held


@pytest.mark.parametrize(
    ("path", "model", "words"),
    [
        ("random:ip_adapter_sdxl", "sd15", "a context of 32"),
        (BASIC, "sdxl", "a context of 72"),
        (PLUS, "sd21", "a context of 40"),
        (BASIC, "ddpm", "a UNet with cross-attention"),
        ("random:lora_sd15", "sd15", "one of ip_adapter_sd15"),
    ],
)
def test_another_family_is_refused_by_the_header(path: str, model: str, words: str) -> None:
    found = loading.infer(f"random:{model}")
    assert found is not None
    with pytest.raises(InputError, match=words):
        ip_adapter.infer(path, found.unet)


FACE = {"image_proj.proj.0.weight": (8, 512), "image_proj.proj.2.weight": (128, 8), "image_proj.norm.weight": (32,)}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda held: {**held, "ip_adapter.1.to_k_ip.weight": torch.zeros(17, 32)}, "cross-attentions of this UNet"),
        (lambda held: {**held, "ip_adapter.9.to_k_ip.weight": torch.zeros(16, 32)}, "cross-attentions of this UNet"),
        (lambda held: {key: v for key, v in held.items() if "ip_adapter.7" not in key}, "absent"),
        (lambda held: {**held, "ip_adapter.0.to_k_lora.down.weight": torch.zeros(4, 32)}, "Face ID"),
        (lambda held: {key: torch.zeros(shape) for key, shape in FACE.items()}, "Face ID"),
        (lambda held: {"unet.x.lora_A.weight": torch.zeros(4, 4)}, "load_lora"),
        (lambda held: {"image_proj.latents": torch.zeros(1, 4, 8)}, "a whole IP-Adapter"),
    ],
)
def test_files_that_do_not_fit(tmp_path: Path, change: Any, words: str) -> None:
    path = str(tmp_path / "adapter.safetensors")
    save_file(change(content(ip_adapter.read(BASIC))), path)
    with pytest.raises(InputError, match=words):
        ip_adapter.infer(path, load_model("random:sd15").unet)


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    (tmp_path / "ip-adapter_sd15.bin").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(InputError, match="never opened"):
        ip_adapter.infer(str(tmp_path / "ip-adapter_sd15.bin"))


# -- conditionings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [BASIC, PLUS])
@pytest.mark.parametrize("size", [(64, 64), (90, 50), (31, 47)])
def test_the_embedding_is_the_pipelines(oracle: Any, name: str, size: tuple[int, int], tmp_path: Path) -> None:
    Pillow.open(EXAMPLE).convert("RGB").resize(size).save(tmp_path / "picture.png")
    adapted, encoder = load_ip_adapter(name, load_model("random:sd15").unet), load_image_encoder(ENCODER)
    shown = load_image(tmp_path / "picture.png")
    found = encode_image_embedding(adapted, encoder, shown, text())
    none = encode_image_embedding(adapted, encoder, shown, text(), unconditional=True)
    with torch.no_grad():
        expected = oracle.encode_image(Pillow.open(tmp_path / "picture.png"), "cpu", 1, name == PLUS)
    assert found.image_embeds is not None
    assert none.image_embeds is not None
    assert found.image_embeds[0].equal(expected[0][None])
    assert none.image_embeds[0].equal(expected[1][None])
    assert found.context is not None


@pytest.mark.parametrize("name", [BASIC, PLUS])
def test_shapes_are_those_that_the_checker_says(name: str) -> None:
    adapted, encoder = load_ip_adapter(name, load_model("random:sd15").unet), load_image_encoder(ENCODER)
    pictures = Image(torch.rand(3, 3, 40, 40))
    found = encode_image_embedding(adapted, encoder, pictures, text())
    said = image_embedding.infer_embedding(adapted, encoder, pictures, text())
    assert said is not None
    assert said.image_embeds is not None
    assert found.image_embeds is not None
    assert tuple(said.image_embeds[0].shape) == tuple(found.image_embeds[0].shape)
    assert predicted(adapted, found, batch=2).shape == (2, 4, 16, 16)


def test_one_picture_for_each_adapter() -> None:
    base, encoder, picture = load_model("random:sd15").unet, load_image_encoder(ENCODER), load_image(EXAMPLE)
    both = load_ip_adapter(PLUS, load_ip_adapter(BASIC, base), 0.8)
    one = encode_image_embedding(both, encoder, picture, text())
    two = encode_image_embedding(both, encoder, picture, one)
    assert two.image_embeds is not None
    assert [one.dim() for one in two.image_embeds] == [3, 4]
    with pytest.raises(InputError, match="2 `image_embeds`"):
        unet_inputs.check(both, None, one)
    with pytest.raises(InputError, match="more than 2 IP-Adapters"):
        encode_image_embedding(both, encoder, picture, two)
    with pytest.raises(InputError, match="0 `image_embeds`"):
        unet_inputs.check(base, None, two)
    with pytest.raises(InputError, match="1 `image_embeds`"):
        predicted(load_ip_adapter(BASIC, base), text())
    with pytest.raises(InputError, match="of width 32"):
        unet_inputs.check(
            load_ip_adapter(BASIC, base), None, Conditioning(text().context, image_embeds=(drawn(1, 1, 31),))
        )


# -- the image encoder -----------------------------------------------------------------------------------------


def saved(folder: Path, **changes: Any) -> str:
    with weights.use(load_image_encoder(ENCODER)) as module:
        module.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return str(folder)


def test_a_folder_of_an_image_encoder(tmp_path: Path) -> None:
    first, second = (load_image_encoder(saved(tmp_path / name)) for name in ("clip", "image_encoder"))
    assert first.digest == second.digest
    with weights.use(first) as read, weights.use(load_image_encoder(ENCODER)) as made:
        expected = made.state_dict()
        assert read.state_dict().keys() == expected.keys()
        assert all(value.equal(expected[name]) for name, value in read.state_dict().items())


def test_an_encoder_of_another_width_is_refused(tmp_path: Path) -> None:
    adapted = load_ip_adapter(BASIC, load_model("random:sd15").unet)
    other = image_encoder.infer(saved(tmp_path / "clip", projection_dim=48))
    assert other is not None
    with pytest.raises(InputError, match="`projection_dim` 32"):
        image_embedding.infer_embedding(adapted, other, None, text())
    with pytest.raises(InputError, match="CLIPVisionModelWithProjection"):
        image_encoder.infer(saved(tmp_path / "text", architectures=["CLIPTextModel"]))
    with pytest.raises(InputError, match="does not exist"):
        image_encoder.infer(str(tmp_path / "nothing"))
    (tmp_path / "clip" / "model.safetensors").rename(tmp_path / "clip" / "pytorch_model.bin")
    with pytest.raises(InputError, match="never opened"):
        image_encoder.infer(str(tmp_path / "clip"))


# -- unCLIP ----------------------------------------------------------------------------------------------------


def test_the_vector_is_the_embedding() -> None:
    encoder, generators = load_image_encoder(ENCODER), Generators((5,))
    found = image_vector(encoder, load_image(EXAMPLE), text(), generators)
    adapted = load_ip_adapter(BASIC, load_model("random:sd15").unet)
    expected = encode_image_embedding(adapted, encoder, load_image(EXAMPLE), text())
    assert expected.image_embeds is not None
    assert found.conditioning.vector is not None
    assert found.conditioning.vector.equal(expected.image_embeds[0][0])
    assert found.generators is generators


@pytest.mark.parametrize("level", [0, 100, 999])
def test_noise_is_that_of_stable_unclip(level: int) -> None:
    """A pipeline whose normaliser is the identity (mean 0, deviation 1), as it is made."""

    class Parts:
        image_normalizer = StableUnCLIPImageNormalizer(embedding_dim=32)
        image_noising_scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2")

    encoder, seeds = load_image_encoder(ENCODER), [7, 8]
    plain = image_vector(encoder, load_image(EXAMPLE), text(), Generators((7,))).conditioning.vector
    assert plain is not None
    with torch.no_grad():
        expected = StableUnCLIPPipeline.noise_image_embeddings(
            Parts, plain.expand(2, -1), level, generator=[torch.Generator().manual_seed(seed) for seed in seeds]
        )
    found = image_vector(encoder, load_image(EXAMPLE), text(), seed_generators(7, 2), level)
    assert found.conditioning.vector is not None
    assert found.conditioning.vector.equal(expected)
    assert found.generators.states is not None
