"""How a question is put to the encoder: several wordings for a few words, and a term of its own for `without …`.

Towers that learnt image and sentence together hardly hear a negation: "without a backpack" lands beside "with a
backpack". So what must not be there is taken out of the sentence and subtracted as a direction.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from pipeline.contracts import F32
from pipeline.errors import InvalidQuery
from pipeline.search.query import centre

MAX_QUERY_CHARACTERS = 300
NEUTRAL = "a person"

_PEOPLE = re.compile(
    r"\b(person|people|m[ae]n|wom[ae]n|boys?|girls?|lad(y|ies)|gentlem[ae]n|guys?|child|kid|adult|someone|somebody|"
    r"pedestrian|s?he|(fe)?male|teenager|student|worker)\b",
    re.IGNORECASE,
)
_ARTICLES = ("a", "an", "the", "his", "her", "their", "some", "one", "two")
_SHORT_WORDS = 4
# Words that describe nobody: an unknown one among them takes nothing from the answer.
_FILLER = re.compile(
    r"an?|the|his|her|their|its|some|any|one|two|of|in|on|at|by|to|for|from|with|without|and|or|but|not|no|is|are|was|"
    r"were|be|been|has|have|had|having|who|whom|which|that|this|there|here|it|s?he|they|i|we|you|me|us|show|find|give|"
    r"search|look|looking|seen|see|saw|please|all|every|someone|somebody|anyone|person|people|wear(ing|s)|wore|"
    r"carry(ing)?|carries|holding|\w*\d\w*"
)
_LEAST_UNKNOWN_SHARE = 0.2  # of what describes: one unknown word in five is a part of the question that goes unheard
_NEGATION = re.compile(
    r"[,;]?\s*\b(?:but\s+)?(?:without|(?:with|has|have|wears|wearing|carrying|carries)\s+no|not\s+(?:wearing|carrying|having|with)|no)\s+"
    r"(?P<thing>.+?)(?=\s*(?:[,;.]|$|\b(?:but|and|with|without|wearing|carrying|in)\b))",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Wording:
    """The sentences of one question. `absent` holds the things that must not be there, each as a sentence."""

    present: tuple[str, ...]
    absent: tuple[str, ...] = ()


def wording(question: str) -> Wording:
    """The sentences to embed for what somebody typed. Raises `InvalidQuery` for nothing or far too much."""
    words = " ".join(question.split())
    if not words:
        raise InvalidQuery(
            "the question is empty", "a description of a person", 'ask, for example, "woman in a red coat"'
        )
    if len(words) > MAX_QUERY_CHARACTERS:
        raise InvalidQuery(
            f"the question has {len(words)} characters",
            f"at most {MAX_QUERY_CHARACTERS}",
            "describe one person briefly",
        )
    absent = tuple(f"a person with {_with_article(found['thing'])}" for found in _NEGATION.finditer(words))
    present = " ".join(_NEGATION.sub(" ", words).split()).strip(" ,;.")
    return Wording(_wordings(present) if present else (NEUTRAL,), absent)


def is_heard(question: str, unknown_words: Collection[str]) -> bool:
    """Whether a model that does not know `unknown_words` has understood enough to call anybody a match.

    "A woman with a zeppelin" is not answered by a woman. In a long description one strange word weighs less.
    """
    words = re.findall(r"[a-z0-9]+", question.lower())
    describing = [word for word in words if not _FILLER.fullmatch(word)]
    unheard = [word for word in describing if word in unknown_words]
    return not unheard or len(unheard) < _LEAST_UNKNOWN_SHARE * len(describing)


def direction(present: F32, absent: F32, neutral: F32, absent_weight: float) -> F32:
    """The query vector (D,): the mean direction of `present` (P, D), less what `absent` (A, D) adds to `neutral` (D,).

    With nothing absent it has unit length. Otherwise a person who shows none of the absent things is as similar to it
    as to `present` alone, and one who does is less so.
    """
    away = (absent - neutral).sum(axis=0) if len(absent) else np.zeros_like(neutral)
    return np.asarray(centre(present) - absent_weight * away, np.float32)


def _wordings(words: str) -> tuple[str, ...]:
    """A full sentence stays alone; a few words without a person get one in several ways."""
    if len(words.split()) > _SHORT_WORDS or _PEOPLE.search(words):
        return (words,)
    thing = _with_article(words)
    return (f"a person wearing {thing}", f"a person with {thing}", f"the person has {thing}")


def _with_article(thing: str) -> str:
    first, last = thing.split()[0].lower(), thing.split()[-1].lower()
    if first in _ARTICLES or (last.endswith("s") and not last.endswith("ss")):
        return thing
    return f"an {thing}" if first[0] in "aeiou" else f"a {thing}"
