"""How a question is put to the encoder: several wordings, its parts beside the whole, and what must not be there apart.

Towers that learnt image and sentence together hardly hear a negation: "without a backpack" lands beside "with a
backpack". So what must not be there is taken out of the sentence, and looked for by itself.
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
_MOST_PARTS = 6
_PARTS_WEIGHT = 0.5  # of the parts beside the whole; by themselves they lose what belongs to what
_WORD = re.compile(r"[a-z0-9]+", re.IGNORECASE)
_BREAK = re.compile(r"[.,;]+|\b(?:and|with|in|wear(?:s|ing)|is|has|having|carries|carrying)\b", re.IGNORECASE)
_LEADING = re.compile(r"^(?:(?:an?|the|his|her|their|some|who|she|he)\s+)+", re.IGNORECASE)
# What a negation leaves at an end of the sentence.
_DANGLING = re.compile(r"(?:^|[\s,;]+)(?:and|but|with|or)[\s,;.]*$|^(?:and|but|or)\b", re.IGNORECASE)
# Words that describe nobody: an unknown one among them takes nothing from the answer.
_FILLER = re.compile(
    r"an?|the|his|her|their|its|some|any|one|two|of|in|on|at|by|to|for|from|with|without|and|or|but|not|no|is|are|was|"
    r"were|be|been|has|have|had|having|who|whom|which|that|this|there|here|it|s?he|they|i|we|you|me|us|show|find|give|"
    r"search|look|looking|seen|see|saw|please|all|every|someone|somebody|anyone|anybody|everyone|everybody|person|people|wear(ing|s)|wore|"
    r"carry(ing)?|carries|holding|\w*\d\w*"
)
_LEAST_UNKNOWN_SHARE = 0.2  # of what describes: one unknown word in five is a part of the question that goes unheard
_NEGATION = re.compile(
    r"[,;]?\s*\b(?:but\s+)?(?:without|(?:with|has|have|wears|wearing|carrying|carries)\s+no|not\s+(?:wearing|carrying|having|with)|not(?=\s+an?\s)|no)\s+"
    r"(?P<thing>.+?)(?=\s*(?:[,;.]|$|\b(?:but|and|with|without|wearing|carrying|in)\b))",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Wording:
    """The sentences of one question.

    `parts` are what is said of a person one by one, where there is more than one thing; `absent` are the things that
    must not be there, each as a sentence. `said` and `denied` are the words of both, for people to read.
    """

    present: tuple[str, ...]
    parts: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    text: str = ""  # the question without what is denied
    words: int = 1

    @property
    def sentences(self) -> tuple[str, ...]:
        """All of them, as `ask_vectors` expects their vectors."""
        return (*self.present, *self.parts, *self.absent)


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
    denied = tuple(found["thing"] for found in _NEGATION.finditer(words))
    present = _NEGATION.sub(_left_behind, words)
    present = re.sub(r"\s*,[\s,]*", ", ", " ".join(present.split())).strip(" ,;.")
    present = _DANGLING.sub("", present).strip(" ,;.")
    said = _parts(present)
    return Wording(
        present=_wordings(present, said) if present else (NEUTRAL,),
        parts=tuple(_of_person(part) for part in said) if len(said) > 1 else (),
        absent=tuple(_of_person(thing) for thing in denied),
        said=said,
        denied=denied,
        text=present,
        words=max(len(_WORD.findall(present)), 1),
    )


def describes(question: str) -> bool:
    """Whether anything is said of how somebody looks: "anybody" and "who was there" say nothing."""
    return any(not _FILLER.fullmatch(word) for word in _words(question))


def is_heard(question: str, unknown_words: Collection[str]) -> bool:
    """Whether a model that does not know `unknown_words` has understood enough to call anybody a match.

    "A woman with a zeppelin" is not answered by a woman. In a long description one strange word weighs less.
    """
    words = re.findall(r"[a-z0-9]+", question.lower())
    describing = [word for word in words if not _FILLER.fullmatch(word)]
    unheard = [word for word in describing if word in unknown_words]
    return not unheard or len(unheard) < _LEAST_UNKNOWN_SHARE * len(describing)


def ask_vectors(asked: Wording, vectors: F32, neutral: F32) -> tuple[F32, F32]:
    """What to compare people with, from the vectors (N, D) of `asked.sentences`: a unit vector (D,) for what shall be
    there, and (A, D) what each thing that shall not adds to `neutral` (D,)."""
    whole, parts, absent = np.split(vectors, np.cumsum([len(asked.present), len(asked.parts)]))
    present = centre(whole)
    if len(parts):
        present = centre(np.stack([present, _PARTS_WEIGHT * parts.mean(axis=0)]))
    return present, np.asarray(absent - neutral, np.float32)


def _wordings(words: str, said: tuple[str, ...]) -> tuple[str, ...]:
    """A full sentence stays alone; what lists a few things becomes one, in several ways where no person is named."""
    pieces = [piece.strip() for piece in words.split(",")]
    is_list = len(pieces) > 1 and all(
        len(piece.split()) <= _SHORT_WORDS and not _BREAK.search(piece) for piece in pieces
    )
    if not is_list and (len(words.split()) > _SHORT_WORDS or _PEOPLE.search(words)):
        return (words,)
    who = [part for part in said if _is_person(part)]
    things = " and ".join(_with_article(part) for part in said if part not in who[:1]) or _with_article(words)
    if who:
        return (f"{_with_article(who[0])} with {things}",) if len(said) > 1 else (words,)
    return (f"a person wearing {things}", f"a person with {things}", f"the person has {things}")


def _parts(words: str) -> tuple[str, ...]:
    """What is said of a person one by one: "woman", "red coat", "backpack"."""
    parts = (_LEADING.sub("", piece.strip()) for piece in _BREAK.split(words))
    told = (part for part in parts if any(not _FILLER.fullmatch(word) for word in _words(part)))
    return tuple(dict.fromkeys(told))[:_MOST_PARTS]


def _left_behind(found: re.Match[str]) -> str:
    return ", " if found[0].lstrip().startswith((",", ";")) else " "


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _of_person(thing: str) -> str:
    return _with_article(thing) if _is_person(thing) else f"a person with {_with_article(thing)}"


def _is_person(part: str) -> bool:
    return len(part.split()) <= _SHORT_WORDS and bool(_PEOPLE.search(part))


def _with_article(thing: str) -> str:
    first, last = thing.split()[0].lower(), thing.split()[-1].lower()
    if first in _ARTICLES or (last.endswith("s") and not last.endswith("ss")):
        return thing
    return f"an {thing}" if first[0] in "aeiou" else f"a {thing}"
