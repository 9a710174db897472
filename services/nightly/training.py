"""The training of a night: CCAFL over the site's tracks, as long as the settings allow."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.interfaces import Clock
from services.nightly.night import FineTune
from services.settings import Settings

if TYPE_CHECKING:
    from reid_models.datasets.tracklets import TrackedSamples


def site_fine_tune(settings: Settings, clock: Clock) -> FineTune:
    """Bound to the settings' device, seed and budget. Torch is imported when the training begins."""

    def learn(bundle: Path, tracks: TrackedSamples, work: Path) -> Path:
        from reid_models.fine_tuning import FineTuneConfig, fine_tune
        from reid_models.inference import chosen_device

        config = FineTuneConfig(seed=settings.nightly.seed, device=str(chosen_device(settings.embedding.device)))
        ends_s = clock.monotonic() + settings.nightly.budget_s
        made_on = datetime.fromtimestamp(clock.now(), UTC).date()
        return fine_tune(bundle, tracks, work, config, made_on, lambda: clock.monotonic() >= ends_s)

    return learn
