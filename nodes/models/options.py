"""How a model part is to run, beside device and dtype: the `options` of a handle as a value."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import lru_cache

from graphcore import InputError
from nodes.models.handles import canonical

ATTENTIONS = ("sdpa", "eager", "sliced", "flex", "flash", "sage", "xformers")
"""Ways to compute attention. `sdpa`: torch's fused kernels, the default. `eager`: a plain matrix product and softmax.
`sliced`: head by head, slowest and smallest. The others are backends of diffusers: `flex` is compiled by torch;
`flash`, `sage` and `xformers` are packages that must be installed and need a GPU."""

OFFLOADS = ("", "cpu", "disk")
"""Where an idle part goes when another one comes: nowhere (only if memory is short), to CPU memory, or away: it is read
from its files again, which are mapped rather than copied."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a part runs; all parts with equal weights and default options are one module.

    Args:
        attention: One of `ATTENTIONS`.
        compile: By `torch.compile`, at the first call of each shape.
        channels_last: Weights of convolutions in the memory layout NHWC, which tensor cores prefer.
        offload: One of `OFFLOADS`.
    """

    attention: str = "sdpa"
    compile: bool = False
    channels_last: bool = False
    offload: str = ""

    def text(self) -> str:
        """For `ModelHandle.options`: what differs from the defaults, `{}` for nothing; equal for equal options.

        Raises:
            InputError: an option has a value that it cannot have.
        """
        _check(self)
        default = asdict(Options())
        return canonical({name: value for name, value in asdict(self).items() if value != default[name]})


@lru_cache(maxsize=128)
def parse(text: str) -> Options:
    """The options of a handle.

    Raises:
        InputError: there is no such option, or it cannot have this value.
    """
    given = json.loads(text)
    if strangers := sorted(set(given) - set(asdict(Options()))):
        raise InputError("options", expected=f"options of {', '.join(asdict(Options()))}", got=repr(strangers[0]))
    options = Options(**given)
    _check(options)
    return options


def _check(options: Options) -> None:
    for port, allowed in (("attention", ATTENTIONS), ("offload", OFFLOADS)):
        if (value := getattr(options, port)) not in allowed:
            named = ", ".join(f"`{name}`" if name else "nothing" for name in allowed)
            raise InputError(port, expected=f"one of {named}", got=repr(value))
    for port in ("compile", "channels_last"):
        if not isinstance(value := getattr(options, port), bool):
            raise InputError(port, expected="true or false", got=repr(value))
