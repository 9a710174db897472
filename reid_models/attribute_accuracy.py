"""Which attributes of people a model really knows, asked in words: no classifier, only the sentences of a user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import rankdata

from reid_models.benchmarks import EmbeddedSet, ScoredEncoder, mean_by_identity
from reid_models.datasets.attribute_sentences import LOWER_COLOURS, UPPER_COLOURS, YES
from reid_models.datasets.sample import F32

# What is said of people with code 2 and with code 1 (coding: `datasets/attribute_sentences.py`).
OPPOSITES: Mapping[str, tuple[str, str]] = {
    "gender": ("a woman", "a man"),
    "hair": ("a person with long hair", "a person with short hair"),
    "up": ("a person in a t-shirt", "a person in a long sleeved shirt"),
    "down": ("a person in shorts", "a person in long pants"),
    "clothes": ("a person in pants", "a person in a skirt or a dress"),
    "hat": ("a person with a hat", "a person"),
    "backpack": ("a person with a backpack", "a person"),
    "bag": ("a person with a shoulder bag", "a person"),
    "handbag": ("a person with a handbag", "a person"),
}
COLOURS: Mapping[str, tuple[str, Sequence[str]]] = {
    "up": ("a person in a {} shirt", UPPER_COLOURS),
    "down": ("a person in {} pants", LOWER_COLOURS),
}


def attribute_accuracy(
    encoder: ScoredEncoder, embedded: EmbeddedSet, coded: Mapping[int, Mapping[str, int]]
) -> dict[str, float]:
    """For every attribute with two codes `NAME_auc`: the chance that of two people, one with each code, the right one
    fits the sentence better, 0.5 for a model that knows nothing. For the colour of each half `NAME_colour_accuracy`:
    the share of people whose colour's sentence fits best, among those with a coded colour.

    Each person is the mean of all her images. An attribute that everybody shares is left out.
    """
    people, means = mean_by_identity(
        np.concatenate([embedded.query.language, embedded.gallery.language]),
        np.concatenate([embedded.query_identities, embedded.gallery_identities]),
    )
    described = [coded[int(person)] for person in people]
    found: dict[str, float] = {}
    for name, (yes, no) in OPPOSITES.items():
        fit_yes, fit_no = encoder.embed_texts([yes, no]) @ means.T
        has = np.array([attributes[name] == YES for attributes in described])
        if has.any() and not has.all():
            found[f"{name}_auc"] = area_under_curve(fit_yes - fit_no, has)
    for half, (template, colours) in COLOURS.items():
        named = np.array([[attributes[f"{half}{colour}"] == YES for colour in colours] for attributes in described])
        fits = means @ encoder.embed_texts([template.format(colour) for colour in colours]).T
        coloured = named.any(axis=1)
        if coloured.any():
            best = fits[coloured].argmax(axis=1)
            found[f"{half}_colour_accuracy"] = float(named[coloured, best].mean())
    return found


def area_under_curve(scores: F32, has: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> float:
    """Of all pairs of one with and one without, the share in which the one with has the higher score; ties are half."""
    ranks = rankdata(scores)
    positive, negative = int(has.sum()), int((~has).sum())
    return float((ranks[has].sum() - positive * (positive + 1) / 2) / (positive * negative))
