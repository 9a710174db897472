"""What an operator sees and does on the page: streams, dead letters, models, nights, by what the commands use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.adapters.bus_rules import GROUPS
from pipeline.adapters.disk import DiskUse
from pipeline.backups import BackupsKept
from pipeline.contracts import StreamName
from pipeline.errors import InvalidQuery
from pipeline.interfaces import Backlog, Bus, Clock, DeadLetter
from reid_models.manifest import read_manifest
from reid_models.registry import Model, Registry
from services import dead, models
from services.backups import kept
from services.disk import disk_of
from services.models import ModelsInUse, models_in_use
from services.nightly.report import NightReport, read_reports
from services.runtime import open_bus, open_registry
from services.settings import Settings

SHOWN_NIGHTS = 30
MAX_REASON = 200


class NotThere(InvalidQuery):
    """The model or the night that is asked for is not here."""


@dataclass(frozen=True, slots=True)
class StreamLag:
    """How far one group is behind on one stream."""

    stream: StreamName
    group: str
    backlog: Backlog


class Operations:
    """The operator's side of a site. Methods of the bus raise `Unavailable` while it is away."""

    def __init__(
        self,
        bus: Bus,
        registry: Registry,
        use: Callable[[], ModelsInUse],
        nights: Path,
        disk: Callable[[], DiskUse],
        clock: Clock,
        backups: Callable[[], BackupsKept | None] = lambda: None,
    ) -> None:
        """`use` tells which models are in use; `nights` is the folder of the nightly runs; `disk` looks at the disk;
        `backups` tells which there are, None where none are made."""
        self._bus = bus
        self._registry = registry
        self._use = use
        self._nights = nights
        self.disk = disk
        self._clock = clock
        self.backups = backups

    @classmethod
    def of(cls, settings: Settings, clock: Clock) -> Operations:
        return cls(
            open_bus(settings),
            open_registry(settings),
            lambda: models_in_use(settings),
            settings.nights,
            lambda: disk_of(settings),
            clock,
            lambda: kept(settings),
        )

    def lags(self) -> list[StreamLag]:
        return [
            StreamLag(stream, group, self._bus.backlog(stream, group))
            for stream, groups in GROUPS.items()
            for group in groups
        ]

    def dead_letters(self, limit: int) -> list[DeadLetter]:
        """Newest first."""
        return self._bus.dead_letters(limit)

    def replay(self, entry_ids: Sequence[str]) -> str:
        """Send dead letters again, all when none is named; what came of it."""
        sent = dead.replay(self._bus, entry_ids)
        return f"{sent} {'message' if sent == 1 else 'messages'} sent again."

    def models(self) -> tuple[list[Model], ModelsInUse]:
        return self._registry.models(), self._use()

    def model(self, digest: str) -> Model:
        """By its whole digest: no folder is ever taken from a page. Raises `NotThere`."""
        for model in self._registry.models():
            if model.manifest.digest == digest:
                return model
        raise NotThere(f"no model {digest[:64]!r} is here", "one of the list", "open the list of models again")

    def promote(self, digest: str, reason: str) -> str:
        """Ask for a model to serve; what follows. Reads the whole bundle, so it may take long."""
        chosen = self.model(digest).manifest.digest
        manifest = models.promote(self._registry, chosen, reason, self._clock).manifest
        return f"{manifest.name} {manifest.digest} is wanted. {models.what_follows(manifest.digest, self._use())}"

    def rollback(self, reason: str) -> str:
        """Ask for the model that was wanted before; what follows."""
        manifest = read_manifest(self._registry.rollback(self._clock.now(), reason))
        return f"{manifest.name} {manifest.digest} is wanted again. {models.what_follows(manifest.digest, self._use())}"

    def nights(self) -> list[NightReport]:
        """Of the last nights, the newest first."""
        return read_reports(self._nights, SHOWN_NIGHTS)

    def night(self, name: str) -> NightReport:
        """One of the last nights. Raises `NotThere`."""
        for report in self.nights():
            if report.night == name:
                return report
        raise NotThere(f"no night {name[:40]!r} is reported", "one of the list", "open the list of nights again")
