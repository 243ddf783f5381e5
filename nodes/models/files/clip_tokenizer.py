"""CLIP's tokenizer, for checkpoints that come without one: byte-level BPE by the merges that Stepgraph ships."""

from __future__ import annotations

import lzma
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nodes.models.part import Part

FILE = Path(__file__).parent.parent.parent / "builtin" / "clip_tokenizer" / "merges.txt.xz"
START, END = "<|startoftext|>", "<|endoftext|>"
LENGTH = 77
"""Tokens that CLIP reads, start and end included."""


def part(pad_token: str = END) -> Part:
    """The tokenizer as a part of a model.

    Args:
        pad_token: What fills up a short text: the end token for CLIP, `!` (id 0) for OpenCLIP.
    """
    config = {"model_max_length": LENGTH, "pad_token": pad_token}
    return Part(str(FILE), "CLIPTokenizer", config, (FILE,), layout="single_file")


def make(config: Mapping[str, Any]) -> Any:
    """The tokenizer, with the settings of `part`."""
    from transformers import CLIPTokenizer

    lines = lzma.decompress(FILE.read_bytes()).decode("utf-8").splitlines()
    merges = [tuple(line.split(" ")) for line in lines]
    settings = {key: config[key] for key in ("model_max_length", "pad_token")}
    return CLIPTokenizer(vocab=vocabulary(merges), merges=merges, **settings)


def vocabulary(merges: Sequence[Sequence[str]]) -> dict[str, int]:
    """Token ids in CLIP's order: 256 bytes, the same at the end of a word, one token per merge, two specials.

    Bytes stand as GPT-2's printable characters: themselves where printable, else from U+0100 on.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = 256 - len(printable)
    characters = [chr(byte) for byte in printable] + [chr(256 + n) for n in range(hidden)]
    tokens = [*characters, *(f"{character}</w>" for character in characters), *("".join(merge) for merge in merges)]
    return {token: index for index, token in enumerate([*tokens, START, END])}
