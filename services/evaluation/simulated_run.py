"""What a run of the real system on a simulated site should have found: the truth of every frame and person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.adapters.simulation.site import SimulatedSite
from pipeline.adapters.simulation.truth import identify, true_boxes
from pipeline.adapters.simulation.words import TrueQuery, true_queries
from pipeline.contracts import GlobalId, Tracks
from services.evaluation.site import SiteScore, TrackKey, score_site
from services.track_log import LoggedFrame

MIN_VISIBILITY = 0.25  # who is hidden more than this is not asked for, as in the site's own ground truth files


@dataclass(frozen=True, slots=True)
class SimulatedRun:
    """One run: the site, and for each camera its number there and the capture time (UTC) of the site's second 0."""

    site: SimulatedSite
    cameras: Mapping[str, tuple[int, float]]

    def score(self, frames: Sequence[LoggedFrame], identities: Mapping[TrackKey, GlobalId]) -> SiteScore:
        return score_site(frames, self.truth_at, identities)

    def truth_at(self, camera_id: str, captured_at: float) -> Tracks:
        """Who was to be seen: true identities and boxes."""
        number, epoch_at = self.cameras[camera_id]
        boxes = [b for b in true_boxes(self.site, number, captured_at - epoch_at) if b.visibility >= MIN_VISIBILITY]
        return Tracks(
            np.array([box.person_id for box in boxes], np.int64),
            np.array([box.box_px for box in boxes], np.float32).reshape(-1, 4),
            np.ones(len(boxes), np.float32),
        )

    def people(self, frames: Sequence[LoggedFrame], identities: Mapping[TrackKey, GlobalId]) -> dict[GlobalId, int]:
        """Whom each global identity shows in most of its boxes."""
        votes: dict[GlobalId, Counter[int]] = {}
        for frame in frames:
            number, epoch_at = self.cameras[frame.camera_id]
            shown = identify(self.site, number, frame.captured_at - epoch_at, frame.tracks.boxes.astype(np.float64))
            for track, person in zip(frame.tracks.track_ids, shown, strict=True):
                key = (frame.camera_id, frame.boot_id, int(track))
                if person is not None and key in identities:
                    votes.setdefault(identities[key], Counter())[person] += 1
        return {global_id: counts.most_common(1)[0][0] for global_id, counts in votes.items()}

    def questions(self, seen: set[int]) -> list[TrueQuery]:
        """Every generated description that is true of somebody who was seen."""
        return [query for query in true_queries(self.site.people) if query.person_ids & seen]
