"""From a prompt to conditioning: `tokenize` and `encode_text`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from graphcore import InputError, TensorSpec, node, note, runtime
from nodes.conditioning import prompt_weights, vocabulary
from nodes.conditioning.prompt_weights import Piece
from nodes.models.handles import config_of, settings
from nodes.types import Conditioning, TextEncoderModel, TokenizerModel, Tokens

if TYPE_CHECKING:
    from nodes.conditioning.spelling import Spelling

Chunks = Annotated[int, Field(ge=0, le=32)]
ClipSkip = Annotated[int, Field(ge=0, le=64)]

ONE_MODEL = "`tokenizer` and `text_encoder` must come from one `load_model`"


# --- tokenize ----------------------------------------------------------------------------------------------------


def infer_tokenize(
    tokenizer: TokenizerModel | None = None, text: str | None = None, weighting: bool = False, chunks: int | None = 1
) -> Tokens | None:
    """Shape of the tokens: always as long as the model's longest text; refuses brackets that do not pair."""
    if weighting and text is not None:
        prompt_weights.parse(text)
    if tokenizer is None:
        return None
    length = int(config_of(tokenizer, "tokenizer", "a tokenizer")["model_max_length"])
    count = chunks or None
    weights = _spec((count, length), "float32") if weighting else None
    second = None if tokenizer.second is None else infer_tokenize(tokenizer.second, text, weighting, chunks)
    return Tokens(_spec((count, length), "int64"), text or "", weights, second, tokenizer.class_name)


@node(category="text", infer=infer_tokenize)
def tokenize(tokenizer: TokenizerModel, text: str, weighting: bool = False, chunks: Chunks = 1) -> Tokens:
    r"""The token ids of a text, in chunks of the length that the model reads, padded.

    What does not fit is cut off, and a note names it. For a model that knows a closed list of things, a note names
    the words that it has never seen. A model with two text encoders (SDXL) gets the tokens of both.

    Args:
        tokenizer: From `load_model`.
        text: The prompt; the empty text is the usual negative prompt.
        weighting: Read `(word:1.2)`, `(word)` (1.1 times) and `[word]` (1 / 1.1 times) as weights, nested ones
            multiplied; `\(` is a bracket. Without it, brackets are text.
        chunks: How many chunks of 75 tokens (and start and end, 77) to make; 0 makes as many as the text needs.
            Diffusion models are trained with 1.

    Returns:
        Token ids, (chunks, 77).

    Raises:
        InputError: weights are to be read, and a bracket has no other half.
    """
    from nodes.conditioning import spelling
    from nodes.models.memory import weights

    config = config_of(tokenizer, "tokenizer", "a tokenizer")
    pieces = prompt_weights.parse(text) if weighting else [Piece(text)]
    handles = [tokenizer] if tokenizer.second is None else [tokenizer, tokenizer.second]
    spelt = [spelling.spell(weights.tokenizer(h), pieces, int(settings(h.config)["model_max_length"])) for h in handles]
    _note_cut(spelt[0], chunks)
    if lines := config.get("vocabulary"):
        _note_unknown_words(weights.tokenizer(tokenizer), spelt[0].text, lines, config.get("words"))
    count = chunks or max(one.chunks_needed for one in spelt)
    ids, weights_ = zip(*(one.tensors(count) for one in spelt), strict=True)
    second = Tokens(ids[1], text, weights_[1], words=spelt[1].words) if len(spelt) == 2 else None
    return Tokens(ids[0], text, weights_[0], second, tokenizer.class_name, spelt[0].words)


def _note_cut(spelt: Spelling, chunks: int) -> None:
    if chunks and (cut := spelt.beyond(chunks)):
        note(
            f"the prompt is longer than the {chunks * spelt.length} tokens that the model reads; cut off: {cut!r} "
            "(`chunks` 0 reads it all)"
        )


def _note_unknown_words(tool: Any, text: str, lines: list[str], words: list[str] | None) -> None:
    names = vocabulary.things(lines)
    if words is None:  # nobody listed the words of the captions: one that is a single token was frequent in them
        unknown = vocabulary.unknown_words(text, names, lambda word: len(tool.tokenize(word)) == 1)
    else:
        unknown = vocabulary.unknown_words(text, [*names, *words])
    if unknown:
        note(vocabulary.describe(unknown, names))


# --- encode_text -------------------------------------------------------------------------------------------------


def infer_encode(
    text_encoder: TextEncoderModel | None = None, tokens: Tokens | None = None, clip_skip: int = 0
) -> Conditioning | None:
    """Shapes of context and vector; refuses tokens of another model as far as their number shows it."""
    if text_encoder is not None:
        config_of(text_encoder, "text_encoder", "a text encoder")
        _check_skip(text_encoder, clip_skip)
    if text_encoder is None or tokens is None:
        return None
    pairs = _pairs(text_encoder, tokens)
    chunks, length = tokens.ids.shape
    width = sum(_width(settings(handle.config)) for handle, _ in pairs)
    places = None if chunks is None or length is None else chunks * length
    pooled = [settings(h.config)["projection_dim"] for h, _ in pairs if h.class_name == WITH_PROJECTION]
    return Conditioning(
        context=_spec((1, places, width), text_encoder.dtype),
        vector=_spec((1, int(pooled[0])), text_encoder.dtype) if pooled else None,
    )


WITH_PROJECTION = "CLIPTextModelWithProjection"
"""Class of the text encoder whose pooled text SDXL uses."""


