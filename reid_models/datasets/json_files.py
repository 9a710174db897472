"""JSON with a known layout, and errors that say where a file departs from it."""

from __future__ import annotations

import json
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from pipeline.errors import ConfigurationError

T = TypeVar("T")


def parse_json(content: bytes, place: str, adapter: TypeAdapter[T]) -> T:
    """`place` names the file in errors. Raises `ConfigurationError` for broken JSON and for another layout."""
    try:
        return adapter.validate_python(json.loads(content))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{place} is not complete JSON ({error}); copy the file again") from error
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        entry = ".".join(str(part) for part in problem["loc"])
        raise ConfigurationError(
            f"{place}, entry {entry}: {problem['msg']} ({error.error_count()} problems in all); "
            "see the layout in the reader's module, or copy the file again"
        ) from error
