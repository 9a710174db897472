"""Cameras as numbers, for books that keep columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.contracts import I64


class CameraNumbers:
    """Cameras are numbered from 0 as they are first named."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self.names: list[str] = []

    def __len__(self) -> int:
        return len(self.names)

    def of(self, camera_ids: Sequence[str]) -> I64:
        """(N,) their numbers; a new camera gets the next one."""
        try:
            return np.fromiter(map(self._numbers.__getitem__, camera_ids), np.int64, len(camera_ids))
        except KeyError:  # rare
            for camera_id in dict.fromkeys(camera_ids):
                if camera_id not in self._numbers:
                    self._numbers[camera_id] = len(self.names)
                    self.names.append(camera_id)
            return self.of(camera_ids)

    def ranks(self) -> I64:
        """(A,) the place of each in the order of their names."""
        return np.argsort(np.argsort(np.array(self.names)))
