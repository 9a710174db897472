"""CUHK-SYSU (Xiao et al. 2017) as cropped for generalisable re-identification: `cropped_images/p123_s456_1.jpg`.

The number behind `p` is the person, here counted from 1. There are no fixed cameras (photographs and film), so all
images are of camera 0 and the set only trains.
"""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.errors import ConfigurationError
from reid_models.datasets.sample import ImageDataset, ImageSample, image_names, lies_in, numbered, open_archive

FOLDER = "cropped_images"
_NAME = re.compile(r"^p(\d+)_s\d")


def read_cuhk_sysu(path: Path) -> ImageDataset:
    """Raises `ConfigurationError` if the folder is missing or empty, or an image is named otherwise."""
    archive = open_archive(path)
    person = {}
    for name in image_names(archive):
        if lies_in(name, FOLDER):
            match = _NAME.match(name.rsplit("/", 1)[-1])
            if match is None:
                raise ConfigurationError(
                    f"{name} in {archive.address} is not named as in cropped CUHK-SYSU; expected p123_s456_1.jpg"
                )
            person[name] = int(match[1])
    if not person:
        raise ConfigurationError(
            f"{archive.address} has no images in {FOLDER}/; expected the cropped persons of CUHK-SYSU, not its whole "
            "photographs: check the path, or cut the persons out first"
        )
    identity = numbered(person.values())
    train = tuple(ImageSample(archive, name, identity[number], 0) for name, number in person.items())
    return ImageDataset("cuhk_sysu", train, (), (), "training only")
