"""The models of a site: one pointer that is right at any moment, and a way back."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigurationError
from reid_models.manifest import DEFAULT_BUNDLE, MANIFEST, WEIGHTS, read_manifest
from reid_models.registry import POINTER, Change, ChangeKind, Registry, standing
from tests.processes import forkserver
from tests.reid_models.registry_changes import keep_changing

SHIPPED = read_manifest(DEFAULT_BUNDLE).digest
A, B, C = (letter * 16 for letter in "abc")


def bundle(folder: Path, digest: str) -> Path:
    """Files as the registry sees them; what the weights are is not its business."""
    folder.mkdir(parents=True)
    manifest = json.loads((DEFAULT_BUNDLE / MANIFEST).read_text()) | {"digest": digest, "name": digest[:1]}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    (folder / WEIGHTS).write_bytes(digest.encode() * 4096)
    return folder


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """With three models, none of which has served."""
    made = Registry(tmp_path / "models")
    for digest in (A, B, C):
        made.add(bundle(tmp_path / "made" / digest, digest))
    return made


def test_the_shipped_bundle_serves_where_nothing_was_promoted(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")
    assert registry.wanted() == DEFAULT_BUNDLE
    assert [(model.manifest.digest, model.is_wanted) for model in registry.models()] == [(SHIPPED, True)]
    assert not (tmp_path / "models").exists()


def test_a_promotion_changes_what_serves_and_a_rollback_restores_it(registry: Registry) -> None:
    registry.promote(A[:4], 1.0, "first")
    registry.promote(B, 2.0, "second")
    assert registry.wanted().name == B
    assert registry.rollback(3.0, "worse").name == A
    assert registry.rollback(4.0, "worse still") == DEFAULT_BUNDLE
    with pytest.raises(ConfigurationError, match="nothing served before"):
        registry.rollback(5.0, "again")
    assert [change.reason for change in registry.changes()] == ["first", "second", "worse", "worse still"]


def test_promoting_what_serves_already_is_no_change(registry: Registry) -> None:
    registry.promote(A, 1.0, "first")
    registry.promote(A, 2.0, "again")
    assert len(registry.changes()) == 1


def test_the_shipped_bundle_is_kept_when_promoted_so_that_another_release_has_it(registry: Registry) -> None:
    registry.promote(A, 1.0, "first")
    registry.promote(SHIPPED, 2.0, "back to the beginning")
    assert registry.wanted() != DEFAULT_BUNDLE
    assert read_manifest(registry.wanted()) == read_manifest(DEFAULT_BUNDLE)


@given(st.lists(st.sampled_from([A, B, None]), max_size=12))
def test_as_many_rollbacks_as_models_lead_back_to_the_shipped_one(moves: list[str | None]) -> None:
    changes = [
        Change(
            kind=ChangeKind.ROLLED_BACK if digest is None else ChangeKind.PROMOTED,
            digest=digest,
            changed_at=0.0,
            reason="",
        )
        for digest in moves
    ]
    steps = len(standing(changes))
    back = Change(kind=ChangeKind.ROLLED_BACK, digest=None, changed_at=0.0, reason="")
    assert standing([*changes, *[back] * steps]) == []


def test_an_unknown_or_ambiguous_digest_names_the_known_ones(registry: Registry) -> None:
    for wanted in ("", "ffff"):
        with pytest.raises(ConfigurationError, match=A):
            registry.promote(wanted, 1.0, "")


def test_a_pointer_that_nobody_here_wrote_is_refused(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "models" / POINTER).write_text('{"serving": "x"}')
    with pytest.raises(ConfigurationError, match="delete it to serve the shipped model"):
        registry.wanted()


def test_a_serving_model_whose_folder_is_gone_is_told_with_the_way_back(registry: Registry, tmp_path: Path) -> None:
    registry.promote(A, 1.0, "")
    (tmp_path / "models" / A / MANIFEST).unlink()
    with pytest.raises(ConfigurationError, match="models rollback"):
        registry.wanted()
    assert registry.rollback(2.0, "lost") == DEFAULT_BUNDLE


def test_a_half_copied_bundle_is_none_and_is_completed_by_the_next_copy(registry: Registry, tmp_path: Path) -> None:
    half = tmp_path / "models" / ("d" * 16)
    half.mkdir()
    (half / f".{WEIGHTS}.0.unfinished").write_bytes(b"torn")
    assert half.name not in {model.manifest.digest for model in registry.models()}
    registry.add(bundle(tmp_path / "made" / half.name, half.name))
    assert sorted(path.name for path in half.iterdir()) == [MANIFEST, WEIGHTS]


def test_a_folder_that_is_no_bundle_is_refused_before_anything_changes(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "made" / A / WEIGHTS).unlink()
    with pytest.raises(ConfigurationError, match=WEIGHTS):
        registry.add(tmp_path / "made" / A)
    with pytest.raises(ConfigurationError, match=MANIFEST):
        registry.add(tmp_path)


def test_only_models_that_never_served_are_removed(registry: Registry) -> None:
    registry.promote(A, 1.0, "")
    registry.rollback(2.0, "")
    registry.promote(B, 3.0, "")
    assert registry.remove_unused(kept=1) == []
    assert registry.remove_unused(kept=0) == [C]
    assert {model.manifest.digest for model in registry.models()} == {SHIPPED, A, B}


def test_kill_9_at_any_moment_leaves_one_whole_pointer_to_a_whole_bundle(registry: Registry, tmp_path: Path) -> None:
    rng, before = random.Random(3), 0
    for _ in range(12):
        ready = forkserver.Event()
        places = (tmp_path / "models", tmp_path / "made")
        child = forkserver.Process(target=keep_changing, args=(*places, (A, B, C), ready), daemon=True)
        child.start()
        assert ready.wait(60)
        time.sleep(rng.uniform(0.0, 0.3))  # a change takes a tenth of a second where the disk is busy
        child.kill()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        changes = registry.changes()
        assert len(changes) >= before
        before = len(changes)
        serving = registry.wanted()
        assert serving == DEFAULT_BUNDLE or (serving / WEIGHTS).read_bytes() == serving.name.encode() * 4096
    assert before > 0
    registry.promote(A, 3.0, "the dead hold no lock")
    registry.promote(B, 4.0, "")
    assert registry.wanted().name == B
