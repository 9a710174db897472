"""CUHK02 (Li and Wang 2013): five pairs of cameras, `P1` to `P5`, each with `cam1/*.png` and `cam2/*.png`.

The first field of a name such as `001_01.png` is the identity within its pair. `P1` to `P4` train, `P5` tests. The ten
cameras count through: `P1/cam1` is 0, `P5/cam2` is 9. The set overlaps CUHK01.
"""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.errors import ConfigurationError
from reid_models.datasets.sample import ImageDataset, ImageSample, image_names, numbered, open_archive

PAIRS = 5
TEST_PAIR = 5
_NAME = re.compile(r"(?:^|/)P([1-5])/cam([12])/(\d+)_[^/]*$")


def read_cuhk02(path: Path) -> ImageDataset:
    """Raises `ConfigurationError` if a camera is missing or empty."""
    archive = open_archive(path)
    found = {name: match for name in image_names(archive) if (match := _NAME.search(name))}
    person = {name: (int(match[1]), int(match[3])) for name, match in found.items()}
    camera = {name: 2 * int(match[1]) + int(match[2]) - 3 for name, match in found.items()}
    missing = set(range(2 * PAIRS)) - set(camera.values())
    if missing:
        pair, side = divmod(min(missing), 2)
        raise ConfigurationError(
            f"{archive.address} has no images such as P{pair + 1}/cam{side + 1}/001_01.png; expected P1 to "
            "P5 with cam1 and cam2 each, as in the official CUHK02 archive: check the path, or extract it again"
        )
    identity = numbered(person.values())
    samples = [ImageSample(archive, name, identity[person[name]], camera[name]) for name in found]
    first_test_camera = 2 * TEST_PAIR - 2
    train = tuple(sample for sample in samples if sample.camera < first_test_camera)
    query = tuple(sample for sample in samples if sample.camera == first_test_camera)
    gallery = tuple(sample for sample in samples if sample.camera == first_test_camera + 1)
    return ImageDataset("cuhk02", train, query, gallery)
