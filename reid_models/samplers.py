"""Which samples form a batch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]


def identity_batches(labels: I64, identities: int, images: int, rng: np.random.Generator) -> Iterator[I64]:
    """P×K batches over one epoch: each holds `identities` different labels with `images` samples of each.

    Yields index arrays (P * K,) grouped by label. The images of a label are dealt out in random order, a few of them
    again where its last hand is short; the epoch ends when fewer than P labels have anything left. `labels` may be any
    integers (identities, intra-camera identities, pseudo-labels); negative ones are outliers and are never drawn.
    """
    hands = _deal(labels, images, rng)
    while len(hands) >= identities:
        # Labels with many hands left are drawn first with higher odds, so that they do not remain alone at the end.
        remaining = np.array([len(waiting) for waiting in hands.values()], np.float64)
        drawn = rng.choice(np.array(list(hands)), identities, replace=False, p=remaining / remaining.sum())
        yield np.concatenate([hands[label].pop() for label in drawn])
        for label in drawn:
            if not hands[label]:
                del hands[label]


def _deal(labels: I64, images: int, rng: np.random.Generator) -> dict[int, list[I64]]:
    hands: dict[int, list[I64]] = {}
    for label in np.unique(labels[labels >= 0]):
        members = rng.permutation(np.flatnonzero(labels == label))
        missing = -len(members) % images
        padded = np.concatenate([members, rng.choice(members, missing, replace=True)])
        hands[int(label)] = list(padded.reshape(-1, images))
    return hands
