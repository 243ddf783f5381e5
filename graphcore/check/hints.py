"""The likely fix for a value of the wrong type: what else the source gives, or which node makes what is wanted."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any

from graphcore.declare import ports
from graphcore.declare.registry import Registry, short_name

_VAGUE = (Any, object, types.NoneType)


def conversion(registry: Registry, given: Any, wanted: Any) -> str:
    """`vae_encode` makes Latents from an Image; nodes that make it from something else if none does from this."""
    makers = [known for known in registry if any(_is(port.type, wanted) for port in known.outputs.values())]
    direct = [k for k in makers if any(port.required and _is(given, port.type) for port in k.inputs.values())]
    what = ports.say(_solid(wanted))
    if direct:
        source = ports.say(given)
        article = "an" if source[:1].lower() in "aeiou" else "a"
        return f"{_names(direct)} {what} from {article} {source}"
    return f"{_names(makers)} {what}" if makers else ""


def makers(registry: Registry, wanted: Any) -> str:
    """`load_model` makes UNetModel."""
    return conversion(registry, None, wanted)


def other_output(node: str, outputs: Mapping[str, Any] | None, wanted: Any) -> str:
    """`did you mean `model.unet`?` where just one output of a node fits."""
    fitting = [name for name, given in (outputs or {}).items() if _is(given, wanted)]
    return f"did you mean `{node}.{fitting[0]}`?" if len(fitting) == 1 else ""


def _names(known: list[Any]) -> str:
    names = [f"`{short_name(node_type.name)}`" for node_type in known[:3]]
    return f"{' or '.join(names)} {'makes' if len(names) == 1 else 'make'}"


def _solid(wanted: Any) -> Any:
    """A type without the None that it may also take."""
    kept = [member for member in ports.members(wanted) if member is not types.NoneType]
    return kept[0] if len(kept) == 1 else wanted


def _is(given: Any, wanted: Any) -> bool:
    """As `ports.fits`, but only where it tells something: a domain type, not text, numbers or anything."""
    if any(member in _VAGUE or member in ports.SCALARS for member in ports.members(given)):
        return False
    return not any(member in (Any, object) for member in ports.members(wanted)) and ports.fits(given, wanted)
