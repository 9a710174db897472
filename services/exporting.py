"""A person taken out of the house: pictures that say who took them and when, by default with concealed heads."""

from __future__ import annotations

import io
import json
import logging
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import cv2
import numpy as np

from pipeline.adapters.watermark import watermarked
from pipeline.camera.concealing import conceal_heads
from pipeline.contracts import BlobKey
from pipeline.kept import Sighting
from pipeline.search.people import Person

log = logging.getLogger(__name__)

MAX_PICTURES = 500
_QUALITY = 92


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """By whom, when (with the zone of the site), and how much."""

    made_by: str
    made_at: datetime
    site: str
    most_pictures: int = 50
    with_heads: bool = False

    @property
    def words(self) -> str:
        """What every picture says."""
        return f"{self.site}: exported by {self.made_by}, {self.made_at.isoformat(timespec='seconds')}"


def audited(request: ExportRequest) -> dict[str, object]:
    """What the audit log keeps of an export."""
    return {"made_by": request.made_by, "most_pictures": request.most_pictures, "with_heads": request.with_heads}


def export_person(person: Person, crop: Callable[[BlobKey], bytes | None], request: ExportRequest) -> bytes:
    """A ZIP with `route.json` and the best pictures of each stay; those that are gone or damaged are left out."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr("route.json", json.dumps(_route(person, request), indent=1))
        for number, (stay, key) in enumerate(_best_first(person)[: request.most_pictures], start=1):
            picture = _picture(crop(key), request)
            if picture is not None:
                archive.writestr(f"{number:03d}-{stay.camera_id}-{int(stay.started_at)}.jpg", picture)
    return written.getvalue()


def without_head(jpeg: bytes) -> bytes:
    """A crop with its head concealed: it is one person from top to bottom, with a small margin. Raises `ValueError` for
    what is no readable picture."""
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError(f"{len(jpeg)} bytes are not a readable picture")
    height, width = picture.shape[:2]
    concealed = conceal_heads(np.asarray(picture, np.uint8), np.array([[0, 0, width, height]], np.float32))
    encoded: bytes = cv2.imencode(".jpg", concealed, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
    return encoded


def _best_first(person: Person) -> list[tuple[Sighting, BlobKey]]:
    """The best picture of every stay before the second one of any."""
    ranked = [(rank, place) for place, stay in enumerate(person.route) for rank in range(len(stay.crop_keys))]
    return [(person.route[place], person.route[place].crop_keys[rank]) for rank, place in sorted(ranked)]


def _picture(jpeg: bytes | None, request: ExportRequest) -> bytes | None:
    if jpeg is None:
        return None
    try:
        return watermarked(jpeg if request.with_heads else without_head(jpeg), request.words)
    except (ValueError, cv2.error) as error:
        log.warning("a crop is left out of an export: %s", error)
        return None


def _route(person: Person, request: ExportRequest) -> dict[str, object]:
    return {
        "notice": request.words,
        "person": person.global_id,
        "route": [
            {"camera_id": stay.camera_id, "started_at": stay.started_at, "ended_at": stay.ended_at}
            for stay in person.route
        ],
    }
