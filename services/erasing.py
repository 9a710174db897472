"""Erasures for people: what API and command line ask for, how it is told, and the search that must find nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pipeline.contracts import F32, CameraId, GlobalId
from pipeline.forgetting import ErasureRequest, Found, Keeping, Kind, Left, Oldest, Receipt
from pipeline.kept import GalleryRows, ModelSwitch

_PAGE_ROWS = 8192
_MANY = 10_000


class ForgettingDesk(Protocol):
    """The part of the database that erasures and retention need: `SqlStore`, in memory for tests."""

    def rehearse_erasure(self, global_id: GlobalId) -> Found: ...

    def add_erasure(self, request: ErasureRequest, expected: Found, made_at: float) -> int: ...

    def receipt(self, number: int) -> Receipt | None: ...

    def receipts(self, limit: int) -> list[Receipt]: ...

    def seen_cameras(self) -> list[CameraId]: ...

    def oldest(self, camera_ids: Sequence[CameraId]) -> list[Oldest]: ...


class Vectors(Protocol):
    """Looks in the database."""

    def current_identity(self, global_id: GlobalId) -> GlobalId | None: ...

    def model_switches(self, limit: int) -> list[ModelSwitch]: ...

    def newest_vector_digest(self) -> str | None: ...

    def rows_of_identity(self, model_digest: str, global_ids: Sequence[GlobalId]) -> GalleryRows: ...

    def gallery(self, model_digest: str, vector: str, after_row: int, limit: int) -> tuple[GalleryRows, int]: ...


@dataclass(frozen=True, slots=True)
class Proof:
    """What a search by somebody's own looks found."""

    looks: int  # that were searched by
    found: int  # of these, how many are in the database
    closest: float | None  # similarity of whoever is the most alike; None: nobody is left


def request_erasure(desk: ForgettingDesk, request: ErasureRequest, expected: Found, made_at: float) -> Receipt:
    """Have a person forgotten, of whom there is what a rehearsal found; the matcher does it within seconds. Raises
    `InvalidQuery` for an unknown one."""
    number = desk.add_erasure(request, expected, made_at)
    receipt = desk.receipt(number)
    assert receipt is not None
    return receipt


def looks_of(store: Vectors, global_id: GlobalId) -> dict[str, F32]:
    """All looks of a person by model, (N, D) each: to search by when she is gone. They are held in memory alone."""
    current = store.current_identity(global_id)
    digests = {switch.model_digest for switch in store.model_switches(_MANY)} | {store.newest_vector_digest()}
    found = {
        digest: store.rows_of_identity(digest, [current]).vectors.astype(np.float32)
        for digest in sorted(digest for digest in digests if digest is not None)
        if current is not None
    }
    return {digest: vectors for digest, vectors in found.items() if len(vectors)}


def search_by(store: Vectors, looks: Mapping[str, F32]) -> Proof:
    """Compare looks with everything that the database gives out."""
    found, closest = 0, -np.inf
    for digest, vectors in looks.items():
        is_found, row = np.zeros(len(vectors), bool), 0
        while True:
            rows, row = store.gallery(digest, "appearance", row, _PAGE_ROWS)
            if not rows.tracklet_ids:
                break
            similarities = vectors @ rows.vectors.T
            closest = max(closest, float(similarities.max()))
            is_found |= (vectors == rows.vectors[similarities.argmax(axis=1)]).all(axis=1)
        found += int(is_found.sum())
    return Proof(sum(map(len, looks.values())), found, None if np.isinf(closest) else closest)


def audited(request: ErasureRequest, is_rehearsal: bool) -> dict[str, object]:
    """What the audit log keeps of an erasure."""
    return {"made_by": request.made_by, "why": request.why, "dry_run": is_rehearsal}


def found_in_words(found: Found) -> str:
    return (
        f"{found.tracklets} tracklets, {found.crops} crops, {found.vectors} vectors, {found.events} events, "
        f"{found.corrections} corrections and {found.verdicts} verdicts that name them, {found.alerts} alerts"
    )


def receipt_in_words(receipt: Receipt) -> str:
    """How far an erasure has come."""
    if receipt.erased_at is None:
        return f"waits for the matcher; there are {found_in_words(receipt.expected)}"
    removed = f"Removed: {found_in_words(receipt.removed or Found())}; {receipt.followed.blobs} files, "
    removed += f"{receipt.followed.messages} messages and {receipt.followed.mentions} mentions elsewhere"
    if receipt.finished_at is not None:
        return f"nothing is left. {removed}"
    counts = (receipt.left or Left()).model_dump()
    left = [f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count]
    return f"the database has forgotten; to be searched once more: {', '.join(left) or 'everything'}. {removed}"


def proof_in_words(proof: Proof) -> str:
    closest = "nobody is left" if proof.closest is None else f"the most alike who is left is {proof.closest:.2f} alike"
    return f"A search by {proof.looks} looks of the person finds {proof.found} of them; {closest}."


def keeping_in_words(keeping: Keeping, kind: Kind) -> str:
    days = keeping.days(kind)
    return "for ever" if days is None else f"{days:g} days"
