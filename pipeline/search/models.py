"""One model at work in the search: questions become its vectors, and are compared with vectors of its digest alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.contracts import F32, Image
from pipeline.interfaces import Encoder
from pipeline.search.crowd import Means
from pipeline.search.feedback import MAX_VERDICTS, VerdictSource, taught
from pipeline.search.index import RowSource, VectorIndex
from pipeline.search.query import Calibration
from pipeline.search.text_calibration import TextCalibration
from pipeline.search.wording import NEUTRAL


@dataclass(frozen=True, slots=True)
class SearchConfig:
    """The calibrations belong to one model, and come with it."""

    text: TextCalibration
    appearance: Calibration


_MOST_SENTENCES = 4096  # whose vectors are kept: 4 MB of the shipped model


class SearchModel:
    """An encoder with what its similarities mean and the vectors of its digest. Safe to use from many threads."""

    def __init__(
        self,
        source: RowSource,
        encoder: Encoder,
        config: SearchConfig,
        unknown_words: Callable[[str], Sequence[str]] = lambda _: (),
        means: Callable[[], Means | None] = lambda: None,
    ) -> None:
        """`means` makes what an index compares whole identities by; None: products in float32."""
        self.config = config
        self._words = config.text
        self._verdict_change = -1  # up to which verdicts are known
        self.unknown_words = unknown_words
        self.language = VectorIndex(source, encoder.digest, "language", means())
        self.appearance = VectorIndex(source, encoder.digest, "appearance", means())
        self._encoder = encoder
        self._encoding = threading.Lock()
        self._neutral: F32 | None = None
        self._embedded: dict[str, F32] = {}  # vectors of sentences, the one asked for longest ago first

    @property
    def digest(self) -> str:
        return self._encoder.digest

    def embed_texts(self, sentences: Sequence[str]) -> F32:
        """(N, L) unit vectors, to be compared with `language`."""
        with self._encoding:
            # The parts of descriptions recur, "a man" and "a person with a backpack": three of four need no pass.
            asked = dict.fromkeys(sentences)
            fresh = [sentence for sentence in asked if sentence not in self._embedded]
            if fresh:
                self._embedded.update(zip(fresh, self._encoder.embed_texts(fresh), strict=True))
            for sentence in asked:
                self._embedded[sentence] = self._embedded.pop(sentence)
            vectors = np.stack([self._embedded[sentence] for sentence in sentences])
            for sentence in list(self._embedded)[:-_MOST_SENTENCES]:
                del self._embedded[sentence]
        return vectors

    def neutral(self) -> F32:
        """(L,) the vector of nobody in particular."""
        if self._neutral is None:
            self._neutral = self.embed_texts((NEUTRAL,))[0]
        return self._neutral

    def embed_picture(self, picture: Image) -> F32:
        """(A,) unit vector, to be compared with `appearance`."""
        with self._encoding:
            vector: F32 = self._encoder.embed_images([picture]).appearance[0]
        return vector

    @property
    def words(self) -> TextCalibration:
        """What similarities to words mean, with what the site has said about answers."""
        return self._words

    def listen(self, said: VerdictSource) -> None:
        """From now on answer with what people say about answers of this model, and without what an erasure took."""
        change = said.verdict_change()  # read first: what is said meanwhile is read again
        if change != self._verdict_change:
            self._words = taught(self.config.text, said.verdicts(self.digest, MAX_VERDICTS))
            self._verdict_change = change

    def make_ready(self) -> None:
        """Follow the database, so that the next question need not. Raises `Unavailable` while it does not answer."""
        self.language.refresh()
        self.appearance.refresh()

    def check(self) -> None:
        """Whether the model answers; raises what it raises."""
        with self._encoding:
            self._encoder.embed_texts((NEUTRAL,))
