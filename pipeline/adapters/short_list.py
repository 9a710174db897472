"""Which rows of a large matrix can be among the nearest, told by products in bfloat16: fast, and nobody is missed."""

from __future__ import annotations

import numpy as np
import torch

from pipeline.contracts import F32, I64

_BLOCK = 32  # rows whose best product is compared first
_COPIED = 512  # rows that are copied at once: what is in between stays in the cache
_ROUNDING = 2.0**-8  # of a number in bfloat16, relative
_EXACT_ROUNDING = 1e-5  # of sums in float32, absolute, for vectors of about unit length


class ShortList:
    """A copy of vectors in bfloat16: half as many bytes as the vectors themselves."""

    def __init__(self, vectors: F32, room: int = 0) -> None:
        """`vectors` (N, D) of about unit length or shorter; there is room for so many."""
        self._rows = torch.zeros((0, vectors.shape[1]), dtype=torch.bfloat16)
        self._error = 0.0  # the longest difference between a vector and its copy
        self._longest = 0.0
        self.widen(max(room, len(vectors)))
        self.put(np.arange(len(vectors)), vectors)

    def widen(self, room: int) -> None:
        """There is room for so many, if there was less."""
        room = -(-room // _BLOCK) * _BLOCK
        if room > len(self._rows):
            rows, self._rows = self._rows, torch.zeros((room, self._rows.shape[1]), dtype=torch.bfloat16)
            self._rows[: len(rows)] = rows

    def put(self, slots: I64, vectors: F32) -> None:
        """Rows have changed."""
        for begin in range(0, len(slots), _COPIED):
            part = vectors[begin : begin + _COPIED]
            copied = torch.from_numpy(part).bfloat16()
            self._rows[torch.from_numpy(slots[begin : begin + _COPIED])] = copied
            self._error = max(self._error, _longest(part - copied.float().numpy()))
            self._longest = max(self._longest, _longest(part))

    def candidates(self, queries: F32, count: int, top_k: int) -> list[I64]:
        """For each of the queries (Q, D) the rows below `count` that hold the `top_k` with the greatest products.

        Each product is off by no more than its rounding and that of its factors: whatever lies that close below the
        `top_k`th is among them.
        """
        blocks = -(-count // _BLOCK)
        copied = torch.from_numpy(queries).bfloat16()
        # One query alone takes half as long again as two: it would be a product with a vector, which is slower.
        twice = copied.expand(2, -1) if len(queries) == 1 else copied
        products = (self._rows[: blocks * _BLOCK] @ twice.T)[:, : len(queries)]
        products[count:] = -torch.inf
        grouped = products.view(blocks, _BLOCK, len(queries))
        best = grouped.amax(1).T.float().contiguous().numpy()
        least = self._least(best, queries, copied, top_k)
        whose, near = np.nonzero(best >= least[:, None])
        rows = grouped[torch.from_numpy(near), :, torch.from_numpy(whose)].float().numpy()
        places, inside = np.divmod(np.flatnonzero(rows >= least[whose, None]), _BLOCK)
        ends = np.cumsum(np.bincount(whose[places], minlength=len(queries)))
        return np.split(near[places] * _BLOCK + inside, ends[:-1])

    def _least(self, best: F32, queries: F32, copied: torch.Tensor, top_k: int) -> F32:
        """(Q,) products below which nobody counts, from the best of each block (Q, blocks)."""
        if best.shape[1] <= top_k:
            return np.full(len(queries), np.finfo(np.float32).min)
        error = np.linalg.norm(queries - copied.float().numpy(), axis=1)
        length = np.linalg.norm(queries, axis=1) + error
        off = error * self._longest + length * self._error + _EXACT_ROUNDING
        # So many blocks have a row at least as good, so the `top_k`th of all rows is no worse.
        reached = np.partition(best, -top_k, axis=1)[:, -top_k]
        low = reached - _ROUNDING * np.abs(reached) - 2.0 * off
        return np.asarray(low - _ROUNDING * np.abs(low), np.float32)


def _longest(vectors: F32) -> float:
    """The length of the longest of (N, D)."""
    return float(np.sqrt(np.einsum("nd,nd->n", vectors, vectors).max()))
