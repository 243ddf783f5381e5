"""`load_textual_inversion`: words of one's own, learned as vectors in the text encoder (arXiv:2208.01618)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from graphcore import InputError, node
from nodes.models.files import adapter_file
from nodes.models.files.adapter_file import AdapterFile
from nodes.models.handles import canonical, config_of, settings
from nodes.types import Patch, TextEncoderModel, TokenizerModel

KIND = "textual_inversion"

PAIR = ("clip_l", "clip_g")
"""Names of the tensors for SDXL's two text encoders."""

NAMELESS = ("emb_params", *PAIR)
"""Names of tensors that are no words: the word is then the file's name."""

RANDOM: Mapping[str, Any] = {
    "textual_inversion": lambda: {"<random>": (2, 32)},
    "textual_inversion_sd15": lambda: {"<random>": (2, 32)},
    "textual_inversion_sd21": lambda: {"emb_params": (1, 40)},
    "textual_inversion_sdxl": lambda: {"clip_l": (2, 32), "clip_g": (2, 40)},
}
"""Words with random vectors, which fit the models with random weights."""


class Taught(NamedTuple):
    """A tokenizer that knows the word, and a text encoder that has its vectors."""

    tokenizer: TokenizerModel
    text_encoder: TextEncoderModel


def fingerprint(path: str) -> str:
    """Content of the file, and its name, which may be the word."""
    file = read(path)
    return f"{file.stem} {file.digest()}"


def infer(
    path: str | None = None,
    tokenizer: TokenizerModel | None = None,
    text_encoder: TextEncoderModel | None = None,
    token: str = "",
) -> Taught | None:
    """The handles, without a digest; refuses vectors of another width than the text encoder's."""
    if path is None:
        return None
    file = read(path)
    if text_encoder is not None:
        _vectors(file, text_encoder)
    if tokenizer is None or text_encoder is None:
        return None
    return _taught(file, "", tokenizer, text_encoder, token)


@node(category="model", infer=infer, fingerprint=fingerprint)
def load_textual_inversion(
    path: str, tokenizer: TokenizerModel, text_encoder: TextEncoderModel, token: str = ""
) -> Taught:
    """A model that knows one more word, by vectors that were learned from pictures.

    The model given is not changed; the vectors of all other words stay as they are. A word of several vectors is read
    as so many tokens wherever the prompt has it.

    Args:
        path: A .safetensors file as diffusers writes it (`{word: vectors}`), one of the web UI (`emb_params`), or one
            for SDXL (`clip_l` and `clip_g`); `random:textual_inversion` fits `random:sd15`.
        tokenizer, text_encoder: Of one `load_model`.
        token: The word in prompts, one that no text has by chance, such as `<cat-toy>`. Empty takes the word in the
            file; where there is none, the file's name.

    Raises:
        InputError: no such file, a pickle, vectors of another width, or a word that the tokenizer has already.
    """
    from nodes.models.memory import weights

    file = read(path)
    made = _taught(file, file.digest(), tokenizer, text_encoder, token)
    word = json.loads(made.tokenizer.patches[-1].settings)["token"]
    for reader, encoder in zip(_both(tokenizer), _both(text_encoder), strict=True):
        _check_vocabulary(weights.tokenizer(reader), settings(encoder.config), word)
    return made


def extend_tokenizer(tokenizer: Any, patches: Sequence[Patch]) -> Any:
    """A tokenizer with the new words; those of several vectors are written out before it reads a text."""
    for patch in patches:
        tokenizer.add_tokens(_tokens(json.loads(patch.settings)))
    chosen = [json.loads(patch.settings) for patch in patches]
    several = {one["token"]: " ".join(_tokens(one)) for one in chosen if int(one["vectors"]) > 1}
    return _WritesOut(tokenizer, several) if several else tokenizer


def extend_embeddings(module: Any, patches: Sequence[Patch], *, content: bool) -> None:
    """Put the vectors of new words below those that a text encoder has, in the order in which tokenizers count.

    The base's own rows are copied: transformers' `resize_token_embeddings` would write into them.
    """
    import torch

    old = module.get_input_embeddings()
    rows = [old.weight]
    for patch in patches:
        chosen = json.loads(patch.settings)
        file = read(patch.source)
        vectors = adapter_file.tensors(file, patch.digest, content=content)[chosen["tensor"]]
        rows.append(vectors.reshape(-1, old.weight.shape[1]).to(old.weight))
    made = torch.nn.Embedding(0, old.weight.shape[1], padding_idx=None)
    made.weight = torch.nn.Parameter(torch.cat(rows), requires_grad=False)
    made.num_embeddings = len(made.weight)
    module.set_input_embeddings(made)


