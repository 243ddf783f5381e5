"""One schedule in two pieces, so that something can change between two steps and the steps before stay as they are."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from pydantic import Field

from graphcore import InputError, TensorSpec, node
from nodes.types import Timesteps


class Pieces(NamedTuple):
    first: Timesteps
    rest: Timesteps


def _infer(timesteps: Timesteps | None = None, at: int | None = None) -> Pieces | None:
    length = None if timesteps is None else timesteps.values.shape[0]
    if at is None:
        return None
    if length is not None and at > length:
        raise _too_far(at, length)
    rest = None if length is None else length - at
    return Pieces(Timesteps(TensorSpec((at,))), Timesteps(TensorSpec((rest,))))  # type: ignore[arg-type]


@node(category="sampling", infer=_infer, pieces=lambda at: (("timesteps", 0), ("timesteps", at)))
def split_timesteps(timesteps: Timesteps, at: Annotated[int, Field(ge=0)]) -> Pieces:
    """The first `at` entries of a schedule, and the rest: two loops that together are one loop over the whole.

    Give the second loop what the first one carries out (latents and solver); then it goes on as if nothing had
    happened, to the last bit, and whatever else it is given can differ from there on. The steps before are not
    computed again: an entry of a piece is the entry of the whole, also in the cache. A piece may be empty (`at` 0, or
    all of them), and a loop over it hands on what it is given, so that `at` can go from one end to the other. A split
    piece can be split again; `at` then counts from its beginning.

    Args:
        timesteps: From `make_schedule`, or a piece.
        at: How many iterations the first loop does; schedulers of second order (`heun`) have two a step.

    Raises:
        InputError: there are fewer entries than that.
    """
    if at > len(timesteps):
        raise _too_far(at, len(timesteps))
    whole = len(timesteps) if timesteps.whole is None else timesteps.whole
    first = Timesteps(timesteps.values[:at], timesteps.begin, whole)
    return Pieces(first, Timesteps(timesteps.values[at:], timesteps.begin + at, whole))


def _too_far(at: int, length: int) -> InputError:
    return InputError("at", expected=f"at most {length}, as many entries as the schedule has", got=str(at))
