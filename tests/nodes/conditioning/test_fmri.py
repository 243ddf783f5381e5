"""Brain activity: the encoder against the paper's formulas, both conditions in the UNet, files without pickles."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from graphcore import Engine, InputError, TensorSpec
from nodes import encode_fmri, load_fmri, load_model, normalise_fmri, unet
from nodes.conditioning import arrays, fmri
from nodes.models.memory import weights
from nodes.models.networks.fmri import FmriEncoder
from nodes.types import Conditioning, Latents, Timestep, Voxels
from tests.parity.parts import parts
from tests.parity.shipped import REGISTRY, workflow

MODEL = load_model("random:fmri")
VOXELS = 64


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# -- the encoder -----------------------------------------------------------------------------------------------------


def written_out(w: dict[str, Tensor], voxels: Tensor, *, patch: int, heads: int, depth: int) -> tuple[Tensor, Tensor]:
    """Encoder and mappings of MinD-Vis in plain matrix algebra: patches, sin-cos, pre-norm blocks, two mappings."""
    count, width = voxels.shape[1] // patch, w["norm.weight"].shape[0]
    tokens = voxels.reshape(-1, count, patch) @ w["patch_embed.weight"][:, 0].T + w["patch_embed.bias"]
    tokens = tokens + positions(count, width)
    for index in range(depth):
        block = {key.removeprefix(f"blocks.{index}."): value for key, value in w.items()}
        tokens = tokens + attention(block, norm(tokens, block["norm1.weight"], block["norm1.bias"]), heads)
        hidden = norm(tokens, block["norm2.weight"], block["norm2.bias"])
        hidden = hidden @ block["linear1.weight"].T + block["linear1.bias"]
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        tokens = tokens + hidden @ block["linear2.weight"].T + block["linear2.bias"]
    tokens = norm(tokens, w["norm.weight"], w["norm.bias"])
    context = over_tokens(w, "channel_mapper", tokens) @ w["dim_mapper.weight"].T + w["dim_mapper.bias"]
    return context, over_tokens(w, "vector_mapper", context).squeeze(1)


def positions(count: int, width: int) -> Tensor:
    """Sines, then cosines, of place / 10000^(2i / width)."""
    rates = 10000.0 ** (-2 * torch.arange(width // 2, dtype=torch.float64) / width)
    angles = torch.arange(count, dtype=torch.float64)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def norm(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * scale + shift


def attention(block: dict[str, Tensor], x: Tensor, heads: int) -> Tensor:
    mixed = x @ block["self_attn.in_proj_weight"].T + block["self_attn.in_proj_bias"]
    q, k, v = (part.unflatten(2, (heads, -1)).transpose(1, 2) for part in mixed.chunk(3, dim=2))
    share = (q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])).softmax(-1)
    joined = (share @ v).transpose(1, 2).flatten(2)
    return joined @ block["self_attn.out_proj.weight"].T + block["self_attn.out_proj.bias"]


def over_tokens(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    for index in (0, 1):
        x = torch.einsum("ot,btw->bow", w[f"{name}.{index}.weight"][..., 0], x) + w[f"{name}.{index}.bias"][:, None]
    return x


@pytest.mark.parametrize(("patch", "depth", "ratio"), [(8, 2, 1.0), (16, 1, 4.0)])
def test_the_encoder_is_the_formulas_of_the_paper(patch: int, depth: int, ratio: float) -> None:
    torch.manual_seed(0)
    module = FmriEncoder(VOXELS, patch, embed_dim=16, depth=depth, num_heads=4, mlp_ratio=ratio, context_dim=24)
    module = module.double().eval()
    for parameter in module.parameters():  # norms and biases begin as nothing: a mistake in them would not show
        torch.nn.init.normal_(parameter, std=0.3)
    table = {**module.state_dict(), "pos_embed": torch.zeros(0)}
    voxels = drawn(3, VOXELS, dtype=torch.float64)
    context, vector = written_out(table, voxels, patch=patch, heads=4, depth=depth)
    for made in (module(voxels), no_grad(module, voxels)):
        assert made.context.shape == (3, 77, 24)
        assert torch.allclose(made.context, context, rtol=0, atol=1e-6), "the table of positions is float32"
        assert torch.allclose(made.vector, vector, rtol=0, atol=1e-6)


def no_grad(module: Any, voxels: Tensor) -> Any:
    """Torch has another path for a frozen transformer block."""
    with torch.no_grad():
        return module(voxels)


def test_the_positions_are_those_of_the_formula_and_are_not_trained() -> None:
    module = FmriEncoder(VOXELS, 8, embed_dim=16, depth=1, num_heads=2)
    assert torch.equal(module.pos_embed[0], positions(8, 16).float())
    assert "pos_embed" not in dict(module.named_parameters())


def test_the_published_size() -> None:
    """Of the encoder, by hand: 24 blocks of width 1024 and hidden layer 1024, patches of 16."""
    with torch.device("meta"):
        module = FmriEncoder()
    block = 4 * 1024 * 1024 + 4 * 1024 + 2 * (1024 * 1024 + 1024) + 4 * 1024
    assert sum(p.numel() for p in module.blocks.parameters()) == 24 * block
    assert sum(p.numel() for p in module.patch_embed.parameters()) == 1024 * 16 + 1024
    assert module.config.context_dim == 512


def test_it_is_a_part_in_a_folder(tmp_path: Path) -> None:
    torch.manual_seed(3)
    made = FmriEncoder(VOXELS, 8, embed_dim=16, depth=1, num_heads=2).eval()
    made.save_pretrained(tmp_path / "encoder")
    read = FmriEncoder.from_pretrained(tmp_path / "encoder", low_cpu_mem_usage=True).eval()
    voxels = drawn(1, VOXELS)
    assert torch.equal(read(voxels).context, made(voxels).context)
    assert torch.equal(read(voxels).vector, made(voxels).vector)


# -- both conditions in the UNet -------------------------------------------------------------------------------------


def test_the_second_condition_is_a_linear_layer_added_to_the_time_embedding() -> None:
    """`class_embed_type` of diffusers stands for the paper's last layer: equal to adding it by hand, bit for bit."""
    module = parts("random:fmri")["unet"]
    config = {**module.config, "class_embed_type": None, "projection_class_embeddings_input_dim": None}
    plain = UNet2DConditionModel.from_config(config).eval()
    absent = plain.load_state_dict(module.state_dict(), strict=False)
    assert not absent.missing_keys
    assert set(absent.unexpected_keys) == {"class_embedding.weight", "class_embedding.bias"}
    condition = encode_fmri(MODEL.encoder, Voxels(drawn(1, VOXELS)))
    with torch.no_grad():
        added = module.class_embedding(condition.vector)
    plain.time_embedding.register_forward_hook(lambda _module, _inputs, output: output + added)
    latents = drawn(1, 3, 16, 16)
    with torch.no_grad():
        expected = plain(latents, torch.tensor(401), condition.context).sample
    assert torch.equal(predicted(condition, latents), expected)


