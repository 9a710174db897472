"""Which samples form a batch.

`labels` may be any integers (identities, intra-camera identities, pseudo-labels); negative ones are outliers and are
never drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import numpy.typing as npt

from pipeline.errors import ConfigurationError

I64 = npt.NDArray[np.int64]


def identity_batches(labels: I64, identities: int, images: int, rng: np.random.Generator) -> Iterator[I64]:
    """P×K batches over one epoch: each holds `identities` different labels with `images` samples of each.

    Yields index arrays (P * K,) grouped by label. The images of a label are dealt out in random order, a few of them
    again where its last hand is short; the epoch ends when fewer than P labels have anything left.
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


def identity_draws(labels: I64, identities: int, images: int, batches: int, rng: np.random.Generator) -> Iterator[I64]:
    """Exactly `batches` P×K batches, as CCAFL draws them: labels in random order, each once before any comes again.

    Yields index arrays (P * K,) grouped by label: P = `identities` different labels, K = `images` random samples of
    each; a label with fewer samples repeats them evenly. Raises `ConfigurationError` for fewer than P labels. CCAFL
    keeps one iterator over all its epochs of 200 batches; a caller that makes one for each epoch begins a new round of
    labels.
    """
    return islice(_endless(labels, identities, images, rng), batches)


def camera_draws(
    labels: I64, cameras: I64, identities: int, images: int, batches: int, rng: np.random.Generator
) -> Iterator[I64]:
    """`identity_draws` with all of a batch from one camera; cameras come in random order, each once before any again.

    `labels` (N,) are intra-camera identities, `cameras` (N,) says which camera saw each sample. A camera with fewer
    than P labels gives smaller batches, with all that it has. Raises `ConfigurationError` if no sample has a label.
    """
    sources = []
    for camera in _present(cameras, labels):
        seen = np.where(cameras == camera, labels, -1)
        available = len(np.unique(seen[seen >= 0]))
        sources.append(_endless(seen, min(identities, available), images, rng))
    turns = _rounds(np.arange(len(sources)), 1, rng)
    for (turn,) in islice(turns, batches):
        yield next(sources[turn])


def domain_draws(
    labels: I64, domains: I64, identities: int, images: int, batches: int, rng: np.random.Generator
) -> Iterator[I64]:
    """`identity_draws` with the same number of identities from each domain, however large the domains are.

    `domains` (N,) is the domain of each sample; a label belongs to one domain. Raises `ConfigurationError` if
    `identities` is no multiple of the number of domains, or a domain has too few labels. CLIP-FGDI itself draws from
    the union of its domains without balance.
    """
    present = _present(domains, labels)
    if identities % len(present):
        raise ConfigurationError(
            f"{identities} identities per batch cannot be shared equally by {len(present)} domains; use a multiple"
        )
    sources = [
        _endless(np.where(domains == domain, labels, -1), identities // len(present), images, rng) for domain in present
    ]
    for _ in range(batches):
        yield np.concatenate([next(source) for source in sources])


def pair_batches(count: int, batch: int, rng: np.random.Generator) -> Iterator[I64]:
    """One epoch over `count` pairs in random order, `batch` at a time; the last batch may be shorter."""
    order = rng.permutation(count)
    for start in range(0, count, batch):
        yield order[start : start + batch]


def _present(groups: I64, labels: I64) -> I64:
    present = np.unique(groups[labels >= 0])
    if len(present) == 0:
        raise ConfigurationError(
            f"none of {len(labels)} samples has a label; expected some that are not negative: look at the clustering"
        )
    return present


def _deal(labels: I64, images: int, rng: np.random.Generator) -> dict[int, list[I64]]:
    hands: dict[int, list[I64]] = {}
    for label, members in _members(labels).items():
        shuffled = rng.permutation(members)
        missing = -len(shuffled) % images
        padded = np.concatenate([shuffled, rng.choice(shuffled, missing, replace=True)])
        hands[label] = list(padded.reshape(-1, images))
    return hands


def _endless(labels: I64, identities: int, images: int, rng: np.random.Generator) -> Iterator[I64]:
    members = _members(labels)
    if len(members) < identities:
        raise ConfigurationError(
            f"{identities} labels per batch were asked for, but there are only {len(members)}; use fewer"
        )
    for drawn in _rounds(np.array(list(members)), identities, rng):
        # np.resize repeats what is too short.
        yield np.concatenate([np.resize(rng.permutation(members[int(label)]), images) for label in drawn])


def _rounds(values: I64, size: int, rng: np.random.Generator) -> Iterator[I64]:
    """Endless draws of `size` different values; each value is drawn once before any is drawn again."""
    waiting = values[:0]
    while True:
        if len(waiting) < size:
            # Those still waiting are part of the next draw, so they go to the end of the new round.
            shuffled = rng.permutation(values)
            is_waiting = np.isin(shuffled, waiting)
            waiting = np.concatenate([waiting, shuffled[~is_waiting], shuffled[is_waiting]])
        yield waiting[:size]
        waiting = waiting[size:]


def _members(labels: I64) -> dict[int, I64]:
    """The samples of each label that is not negative, in ascending order of both."""
    order = np.argsort(labels, kind="stable")
    present, starts = np.unique(labels[order], return_index=True)
    groups = np.split(order, starts[1:])
    return {int(label): group for label, group in zip(present, groups, strict=True) if label >= 0}
