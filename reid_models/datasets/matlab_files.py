"""MATLAB files up to version 7, in which some data sets publish their splits."""

from __future__ import annotations

import zlib
from io import BytesIO
from typing import Any

from pipeline.errors import ConfigurationError


def parse_matlab(content: bytes, place: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """The variables; `place` names the file in errors.

    Raises `ConfigurationError` if the file is damaged or lacks one of `keys`.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    file: Any = BytesIO(content)  # scipy takes an open file too, its stubs only know of paths
    try:
        variables: dict[str, Any] = loadmat(file)
    except (MatReadError, OSError, LookupError, ValueError, TypeError, NotImplementedError, zlib.error) as error:
        raise ConfigurationError(f"{place} is not a complete MATLAB file ({error}); copy it again") from error
    absent = [key for key in keys if key not in variables]
    if absent:
        raise ConfigurationError(f"{place} has no {', '.join(absent)}; expected the variables {', '.join(keys)}")
    return variables
