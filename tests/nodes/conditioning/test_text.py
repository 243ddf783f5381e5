"""Prompts: the same tokens and embeddings as the pipeline, and notes about what is lost or unknown."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcore import InputError, TensorSpec
from graphcore.runtime import _notes
from nodes import encode_text, load_model, tokenize
from nodes.conditioning import text, vocabulary
from nodes.types import Conditioning, Tokens
from tests.nodes import tiny
from tests.nodes.conftest import TinyModel
from tests.parity.parts import parts
from tests.parity.text_pipelines import with_text_model


@pytest.fixture
def notes() -> Iterator[list[str]]:
    heard: list[str] = []
    token = _notes.set(heard.append)
    yield heard
    _notes.reset(token)


PROMPTS = [
    "",
    "a red apple",
    "A  Red\tAPPLE on the cat",
    "é 你好 🐱 <|endoftext|>",
    "it's 12:30",
    tiny.long_prompt(300),
]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_context_is_that_of_the_pipeline(tiny_model: TinyModel, prompt: str) -> None:
    pipeline, path = tiny_model()
    model = load_model(path)
    tokens = tokenize(model.tokenizer, prompt)
    assert tokens.text == prompt
    assert tokens.weights is None
    expected, _ = pipeline.encode_prompt(prompt, "cpu", 1, False)
    context = encode_text(model.text_encoder, tokens).context
    assert context is not None
    assert torch.equal(context, expected)
    assert not context.requires_grad
    inferred = text.infer_encode(model.text_encoder, text.infer_tokenize(model.tokenizer, prompt))
    assert inferred is not None
    assert inferred.context == TensorSpec(tuple(context.shape), "float32")


def test_what_is_cut_off_is_named(tiny_model: TinyModel, notes: list[str]) -> None:
    tokenizer = load_model(tiny_model()[1]).tokenizer
    words = tiny.long_prompt(120).upper()
    tokenize(tokenizer, words)
    (said,) = notes
    assert "77 tokens" in said
    assert repr(words.split(" ", 75)[75]) in said  # 75 words fit between the two special tokens, as written


@settings(max_examples=25, deadline=None)
@given(count=st.integers(70, 80))
def test_a_note_exactly_when_something_is_cut(tiny_model: TinyModel, count: int) -> None:
    heard: list[str] = []
    token = _notes.set(heard.append)
    try:
        tokenize(load_model(tiny_model()[1]).tokenizer, tiny.long_prompt(count))
    finally:
        _notes.reset(token)
    assert bool(heard) == (count > 75)


def test_a_length_that_the_tokenizer_does_not_say_is_the_encoders(tiny_model: TinyModel, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model()[1], tmp_path / "model")
    file = folder / "tokenizer" / "tokenizer_config.json"
    file.write_text(file.read_text().replace('"model_max_length": 77', '"model_max_length": 1000000000000000019884624'))
    model = load_model(str(folder))
    assert tokenize(model.tokenizer, "a").ids.shape == (1, 77)


def test_tokens_of_another_model_are_refused(tiny_model: TinyModel) -> None:
    encoder = load_model(tiny_model()[1]).text_encoder
    for ids, message in (
        (torch.full((1, 77), 9999), "ids below 525"),
        (torch.zeros(1, 78, dtype=torch.long), "at most 77"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            encode_text(encoder, Tokens(ids))
        assert caught.value.port == "tokens"
        assert "one `load_model`" in caught.value.fix
    with pytest.raises(InputError, match="at most 77"):
        text.infer_encode(encoder, Tokens(TensorSpec((1, 78), "int64")))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("prompt", "words", "near"),
    [
        ("a dragon and an elefant", ["dragon", "elefant"], "elephant"),
        ("a red appel on a blue background", ["appel"], "red apple"),
        ("two CATS", ["two", "cats"], "cat"),
        ("qqqqqqq", ["qqqqqqq"], "such as"),
    ],
)
def test_the_embedded_model_names_words_that_it_never_saw(
    notes: list[str], prompt: str, words: list[str], near: str
) -> None:
    tokenize(load_model().tokenizer, prompt)
    (said,) = notes
    named = said.partition(";")[0]
    assert [word.strip("`,") for word in named.split() if word.startswith("`")] == words
    assert near in said.partition(";")[2]


@pytest.mark.parametrize(
    "prompt",
    ["", "a cat", "A Small CAT on the left, pink background", "a hot dog next to an ice cream", "12 !?",
     "a picture of santa claus at the bottom on blue", "a face with sunglasses"],
)  # fmt: skip
def test_nothing_is_said_about_what_it_knows(notes: list[str], prompt: str) -> None:
    tokenize(load_model().tokenizer, prompt)
    assert notes == []


def test_open_models_say_nothing_about_words(tiny_model: TinyModel, notes: list[str]) -> None:
    tokenize(load_model(tiny_model()[1]).tokenizer, "zyzzyva")
    assert notes == []


def test_without_a_word_list_single_tokens_count_as_seen(
    tiny_model: TinyModel, tmp_path: Path, notes: list[str]
) -> None:
    folder = shutil.copytree(tiny_model()[1], tmp_path / "model")
    (folder / "vocabulary.txt").write_text("cat|kitten\n\nred apple\n", encoding="utf-8")
    model = load_model(str(folder))
    tokenize(model.tokenizer, "the kitten on a red apple")
    assert notes == []
    tokenize(model.tokenizer, "the dog")
    assert notes == [
        "this model has never seen the word `dog`; it knows 3 names of things, such as cat, kitten, red apple"
    ]
    assert model.tokenizer.digest != load_model(tiny_model()[1]).tokenizer.digest


@given(st.text(max_size=60), st.lists(st.text(max_size=12), max_size=8))
def test_unknown_words_are_words_of_the_text_and_of_no_name(prompt: str, lines: list[str]) -> None:
    names = vocabulary.things(lines)
    unknown = vocabulary.unknown_words(prompt, names)
    assert len(set(unknown)) == len(unknown)
    for word in unknown:
        assert word in prompt.lower()
        assert word not in {w for name in names for w in vocabulary.WORD.findall(name)}
    assert set(vocabulary.nearest(unknown, names)) <= set(names)
    assert vocabulary.unknown_words(" ".join(unknown), [*names, *unknown]) == []


def test_other_dtype_and_device_are_those_of_the_handle(tiny_model: TinyModel) -> None:
    model = load_model(tiny_model()[1])
    half = replace(model.text_encoder, dtype="bfloat16")
    context = encode_text(half, tokenize(model.tokenizer, "a red apple")).context
    assert context is not None
    assert context.dtype == torch.bfloat16


# --- families: against the pipelines' own encode_prompt ----------------------------------------------------------


FAMILIES = ("sd15", "sd21", "sdxl", "sdxl_refiner", "ldm_text2img")


def encode(name: str, prompt: str, **options: object) -> Conditioning:
    """What our nodes make of a prompt; `weighting` and `chunks` are for the tokens, the rest for the encoder."""
    model = load_model(f"random:{name}")
    of_tokens = {key: options.pop(key) for key in ("weighting", "chunks") if key in options}
    return encode_text(model.text_encoder, tokenize(model.tokenizer, prompt, **of_tokens), **options)  # type: ignore[arg-type]


def pipeline(name: str) -> object:
    """The pipeline of a family on the same modules."""
    own = parts(f"random:{name}")
    if name in ("sd15", "sd21"):
        return StableDiffusionPipeline(
            **own, safety_checker=None, feature_extractor=None, image_encoder=None, requires_safety_checker=False
        )
    if name == "sdxl_refiner":
        own |= {f"{part}_2": own.pop(part) for part in ("text_encoder", "tokenizer")}
        own |= {"text_encoder": None, "tokenizer": None}
    return StableDiffusionXLPipeline(**own, feature_extractor=None, image_encoder=None, add_watermarker=False)


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("clip_skip", [0, 1])
@pytest.mark.parametrize("name", ["sd15", "sd21", "sdxl", "sdxl_refiner"])
def test_families_encode_as_their_pipelines(name: str, clip_skip: int, prompt: str) -> None:
    with with_text_model():
        expected = pipeline(name).encode_prompt(  # type: ignore[attr-defined]
            prompt, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False,
            clip_skip=clip_skip or None,
        )  # fmt: skip
    found = encode(name, prompt, clip_skip=clip_skip)
    assert found.context is not None
    assert torch.equal(found.context, expected[0])
    if name.startswith("sdxl"):
        assert found.vector is not None
        assert torch.equal(found.vector, expected[2])
    else:
        assert found.vector is None


@pytest.mark.parametrize("prompt", PROMPTS[:3])
def test_bert_encodes_as_its_pipeline(prompt: str) -> None:
    """Padded to 77, and the padding is attended to."""
    own = parts("random:ldm_text2img")
    ids = own["tokenizer"](prompt, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
    with torch.no_grad():
        expected = own["text_encoder"](ids)[0]
    found = encode("ldm_text2img", prompt).context
    assert found is not None
    assert torch.equal(found, expected)


def test_a_second_layer_less() -> None:
    with with_text_model():
        expected, _ = pipeline("sd15").encode_prompt("a cat", "cpu", 1, False, clip_skip=2)  # type: ignore[attr-defined]
    found = encode("sd15", "a cat", clip_skip=2).context
    assert found is not None
    assert torch.equal(found, expected)


@pytest.mark.parametrize(("name", "most"), [("sd15", 2), ("sdxl", 1), ("sdxl_refiner", 1), ("ldm_text2img", 0)])
def test_more_layers_than_there_are_cannot_be_skipped(name: str, most: int) -> None:
    encoder = load_model(f"random:{name}").text_encoder
    encode(name, "a cat", clip_skip=most)
    with pytest.raises(InputError, match=str(most)) as caught:
        encode(name, "a cat", clip_skip=most + 1)
    assert caught.value.port == "clip_skip"
    with pytest.raises(InputError):
        text.infer_encode(encoder, None, most + 1)


@pytest.mark.parametrize("options", [{}, {"weighting": True}, {"chunks": 2}, {"chunks": 3, "weighting": True}])
@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_inferred_is_what_is_made(name: str, options: dict[str, Any]) -> None:
    model = load_model(f"random:{name}")
    found = encode(name, "a (red:1.5) apple", **options)
    tokens = text.infer_tokenize(model.tokenizer, "a (red:1.5) apple", **options)
    inferred = text.infer_encode(model.text_encoder, tokens)
    assert inferred is not None
    for part in ("context", "vector"):
        tensor = getattr(found, part)
        assert getattr(inferred, part) == (None if tensor is None else TensorSpec(tuple(tensor.shape), "float32"))


@pytest.mark.parametrize(("name", "zero"), [("sdxl", True), ("sdxl_refiner", False), ("sd15", False)])
def test_the_empty_text_is_zeros_where_the_model_was_trained_so(name: str, zero: bool) -> None:
    empty, plain = encode(name, "", zero_if_empty=True), encode(name, "")
    assert plain.context is not None
    assert plain.context.any()
    for part in ("context", "vector"):
        found, whole = getattr(empty, part), getattr(plain, part)
        if whole is not None:
            assert torch.equal(found, torch.zeros_like(whole) if zero else whole)
    worded, same = encode(name, "a cat", zero_if_empty=True), encode(name, "a cat")
    assert torch.equal(worded.context, same.context)  # type: ignore[arg-type]


def test_models_without_text_and_tokens_of_another_model_are_refused_before_the_run() -> None:
    one, two, none = (load_model(f"random:{name}") for name in ("sd15", "sdxl", "ddpm"))
    for model, other, words in ((one, two, "one text encoder"), (two, one, "two text encoders")):
        with pytest.raises(InputError, match=f"tokens for {words}"):
            text.infer_encode(model.text_encoder, text.infer_tokenize(other.tokenizer, "a"))
        with pytest.raises(InputError, match=f"tokens for {words}"):
            encode_text(model.text_encoder, tokenize(other.tokenizer, "a"))
    with pytest.raises(InputError, match="diffusion on pixels"):
        text.infer_tokenize(none.tokenizer)
    with pytest.raises(InputError, match="diffusion on pixels"):
        text.infer_encode(none.text_encoder)


# --- weights and chunks ------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.text(max_size=60) | st.just("<|endoftext|> a <|startoftext|>"), st.sampled_from(["sd15", "sd21", "ldm_text2img"])
)
def test_one_chunk_without_weights_is_what_the_tokenizer_says(prompt: str, name: str) -> None:
    tool = parts(f"random:{name}")["tokenizer"]
    expected = tool(prompt, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
    tokens = tokenize(load_model(f"random:{name}").tokenizer, prompt)
    assert torch.equal(tokens.ids, expected)
    assert tokens.ids.dtype == expected.dtype


@pytest.mark.parametrize("name", FAMILIES)
def test_weights_of_1_change_no_bit(name: str) -> None:
    plain = encode(name, "a red apple (on) the cat")
    for weighted in (r"a (red:1.0) apple \(on\) the cat", r"((a red:0.5):2.0) apple \(on\) the (cat:1)"):
        found = encode(name, weighted, weighting=True)
        assert torch.equal(found.context, plain.context)  # type: ignore[arg-type]


def test_brackets_are_text_unless_weights_are_asked_for() -> None:
    model = load_model("random:sd15")
    assert torch.equal(tokenize(model.tokenizer, "(cat").ids, tokenize(model.tokenizer, r"\(cat", weighting=True).ids)
    with pytest.raises(InputError, match="alone"):
        tokenize(model.tokenizer, "(cat", weighting=True)
    with pytest.raises(InputError, match="alone"):
        text.infer_tokenize(model.tokenizer, "(cat", weighting=True)
    with pytest.raises(InputError, match="alone"):
        text.infer_tokenize(None, "(cat", weighting=True)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_weight_scales_the_states_of_its_tokens_and_keeps_the_mean(name: str) -> None:
    """Closed form, for each encoder by itself: z w m(z) / m(z w)."""
    prompt, weighted, (first, last) = "a red apple on the cat", "a (red apple:1.5) on the [cat]", (2, 3)
    model = load_model(f"random:{name}")
    plain, found = encode(name, prompt), encode(name, weighted, weighting=True)
    assert plain.context is not None
    assert found.context is not None
    tokens = tokenize(model.tokenizer, weighted, weighting=True)
    assert torch.equal(tokens.ids, tokenize(model.tokenizer, prompt).ids)
    widths = [parts(f"random:{name}")[part].config.hidden_size for part in ("text_encoder", "text_encoder_2")
              if part in parts(f"random:{name}")]  # fmt: skip
    several = [tokens] if tokens.second is None else [tokens, tokens.second]
    assert len(widths) == len(several)
    for one, before, after in zip(several, plain.context.split(widths, 2), found.context.split(widths, 2), strict=True):
        assert one.weights is not None
        if "ldm" not in name:
            expected = torch.ones(77)
            expected[first : last + 1], expected[6] = 1.5, 1 / 1.1
            torch.testing.assert_close(one.weights[0], expected)
        scaled = before * one.weights[..., None]
        torch.testing.assert_close(after, scaled * before.mean() / scaled.mean(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(after.mean(), before.mean(), rtol=1e-4, atol=1e-6)
    if plain.vector is not None:
        assert torch.equal(found.vector, plain.vector)  # type: ignore[arg-type]


def test_a_token_has_the_weight_of_its_first_character() -> None:
    """A bracket within a word changes the weight and not the tokens."""
    model = load_model("random:sd15")
    tokens = tokenize(model.tokenizer, "app(le:2)", weighting=True)
    assert torch.equal(tokens.ids, tokenize(model.tokenizer, "apple").ids)
    assert tokens.weights is None


@pytest.mark.parametrize("name", FAMILIES)
def test_chunks_follow_one_another_each_encoded_by_itself(name: str) -> None:
    words = tiny.long_prompt(160).split(" ")
    found = encode(name, " ".join(words), chunks=0)
    alone = [encode(name, " ".join(words[start : start + 75])) for start in (0, 75, 150)]
    assert found.context is not None
    assert found.context.shape[1] == 3 * 77
    expected = torch.cat([part.context for part in alone], dim=1)  # type: ignore[misc]
    torch.testing.assert_close(found.context, expected, rtol=1e-5, atol=1e-5)
    if found.vector is not None:
        torch.testing.assert_close(found.vector, alone[0].vector)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_chunk_that_is_not_needed_is_the_empty_text(name: str) -> None:
    found = encode(name, "a cat", chunks=2).context
    expected = [encode(name, prompt).context for prompt in ("a cat", "")]
    assert found is not None
    torch.testing.assert_close(found, torch.cat(expected, dim=1), rtol=1e-5, atol=1e-5)  # type: ignore[arg-type]
    once = encode(name, "a cat", chunks=0)
    assert torch.equal(once.context, expected[0])  # type: ignore[arg-type]


def test_weights_keep_the_mean_of_each_chunk() -> None:
    """And a chunk in which none is weighted stays as it is."""
    words = tiny.long_prompt(100).split(" ")
    weighted = [*words]
    weighted[80] = f"({words[80]}:1.4)"
    plain = encode("sd15", " ".join(words), chunks=2).context
    found = encode("sd15", " ".join(weighted), chunks=2, weighting=True).context
    assert plain is not None
    assert found is not None
    assert torch.equal(found[:, :77], plain[:, :77])
    assert not torch.equal(found[:, 77:], plain[:, 77:])
    torch.testing.assert_close(found[:, 77:].mean(), plain[:, 77:].mean(), rtol=1e-4, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 240), st.integers(1, 3))
def test_nothing_is_lost_without_a_note(count: int, chunks: int) -> None:
    tokenizer = load_model("random:sd15").tokenizer
    heard: list[str] = []
    token = _notes.set(heard.append)
    try:
        whole = tokenize(tokenizer, tiny.long_prompt(count) if count else "", chunks=0)
        assert not heard
        assert whole.ids.shape == (max(1, -(-count // 75)), 77)
        tokenize(tokenizer, tiny.long_prompt(count) if count else "", chunks=chunks)
    finally:
        _notes.reset(token)
    assert bool(heard) == (count > 75 * chunks)


def test_the_note_on_unknown_words_reads_no_brackets(notes: list[str]) -> None:
    tokenize(load_model().tokenizer, "a [cat] and a (dragon:1.2)", weighting=True)
    (said,) = notes
    assert "`dragon`" in said
