"""A site of two cameras and six colours of people, and a training that takes no time."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np

from pipeline.adapters.blobs import MemoryBlobs
from pipeline.adapters.store import SqlStore
from pipeline.contracts import F32, Embeddings, Image, TrackletCrops
from pipeline.interfaces import Blobs
from reid_models.datasets.tracklets import TrackedSamples
from reid_models.manifest import DEFAULT_BUNDLE, MANIFEST, WEIGHTS, read_manifest
from reid_models.probe import find_probe
from reid_models.registry import Registry
from services.nightly.archive import NightRules
from services.nightly.night import NightConfig, NightTools, run_night
from tests.fakes import HandClock, crop, jpeg
from tests.small_site import COLOURS

NOW = 1_700_000_000.0
SHIPPED = read_manifest(DEFAULT_BUNDLE).digest
DIGESTS = {"better": "b" * 16, "worse": "a" * 16}
BLUR = {"sightline-small": 150.0, "better": 0.0, "worse": 400.0}  # how badly each model sees colours


@dataclass
class Eye:
    """An encoder by mean colour, which a worse model sees through noise."""

    blur: float

    def embed_images(self, crops: Sequence[Image]) -> Embeddings:
        rng = np.random.default_rng(len(crops))
        colours = np.stack([image.reshape(-1, 3).mean(axis=0) for image in crops]) - 110.0
        seen = unit(colours + rng.normal(0, self.blur, colours.shape))
        return Embeddings(seen, seen)

    def embed_texts(self, sentences: Sequence[str]) -> F32:
        return unit(np.array([COLOURS[sentence.rsplit(maxsplit=1)[-1]] for sentence in sentences]) - 110.0)


def unit(vectors: np.ndarray) -> F32:
    lengths: F32 = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / lengths, np.float32)


@dataclass
class Learner:
    """A training that makes a model of the given name out of nothing; `breaks` is raised instead."""

    name: str = "better"
    breaks: Exception | None = None
    meanwhile: Callable[[], object] = lambda: None
    taught: list[int] = field(default_factory=list)

    def __call__(self, bundle: Path, tracks: TrackedSamples, work: Path) -> Path:
        self.taught.append(len(np.unique(tracks.pieces)))
        self.meanwhile()
        if self.breaks is not None:
            raise self.breaks
        return make_bundle(work / "candidate", self.name, DIGESTS.get(self.name, SHIPPED))


def make_bundle(folder: Path, name: str, digest: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    manifest = json.loads((DEFAULT_BUNDLE / MANIFEST).read_text()) | {"digest": digest, "name": name}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    (folder / WEIGHTS).write_bytes(b"weights")
    return folder


def picture(rng: np.random.Generator, colour: tuple[int, int, int]) -> bytes:
    return jpeg(np.clip(rng.normal(colour, 12, (32, 16, 3)), 0, 255).astype(np.uint8))


Archive = tuple[SqlStore, Blobs]


def filled(archive: Archive, cameras: Sequence[str] = ("gate", "hall"), tracks: int = 24) -> Archive:
    """People of all colours pass each camera six at a time, in two tracklets of one crop each, shortly before `NOW`."""
    store, blobs = archive
    rng, colours = np.random.default_rng(5), list(COLOURS.values())
    for camera in cameras:
        for number in range(tracks):
            for sequence in range(2):
                started_at = NOW - 3600.0 + 10.0 * (number // 6) + 4.0 * sequence
                crops = (crop(picture(rng, colours[number % 6])),)
                for each in crops:
                    blobs.put(each.jpeg)
                store.archive_tracklet(
                    TrackletCrops(
                        camera_id=camera,
                        boot_id="b1",
                        track_id=number,
                        sequence=sequence,
                        started_at=started_at,
                        ended_at=started_at + 4.0,
                        sent_at=started_at + 4.0,
                        detections=8,
                        is_last=sequence == 1,
                        crops=crops,
                    )
                )
    return archive


def tools_of(folder: Path, archive: Archive) -> NightTools:
    """A site whose shipped model serves, and a training that betters it."""
    return NightTools(
        store=archive[0],
        blobs=archive[1],
        registry=Registry(folder / "models"),
        fine_tune=Learner(),
        open_encoder=lambda bundle: Eye(BLUR[read_manifest(bundle).name]),
        clock=HandClock(NOW),
        folder=folder / "nightly",
        record=lambda digest, why: None,
    )


def serving(tools: NightTools) -> str:
    return read_manifest(tools.registry.wanted()).digest


def nights_without_end(folder: Path, ready: Event) -> None:
    """Promote and go back by turns until killed."""
    tools = tools_of(folder, filled((SqlStore.in_memory(), MemoryBlobs()), tracks=12))
    probe = find_probe(folder / "probe", None)
    config = NightConfig(days=1.0, training="test", probe=probe, attempts=1000, rules=NightRules(least_tracks=10))
    ready.set()
    while True:
        run_night(tools, config)
        if tools.registry.changes() and tools.registry.wanted() != DEFAULT_BUNDLE:
            tools.registry.rollback(NOW, "by turns")
        tools.clock.sleep(1.0)
