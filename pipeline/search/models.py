"""One model at work in the search: questions become its vectors, and are compared with vectors of its digest alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.contracts import F32, Image
from pipeline.interfaces import Encoder
from pipeline.search.index import RowSource, VectorIndex
from pipeline.search.query import Calibration
from pipeline.search.wording import NEUTRAL, direction, is_heard, wording


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as a model hears it."""

    vector: F32  # (L,), to be compared with vectors of `language`
    unknown_words: tuple[str, ...]
    is_heard: bool  # enough of it to call anybody a match


@dataclass(frozen=True, slots=True)
class SearchConfig:
    """The calibrations belong to one model, and come with it."""

    text: Calibration
    appearance: Calibration
    absent_weight: float = 2.0  # of each "without …"; 1 and less left people with the thing above those without


class SearchModel:
    """An encoder with what its similarities mean and the vectors of its digest. Safe to use from many threads."""

    def __init__(
        self,
        source: RowSource,
        encoder: Encoder,
        config: SearchConfig,
        unknown_words: Callable[[str], Sequence[str]] = lambda _: (),
    ) -> None:
        self.config = config
        self.unknown_words = unknown_words
        self.language = VectorIndex(source, encoder.digest, "language")
        self.appearance = VectorIndex(source, encoder.digest, "appearance")
        self._encoder = encoder
        self._encoding = threading.Lock()

    @property
    def digest(self) -> str:
        return self._encoder.digest

    def asked(self, question: str) -> Asked:
        """What the model hears of a question. Raises `InvalidQuery` for nothing or far too much."""
        said = wording(question)
        present, absent = len(said.present), len(said.absent)
        vectors = self.embed_texts((*said.present, *said.absent, NEUTRAL))
        vector = direction(
            vectors[:present], vectors[present : present + absent], vectors[-1], self.config.absent_weight
        )
        unknown_words = tuple(self.unknown_words(question))
        return Asked(vector, unknown_words, is_heard(question, unknown_words))

    def embed_texts(self, sentences: Sequence[str]) -> F32:
        """(N, L) unit vectors, to be compared with `language`."""
        with self._encoding:
            return self._encoder.embed_texts(sentences)

    def embed_picture(self, picture: Image) -> F32:
        """(A,) unit vector, to be compared with `appearance`."""
        with self._encoding:
            vector: F32 = self._encoder.embed_images([picture]).appearance[0]
        return vector

    def make_ready(self) -> None:
        """Follow the database, so that the next question need not. Raises `Unavailable` while it does not answer."""
        self.language.refresh()
        self.appearance.refresh()

    def check(self) -> None:
        """Whether the model answers; raises what it raises."""
        self.embed_texts((NEUTRAL,))
