"""Which model is wanted and how it is found, whatever the settings name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipeline.errors import ConfigurationError, ModelVersionMismatch
from reid_models.manifest import DEFAULT_BUNDLE, MANIFEST, read_manifest
from reid_models.registry import Registry
from services.settings import Settings
from services.site_models import SiteModels

SHIPPED = read_manifest(DEFAULT_BUNDLE).digest
OTHER = "b" * 16


def bundle(folder: Path, digest: str) -> Path:
    """The shipped bundle under another digest, which its weights do not have."""
    shutil.copytree(DEFAULT_BUNDLE, folder)
    manifest = json.loads((folder / MANIFEST).read_text()) | {"digest": digest}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


def models(data_dir: Path, model: str = "serving") -> SiteModels:
    return SiteModels(Settings.model_validate({"data_dir": data_dir, "embedding": {"model": model}}))


def test_the_pointer_is_followed_at_every_question(tmp_path: Path) -> None:
    site, registry = models(tmp_path), Registry(tmp_path / "models")
    assert (site.wanted(), site.wanted_before()) == (SHIPPED, None)
    registry.add(bundle(tmp_path / "made", OTHER))
    registry.promote(OTHER, 1.0, "better")
    assert (site.wanted(), site.wanted_before()) == (OTHER, SHIPPED)
    registry.rollback(2.0, "worse")
    assert (site.wanted(), site.wanted_before()) == (SHIPPED, OTHER)


def test_a_bundle_that_the_settings_name_is_wanted_whatever_the_pointer_says(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")
    registry.promote(SHIPPED, 1.0, "")
    site = models(tmp_path, str(bundle(tmp_path / "fixed", OTHER)))
    assert (site.wanted(), site.wanted_before()) == (OTHER, None)
    assert site.has_known(OTHER) and site.has_known(SHIPPED) and not site.has_known("c" * 16)
    assert models(tmp_path, "sightline-small").wanted() == SHIPPED


def test_a_model_is_loaded_by_its_digest_and_checked(tmp_path: Path) -> None:
    site = models(tmp_path)
    assert site.load(SHIPPED).digest == SHIPPED
    with pytest.raises(ConfigurationError, match="neither the registry nor the settings"):
        site.load(OTHER)
    Registry(tmp_path / "models").add(bundle(tmp_path / "made", OTHER))
    with pytest.raises(ModelVersionMismatch, match="have digest"):
        site.load(OTHER)


def test_the_shipped_bundle_is_kept_once_and_beyond_the_next_release(tmp_path: Path) -> None:
    site, folder = models(tmp_path), tmp_path / "models"
    site.keep_shipped(1.0)
    site.keep_shipped(2.0)
    assert len(Registry(folder).changes()) == 1
    assert site.wanted() == SHIPPED
    later = Registry(folder, shipped=bundle(tmp_path / "release", OTHER))
    assert read_manifest(later.wanted()).digest == OTHER
    assert later.folder(SHIPPED) == folder / SHIPPED
    assert later.remove_unused(kept=0) == []


def test_nothing_is_kept_where_the_pointer_is_not_followed(tmp_path: Path) -> None:
    models(tmp_path, "sightline-small").keep_shipped(1.0)
    assert not (tmp_path / "models").exists()
