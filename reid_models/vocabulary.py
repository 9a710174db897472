"""Words and their numbers. The vocabulary is small and closed, so that a sentence's unknown words can be named."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

PAD, START, UNKNOWN, FIRST_WORD = 0, 1, 2, 3

_JOINED = {"t shirt": "tshirt", "t shirts": "tshirt", "tee shirt": "tshirt", "back pack": "backpack"}
_SPELLING = {
    "grey": "gray", "greyish": "grayish", "coloured": "colored", "colour": "color", "colours": "color",
    "colors": "color", "tshirts": "tshirt", "women": "woman", "men": "man",
}  # fmt: skip


def split_words(sentence: str) -> list[str]:
    """Lower-case words with one spelling each: `Grey T-shirts` → `gray`, `tshirt`. Hyphens separate."""
    text = " ".join(re.findall(r"[a-z0-9]+", re.sub(r"['’]s\b", "", sentence.lower())))
    for spelling, word in _JOINED.items():
        text = re.sub(rf"\b{spelling}\b", word, text)
    return [_SPELLING.get(word, word) for word in text.split()]


@dataclass(frozen=True)
class Vocabulary:
    """`words` in order of their numbers, from `FIRST_WORD`; the end mark has the highest, as open_clip expects."""

    words: tuple[str, ...]
    _numbers: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_numbers", {word: FIRST_WORD + place for place, word in enumerate(self.words)})

    @property
    def size(self) -> int:
        """How many numbers there are, marks included."""
        return FIRST_WORD + len(self.words) + 1

    def unknown_words(self, sentence: str, scarce: Collection[str] = ()) -> list[str]:
        """The words that say nothing to the model, or are `scarce` for it, each once, in order."""
        silent = {UNKNOWN, *(self._numbers[word] for word in scarce)}
        return [word for word in dict.fromkeys(split_words(sentence)) if self._number(word) in silent]

    def encode(self, sentences: Sequence[str], context_length: int) -> Tensor:
        """(N, context length) numbers: start, words, end, padding. A sentence that is too long loses its last words."""
        token_ids = torch.full((len(sentences), context_length), PAD)
        for row, sentence in enumerate(sentences):
            numbers = [self._number(word) for word in split_words(sentence)][: context_length - 2]
            token_ids[row, : len(numbers) + 2] = torch.tensor([START, *numbers, self.size - 1])
        return token_ids

    def _number(self, word: str) -> int:
        """The word's number, or that of its singular: plurals need not all have been seen."""
        number = self._numbers.get(word)
        if number is None and word.endswith("s"):
            number = self._numbers.get(word.removesuffix("s")) or self._numbers.get(word.removesuffix("es"))
        return UNKNOWN if number is None else number


def learn_vocabulary(sentences: Iterable[str], least_count: int, kept: Sequence[str] = ()) -> Vocabulary:
    """All words that occur at least `least_count` times; a rarer word would keep its random start and mislead.

    The words of the sentences `kept` are known however rare: a prompt's template, whose words and placeholders occur in
    no caption.
    """
    counts = Counter(word for sentence in sentences for word in split_words(sentence))
    words = {word for word, count in counts.items() if count >= least_count}
    return Vocabulary(tuple(sorted(words.union(*map(split_words, kept)))))


def scarce_words(descriptions: Iterable[Iterable[str]], vocabulary: Vocabulary, least_people: int) -> tuple[str, ...]:
    """The words of `vocabulary` that are said of fewer than `least_people`; `descriptions` are listed by person."""
    people = Counter(
        word for sentences in descriptions for word in {word for text in sentences for word in split_words(text)}
    )
    return tuple(word for word in vocabulary.words if people[word] < least_people)
