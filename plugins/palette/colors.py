"""Colours as numbers in which distance is difference to the eye.

Plain Python: this is imported when nodes are listed.
"""

from __future__ import annotations

import re
from typing import TypeAlias

Lab: TypeAlias = tuple[float, float, float]
"""OKLab: lightness in [0, 1], green to red and blue to yellow, about -0.4 to 0.4."""

MOST = 16


def parse(colors: list[str]) -> list[Lab]:
    """Colours as written, such as "#ff8800", in OKLab.

    Raises:
        ValueError: with what was found instead of 1 to 16 colours.
    """
    if not 1 <= len(colors) <= MOST:
        raise ValueError(f"{len(colors)} colours")
    for color in colors:
        if not isinstance(color, str) or not re.fullmatch("#[0-9a-fA-F]{6}", color):
            raise ValueError(repr(color))
    return [oklab(*(int(color[start : start + 2], 16) / 255 for start in (1, 3, 5))) for color in colors]


def oklab(red: float, green: float, blue: float) -> Lab:
    """OKLab of an sRGB colour, components in [0, 1].

    Source: B. Ottosson, "A perceptual color space for image processing", 2020, with its matrices.
    """
    r, g, b = (_linear(component) for component in (red, green, blue))
    long = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
    medium = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    short = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short,
    )


def _linear(component: float) -> float:
    """Linear light of an sRGB component (IEC 61966-2-1)."""
    return component / 12.92 if component <= 0.04045 else float(((component + 0.055) / 1.055) ** 2.4)