def predicted(condition: Conditioning, latents: Tensor) -> Tensor:
    space = MODEL.latent_space
    return unet(MODEL.unet, Latents(latents, space), Timestep(torch.tensor(401), 0), condition).sample


@pytest.mark.parametrize("kept", ["context", "vector", "both", "none"])
def test_each_path_carries_the_voxels(kept: str) -> None:
    """Gradient of the prediction by the voxels: through each path alone, and none where both are cut."""
    module, voxels = parts("random:fmri"), drawn(1, VOXELS).requires_grad_()
    made = module["encoder"](voxels)
    context, vector = (
        value if kept in (name, "both") else value.detach()
        for name, value in (("context", made.context), ("vector", made.vector))
    )
    said = module["unet"](drawn(1, 3, 16, 16), 401, context, class_labels=vector).sample
    if kept == "none":
        assert not said.requires_grad
    else:
        (gradient,) = torch.autograd.grad(said.square().sum(), voxels)
        assert gradient.abs().max() > 0


def test_a_model_of_one_path_takes_no_notice_of_the_other() -> None:
    """The conditioning key decides: a text model refuses the vector, and its prediction hangs on the context alone."""
    text = load_model("random:sd15")
    condition = encode_fmri(MODEL.encoder, Voxels(drawn(1, VOXELS)))
    latents = Latents(drawn(1, 4, 16, 16), text.latent_space)
    with pytest.raises(InputError, match="without `vector`"):
        unet(text.unet, latents, Timestep(torch.tensor(401), 0), condition)
    with pytest.raises(InputError, match="with `vector`"):
        predicted(Conditioning(context=condition.context), drawn(1, 3, 16, 16))


def test_the_node_is_the_module_and_says_its_shapes_before() -> None:
    voxels = Voxels(drawn(2, VOXELS))
    made = encode_fmri(MODEL.encoder, voxels)
    with weights.use(MODEL.encoder) as module:
        expected = no_grad(module, voxels.values)
    assert made.context is not None
    assert made.vector is not None
    assert torch.equal(made.context, expected.context)
    assert torch.equal(made.vector, expected.vector)
    said = fmri.infer_encode(MODEL.encoder, described(None, VOXELS))
    assert said is not None
    assert said.context == TensorSpec((None, *made.context.shape[1:]))
    assert said.vector == TensorSpec((None, *made.vector.shape[1:]))