@node(category="text", infer=infer_encode)
def encode_text(
    text_encoder: TextEncoderModel, tokens: Tokens, clip_skip: ClipSkip = 0, zero_if_empty: bool = False
) -> Conditioning:
    """What the text encoder makes of tokens: `context`, and for SDXL the pooled text as `vector`.

    Stable Diffusion 1 and 2 and LDM's BERT: the last hidden state, after the final layer norm. SDXL: the states
    before the last layer of both encoders side by side, without a norm, and the second's projected end token; its
    refiner: the same of the second alone. Padding tokens are attended to, as the models were trained.

    Weights of tokens multiply their states; then all states of a chunk are scaled so that their mean is what it was,
    as AUTOMATIC1111's stable-diffusion-webui does (`modules/sd_emphasis.py`, "Original"), for each encoder by itself.
    The pooled text is not weighted. Chunks are encoded each by itself, and follow one another in the context; the
    pooled text is that of the first.

    Args:
        text_encoder: From `load_model`.
        tokens: From `tokenize`, with the same model's tokenizer.
        clip_skip: How many of the last layers to leave out (as `clip_skip` of the diffusers pipelines, which apply it
            to the prompt and not to the negative prompt).
        zero_if_empty: Give zeros for the empty text, if the model is one for which its pipeline does that where no
            negative prompt is given (SDXL base); of other models the empty text is encoded.

    Returns:
        A context (1, chunks * length, width), and a vector (1, width) or none.

    Raises:
        InputError: the tokens are those of another model; fewer layers than `clip_skip` leaves out.
    """
    import torch

    from nodes.conditioning import text_encoders

    config_of(text_encoder, "text_encoder", "a text encoder")
    _check_skip(text_encoder, clip_skip)
    pairs = _pairs(text_encoder, tokens)
    if runtime().pretended is None:
        for handle, one in pairs:
            _check_ids(settings(handle.config), one)
    encoded = [text_encoders.encode(handle, one, clip_skip, penultimate=_xl(text_encoder)) for handle, one in pairs]
    contexts, vectors = [context for context, _ in encoded], [vector for _, vector in encoded if vector is not None]
    context = contexts[0] if len(contexts) == 1 else torch.cat([c.to(contexts[-1].device) for c in contexts], dim=-1)
    vector = vectors[0] if vectors else None
    if zero_if_empty and not tokens.text and _zeroes(text_encoder):
        return Conditioning(torch.zeros_like(context), vector=None if vector is None else torch.zeros_like(vector))
    return Conditioning(context, vector=vector)


def _spec(shape: tuple[int | None, ...], dtype: str) -> Any:
    """Stands where a tensor would be (hence Any)."""
    return TensorSpec(shape, dtype)


def _width(config: Mapping[str, Any]) -> int:
    return int(config["hidden_size"] if "hidden_size" in config else config["d_model"])


def _xl(handle: TextEncoderModel) -> bool:
    """Whether its UNet was trained on the states before the last layer, beside pooled text."""
    return handle.second is not None or handle.class_name == WITH_PROJECTION


def _zeroes(handle: TextEncoderModel) -> bool:
    second = handle.second
    handles = [handle] if second is None else [handle, second]
    return any(settings(one.config).get("force_zeros_for_empty_prompt") for one in handles)


def _pairs(handle: TextEncoderModel, tokens: Tokens) -> list[tuple[TextEncoderModel, Tokens]]:
    """Each text encoder with its tokens.

    Raises:
        InputError: the tokens are those of another model.
    """
    if (handle.second is None) != (tokens.second is None):
        counts = ("one text encoder", "two text encoders")
        ours, theirs = counts if handle.second is None else counts[::-1]
        raise InputError("tokens", expected=f"tokens for {ours}", got=f"tokens for {theirs}", fix=ONE_MODEL)
    pairs = [(handle, tokens)]
    if handle.second is not None and tokens.second is not None:
        pairs.append((handle.second, tokens.second))
    for one, its in pairs:
        _check_tokenizer(one, its)
        _check_length(settings(one.config), its)
    return pairs


def _check_skip(handle: TextEncoderModel, clip_skip: int) -> None:
    if not clip_skip:
        return
    if handle.class_name == "LDMBertModel":
        raise InputError(
            "clip_skip", expected="0, as this text encoder (LDM's BERT) is used to its last layer", got=str(clip_skip)
        )
    layers = int(settings(handle.config).get("num_hidden_layers", 12))
    most = layers - 1 if _xl(handle) else layers
    if clip_skip > most:
        raise InputError(
            "clip_skip", expected=f"at most {most}, as the text encoder has {layers} layers", got=str(clip_skip)
        )


def _check_tokenizer(handle: TextEncoderModel, tokens: Tokens) -> None:
    """LDM's BERT reads the words of BERT, all others those of CLIP."""
    bert = handle.class_name == "LDMBertModel"
    if tokens.tokenizer and bert != tokens.tokenizer.startswith("Bert"):
        expected = "tokens of a BertTokenizer" if bert else "tokens of a CLIPTokenizer"
        raise InputError("tokens", expected=expected, got=f"those of a {tokens.tokenizer}", fix=ONE_MODEL)


def _check_length(config: Mapping[str, Any], tokens: Tokens) -> None:
    longest, length = config.get("max_position_embeddings"), tokens.ids.shape[1]
    if longest is not None and length is not None and length > longest:
        raise InputError("tokens", expected=f"at most {longest} tokens", got=f"{length}", fix=ONE_MODEL)


def _check_ids(config: Mapping[str, Any], tokens: Tokens) -> None:
    known = int(config["vocab_size"]) + int(config.get("added_tokens", 0))
    if (largest := int(tokens.ids.max())) >= known:
        raise InputError(
            "tokens", expected=f"ids below {known}, the size of the text encoder's vocabulary",
            got=f"{largest}", fix=ONE_MODEL,
        )  # fmt: skip
