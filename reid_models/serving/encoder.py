"""A bundle at work on any runtime: crops and sentences to unit vectors. No torch here until a sentence comes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pipeline.contracts import F32, Embeddings, Image
from pipeline.runtimes.runtime import Runtime
from reid_models.manifest import Calibration, Manifest
from reid_models.serving.pixels import pixel_block

LARGEST_BATCH = 64

Texts = Callable[[Sequence[str]], F32]


class ServedEncoder:
    """The production twin of `pipeline.interfaces.Encoder`: any number of crops of any size, any sentences.

    `images` takes pixels (N, H, W, 3) uint8 to appearance and language vectors. `open_texts` is called at the first
    sentence: the text tower is torch's, and a process that embeds only crops shall not load that.
    """

    def __init__(
        self, manifest: Manifest, images: Runtime, open_texts: Callable[[], Texts], crops_per_pass: int = LARGEST_BATCH
    ) -> None:
        self.manifest = manifest
        self.images = images
        self._open_texts = open_texts
        self._texts: Texts | None = None
        self._crops_per_pass = crops_per_pass

    @property
    def digest(self) -> str:
        return self.manifest.digest

    @property
    def calibration(self) -> Calibration | None:
        """What similarities mean; None for an imported model that was not calibrated."""
        return self.manifest.calibration

    @property
    def input_px(self) -> tuple[int, int]:
        """Height and width to which crops are brought."""
        return self.manifest.input.height_px, self.manifest.input.width_px

    def unknown_words(self, sentence: str) -> list[str]:
        """The words that say nothing or too little to this model. Empty for models with a sub-word tokenizer."""
        from reid_models.vocabulary import Vocabulary

        words = self.manifest.vocabulary
        return [] if words is None else Vocabulary(words).unknown_words(sentence, self.manifest.scarce_words)

    def embed_images(self, crops: Sequence[Image]) -> Embeddings:
        """RGB crops (H, W, 3) uint8 of any size. Raises `InvalidMessage` naming a crop that is something else."""
        step = self._crops_per_pass
        passes = [
            self.images.run(pixel_block(crops[start : start + step], *self.input_px))
            for start in range(0, len(crops), step)
        ]
        widths = (self.manifest.appearance_width, self.manifest.language_width)
        passes = passes or [tuple(np.zeros((0, width), np.float32) for width in widths)]
        appearance, language = (np.concatenate(parts) for parts in zip(*passes, strict=True))
        return Embeddings(appearance, language)

    def embed_texts(self, sentences: Sequence[str]) -> F32:
        """(N, L) unit vectors in the space of `Embeddings.language`."""
        if not sentences:
            return np.zeros((0, self.manifest.language_width), np.float32)
        if self._texts is None:
            self._texts = self._open_texts()
        return self._texts(sentences)
