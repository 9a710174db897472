"""The frozen probe set: labelled images of a site, with captions if there are any, on which every night is judged."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import ConfigurationError
from reid_models.benchmarks import EmbeddedSet, ScoredEncoder, embed_set, image_report, text_report
from reid_models.calibration import calibrate
from reid_models.datasets.captions import read_captions
from reid_models.datasets.market1501 import read_query_and_gallery
from reid_models.datasets.sample import JUNK, identities_of
from reid_models.evaluation import score_ranking
from reid_models.manifest import Calibration
from reid_models.promotion import CameraPair, Figures, PairFigure

SPLIT = "val"  # of the captions


@dataclass(frozen=True, slots=True)
class Probe:
    """`images` in the layout of Market-1501 (query and bounding_box_test); captions as JSON, or None."""

    images: Path
    captions: Path | None


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a probe set says of one model. Calibration needs captions."""

    figures: Figures
    calibration: Calibration | None


def find_probe(images: Path, captions: Path | None) -> Probe:
    """With `captions.json` beside the images where none is named."""
    beside = images / "captions.json"
    return Probe(images, captions or (beside if beside.exists() else None))


def probe_digest(probe: Probe) -> str:
    """16 hexadecimal digits over names and bytes of everything that is judged on."""
    parts = read_query_and_gallery(probe.images)
    digest = hashlib.sha256()
    for sample in (*parts.query, *parts.gallery):
        digest.update(sample.file_name.encode() + hashlib.sha256(sample.archive.read(sample.name)).digest())
    if probe.captions is not None:
        digest.update(probe.captions.read_bytes())
    return digest.hexdigest()[:16]


def examine(encoder: ScoredEncoder, probe: Probe) -> ProbeResult:
    """Score and calibrate. Raises `ConfigurationError` for a set on which nothing can be measured."""
    embedded = embed_set(encoder, probe.images)
    try:
        images = image_report(embedded)
    except ValueError as error:
        raise ConfigurationError(f"{probe.images}: {error}; a probe set shows people in two cameras or more") from error
    figures = Figures(images.mean_average_precision, None, camera_pairs(embedded))
    if probe.captions is None:
        return ProbeResult(figures, None)
    shown = {*embedded.query_identities.tolist(), *embedded.gallery_identities.tolist()}
    captions = [caption for caption in read_captions(probe.captions, SPLIT) if caption.identity in shown]
    rank_1 = text_report(encoder, embedded, captions).rank_1
    sentences = encoder.embed_texts([caption.text for caption in captions])
    calibration = calibrate(
        embedded,
        sentences,
        identities_of(captions),
        f"{probe.images.name}: {images.identities} people of the probe set",
    )
    return ProbeResult(Figures(figures.image_mean_average_precision, rank_1, figures.camera_pairs), calibration)


def camera_pairs(embedded: EmbeddedSet) -> dict[CameraPair, PairFigure]:
    """Mean average precision between each two cameras: queries of either against gallery images of the other."""
    similarity = embedded.query.appearance @ embedded.gallery.appearance.T
    right = embedded.query_identities[:, None] == embedded.gallery_identities[None, :]
    junk = embedded.gallery_identities == JUNK
    seen = np.union1d(embedded.query_cameras, embedded.gallery_cameras).tolist()
    found: dict[CameraPair, PairFigure] = {}
    for place, one in enumerate(seen):
        for other in seen[place + 1 :]:
            from_one = (embedded.query_cameras == one)[:, None] & (embedded.gallery_cameras == other)[None, :]
            from_other = (embedded.query_cameras == other)[:, None] & (embedded.gallery_cameras == one)[None, :]
            counts = (from_one | from_other) & ~junk[None, :]
            if (right & counts).any():
                scores = score_ranking(similarity, right, ~counts)
                found[one, other] = PairFigure(scores.mean_average_precision, scores.queries)
    return found
