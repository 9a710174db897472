"""Broken tracks are mended where looks and times say so, and strangers stay apart."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_models.track_linking import LinkingConfig, Tracks, link_tracks, similarity_of_strangers


def walk(people: int, pieces: int, seed: int, noise: float = 0.3, cameras: int = 2) -> tuple[Tracks, list[int]]:
    """People who cross each camera two at a time, every track in some pieces a second apart; and who is who."""
    rng = np.random.default_rng(seed)
    looks = rng.standard_normal((people, 32))
    rows, owners = [], []
    for camera in range(cameras):
        for person in range(people):
            for piece in range(pieces):
                start = 60.0 * (person // 2) + 5.0 * piece
                feature = looks[person] + noise * rng.standard_normal(32)
                rows.append((feature, camera, start, start + 4.0))
                owners.append(camera * people + person)
    features, seen_by, started_at, ended_at = map(np.array, zip(*rows, strict=True))
    return Tracks(features.astype(np.float32), seen_by, started_at, ended_at), owners


def same(labels: object) -> np.ndarray:
    numbers = np.asarray(labels)
    return np.asarray(numbers[:, None] == numbers)


@settings(max_examples=20)
@given(st.integers(2, 8).map(lambda half: 2 * half), st.integers(1, 4), st.integers(0, 99))
def test_clear_pieces_become_whole_tracks(people: int, pieces: int, seed: int) -> None:
    tracks, owners = walk(people, pieces, seed)
    assert (same(link_tracks(tracks, LinkingConfig())) == same(owners)).all()


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 40), st.floats(0.0, 0.5), st.floats(1.0, 50.0))
def test_linked_tracks_share_a_camera_and_no_moment_and_none_is_far_from_all_others(
    seed: int, count: int, false_share: float, longest_gap_s: float
) -> None:
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, 100, count)
    tracks = Tracks(
        rng.standard_normal((count, 4)).astype(np.float32), rng.integers(0, 3, count), start,
        start + rng.uniform(0, 10, count),
    )  # fmt: skip
    labels = link_tracks(tracks, LinkingConfig(longest_gap_s, false_share))
    assert sorted(set(labels.tolist())) == list(range(labels.max() + 1))
    for label in range(labels.max() + 1):
        members = np.flatnonzero(labels == label)
        assert len(set(tracks.cameras[members].tolist())) == 1
        order = members[np.argsort(tracks.started_at[members])]
        gaps = tracks.started_at[order[1:]] - tracks.ended_at[order[:-1]]
        assert ((gaps > 0) & (gaps <= longest_gap_s)).all()


def test_people_who_look_alike_at_one_moment_raise_the_threshold() -> None:
    tracks, _ = walk(6, 1, 0)
    twins = Tracks(np.ones_like(tracks.features), tracks.cameras, tracks.started_at, tracks.ended_at)
    assert similarity_of_strangers(twins, 0.02) > 0.999 > similarity_of_strangers(tracks, 0.02)
    # All look the same, so looks say nothing.
    assert link_tracks(twins, LinkingConfig()).tolist() == list(range(len(twins.features)))


def test_without_tracks_at_one_moment_nothing_is_linked() -> None:
    tracks, _ = walk(1, 3, 0)
    assert link_tracks(tracks, LinkingConfig()).tolist() == list(range(6))


def test_no_tracks_are_no_links() -> None:
    nothing = Tracks(np.zeros((0, 8), np.float32), np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
    assert link_tracks(nothing, LinkingConfig()).shape == (0,)
