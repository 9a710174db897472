"""Real people for the identity bench: Market-1501 replayed, embedded once; on disk only when a folder is given."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import msgpack
import numpy as np

from pipeline.contracts import F32, Embeddings, Image, TrackletEmbedding
from pipeline.interfaces import Encoder
from services.evaluation.identity_answers import TrueTracklet
from services.evaluation.market_replay import embed_replay, market_replay

_MEAN, _DEVIATION = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)


def market_arrivals(
    data: Path, encoder: Encoder, vectors: Path | None = None, with_distractors: bool = False
) -> list[TrueTracklet]:
    """The replay as it reaches a matcher. In the folder `vectors`, where one is given, it is kept for the next run."""
    name = f"{data.stem}-{encoder.digest}{'-distractors' if with_distractors else ''}.msgpack"
    kept = None if vectors is None else vectors / name
    if kept is not None and kept.exists():
        return [
            TrueTracklet(TrackletEmbedding(**seen), true_id, arrived_at)
            for seen, true_id, arrived_at in msgpack.unpackb(kept.read_bytes(), use_list=False)
        ]
    arrivals = list(embed_replay(market_replay(data, with_distractors=with_distractors), encoder))
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        rows = [(seen.embedding.model_dump(), seen.true_id, seen.arrived_at) for seen in arrivals]
        kept.write_bytes(msgpack.packb(rows))
    return arrivals


class OnnxEncoder:
    """`Encoder` of a ReID network that takes 256x128 crops normalised like ImageNet, such as OSNet; without words."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        self.digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def embed_images(self, crops: Sequence[Image]) -> Embeddings:
        found = [self._session.run(None, {self._input: _prepared(crop)})[0][0] for crop in crops]
        vectors = np.stack(found).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return Embeddings(vectors, vectors)

    def embed_texts(self, sentences: Sequence[str]) -> F32:
        raise NotImplementedError("a network for images alone has no vectors for sentences")


def _prepared(crop: Image) -> F32:
    """(1, 3, 256, 128)"""
    scaled = cv2.resize(crop, (128, 256)).astype(np.float32) / 255
    return np.asarray((scaled - _MEAN) / _DEVIATION, np.float32).transpose(2, 0, 1)[None]
