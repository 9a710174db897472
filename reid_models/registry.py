"""The models of a site on disk, which one is wanted, and the way back. No torch here: every service asks all the time.

    models/
      4be5bf9a105eb861/   a bundle under its digest; complete once its manifest is there
      serving.json        every promotion and rollback, newest last

The last line of the history says which model shall serve, so pointer and history are one file, and it is only ever
replaced as a whole: whoever dies at any moment leaves the old state or the new one. Which model does serve is said by
the database: a running site follows the pointer as soon as its archive has vectors of the wanted model.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import ConfigurationError
from reid_models.manifest import DEFAULT_BUNDLE, INT8_RANGES, MANIFEST, WEIGHTS, Manifest, read_manifest

SERVING = "serving"  # the name by which settings ask to follow the pointer
POINTER = "serving.json"


class ChangeKind(StrEnum):
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"
    SHIPPED = "shipped"  # what a release brought, kept beyond it; changes nothing


class Change(BaseModel):
    """One change of the wanted model."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: ChangeKind
    digest: str | None  # that is wanted since then; None: the shipped bundle
    changed_at: float  # UTC seconds
    reason: str


class History(BaseModel):
    """The content of the pointer's file."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Model:
    """One bundle that may serve."""

    manifest: Manifest
    folder: Path
    is_wanted: bool
    promoted_at: float | None  # last time; None: never


def standing(changes: Sequence[Change]) -> list[str]:
    """The digests that lead to the present one, oldest first and the wanted one last; empty: the shipped bundle.

    A rollback takes the last one away, so several of them go back step by step.
    """
    digests: list[str] = []
    for change in changes:
        if change.kind is ChangeKind.PROMOTED and change.digest is not None:
            digests.append(change.digest)
        elif change.kind is ChangeKind.ROLLED_BACK and digests:
            digests.pop()
    return digests


class Registry:
    """The models below `folder`, which need not exist, and the shipped bundle, which is wanted until a promotion."""

    def __init__(self, folder: Path, shipped: Path = DEFAULT_BUNDLE) -> None:
        self._folder = folder
        self._shipped = shipped

    def wanted(self) -> Path:
        """The bundle folder of the wanted model. Raises `ConfigurationError` when the pointer or its model is gone."""
        digests = standing(self.changes())
        if not digests:
            return self._shipped
        folder = self._folder / digests[-1]
        if not (folder / MANIFEST).exists():
            raise ConfigurationError(
                f"the wanted model {digests[-1]} is missing from {self._folder}; restore its folder, or go back with "
                "`sightline models rollback`"
            )
        return folder

    def wanted_before(self) -> str | None:
        """The digest of what was wanted before the last change; None before the first one."""
        changes = [change for change in self.changes() if change.kind is not ChangeKind.SHIPPED]
        if not changes:
            return None
        return (standing(changes[:-1]) or [read_manifest(self._shipped).digest])[-1]

    def folder(self, digest: str) -> Path | None:
        """Where the bundle of a digest lies; None for one that is not here."""
        kept = self._folder / digest
        if (kept / MANIFEST).exists():
            return kept
        return self._shipped if read_manifest(self._shipped).digest == digest else None

    def has_known(self, digest: str) -> bool:
        """Whether a model is here, or was promoted at some time."""
        return self.folder(digest) is not None or any(change.digest == digest for change in self.changes())

    def changes(self) -> tuple[Change, ...]:
        """Every promotion and rollback, oldest first."""
        path = self._folder / POINTER
        try:
            return History.model_validate_json(path.read_bytes()).changes
        except FileNotFoundError:
            return ()
        except ValidationError as error:
            raise ConfigurationError(
                f"{path} does not say which model serves ({error.error_count()} problems in it); it is written by "
                "`sightline models` alone: restore it, or delete it to serve the shipped model"
            ) from error

    def files_in_use(self) -> dict[str, Path]:
        """The pointer, and the files of every model here that it names, by their path below the folder: for copies."""
        digests = {change.digest for change in self.changes() if change.digest is not None}
        pointer = self._folder / POINTER
        files = [pointer] if pointer.exists() else []
        for digest in sorted(digests):
            if (self._folder / digest / MANIFEST).exists():
                inside = sorted((self._folder / digest).iterdir())
                files += [path for path in inside if path.is_file() and not path.name.startswith(".")]
        return {path.relative_to(self._folder).as_posix(): path for path in files}

    def models(self) -> list[Model]:
        """Every complete bundle, the shipped one first, then by date."""
        changes = self.changes()
        promoted_at = {change.digest: change.changed_at for change in changes if change.kind is not ChangeKind.SHIPPED}
        folders = [path.parent for path in self._folder.glob(f"*/{MANIFEST}")]
        kept = sorted(((read_manifest(folder), folder) for folder in folders), key=lambda pair: pair[0].created)
        known = {manifest.digest for manifest, _ in kept}
        shipped = read_manifest(self._shipped)
        wanted = (standing(changes) or [shipped.digest])[-1]
        first = [] if shipped.digest in known else [(shipped, self._shipped)]
        return [
            Model(manifest, folder, manifest.digest == wanted, promoted_at.get(manifest.digest))
            for manifest, folder in [*first, *kept]
        ]

    def find(self, digest: str) -> Model:
        """The model whose digest begins so. Raises `ConfigurationError` unless it is exactly one."""
        models = self.models()
        found = [model for model in models if digest and model.manifest.digest.startswith(digest)]
        if len(found) != 1:
            known = ", ".join(model.manifest.digest for model in models)
            raise ConfigurationError(
                f"{digest!r} names {len(found)} models; expected the beginning of one digest of: {known}"
            )
        return found[0]

    def add(self, bundle: Path) -> str:
        """Copy a bundle to its place and return its digest; the same model again only brings its newest manifest.

        The weights are not verified here: see `reid_models.bundle.load_bundle`.
        """
        manifest = read_manifest(bundle)
        place = self._folder / manifest.digest
        with self._alone():
            place.mkdir(exist_ok=True)
            ranges = [INT8_RANGES] if (bundle / INT8_RANGES).is_file() else []
            for name in (WEIGHTS, *ranges, MANIFEST):  # the manifest last: it makes the folder a bundle
                if (bundle / name).resolve() != (place / name).resolve():
                    _replace(place / name, bundle / name)
        return manifest.digest

    def promote(self, digest: str, changed_at: float, reason: str) -> None:
        """Ask for a model to serve. The one that is wanted already is no change."""
        model = self.find(digest)
        self.add(model.folder)  # a later release may ship another bundle than the one that is meant
        chosen = model.manifest.digest
        with self._alone():
            changes = self.changes()
            if standing(changes)[-1:] != [chosen]:
                promoted = Change(kind=ChangeKind.PROMOTED, digest=chosen, changed_at=changed_at, reason=reason)
                self._write_history((*changes, promoted))

    def rollback(self, changed_at: float, reason: str) -> Path:
        """Ask for the model that was wanted before; returns its folder.

        Raises `ConfigurationError` if there is none.
        """
        with self._alone():
            changes = self.changes()
            digests = standing(changes)
            if not digests:
                raise ConfigurationError(
                    "the shipped model is wanted, and nothing served before it; see `sightline models list`"
                )
            digest = digests[-2] if len(digests) > 1 else None
            undone = Change(kind=ChangeKind.ROLLED_BACK, digest=digest, changed_at=changed_at, reason=reason)
            self._write_history((*changes, undone))
        return self.wanted()

    def keep_shipped(self, changed_at: float) -> None:
        """Copy the shipped bundle here, once: a later release brings another, and then the site must change over."""
        digest = read_manifest(self._shipped).digest
        if not any(change.kind is ChangeKind.SHIPPED and change.digest == digest for change in self.changes()):
            self.add(self._shipped)
            with self._alone():
                kept = Change(
                    kind=ChangeKind.SHIPPED, digest=digest, changed_at=changed_at, reason="came with this release"
                )
                self._write_history((*self.changes(), kept))

    def remove_unused(self, kept: int) -> list[str]:
        """Delete the models that were never wanted, but for the newest `kept`; returns their digests.

        One that was stays: it may serve still, or serve again after a rollback.
        """
        used = {change.digest for change in self.changes()}
        kept_here = [model for model in self.models() if model.folder.parent == self._folder]
        unused = [model for model in kept_here if model.manifest.digest not in used]
        doomed = sorted(unused, key=lambda model: (model.folder / MANIFEST).stat().st_mtime, reverse=True)[kept:]
        with self._alone():
            for model in doomed:
                (model.folder / MANIFEST).unlink()  # first: what is left of a bundle is none
                shutil.rmtree(model.folder)
        return [model.manifest.digest for model in doomed]

    def _write_history(self, changes: tuple[Change, ...]) -> None:
        _write(self._folder / POINTER, History(changes=changes).model_dump_json(indent=1).encode() + b"\n")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One writer at a time; the lock ends with its process."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for leftover in self._folder.glob("**/.*.unfinished"):
                leftover.unlink()  # of a writer that died; nobody else writes now
            yield


def _replace(path: Path, source: Path) -> None:
    try:
        content = source.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"{source} cannot be read ({error.strerror}); expected a bundle, a folder with {MANIFEST} and {WEIGHTS}"
        ) from error
    _write(path, content)


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, and durable when it returns."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.unfinished")
    with unfinished.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    for folder in (path.parent, path.parent.parent):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
