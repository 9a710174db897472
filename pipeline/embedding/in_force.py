"""Of which models a tracklet needs vectors: the serving one, the one that shall serve, and for a while the former."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.contracts import ServingModel


@dataclass(frozen=True, slots=True)
class Pointer:
    """What the operator wants, by digest; None where it is not known."""

    wanted: str | None
    before: str | None = None  # what was wanted before the last change


def in_force(serving: ServingModel | None, pointer: Pointer, now: float, keep_previous_s: float) -> tuple[str, ...]:
    """Digests of the models to embed with, the serving one first. At most two.

    While nobody says which model serves, it is the wanted one or the one before. The former model is kept for
    `keep_previous_s` after a change, so that a rollback finds its vectors complete, unless another change is under way.
    """
    if serving is None:
        chosen = (pointer.wanted, pointer.before)
    elif pointer.wanted not in (None, serving.digest):
        chosen = (serving.digest, pointer.wanted)
    else:
        is_kept = now - serving.since_at < keep_previous_s
        chosen = (serving.digest, serving.previous if is_kept else None)
    return tuple(dict.fromkeys(digest for digest in chosen if digest is not None))