def described(*shape: int | None) -> Voxels:
    spec: Any = TensorSpec(shape)
    return Voxels(spec)


@pytest.mark.parametrize("voxels", [described(1, VOXELS + 1), described(VOXELS)])
def test_other_voxels_are_refused(voxels: Voxels) -> None:
    with pytest.raises(InputError, match="normalise_fmri"):
        fmri.infer_encode(MODEL.encoder, voxels)


def test_encoders_of_other_things_are_refused() -> None:
    with pytest.raises(InputError, match="a model without one"):
        fmri.infer_encode(load_model("random:sd15").encoder)
    with pytest.raises(InputError, match=r"FmriEncoder.*ClassEmbedder"):
        fmri.infer_encode(load_model("random:ldm_class").encoder)


# -- normalisation ---------------------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 20), st.integers(1, 3))
def test_padding_begins_anew_as_numpy_wraps(size: int, patch: int, rows: int) -> None:
    values = drawn(rows, size, seed=size)
    made = normalise_fmri(Voxels(values), mean=0.0, std=1.0, patch_size=patch)
    missing = -size % patch
    expected = np.pad(values.numpy(), ((0, 0), (0, missing)), "wrap")
    assert np.array_equal(made.voxels.values.numpy(), expected)
    said = fmri.infer_normalise(described(rows, size), None, patch)
    assert said is not None
    assert said.voxels.values.shape == (rows, size + missing)


@pytest.mark.parametrize("size", [20, 48, 56, 63, 64])
def test_padding_reaches_the_length_of_the_encoder(size: int) -> None:
    """More than a patch, too: the paper's code adds a whole one, and pads subjects to the longest."""
    values = drawn(2, size)
    made = normalise_fmri(Voxels(values), MODEL.encoder, 0.0, 1.0)
    assert np.array_equal(made.voxels.values.numpy(), np.pad(values.numpy(), ((0, 0), (0, VOXELS - size)), "wrap"))


def test_the_spread_is_that_of_the_whole_padded_matrix() -> None:
    values = 3 + 5 * drawn(7, 60)
    made = normalise_fmri(Voxels(values), MODEL.encoder)
    padded = np.pad(values.numpy(), ((0, 0), (0, 4)), "wrap").astype(np.float64)
    assert made.mean == pytest.approx(padded.mean(), abs=1e-5)
    assert made.std == pytest.approx(padded.std(), abs=1e-5)
    assert np.allclose(made.voxels.values.numpy(), (padded - padded.mean()) / padded.std(), atol=1e-5)
    test = normalise_fmri(Voxels(values[:1] + 100), MODEL.encoder, made.mean, made.std)
    assert (test.mean, test.std) == (made.mean, made.std), "a test is measured by the training"
    assert float(test.voxels.values.mean()) > 10


def test_what_cannot_be_normalised_is_refused() -> None:
    with pytest.raises(InputError, match="at most 64"):
        fmri.infer_normalise(described(1, 65), MODEL.encoder, 16)
    with pytest.raises(InputError, match="above 0"):
        normalise_fmri(Voxels(torch.ones(2, 32)))


# -- files -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def measured(tmp_path: Path) -> dict[str, Path]:
    """The same measurements in each kind of file; the .npz as those of the GOD data set."""
    values = np.random.default_rng(0).normal(size=(5, 30))
    marks = np.arange(30) % 3 == 0
    np.save(tmp_path / "a.npy", values)
    np.savez(tmp_path / "a.npz", arr_0=values, VC=marks)
    save_file({"fmri": torch.from_numpy(values)}, tmp_path / "a.safetensors")
    return {kind: tmp_path / f"a.{kind}" for kind in ("npy", "npz", "safetensors")}


@pytest.mark.parametrize(
    ("kind", "name"), [("npy", ""), ("npz", "arr_0"), ("safetensors", ""), ("safetensors", "fmri")]
)
def test_every_kind_of_file_gives_the_same_measurements(measured: dict[str, Path], kind: str, name: str) -> None:
    path = str(measured[kind])
    expected = torch.from_numpy(np.load(measured["npy"])).float()
    assert torch.equal(load_fmri(path, name).values, expected)
    assert torch.equal(load_fmri(path, name, first=2, count=2).values, expected[2:4])
    for first, count in ((0, 0), (3, 0), (1, 4)):
        said = fmri.infer_load(path, name, "", first, count)
        assert said is not None
        assert said.values.shape == load_fmri(path, name, "", first, count).values.shape


