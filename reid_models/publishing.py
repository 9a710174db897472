"""From a trained encoder to a bundle folder: scored and calibrated on identities it was not trained on."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from functools import partial
from pathlib import Path

import torch

from reid_models.attribute_accuracy import attribute_accuracy
from reid_models.benchmarks import embed_set, image_report, made_sentences, text_report
from reid_models.bundle import Bundle, model_digest, save_bundle, stored_weights
from reid_models.calibration import calibrate
from reid_models.datasets.captions import read_attributes, read_captions
from reid_models.datasets.described import DescribedPeople, Source
from reid_models.datasets.sample import identities_of
from reid_models.encoder import PersonEncoder, sub_word_tokenizer
from reid_models.inference import BundleEncoder, chosen_precision
from reid_models.manifest import InputFormat, Manifest, Training
from reid_models.transforms import IMAGENET
from reid_models.vocabulary import Vocabulary

log = logging.getLogger(__name__)

SENTENCE_SEED = 5


def assemble(
    name: str, created: date, encoder: PersonEncoder, vocabulary: Vocabulary | None, training: Training, licence: str,
    size: tuple[int, int],
) -> Bundle:  # fmt: skip
    """A bundle in memory, without scores and calibration. `size` is the input's (height, width) in pixels; a model
    without a vocabulary reads by CLIP's own tokenizer.
    """
    words = None if vocabulary is None else vocabulary.words
    tokenize = (
        sub_word_tokenizer(encoder.context_length)
        if vocabulary is None
        else partial(vocabulary.encode, context_length=encoder.context_length)
    )
    input_format = InputFormat(height_px=size[0], width_px=size[1], mean=IMAGENET.mean, std=IMAGENET.std)
    manifest = Manifest(
        digest=model_digest(stored_weights(encoder), encoder.architecture, input_format, words),
        name=name,
        created=created.isoformat(),
        architecture=encoder.architecture,
        input=input_format,
        appearance_width=encoder.appearance_width,
        language_width=encoder.language_width,
        vocabulary=words,
        training=training,
        metrics={},
        calibration=None,
        licence=licence,
    )
    return Bundle(manifest, encoder, tokenize)


def publish(folder: Path, bundle: Bundle, validation: Mapping[str, Source]) -> Manifest:
    """Score on every validation source, calibrate on the first, write the folder.

    `validation` maps a prefix for the metrics' names to a source whose captions and attributes have a `val` split.
    """
    place = torch.device("cpu")
    encoder = BundleEncoder(bundle, place, chosen_precision(place))
    metrics: dict[str, float] = {}
    calibration = None
    for prefix, source in validation.items():
        embedded = embed_set(encoder, source.images)
        shown = set(embedded.query_identities.tolist()) | set(embedded.gallery_identities.tolist())
        captions = [caption for caption in read_captions(source.captions, "val") if caption.identity in shown]
        made = [
            caption for caption in made_sentences(source.attributes, "val", SENTENCE_SEED) if caption.identity in shown
        ]
        reports = {
            "image": asdict(image_report(embedded)),
            "caption": asdict(text_report(encoder, embedded, captions)),
            "attribute_sentence": asdict(text_report(encoder, embedded, made)),
            "attribute": attribute_accuracy(encoder, embedded, read_attributes(source.attributes, "val")),
        }
        metrics |= {
            f"{prefix}_{kind}_{score}": round(float(value), 4)
            for kind, report in reports.items()
            for score, value in report.items()
        }
        if calibration is None:
            vectors = encoder.embed_texts([caption.text for caption in captions])
            measured_on = f"{prefix}: {len(shown)} identities that the model was not trained on"
            described = identities_of(captions)
            calibration = calibrate(embedded, vectors, described, measured_on)
    manifest = bundle.manifest.model_copy(update={"metrics": metrics, "calibration": calibration})
    save_bundle(folder, bundle.encoder, manifest)
    log.info("wrote %s with digest %s: %s", folder, manifest.digest, metrics)
    return manifest


def data_digest(people: DescribedPeople) -> str:
    """16 hexadecimal digits that name the training images by file name and label."""
    pairs = [(sample.file_name, int(label)) for sample, label in zip(people.samples, people.labels, strict=True)]
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()[:16]
