"""`sightline models import`: a model that others trained becomes a bundle of this site, measured if data are given."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.markup import escape

from pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from reid_models.bundle import Bundle
    from reid_models.inference import BundleEncoder
    from reid_models.manifest import Manifest
    from reid_models.registry import Registry

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelImport:
    """What is imported and how. `source` is an open_clip name, file or hub name, or the folder of a bundle."""

    source: str
    name: str | None = None
    image_size: tuple[int, int] | None = None  # (height, width) in pixels
    licence: str | None = None
    images: Path | None = None  # to calibrate on, in the Market-1501 layout
    captions: Path | None = None  # default: captions.json beside the images


def import_model(registry: Registry, wanted: ModelImport) -> Manifest:
    """Put the model into the registry, where it serves once it is promoted.

    Raises `ConfigurationError` before anything is written for a model or data that cannot be used.
    """
    from reid_models.bundle import save_bundle
    from reid_models.inference import load_encoder

    bundle = _opened(wanted)
    manifest = bundle.manifest
    with tempfile.TemporaryDirectory(prefix="sightline-import-") as folder:
        place = Path(folder)
        save_bundle(place, bundle.encoder, manifest)
        encoder = load_encoder(place, device="cpu")  # read back as every service will
        _prove(encoder, wanted.source)
        if wanted.images is not None:
            manifest = _measured(encoder, wanted.images, wanted.captions)
            save_bundle(place, bundle.encoder, manifest)
        registry.add(place)
    log.info("imported %s as %s", wanted.source, manifest.digest)
    return manifest


def print_import(manifest: Manifest, console: Console) -> None:
    """What was made, and what to do next."""
    digest, size = manifest.digest, manifest.input
    console.print(f"[bold]{escape(manifest.name)}[/] is in the registry as [bold]{digest}[/].")
    console.print(f"input {size.height_px} x {size.width_px} px; licence: {escape(manifest.licence)}", soft_wrap=True)
    for name, figure in manifest.metrics.items():
        console.print(f"{name.replace('_', ' ')}: {figure:.3f}")
    console.print("Next:")
    steps = [f"sightline models bench {digest}                      how fast it is here"]
    if manifest.calibration is None:
        console.print(
            "  It is [bold]not calibrated[/]: nobody knows yet which similarity means the same person. Import it again "
            "with --calibrate DATA, query and gallery of people that it was not trained on.",
            soft_wrap=True,
        )
    elif manifest.calibration.language is None:
        console.print("  Its words are not calibrated: import it again with --captions FILE too.", soft_wrap=True)
    steps.append(f'sightline models promote {digest} --reason "…"    let it serve')
    for step in steps:
        console.print(f"  {step}", markup=False, highlight=False, soft_wrap=True)


def _opened(wanted: ModelImport) -> Bundle:
    from reid_models.bundle import load_bundle
    from reid_models.imported import UNKNOWN_LICENCE, ImportOptions, import_open_clip
    from reid_models.manifest import bundle_folder

    folder = bundle_folder(wanted.source)
    if folder is None:
        licence = wanted.licence or UNKNOWN_LICENCE
        return import_open_clip(wanted.source, ImportOptions(wanted.name, wanted.image_size, licence))
    if wanted.name or wanted.licence or wanted.image_size:
        raise ConfigurationError(
            f"{wanted.source} is a bundle, which says its own name, licence and size; leave these options out"
        )
    return load_bundle(folder)


def _prove(encoder: BundleEncoder, source: str) -> None:
    """One picture and one sentence through both towers."""
    size = encoder.manifest.input
    picture = np.random.default_rng(0).integers(0, 256, (size.height_px, size.width_px, 3), np.uint8)
    try:
        seen, told = encoder.embed_images([picture]), encoder.embed_texts(["a man in a red coat"])
    except Exception as error:  # an architecture that open_clip builds, and that we do not know, fails anywhere
        raise ConfigurationError(
            f"{source} cannot be used ({type(error).__name__}: {error}); expected image and text towers as CLIP's, "
            "with or without another size: choose a ViT or a ResNet of open_clip"
        ) from error
    for name, vectors in (("appearance", seen.appearance), ("language", seen.language), ("text", told)):
        if not np.isfinite(vectors).all():
            raise ConfigurationError(
                f"{source} gives {name} vectors that are no numbers; expected finite ones: is the file complete?"
            )


def _measured(encoder: BundleEncoder, images: Path, captions: Path | None) -> Manifest:
    """Scores and calibration on people that the model was not trained on; without captions of its appearance alone."""
    from reid_models.benchmarks import embed_set, image_report, text_report
    from reid_models.calibration import calibrate, calibrate_appearance
    from reid_models.datasets.captions import read_captions
    from reid_models.datasets.sample import identities_of
    from reid_models.probe import SPLIT, find_probe

    probe = find_probe(images, captions)
    embedded = embed_set(encoder, images)
    try:
        seen = image_report(embedded)
    except ValueError as error:
        raise ConfigurationError(f"{images}: {error}; expected people in two cameras or more") from error
    metrics = {"image_mean_average_precision": seen.mean_average_precision, "image_rank_1": seen.rank_1}
    measured_on = f"{images.name}: {seen.identities} identities"
    if probe.captions is None:
        calibration = calibrate_appearance(embedded, measured_on)
    else:
        shown = {*embedded.query_identities.tolist(), *embedded.gallery_identities.tolist()}
        sentences = [caption for caption in read_captions(probe.captions, SPLIT) if caption.identity in shown]
        metrics["caption_person_rank_1"] = text_report(encoder, embedded, sentences).person_rank_1
        vectors = encoder.embed_texts([caption.text for caption in sentences])
        calibration = calibrate(embedded, vectors, identities_of(sentences), measured_on)
    rounded = {name: round(figure, 4) for name, figure in metrics.items()}
    return encoder.manifest.model_copy(update={"metrics": rounded, "calibration": calibration})
