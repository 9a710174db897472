"""People with labels and sentences from one or more data sets, ready for training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import ConfigurationError
from reid_models.datasets.attribute_sentences import attribute_sentence
from reid_models.datasets.captions import by_identity, read_attributes, read_captions
from reid_models.datasets.market1501 import read_train
from reid_models.datasets.sample import I64, ImageSample

WORDINGS = 8  # attribute sentences per identity from which the vocabulary is learnt


@dataclass(frozen=True, slots=True)
class Source:
    """One data set: images in the layout of Market-1501, and the JSON files of its captions and coded attributes."""

    images: Path
    captions: Path
    attributes: Path


@dataclass(frozen=True, slots=True)
class DescribedPeople:
    """Training images of several sources. Labels count from 0 over all sources; texts are listed by label."""

    samples: tuple[ImageSample, ...]
    labels: I64  # (N,)
    captions: tuple[tuple[str, ...], ...]  # written by people; empty for many labels
    attributes: tuple[Mapping[str, int], ...]

    def descriptions(self, rng: np.random.Generator) -> Iterator[list[str]]:
        """By label: what people wrote, and the attributes in several wordings."""
        for captions, attributes in zip(self.captions, self.attributes, strict=True):
            yield [*captions, *(attribute_sentence(attributes, rng) for _ in range(WORDINGS))]


def read_described_people(sources: Sequence[Source]) -> DescribedPeople:
    """The training part of each source; equal identity numbers of two sources are two people."""
    samples: list[ImageSample] = []
    labels: list[int] = []
    captions: list[tuple[str, ...]] = []
    attributes: list[Mapping[str, int]] = []
    for source in sources:
        train = read_train(source.images)
        identities = sorted({sample.identity for sample in train})
        label_of = {identity: len(captions) + place for place, identity in enumerate(identities)}
        written = by_identity(read_captions(source.captions, "train"))
        coded = read_attributes(source.attributes, "train")
        missing = sorted(set(identities) - set(coded))
        if missing:
            raise ConfigurationError(
                f"{source.attributes} has no attributes of split 'train' for identity {missing[0]} ({len(missing)} are "
                "missing); the file must describe every training identity of the images"
            )
        samples.extend(train)
        labels.extend(label_of[sample.identity] for sample in train)
        captions.extend(tuple(written.get(identity, ())) for identity in identities)
        attributes.extend(coded[identity] for identity in identities)
    return DescribedPeople(tuple(samples), np.array(labels, np.int64), tuple(captions), tuple(attributes))
