"""How well tracklets of many cameras were sorted into people: the matcher alone, with the tracker's part given."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from pipeline.contracts import GlobalId, TrackletCrops, TrackletEmbedding
from pipeline.embedding.isolation import embed_each
from pipeline.embedding.tracklets import embedding_of, open_tracklet
from pipeline.interfaces import Encoder


@dataclass(frozen=True, slots=True)
class JudgedTracklet:
    """One tracklet with what is true and what was said about it. `detections` is its weight."""

    camera_id: str
    detections: int
    true_id: int | None  # None: nobody that the truth knows
    global_id: GlobalId | None  # None: it was given no identity


@dataclass(frozen=True, slots=True)
class IdentityScore:
    """Shares from 0 to 1; 0 where there was nothing to be right about.

    IDF1 is that of Ristani et al. (2016), sections 3.1 and 3.2, with the detections of a tracklet taken as found: true
    people and given identities are paired one to one, across all cameras together, so that the detections inside pairs
    (IDTP) are most. IDFN are the other true detections, IDFP the other ones with an identity. A person in two
    identities, or two persons in one, therefore counts only once, in whichever camera it happens.

    Pairs are pairs of tracklets before different cameras: of those put together, `pair_precision` are one person; of
    those that are one person, `pair_recall` were put together.
    """

    idf1: float
    id_precision: float
    id_recall: float
    pair_precision: float
    pair_recall: float
    identities_per_person: float  # 1 is perfect; the mean over true people of the identities that their tracklets got
    opened_per_person: float  # identities there are for each true person; above 1 people are divided, below 1 mixed
    persons: int
    identities: int
    tracklets: int
    detections: int


def score_identities(tracklets: Sequence[JudgedTracklet]) -> IdentityScore:
    """Compare identities with the truth."""
    true_detections = sum(seen.detections for seen in tracklets if seen.true_id is not None)
    given_detections = sum(seen.detections for seen in tracklets if seen.global_id is not None)
    together: Counter[tuple[int, int]] = Counter()
    for seen in tracklets:
        if seen.true_id is not None and seen.global_id is not None:
            together[seen.true_id, seen.global_id] += seen.detections
    in_pairs = _best_pairing(together)
    said, right, true = _pairs_across_cameras(tracklets)
    persons = {seen.true_id for seen in tracklets} - {None}
    identities = {seen.global_id for seen in tracklets} - {None}
    names: defaultdict[int, set[int]] = defaultdict(set)
    for person, identity in together:
        names[person].add(identity)
    return IdentityScore(
        idf1=_share(2 * in_pairs, true_detections + given_detections),
        id_precision=_share(in_pairs, given_detections),
        id_recall=_share(in_pairs, true_detections),
        pair_precision=_share(right, said),
        pair_recall=_share(right, true),
        identities_per_person=_share(sum(map(len, names.values())), len(names)),
        opened_per_person=_share(len(identities), len(persons)),
        persons=len(persons),
        identities=len(identities),
        tracklets=len(tracklets),
        detections=sum(seen.detections for seen in tracklets),
    )


def embed_tracklets(
    tracklets: Iterable[TrackletCrops], encoder: Encoder, at_once: int = 16
) -> Iterator[TrackletEmbedding]:
    """What the embedder would send, `at_once` tracklets in one pass.

    Raises `InvalidMessage` where a tracklet has no crop that can be embedded.
    """
    waiting = list(tracklets)
    for start in range(0, len(waiting), at_once):
        batch = [open_tracklet(seen) for seen in waiting[start : start + at_once]]
        vectors = iter(embed_each(encoder, [image for opened in batch for image in opened.images]))
        for opened in batch:
            yield embedding_of(opened, [next(vectors) for _ in opened.images], encoder.digest)


def _best_pairing(together: Counter[tuple[int, int]]) -> int:
    """The most detections that a one-to-one pairing of people and identities can hold."""
    if not together:
        return 0
    persons = {person: row for row, person in enumerate(sorted({person for person, _ in together}))}
    identities = {name: column for column, name in enumerate(sorted({name for _, name in together}))}
    weights = np.zeros((len(persons), len(identities)))
    for (person, identity), detections in together.items():
        weights[persons[person], identities[identity]] = detections
    rows, columns = linear_sum_assignment(weights, maximize=True)
    return int(weights[rows, columns].sum())


def _pairs_across_cameras(tracklets: Sequence[JudgedTracklet]) -> tuple[int, int, int]:
    """Pairs put together, those of them that are right, and pairs that are one person in truth.

    Only tracklets with a true person count: nobody knows whether two strangers are one.
    """
    judged = [seen for seen in tracklets if seen.true_id is not None]
    named = [seen for seen in judged if seen.global_id is not None]
    said = _pairs((seen.global_id, seen.camera_id) for seen in named)
    right = _pairs(((seen.true_id, seen.global_id), seen.camera_id) for seen in named)
    true = _pairs((seen.true_id, seen.camera_id) for seen in judged)
    return said, right, true


def _pairs(labelled: Iterable[tuple[object, str]]) -> int:
    """Pairs with the same label and different cameras."""
    in_camera = Counter(labelled)
    in_all: Counter[object] = Counter()
    for (label, _), count in in_camera.items():
        in_all[label] += count
    return (sum(count**2 for count in in_all.values()) - sum(count**2 for count in in_camera.values())) // 2


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
