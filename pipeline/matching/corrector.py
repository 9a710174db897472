"""Corrections, applied between two batches by the only writer of identities."""

from __future__ import annotations

import logging

from pipeline.contracts import GlobalId, TrackletId
from pipeline.decisions import Applied, Correction
from pipeline.errors import SightlineError
from pipeline.interfaces import Clock, Store
from pipeline.matching.corrections import Effect, effect_of
from pipeline.matching.laws import Laws, named_in

log = logging.getLogger(__name__)

_PAGE = 32


def apply_corrections(store: Store, clock: Clock) -> list[Effect]:
    """Apply everything that waits, each in one transaction; returns what was committed."""
    effects: list[Effect] = []
    while pending := store.pending_corrections(_PAGE):
        for correction in pending:
            effect = _applied(store, correction, clock)
            effects.append(effect)
            log.info("correction %d: %s", correction.number, effect.applied.outcome)
    return effects


def read_laws(store: Store) -> Laws:
    """What is law now."""
    in_force = store.open_corrections()
    return Laws(in_force, store.assignments(named_in(in_force)))


def _applied(store: Store, correction: Correction, clock: Clock) -> Effect:
    try:
        effect = _effect(store, correction)
        store.commit_decisions((), clock.now(), effect.revisions, effect.applied)
    except SightlineError:
        raise
    except Exception as error:
        # One that trips over a bug must not stop the matcher for ever; whoever made it sees what came of it.
        log.exception("correction %d cannot be applied", correction.number)
        told = f"nothing: the matcher failed on it ({type(error).__name__}); its log says more"
        effect = Effect((), Applied(correction.number, told))
        store.commit_decisions((), clock.now(), (), effect.applied)
    return effect


def _effect(store: Store, correction: Correction) -> Effect:
    request, in_force = correction.request, store.open_corrections()
    if request.undoes is None:
        return effect_of(correction, store.who_is_who(request.global_ids, request.tracklet_ids), Laws(in_force))
    undone = store.correction(request.undoes)
    events = store.events(undone.event_ids if undone else ())
    named = {GlobalId(number) for e in events for number in (e.global_id, e.from_global_id) if number is not None}
    moved = [TrackletId(name) for event in events for name in event.tracklet_ids]
    others = Laws([each for each in in_force if each.number != request.undoes])
    return effect_of(correction, store.who_is_who(sorted(named), moved), others, events)
