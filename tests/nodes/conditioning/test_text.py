"""Prompts: the same tokens and embeddings as the pipeline, and notes about what is lost or unknown."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcore import InputError, TensorSpec
from graphcore.runtime import _notes
from nodes import encode_text, load_model, tokenize
from nodes.conditioning import text, vocabulary
from nodes.types import Tokens
from tests.nodes import tiny
from tests.nodes.conftest import TinyModel


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