def test_a_region_takes_the_voxels_that_it_marks(measured: dict[str, Path]) -> None:
    made = load_fmri(str(measured["npz"]), "arr_0", "VC")
    assert torch.equal(made.values, load_fmri(str(measured["npy"])).values[:, ::3])
    with pytest.raises(InputError, match="a mark per voxel"):
        fmri.infer_load(str(measured["npz"]), "arr_0", "arr_0")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"name": "arr_9"}, r"`VC` \(30,\), `arr_0` \(5, 30\)"),
        ({"name": ""}, "the name of an array"),
        ({"name": "arr_0", "region": "V9"}, "the name of an array"),
        ({"name": "arr_0", "region": "", "first": 3, "count": 3}, "within the 5"),
        ({"name": "arr_0", "region": "", "first": 5, "count": 0}, "within the 5"),
    ],
)
def test_what_the_file_does_not_hold_is_said_before_the_run(
    measured: dict[str, Path], settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        fmri.infer_load(str(measured["npz"]), **settings)
    with pytest.raises(InputError, match=words):
        load_fmri(str(measured["npz"]), **settings)


class Trap:
    def __reduce__(self) -> Any:
        return print, ("a file was unpickled",)


@pytest.mark.parametrize("kind", ["npy", "npz", "pkl"])
def test_pickles_are_refused_and_never_opened(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    import pickle

    path, trap = tmp_path / f"trap.{kind}", np.array([Trap()], dtype=object)
    if kind == "npy":
        np.save(path, trap, allow_pickle=True)
    elif kind == "npz":
        np.savez(path, trap=trap)
    else:
        path.write_bytes(pickle.dumps(Trap()))
    for work in (lambda: fmri.infer_load(str(path), "", "", 0, 0), lambda: load_fmri(str(path))):
        with pytest.raises(InputError, match="pickled objects are never loaded"):
            work()
    assert capsys.readouterr().out == ""


@given(st.binary(max_size=200), st.sampled_from(["npy", "npz", "safetensors"]), st.booleans())
def test_damaged_files_are_refused_in_words(tmp_path_factory: Any, noise: bytes, kind: str, begins_well: bool) -> None:
    path = tmp_path_factory.mktemp("damaged") / f"a.{kind}"
    path.write_bytes(arrays.NPY + b"\x01\x00" + noise if begins_well else noise)
    with pytest.raises(InputError, match="path"):
        arrays.shapes(path)


@pytest.mark.parametrize("path", ["random:", "random:0", "random:many", "nowhere.npy", "."])
def test_no_such_measurement(path: str) -> None:
    with pytest.raises(InputError, match="path"):
        load_fmri(path)


def test_the_fingerprint_is_that_of_the_content(measured: dict[str, Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy.npy"
    copy.write_bytes(measured["npy"].read_bytes())
    assert fmri.fingerprint(str(copy)) == fmri.fingerprint(str(measured["npy"])) != fmri.fingerprint("random:60")
    assert torch.equal(load_fmri("random:60").values, load_fmri("random:60").values)
    assert not torch.equal(load_fmri("random:61").values[:, :60], load_fmri("random:60").values)


# -- the workflow ----------------------------------------------------------------------------------------------------


def test_the_workflow_takes_a_measurement_of_a_file(measured: dict[str, Path]) -> None:
    files = {"fmri": str(measured["npz"]), "training_fmri": str(measured["npz"]), "region": "VC"}
    names = {"name": "arr_0", "training_name": "arr_0"}
    with Engine(registry=REGISTRY, cache=None, device="cpu", dtype="float32") as engine:
        first, second = (
            engine.run(workflow("fmri"), **files, **names, measurement=number, steps=2, batch_size=2).latents.samples
            for number in (0, 1)
        )
    assert first.shape == (2, 3, 16, 16)
    assert torch.isfinite(first).all()
    assert not torch.equal(first, second)


def test_the_workflow_runs_a_model_from_a_folder(tmp_path: Path) -> None:
    """The same weights from files, the encoder's among them: the same picture."""
    index: dict[str, Any] = {"_class_name": "LDMPipeline", "_diffusers_version": "0.42.1"}
    for name, part in parts("random:fmri").items():
        part.save_pretrained(tmp_path / name)
        index[name] = ["diffusers", type(part).__name__]
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with Engine(registry=REGISTRY, cache=None, device="cpu", dtype="float32") as engine:
        expected = engine.run(workflow("fmri"), steps=2)
        found = engine.run(workflow("fmri"), model=str(tmp_path), steps=2)
    assert (found.latents.samples - expected.latents.samples).abs().max() < 1e-5, "alignment moves the last bits"
    assert (found.image.pixels - expected.image.pixels).abs().max() < 1e-5
