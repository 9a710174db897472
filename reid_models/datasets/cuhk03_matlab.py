"""The images inside `cuhk-03.mat`, the MATLAB 7.3 (HDF5) file in which CUHK03 is published (Li et al. 2014).

`labeled` and `detected` hold one cell for each of five pairs of cameras; a cell holds persons x 10 images, of which 1
to 5 come from the first view and 6 to 10 from the second, and some are empty. `testsets` holds 20 lists of 100 test
persons as (pair, person). An image is addressed as the lists of the new protocol do it: `1_001_2_06.png` is pair 1,
person 1, view 2, image 6.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.errors import ConfigurationError

FIRST_VIEW_IMAGES = 5


class Cuhk03Matlab:
    """An `ImageArchive` over one kind of boxes, `labeled` or `detected`; the file stays open."""

    def __init__(self, path: Path, boxes: str) -> None:
        """Raises `ConfigurationError` without h5py, and for a file that is damaged or something else."""
        try:
            import h5py  # an optional extra
        except ImportError as error:
            raise ConfigurationError(
                f"reading {path} needs h5py, which is not installed; `pip install 'sightline[matlab]'`, or give a "
                "folder in the layout of CUHK03-NP"
            ) from error
        self._path = path
        try:
            self._file: Any = h5py.File(path, "r")
            self._references = dict(self._images(boxes))
            self.test_sets = [self._test_set(reference) for reference in self._file["testsets"][0]]
        except (OSError, RuntimeError, LookupError, ValueError) as error:
            raise ConfigurationError(
                f"{path} is not a complete cuhk-03.mat ({error}); expected the HDF5 file with labeled, detected and "
                "testsets: copy it again"
            ) from error

    @property
    def address(self) -> str:
        return str(self._path)

    def names(self) -> list[str]:
        return sorted(self._references)

    def read(self, name: str) -> bytes:
        """The picture as PNG."""
        # MATLAB counts columns first, so the file holds (colour, x, y).
        try:
            pixels = np.ascontiguousarray(np.asarray(self._file[self._references[name]], np.uint8).T)
        except OSError as error:
            raise ConfigurationError(f"{name} in {self._path} is damaged ({error}); copy the file again") from error
        return bytes(cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1])

    def _images(self, boxes: str) -> Iterator[tuple[str, Any]]:
        for pair, cell in enumerate(self._file[boxes][0], start=1):
            for person, images in enumerate(np.asarray(self._file[cell]).T, start=1):
                for image, reference in enumerate(images, start=1):
                    if self._file[reference].ndim == 3:
                        view = 1 if image <= FIRST_VIEW_IMAGES else 2
                        yield f"{pair}_{person:03d}_{view}_{image:02d}.png", reference

    def _test_set(self, reference: Any) -> frozenset[tuple[int, int]]:
        pairs, persons = np.asarray(self._file[reference]).astype(int)
        return frozenset(zip(pairs.tolist(), persons.tolist(), strict=True))