class _WritesOut:
    """A tokenizer that reads `<word>` as `<word> <word>_1 ...`, one token for each of its vectors."""

    def __init__(self, tokenizer: Any, written: Mapping[str, str]) -> None:
        self._tokenizer = tokenizer
        self._written = written
        longest_first = sorted(written, key=len, reverse=True)
        self._pattern = re.compile("|".join(re.escape(word) for word in longest_first))

    def __call__(self, text: str, **options: Any) -> Any:
        """As the tokenizer; `offset_mapping` tells places in the text as it was given."""
        found = self._tokenizer(self.write_out(text), **options)
        if "offset_mapping" in found:
            origin = self._origin(text)
            found["offset_mapping"] = [(origin[start], origin[end]) for start, end in found["offset_mapping"]]
        return found

    def __len__(self) -> int:
        return len(self._tokenizer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def write_out(self, text: str) -> str:
        """The text with every word of several vectors written as its tokens."""
        return self._pattern.sub(lambda found: self._written[found.group()], text)

    def _origin(self, text: str) -> list[int]:
        """For each place in the text written out, the place in the text as it was given."""
        places, done = [], 0
        for found in self._pattern.finditer(text):
            places += [*range(done, found.start()), *[found.start()] * len(self._written[found.group()])]
            done = found.end()
        return [*places, *range(done, len(text) + 1)]


def read(path: str) -> AdapterFile:
    return adapter_file.read(path, "a textual inversion", RANDOM)


def _taught(
    file: AdapterFile, digest: str, tokenizer: TokenizerModel, text_encoder: TextEncoderModel, token: str
) -> Taught:
    named = _vectors(file, text_encoder)
    first = next(iter(named))
    word = token or (file.stem if first in NAMELESS else first)
    _check_word(word, tokenizer)
    changed: list[tuple[TokenizerModel, TextEncoderModel]] = []
    pairs = zip(_both(tokenizer), _both(text_encoder), strict=True)
    for (name, count), (reader, encoder) in zip(named.items(), pairs, strict=True):
        chosen = canonical({"token": word, "tensor": name, "vectors": count})
        patch = Patch(KIND, file.source, digest, chosen)
        config = settings(encoder.config)
        config = {**config, "added_tokens": int(config.get("added_tokens", 0)) + count}
        patched = replace(encoder, patches=(*encoder.patches, patch), config=canonical(config))
        changed.append((replace(reader, patches=(*reader.patches, patch)), patched))
    if len(changed) == 1:
        return Taught(*changed[0])
    (reader, encoder), (second_reader, second_encoder) = changed
    return Taught(replace(reader, second=second_reader), replace(encoder, second=second_encoder))


def _vectors(file: AdapterFile, text_encoder: TextEncoderModel) -> dict[str, int]:
    """For each text encoder of the model, the tensor that fits it and how many vectors that has."""
    encoders = _both(text_encoder)
    widths = [int(config_of(encoder, "text_encoder", "a text encoder")["hidden_size"]) for encoder in encoders]
    given = {name: shape for name, shape in file.shapes.items() if len(shape) in (1, 2)}
    names = list(PAIR) if set(given) == set(PAIR) else list(given)
    if names == list(PAIR) and encoders[0].class_name == "CLIPTextModelWithProjection":
        names = names[1:]  # the refiner of SDXL has only the second encoder
    found = [given[name][-1] for name in names]
    if not given or len(given) != len(file.shapes) or found != widths:
        raise InputError(
            "path", expected=f"vectors of width {' and '.join(map(str, widths))}, one tensor for each text encoder",
            got=", ".join(f"`{name}` {shape}" for name, shape in list(file.shapes.items())[:3]) or "no tensors",
            fix="a textual inversion fits only the family that it was trained on: take another, or another model",
        )  # fmt: skip
    return {name: given[name][0] if len(given[name]) == 2 else 1 for name in names}


def _check_word(word: str, tokenizer: TokenizerModel) -> None:
    taught = {token for patch in tokenizer.patches for token in _tokens(json.loads(patch.settings))}
    if word in taught:
        raise _known(word)
    if not word.strip() or word != word.strip() or " " in word:
        raise InputError("token", expected="one word without blanks, such as `<cat-toy>`", got=repr(word))


def _check_vocabulary(tool: Any, config: Mapping[str, Any], word: str) -> None:
    """The word is new, and the tokenizer's next number is that of the text encoder's next row."""
    if word in tool.get_vocab():
        raise _known(word)
    rows = int(config["vocab_size"]) + int(config.get("added_tokens", 0))
    if len(tool) != rows:
        raise InputError(
            "tokenizer", expected=f"a tokenizer of {rows} tokens, as many as the text encoder has vectors",
            got=str(len(tool)), fix="`tokenizer` and `text_encoder` must come from one `load_model`",
        )  # fmt: skip


def _known(word: str) -> InputError:
    return InputError(
        "token", expected="a word that the tokenizer does not have yet", got=f"`{word}`",
        fix=f"give another in `token`, such as `<{word.strip('<>')}-2>`",
    )  # fmt: skip


def _tokens(chosen: Mapping[str, Any]) -> list[str]:
    """The tokens of a word: `<word>`, `<word>_1`, and so on, one for each vector."""
    word: str = chosen["token"]
    return [word, *(f"{word}_{number}" for number in range(1, int(chosen["vectors"])))]


def _both(handle: Any) -> list[Any]:
    """The handle, and the second one of SDXL."""
    return [handle] if handle.second is None else [handle, handle.second]
