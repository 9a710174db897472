"""The data sets by name, for recipes and commands. What a reader takes besides the path stands in its signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from pipeline.errors import ConfigurationError
from reid_models.datasets.cuhk02 import read_cuhk02
from reid_models.datasets.cuhk03 import read_cuhk03
from reid_models.datasets.cuhk_sysu import read_cuhk_sysu
from reid_models.datasets.dukemtmc import read_dukemtmc
from reid_models.datasets.market1501 import read_market1501
from reid_models.datasets.msmt17 import read_msmt17
from reid_models.datasets.sample import ImageDataset
from reid_models.datasets.small_sets import read_grid, read_ilids, read_prid, read_viper
from reid_models.datasets.text_sets import TextDataset, read_cuhk_pedes, read_icfg_pedes, read_rstpreid

Dataset = TypeVar("Dataset", ImageDataset, TextDataset)

READERS: Mapping[str, Callable[..., ImageDataset]] = {
    "market1501": read_market1501,
    "msmt17": read_msmt17,
    "dukemtmc": read_dukemtmc,
    "cuhk02": read_cuhk02,
    "cuhk03": read_cuhk03,
    "cuhk_sysu": read_cuhk_sysu,
    "prid": read_prid,
    "grid": read_grid,
    "viper": read_viper,
    "ilids": read_ilids,
}
TEXT_READERS: Mapping[str, Callable[..., TextDataset]] = {
    "cuhk_pedes": read_cuhk_pedes,
    "icfg_pedes": read_icfg_pedes,
    "rstpreid": read_rstpreid,
}


def read_images_of(name: str, path: Path, **options: bool | int | str) -> ImageDataset:
    """A set for image re-identification, such as `read_images_of("viper", path, split=9)`.

    Raises `ConfigurationError` for an unknown name or option, and whatever the reader finds wrong.
    """
    return _read(READERS, name, path, options)


def read_texts_of(name: str, path: Path, **options: bool | int | str) -> TextDataset:
    """A set for text search. Raises `ConfigurationError` as `read_images_of` does."""
    return _read(TEXT_READERS, name, path, options)


def _read(
    readers: Mapping[str, Callable[..., Dataset]], name: str, path: Path, options: Mapping[str, bool | int | str]
) -> Dataset:
    if name not in readers:
        raise ConfigurationError(f"data set {name!r} is unknown; expected one of {', '.join(readers)}")
    _, *known = inspect.signature(readers[name]).parameters.values()
    unknown = sorted(set(options) - {parameter.name for parameter in known})
    if unknown:
        choices = ", ".join(f"{parameter.name}={parameter.default!r}" for parameter in known) or "none"
        raise ConfigurationError(f"{name} has no option {unknown[0]!r}; the options and their defaults: {choices}")
    for parameter in known:
        value = options.get(parameter.name, parameter.default)
        if type(value) is not type(parameter.default):
            kind = type(parameter.default).__name__
            raise ConfigurationError(f"{name}: {parameter.name} is {value!r}; expected a {kind}")
    return readers[name](path, **options)
