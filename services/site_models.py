"""The models of a site by digest: which one is wanted, what is known of each, and how each is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import ConfigurationError, ModelVersionMismatch
from pipeline.interfaces import ModelBoard
from reid_models.manifest import Manifest, bundle_folder, read_manifest
from reid_models.registry import SERVING
from services.runtime import model_source, open_encoder, open_registry
from services.settings import Settings

if TYPE_CHECKING:
    from reid_models.serving.encoder import ServedEncoder

OpenModel = Callable[[Settings, str | None], "ServedEncoder"]  # the source is None for the wanted model


class SiteModels:
    """What `embedding.model` asks for, and the bundles of the registry. Reads the disk at every question.

    A model that is no bundle (an open_clip name, a file) has a digest only once it is loaded.
    """

    def __init__(self, settings: Settings, open_model: OpenModel = open_encoder) -> None:
        """`open_model` makes a model ready to work; what it opens it for decides which one suits."""
        self._settings = settings
        self._open_model = open_model
        self._registry = open_registry(settings)
        self._loaded: Manifest | None = None  # of a wanted model that is no bundle

    def wanted(self) -> str | None:
        """The digest of the model that shall serve; None while it is not known.

        Raises `ConfigurationError` when pointer or model cannot be read.
        """
        folder = bundle_folder(model_source(self._settings))
        manifest = self._loaded if folder is None else read_manifest(folder)
        return manifest.digest if manifest else None

    def wanted_before(self) -> str | None:
        """What the pointer wanted before its last change; None where there was none, or it is not followed."""
        return self._registry.wanted_before() if self._settings.embedding.model == SERVING else None

    def keep_shipped(self, now: float) -> None:
        """Keep a copy of the shipped bundle where the site follows the pointer."""
        if self._settings.embedding.model == SERVING:
            self._registry.keep_shipped(now)

    def has_known(self, digest: str) -> bool:
        """Whether a model is wanted, lies in the registry, or was promoted at some time."""
        return digest == self.wanted() or self._registry.has_known(digest)

    def manifest(self, digest: str) -> Manifest | None:
        """What is known of a model; None where nothing is."""
        folder = self._folder(digest)
        if folder is not None:
            return read_manifest(folder)
        return self._loaded if self._loaded is not None and self._loaded.digest == digest else None

    def load(self, digest: str) -> ServedEncoder:
        """The model of a digest, ready to work. Raises `ConfigurationError` for one that is not here or damaged."""
        folder = self._folder(digest)
        if folder is None and bundle_folder(model_source(self._settings)) is not None:
            raise ConfigurationError(
                f"model {digest} is in neither the registry nor the settings; put its bundle back with "
                "`sightline models promote FOLDER`, or let another one serve"
            )
        encoder = self.load_wanted() if folder is None else self._open_model(self._settings, str(folder))
        if encoder.digest != digest:
            raise ModelVersionMismatch(
                f"{folder or self._settings.embedding.model} holds model {encoder.digest}; expected {digest}: "
                "copy the whole bundle folder again"
            )
        return encoder

    def load_wanted(self) -> ServedEncoder:
        """The wanted model; from here on its digest is known."""
        encoder = self._open_model(self._settings, None)
        self._loaded = encoder.manifest
        return encoder

    def _folder(self, digest: str) -> Path | None:
        named = bundle_folder(model_source(self._settings))
        return named if named and read_manifest(named).digest == digest else self._registry.folder(digest)


def wanted_digest(site: SiteModels, board: ModelBoard) -> str | None:
    """What shall serve; for a model that is no bundle, what the embedders found its digest to be.

    Raises `ConfigurationError` when pointer or model cannot be read.
    """
    return site.wanted() or next((report.wanted for report in board.reports() if report.wanted is not None), None)
