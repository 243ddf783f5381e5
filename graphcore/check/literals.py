"""Why a literal cannot stand at a port, in words."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic.errors import PydanticUserError

from graphcore.declare import ports
from graphcore.declare.node import Port
from graphcore.errors import did_you_mean
from graphcore.files.described import show


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a port expects, what it got, the likely fix."""

    expected: str
    got: str
    fix: str = ""

    @property
    def message(self) -> str:
        return f"wants {self.expected}, got {self.got}"


def refusal(port: Port, value: Any) -> Refusal | None:
    """Why a port refuses a JSON value; None if it takes it."""
    if value is None and ports.accepts_none(port.annotation):
        return None
    if not port.literal:
        if value == [] and ports.item_type(port.type) is not None:
            return None
        return Refusal(f"a link to {ports.say(port.type)}", show(value))
    try:
        port.validate(value)
    except ValueError as error:
        return Refusal(_expected(port, str(error)), show(value), _fix(port, value))
    except (TypeError, OverflowError, PydanticUserError):  # no JSON value, or a type that pydantic cannot read
        return Refusal(ports.say(port.type), show(value))
    return None


def _expected(port: Port, message: str) -> str:
    if choices := _choices(port):
        return "one of " + ", ".join(show(choice) for choice in choices)
    if message.startswith("Out of range float"):
        return "a finite number"
    place, _, rest = message.rpartition("Input should be ")
    rest = rest.partition("; ")[0]
    words = {"greater": "a number greater", "less": "a number less"}
    first = rest.partition(" ")[0]
    place = place.rstrip(": ")
    text = rest.replace(first, words.get(first, first), 1)
    return f"{text} at {place}" if place and ";" not in place and rest else text or message


def _fix(port: Port, value: Any) -> str:
    if choices := [str(choice) for choice in _choices(port)]:
        return did_you_mean(value, choices) if isinstance(value, str) else ""
    for other in _rewritten(value):
        try:
            port.validate(other)
        except (ValueError, TypeError, PydanticUserError):
            continue
        return f"write {show(other)}"
    return ""


def _rewritten(value: Any) -> list[Any]:
    """What a person may have meant: the number in a text, the text of a number."""
    if isinstance(value, str) and len(value) < 40:
        known: dict[str, Any] = {"true": True, "false": False}
        numbers = [kind(value) for kind in (int, float) if _reads(kind, value)]
        return [known[value.lower()]] if value.lower() in known else numbers
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return [int(value)]
    return [str(value)] if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53 else []


def _reads(kind: type, text: str) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


def _choices(port: Port) -> list[Any]:
    """The values of a port that is a closed choice; empty for others."""
    found: list[Any] = []
    for member in ports.members(port.annotation):
        if get_origin(member) is Literal:
            found.extend(get_args(member))
        elif isinstance(member, type) and issubclass(member, enum.Enum):
            found.extend(choice.value for choice in member)
        elif member is not type(None):
            return []
    return found
