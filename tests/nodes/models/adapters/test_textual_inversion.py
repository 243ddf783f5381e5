"""Textual inversion: words, vectors, files; the pipelines themselves are compared in the parity table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.loaders import TextualInversionLoaderMixin
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from graphcore import InputError, StepgraphError
from nodes import encode_text, load_model, load_textual_inversion, tokenize
from nodes.models import loading
from nodes.models.adapters import textual_inversion
from nodes.models.adapters.textual_inversion import Taught
from nodes.models.files.adapter_file import tensors
from nodes.models.memory import weights

RANDOM = "random:textual_inversion"


def taught(model: str = "random:sd15", path: str = RANDOM, token: str = "") -> Taught:
    loaded = load_model(model)
    return load_textual_inversion(path, loaded.tokenizer, loaded.text_encoder, token)


def held(path: str = RANDOM) -> dict[str, torch.Tensor]:
    return tensors(textual_inversion.read(path), "")


def rows(handle: Any) -> torch.Tensor:
    with weights.use(handle) as module:
        found: torch.Tensor = module.get_input_embeddings().weight
        return found


@pytest.mark.parametrize("path", [RANDOM, "random:textual_inversion_sdxl"])
def test_new_rows_are_the_vectors_and_all_others_stay(path: str) -> None:
    model = load_model("random:sdxl" if path.endswith("xl") else "random:sd15")
    before = rows(model.text_encoder).clone()
    found = load_textual_inversion(path, model.tokenizer, model.text_encoder, "<new>").text_encoder
    pairs = [(model.text_encoder, found), (model.text_encoder.second, found.second)]
    for (base, patched), vectors in zip(pairs, held(path).values(), strict=False):
        assert base is not None
        size = len(rows(base))
        assert rows(patched)[:size].equal(rows(base))
        assert rows(patched)[size:].equal(vectors)
    assert rows(model.text_encoder).equal(before)


def test_a_word_of_two_vectors_is_two_tokens() -> None:
    found = taught()
    size = len(weights.tokenizer(load_model("random:sd15").tokenizer))
    ids = tokenize(found.tokenizer, "a <random> cat").ids[0].tolist()
    plain = tokenize(found.tokenizer, "a cat").ids[0].tolist()
    assert ids[1:5] == [plain[1], size, size + 1, plain[2]]
    assert encode_text(found.text_encoder, tokenize(found.tokenizer, "<random>")).context is not None


@given(st.lists(st.sampled_from(["a", "<random>", "cat", " ", ",", "<random>,", "random"]), max_size=8))
def test_texts_are_written_out_as_diffusers_does(words: list[str]) -> None:
    text = "".join(words)
    tool = weights.tokenizer(taught().tokenizer)
    theirs = TextualInversionLoaderMixin().maybe_convert_prompt(text, tool._tokenizer)
    assert tool.write_out(text) == theirs
    assert tool(text).input_ids == tool._tokenizer(theirs).input_ids


@given(st.text("ab <random>", max_size=12).map(lambda text: f"a {text} <random>, b<random>"))
def test_places_of_tokens_are_those_in_the_text_as_written(text: str) -> None:
    tool = weights.tokenizer(taught().tokenizer)
    found = tool(text, return_offsets_mapping=True, add_special_tokens=False)
    spelt = tool.convert_ids_to_tokens(found.input_ids)
    for token, (start, end) in zip(spelt, found["offset_mapping"], strict=True):
        assert 0 <= start <= end <= len(text)
        if token.startswith("<random>"):
            assert text[start:].startswith("<random>")
        else:
            assert text[start:end] == token.removesuffix("</w>")


def test_a_weight_counts_for_all_tokens_of_the_word() -> None:
    found = tokenize(taught().tokenizer, "a (<random>:1.5) cat", weighting=True)
    assert found.weights is not None
    assert found.weights[0, :6].tolist() == [1, 1, 1.5, 1.5, 1, 1]


def test_two_words_follow_one_another() -> None:
    first = taught()
    second = load_textual_inversion(RANDOM, first.tokenizer, first.text_encoder, "<other>")
    size = len(rows(load_model("random:sd15").text_encoder))
    ids = tokenize(second.tokenizer, "<other> <random>").ids[0].tolist()
    assert ids[1:5] == [size + 2, size + 3, size, size + 1]
    assert rows(second.text_encoder)[size:].equal(torch.cat([held()["<random>"]] * 2))


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("one.safetensors", {"<cat>": torch.ones(32)}, "<cat>"),
        ("two.safetensors", {"<cat>": torch.ones(1, 32)}, "<cat>"),
        ("my-cat.safetensors", {"emb_params": torch.ones(3, 32)}, "my-cat"),
    ],
)
def test_formats(tmp_path: Path, name: str, content: dict[str, torch.Tensor], word: str) -> None:
    save_file(content, tmp_path / name)
    found = taught(path=str(tmp_path / name))
    size = len(rows(load_model("random:sd15").text_encoder))
    count = next(iter(content.values())).reshape(-1, 32).shape[0]
    ids = tokenize(found.tokenizer, f"a {word}").ids[0].tolist()
    assert ids[2 : 2 + count] == list(range(size, size + count))
    assert (rows(found.text_encoder)[size:] == 1).all()


def test_the_refiner_takes_the_vectors_of_its_encoder() -> None:
    found = taught("random:sdxl_refiner", "random:textual_inversion_sdxl", "<new>")
    assert rows(found.text_encoder)[-2:].equal(held("random:textual_inversion_sdxl")["clip_g"])


@pytest.mark.parametrize(
    ("model", "path", "words"),
    [
        ("random:sd21", RANDOM, "width 40"),
        ("random:sdxl", RANDOM, "width 32 and 40"),
        ("random:sd15", "random:textual_inversion_sdxl", "width 32"),
        ("random:sd15", "random:lora_sd15", "one of textual_inversion"),
        ("random:ddpm", RANDOM, "a text encoder"),
    ],
)
def test_another_family_is_refused_by_the_header(model: str, path: str, words: str) -> None:
    loaded = loading.infer(model)
    assert loaded is not None
    with pytest.raises(InputError, match=words):
        textual_inversion.infer(path, loaded.tokenizer, loaded.text_encoder)


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "learned_embeds.bin").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(InputError, match="never opened"):
        textual_inversion.infer(str(tmp_path / "learned_embeds.bin"))
    save_file({"a": torch.ones(32), "b": torch.ones(2, 3, 4)}, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="vectors of width 32"):
        taught(path=str(tmp_path / "x.safetensors"))


@pytest.mark.parametrize("word", ["a</w>", "two words", " ", "<random>"])
def test_words_that_cannot_be(word: str) -> None:
    first = taught() if word == "<random>" else load_model("random:sd15")
    with pytest.raises(InputError, match="word"):
        load_textual_inversion(RANDOM, first.tokenizer, first.text_encoder, word)


def test_a_tokenizer_of_another_model() -> None:
    other = taught()
    with pytest.raises(InputError, match="a tokenizer of 527 tokens"):
        load_textual_inversion(RANDOM, load_model("random:sd15").tokenizer, other.text_encoder, "<new>")


def test_a_file_that_changes_while_the_workflow_runs(tmp_path: Path) -> None:
    save_file({"<cat>": torch.ones(2, 32)}, tmp_path / "cat.safetensors")
    found = taught(path=str(tmp_path / "cat.safetensors"))
    save_file({"<cat>": torch.zeros(2, 32)}, tmp_path / "cat.safetensors")
    with pytest.raises(StepgraphError, match="changed while"):
        rows(found.text_encoder)
