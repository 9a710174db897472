"""What each device of the search brings: the same questions put to the vectors in plainer and plainer ways. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.contracts import F32, F64
from pipeline.search.query import Ask, Bools, Filters
from pipeline.search.text_calibration import TextCalibration
from pipeline.search.wording import NEUTRAL, Wording, ask_vectors, wording

Embed = Callable[[Sequence[str]], F32]
Device = Callable[[str, Embed, TextCalibration], Ask]

EVERYTHING = "everything"


def everything(question: str, embed: Embed, curve: TextCalibration) -> Ask:
    """As the search asks."""
    return _asked(wording(question), embed, curve)


def _without_parts(question: str, embed: Embed, curve: TextCalibration) -> Ask:
    return _asked(replace(wording(question), parts=()), embed, curve)


def _as_typed(question: str, embed: Embed, curve: TextCalibration) -> Ask:
    """No templates and no parts; a negation stands for itself."""
    asked = wording(question)
    return _asked(replace(asked, present=(", ".join(asked.said) or NEUTRAL,), parts=()), embed, curve)


def _negation_in_the_sentence(question: str, embed: Embed, curve: TextCalibration) -> Ask:
    return _asked(Wording(present=(question,), words=wording(question).words), embed, curve)


def _negation_ignored(question: str, embed: Embed, curve: TextCalibration) -> Ask:
    return _asked(replace(wording(question), absent=()), embed, curve)


def _negation_subtracted(question: str, embed: Embed, curve: TextCalibration) -> Ask:
    """The thing as a direction, taken twice from the question: how it was done before."""
    return replace(everything(question, embed, curve), judge=_Linear(2.0))


# With what is done for every question, then without it; with what is done for a negation, then otherwise.
DEVICES: Mapping[str, Device] = {
    EVERYTHING: everything,
    "without_parts": _without_parts,
    "without_templates_and_parts": _as_typed,
}
WAYS_TO_DENY: Mapping[str, Device] = {
    "negation_in_the_sentence": _negation_in_the_sentence,
    "negation_ignored": _negation_ignored,
    "negation_subtracted": _negation_subtracted,
}


@dataclass(frozen=True, slots=True)
class _Linear:
    """A `Judge` that subtracts what speaks for a thing, however little."""

    weight: float

    def fits(self, similarities: F64, things: F64, /) -> F64:
        return np.asarray(similarities - self.weight * things.sum(axis=1), np.float64)

    def judged(self, fits: F64) -> tuple[F64, Bools]:
        return np.zeros(len(fits)), np.zeros(len(fits), np.bool_)


def _asked(asked: Wording, embed: Embed, curve: TextCalibration) -> Ask:
    present, absent = ask_vectors(asked, embed(asked.sentences), embed((NEUTRAL,))[0])
    return Ask(present, absent, Filters(), curve.asked(asked.words))
