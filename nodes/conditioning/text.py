"""From a prompt to conditioning: `tokenize` and `encode_text`."""

from __future__ import annotations

from typing import Any

from graphcore import InputError, TensorSpec, node, note, runtime
from nodes.conditioning import vocabulary
from nodes.models.handles import settings
from nodes.types import Conditioning, TextEncoderModel, TokenizerModel, Tokens


def infer_tokenize(tokenizer: TokenizerModel | None = None, text: str = "") -> Tokens | None:
    """Shape of the tokens: always as long as the model's longest text."""
    if tokenizer is None:
        return None
    return Tokens(_spec((1, int(settings(tokenizer.config)["model_max_length"])), "int64"), text)


@node(category="text", infer=infer_tokenize)
def tokenize(tokenizer: TokenizerModel, text: str) -> Tokens:
    """The token ids of a text, cut or padded to the length that the model wants.

    What does not fit is cut off, and a note names it. For a model that knows a closed list of things, a note names
    the words that it has never seen.

    Args:
        tokenizer: From `load_model`.
        text: The prompt; the empty text is the usual negative prompt.
    """
    from nodes.models import weights

    tool, config = weights.tokenizer(tokenizer), settings(tokenizer.config)
    length = int(config["model_max_length"])
    ids = tool(text, padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids
    if cut := _cut_off(tool, text, length):
        note(f"the prompt is longer than the {length} tokens that the model reads; cut off: {cut!r}")
    if lines := config.get("vocabulary"):
        _note_unknown_words(tool, text, lines, config.get("words"))
    return Tokens(ids, text)


def infer_encode(text_encoder: TextEncoderModel | None = None, tokens: Tokens | None = None) -> Conditioning | None:
    """Shape of the context; refuses tokens of another model as far as their number shows it."""
    if text_encoder is None or tokens is None:
        return None
    config = settings(text_encoder.config)
    _check_length(config, tokens)
    shape = (*tokens.ids.shape, int(config["hidden_size"]))
    return Conditioning(context=_spec(shape, text_encoder.dtype))


@node(category="text", infer=infer_encode)
def encode_text(text_encoder: TextEncoderModel, tokens: Tokens) -> Conditioning:
    """The text encoder's last hidden state (after its final layer norm) as context: (batch, tokens, width).

    Padding tokens are attended to, as Stable Diffusion was trained.

    Raises:
        InputError: the tokens are those of another model.
    """
    import torch

    from nodes.models import weights

    config = settings(text_encoder.config)
    _check_length(config, tokens)
    if runtime().pretended is None:
        _check_ids(config, tokens)
    with weights.use(text_encoder) as module, torch.no_grad():
        context = module(tokens.ids.to(text_encoder.device))[0]
    return Conditioning(context=context)


def _spec(shape: tuple[int | None, ...], dtype: str) -> Any:
    """Stands where a tensor would be (hence Any)."""
    return TensorSpec(shape, dtype)


def _cut_off(tool: Any, text: str, length: int) -> str:
    """The part of a text, as written, whose tokens do not fit."""
    whole = tool(text, truncation=False, return_offsets_mapping=True, verbose=False)
    if len(whole.input_ids) <= length:
        return ""
    start: int = whole.offset_mapping[length - 1][0]  # the last place belongs to the end-of-text token
    return text[start:].strip()


def _note_unknown_words(tool: Any, text: str, lines: list[str], words: list[str] | None) -> None:
    names = vocabulary.things(lines)
    if words is None:  # nobody listed the words of the captions: one that is a single token was frequent in them
        unknown = vocabulary.unknown_words(text, names, lambda word: len(tool.tokenize(word)) == 1)
    else:
        unknown = vocabulary.unknown_words(text, [*names, *words])
    if unknown:
        note(vocabulary.describe(unknown, names))


def _check_length(config: Any, tokens: Tokens) -> None:
    longest, length = config.get("max_position_embeddings"), tokens.ids.shape[1]
    if longest is not None and length is not None and length > longest:
        raise InputError(
            "tokens", expected=f"at most {longest} tokens", got=f"{length}",
            fix="`tokenizer` and `text_encoder` must come from one `load_model`",
        )  # fmt: skip


def _check_ids(config: Any, tokens: Tokens) -> None:
    if (largest := int(tokens.ids.max())) >= int(config["vocab_size"]):
        raise InputError(
            "tokens", expected=f"ids below {config['vocab_size']}, the size of the text encoder's vocabulary",
            got=f"{largest}", fix="`tokenizer` and `text_encoder` must come from one `load_model`",
        )  # fmt: skip
