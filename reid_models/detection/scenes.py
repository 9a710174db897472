"""Frames of one unmoving camera with the people in them: what the detector learns from, kept as one file per scene."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.contracts import F32
from pipeline.errors import ConfigurationError

U8 = npt.NDArray[np.uint8]

SUFFIX = ".npz"
NOBODY = np.zeros((0, 4), np.float32)
_FEWEST_TO_SPLIT = 100
_BACKGROUND_FRAMES = 48  # of a median; more change nothing that one sees


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """`people[n]` and `doubtful[n]` are the boxes (K, 4) of frame n, x1, y1, x2, y2 in pixels.

    Doubtful is what only one of several teachers took for a person: such a place teaches nothing, neither way.
    """

    name: str
    frames: U8  # (N, H, W, 3) RGB
    people: tuple[F32, ...]
    doubtful: tuple[F32, ...]

    @property
    def family(self) -> str:
        """Scenes whose names begin alike up to the first hyphen show one place, or are made in one way."""
        return self.name.split("-")[0]

    def part(self, places: Sequence[int] | npt.NDArray[np.int64]) -> Scene:
        """Only the frames at these places."""
        people, doubtful = (tuple(boxes[place] for place in places) for boxes in (self.people, self.doubtful))
        return Scene(self.name, self.frames[np.asarray(places, np.int64)], people, doubtful)

    def background(self, place: int) -> U8:
        """The scene without people around the time of a frame: the median of the frames nearest to it."""
        first = int(np.clip(place - _BACKGROUND_FRAMES // 2, 0, max(len(self.frames) - _BACKGROUND_FRAMES, 0)))
        return np.asarray(np.median(self.frames[first : first + _BACKGROUND_FRAMES], axis=0), np.uint8)


def split(scene: Scene) -> tuple[Scene, Scene]:
    """What is learnt from, and the last eighth, on which the score of a sure person is chosen.

    Scenes with few frames are learnt from as a whole.
    """
    count = len(scene.frames)
    learnt = count if count < _FEWEST_TO_SPLIT else count - count // 8
    places = np.arange(count)
    return scene.part(places[:learnt]), scene.part(places[learnt:])


def save_scene(folder: Path, scene: Scene) -> Path:
    """Write `<folder>/<name>.npz`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{scene.name}{SUFFIX}"
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("wb") as file:
        np.savez(file, frames=scene.frames, people=_rows(scene.people), doubtful=_rows(scene.doubtful))
    unfinished.replace(path)
    return path


def load_scene(path: Path) -> Scene:
    """Raises `ConfigurationError` for a file that is missing or no scene."""
    try:
        with np.load(path, allow_pickle=False) as file:
            frames, people, doubtful = file["frames"], file["people"], file["doubtful"]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ConfigurationError(
            f"{path} is no scene ({error}); expected a file of frames, people and doubtful boxes: prepare it again"
        ) from error
    count = len(frames)
    return Scene(path.stem, frames, _by_frame(people, count), _by_frame(doubtful, count))


def load_scenes(folder: Path) -> list[Scene]:
    """Every scene of a folder, by name. Raises `ConfigurationError` where there is none."""
    paths = sorted(folder.glob(f"*{SUFFIX}"))
    if not paths:
        raise ConfigurationError(f"{folder} holds no scene; expected *{SUFFIX} files: prepare them first")
    return [load_scene(path) for path in paths]


def _rows(boxes: Sequence[F32]) -> F32:
    """Boxes of all frames as (M, 5): frame, x1, y1, x2, y2."""
    rows = [np.hstack([np.full((len(some), 1), number, np.float32), some]) for number, some in enumerate(boxes)]
    return np.concatenate([np.zeros((0, 5), np.float32), *rows]).astype(np.float32)


def _by_frame(rows: F32, count: int) -> tuple[F32, ...]:
    return tuple(rows[rows[:, 0] == number, 1:] for number in range(count))
