"""YAML that people write: read with the place of every key, and what is wrong with it told with file and line."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args, get_type_hints

import yaml
from pydantic import BaseModel, ValidationError

from pipeline.errors import ConfigurationError

UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")  # of models and of dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class YamlFile:
    """The values of a file, and the tree that knows their lines."""

    path: Path
    values: dict[str, Any]
    tree: yaml.Node | None


def read_yaml(path: Path, example: str) -> YamlFile:
    """Raises `ConfigurationError` for a file that cannot be read, is not YAML, or holds no keys such as `example`."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror}); give the path of a YAML file") from error
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text) or {}
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigurationError(f"{path}:{line}: not YAML: {error.problem}") from error
    if not isinstance(values, dict):
        raise ConfigurationError(f"{path}:1: found a {type(values).__name__}; expected keys such as `{example}:`")
    return YamlFile(path, values, tree)


def explain(error: ValidationError, model: type, file: YamlFile | None, whole: str, below: tuple[str, ...] = ()) -> str:
    """One line for each problem: file, line, key, and the known keys where one is unknown.

    `model` is what was validated, `whole` its name in words, `below` the keys in the file that lead to it.
    """
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        location = problem["loc"]
        line = _line_of(file.tree, (*below, *location)) if file is not None else None
        place = f"{file.path}:{line}: " if file is not None and line is not None else ""
        name = ".".join(str(part) for part in (*below, *location)) or whole
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] in UNKNOWN_KEY:
            message = f"unknown key; known here: {', '.join(_known_keys(model, location))}"
        lines.append(f"{place}{name}: {message}")
    return "\n".join(lines)


def _line_of(tree: yaml.Node | None, location: Sequence[str | int]) -> int | None:
    """Line (from 1) of the deepest part of `location` that the file has."""
    node, line = tree, None
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pair = next(((key, value) for key, value in node.value if key.value == part), None)
            if pair is None:
                return line
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            return line
    return line


def _known_keys(model: type, location: Sequence[str | int]) -> list[str]:
    for part in location[:-1]:
        if isinstance(part, str):
            model = _keyed_type(_fields(model).get(part)) or model
    return sorted(_fields(model))


def _fields(model: type) -> dict[str, Any]:
    if issubclass(model, BaseModel):
        return {name: field.annotation for name, field in model.model_fields.items()}
    return get_type_hints(model)


def _keyed_type(annotation: Any) -> type | None:
    """The model or dataclass in an annotation such as `tuple[Camera, ...]` or `Camera | None`."""
    if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or dataclasses.is_dataclass(annotation)):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _keyed_type(inner))), None)
