"""A text as the tokens of one tokenizer, each with its weight, cut into chunks.

Heavy: import this inside functions only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from nodes.conditioning.prompt_weights import Piece


@dataclass(frozen=True)
class Spelling:
    """The tokens of a text without start, end and padding.

    Args:
        text: What was spelt.
        ids, weights: Of each token.
        places: Where in the text each token begins.
        frame: Ids of start, end and padding.
        length: Tokens of a chunk, start and end included.
    """

    text: str
    ids: Sequence[int]
    weights: Sequence[float]
    places: Sequence[int]
    frame: tuple[int, int, int]
    length: int

    @property
    def room(self) -> int:
        """Tokens of the text in a chunk."""
        return self.length - 2

    @property
    def chunks_needed(self) -> int:
        """Chunks that hold the whole text; at least one."""
        return max(1, -(-len(self.ids) // self.room))

    @property
    def words(self) -> tuple[str, ...]:
        """What each token stands for in the text, as written."""
        ends = [*self.places[1:], len(self.text)]
        return tuple(self.text[begin:end].strip() for begin, end in zip(self.places, ends, strict=False))

    def beyond(self, chunks: int) -> str:
        """The part of the text, as written, that does not fit into so many chunks."""
        fits = chunks * self.room
        return "" if len(self.ids) <= fits else self.text[self.places[fits] :].strip()

    def tensors(self, chunks: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Ids and weights, (chunks, length) each; None for the weights where all are 1."""
        start, end, padding = self.frame
        ids, weights = [], []
        for chunk in range(chunks):
            part = slice(chunk * self.room, (chunk + 1) * self.room)
            spare = self.room - len(self.ids[part])
            ids.append([start, *self.ids[part], end, *[padding] * spare])
            weights.append([1.0, *self.weights[part], 1.0, *[1.0] * spare])
        plain = all(weight == 1 for row in weights for weight in row)
        return torch.tensor(ids), None if plain else torch.tensor(weights)

    def __post_init__(self) -> None:
        assert len(self.ids) == len(self.weights) == len(self.places)


def spell(tool: Any, pieces: Sequence[Piece], length: int) -> Spelling:
    """The tokens of a text in pieces.

    The text is spelt as a whole, so that brackets change no token; a token has the weight of its first character.

    Args:
        tool: A tokenizer of transformers.
        length: Tokens of a chunk, start and end included.
    """
    text = "".join(piece.text for piece in pieces)
    weights = [piece.weight for piece in pieces for _ in piece.text]
    found = tool(text, add_special_tokens=False, return_offsets_mapping=True, truncation=False, verbose=False)
    start, end = tool("").input_ids
    places = [begin for begin, _ in found.offset_mapping]
    own = [weights[place] if place < len(weights) else 1.0 for place in places]
    return Spelling(text, found.input_ids, own, places, (start, end, tool.pad_token_id), length)
