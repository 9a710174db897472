"""A killed night goes on or is begun anew, a verdict is carried out once, and two nights at once are refused."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.adapters.store import SqlStore
from pipeline.contracts import GlobalId, tracklet_parts
from pipeline.decisions import Decision
from pipeline.errors import ConfigurationError
from pipeline.forgetting import ErasureRequest, Found
from reid_models.registry import Registry
from services.nightly.night import NightConfig, NightTools, is_unfinished, run_night
from services.nightly.report import Outcome
from tests.fakes import embedding
from tests.processes import forkserver
from tests.services.nightly.small_nights import (
    DIGESTS,
    NOW,
    SHIPPED,
    Learner,
    nights_without_end,
    serving,
)


class Killed(BaseException):
    """What a kill looks like from inside a process that is not one."""


def kill_in(learner: Learner) -> Learner:
    def die() -> None:
        raise Killed

    learner.meanwhile = die
    return learner


def test_a_killed_night_goes_on_with_the_same_span_and_name(full: NightTools, config: NightConfig) -> None:
    with pytest.raises(Killed):
        run_night(replace(full, fine_tune=kill_in(Learner())), config)
    assert is_unfinished(full.folder)
    full.clock.sleep(600.0)
    report = run_night(full, config)
    assert (report.outcome, report.attempts, report.until_at) == (Outcome.PROMOTED, 2, NOW)
    assert not is_unfinished(full.folder)


def test_a_night_that_was_killed_long_ago_or_for_another_model_is_begun_anew(
    full: NightTools, config: NightConfig
) -> None:
    with pytest.raises(Killed):
        run_night(replace(full, fine_tune=kill_in(Learner())), config)
    (full.folder / "work" / "training").mkdir()
    (full.folder / "work" / "training" / "old").touch()
    full.clock.sleep(13 * 3600.0)

    def look() -> None:
        assert not (full.folder / "work" / "training").exists()

    report = run_night(replace(full, fine_tune=Learner(meanwhile=look)), config)
    assert (report.outcome, report.attempts) == (Outcome.PROMOTED, 1)


def test_a_night_that_is_killed_again_and_again_is_given_up(full: NightTools, config: NightConfig) -> None:
    for _ in range(3):
        with pytest.raises(Killed):
            run_night(replace(full, fine_tune=kill_in(Learner())), config)
    report = run_night(full, config)
    assert report.outcome is Outcome.FAILED
    assert "killed 3 times" in report.reasons[0]
    assert run_night(full, config).outcome is Outcome.PROMOTED


class Dying(Registry):
    """Dies just before or just after the pointer changes."""

    def __init__(self, folder: Path, changes_first: bool) -> None:
        super().__init__(folder)
        self._changes_first = changes_first

    def promote(self, digest: str, changed_at: float, reason: str) -> None:
        if self._changes_first:
            super().promote(digest, changed_at, reason)
        raise Killed


@pytest.mark.parametrize("changes_first", [False, True])
def test_a_verdict_outlives_a_kill_around_the_promotion_and_is_carried_out_once(
    full: NightTools, config: NightConfig, changes_first: bool
) -> None:
    with pytest.raises(Killed):
        run_night(replace(full, registry=Dying(full.folder.parent / "models", changes_first)), config)
    learner = Learner("worse")
    report = run_night(replace(full, fine_tune=learner), config)
    assert (report.outcome, report.candidate_digest) == (Outcome.PROMOTED, DIGESTS["better"])
    assert learner.taught == []
    assert serving(full) == DIGESTS["better"]
    assert len(full.registry.changes()) == 1


def test_who_went_back_after_a_killed_promotion_is_not_overruled(full: NightTools, config: NightConfig) -> None:
    with pytest.raises(Killed):
        run_night(replace(full, registry=Dying(full.folder.parent / "models", True)), config)
    full.registry.rollback(NOW, "by hand")
    run_night(full, config)
    assert serving(full) == SHIPPED


def test_kill_9_at_any_moment_leaves_a_whole_pointer_and_a_night_that_goes_on(
    full: NightTools, config: NightConfig, tmp_path: Path
) -> None:
    rng = np.random.default_rng(7)
    for _ in range(6):
        ready = forkserver.Event()
        child = forkserver.Process(target=nights_without_end, args=(tmp_path, ready), daemon=True)
        child.start()
        assert ready.wait(60)
        child.join(rng.uniform(0.0, 0.4))
        assert child.is_alive()
        child.kill()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        assert serving(full) in (SHIPPED, DIGESTS["better"])
    full.clock.sleep(60.0)
    report = run_night(full, config)
    assert report.outcome in (Outcome.PROMOTED, Outcome.REFUSED)  # refused where the better model serves already


def test_two_nights_at_once_are_refused_with_the_process_that_holds_it(full: NightTools, config: NightConfig) -> None:
    met: list[ConfigurationError] = []

    def meanwhile() -> None:
        with pytest.raises(ConfigurationError, match=f"process {os.getpid()} already holds") as error:
            run_night(full, config)
        met.append(error.value)

    assert run_night(replace(full, fine_tune=Learner(meanwhile=meanwhile)), config).outcome is Outcome.PROMOTED
    assert len(met) == 1


def test_a_killed_night_that_learnt_from_somebody_who_was_erased_is_begun_anew(
    full: NightTools, config: NightConfig
) -> None:
    store = full.store
    assert isinstance(store, SqlStore)
    learner = kill_in(Learner())
    with pytest.raises(Killed):
        run_night(replace(full, fine_tune=learner), config)
    camera_id, _, track_id, sequence = tracklet_parts(store.archived_tracklets(0.0, 1e12)[0].tracklet_id)
    store.commit_decisions([Decision(embedding(camera_id, track_id, sequence), GlobalId(1), True, 0.9, "new")], 5.0)
    store.erase(store.add_erasure(ErasureRequest(GlobalId(1), "anna", "case 7"), Found(), 6.0), 7.0, 1e12)
    again = Learner()
    report = run_night(replace(full, fine_tune=again), config)
    assert (report.outcome, report.attempts) == (Outcome.PROMOTED, 1)
    assert again.taught[0] <= learner.taught[0]
