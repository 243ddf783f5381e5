"""The conditioning of models that take none."""

from __future__ import annotations

from graphcore import node
from nodes.types import Conditioning


def infer() -> Conditioning:
    """Nothing: known before a run."""
    return Conditioning()


@node(category="conditioning", infer=infer)
def empty_conditioning() -> Conditioning:
    """No condition at all: for unconditional models such as those of DDPM, whose UNet takes only noise and time."""
    return Conditioning()
