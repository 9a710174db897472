"""The archiver: crops from the bus into blobs, and then into rows."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from pipeline import metrics
from pipeline.contracts import Message, StreamName, TrackletCrops, expect
from pipeline.errors import InvalidMessage, SightlineError
from pipeline.interfaces import Blobs, Bus, Delivery, Store

log = logging.getLogger(__name__)

GROUP = "archiver"

_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"


@dataclass(frozen=True, slots=True)
class ArchiverConfig:
    """One archiver process."""

    consumer: str = "archiver-1"  # must stay the same over restarts, so that its open messages come back to it
    read_tracklets: int = 16  # messages per read of the bus
    block_s: float = 0.5  # longest wait for the first message
    attempts: int = 3  # before a tracklet that makes the archiver stumble is set aside


class Archiver:
    """Consumes `crops` as group `archiver`. Blobs are written and synced first, then the rows, and then the message is
    acknowledged: a row never names a blob that is not there, and a crash at any point only repeats a tracklet. The
    blobs of a tracklet that is not kept are given up.
    """

    def __init__(self, bus: Bus, store: Store, blobs: Blobs, config: ArchiverConfig) -> None:
        self._bus = bus
        self._store = store
        self._blobs = blobs
        self._config = config
        self._in_hand: list[Delivery] = []
        self._stumbles = 0

    def run_once(self) -> int:
        """One read of the bus; returns the number of tracklets done with, 0 after a quiet wait.

        Raises `Unavailable`, and keeps the rest in hand, while bus, disk or database do not answer.
        """
        if not self._in_hand:
            config = self._config
            self._in_hand = self._bus.consume(
                StreamName.CROPS, GROUP, config.consumer, config.read_tracklets, config.block_s
            )
        done = len(self._in_hand)
        while self._in_hand:
            self._settle(self._in_hand[0])
            self._in_hand.pop(0)
            self._stumbles = 0
        return done

    def _settle(self, delivery: Delivery) -> None:
        try:
            self._archive(delivery.message)
        except InvalidMessage as error:
            self._set_aside(delivery, str(error))
        except SightlineError:
            raise
        except Exception as error:
            # A tracklet that trips over a bug must not stop the others for ever.
            self._stumbles += 1
            if self._stumbles < self._config.attempts:
                raise
            self._set_aside(delivery, f"the archiver failed on it: {type(error).__name__}: {error}"[:400])
        else:
            self._bus.acknowledge([delivery], GROUP)

    def _archive(self, message: Message) -> None:
        tracklet = archivable(message)
        for crop in tracklet.crops:
            self._blobs.put(crop.jpeg)
        if not self._store.archive_tracklet(tracklet):
            self._store.doom_blobs([crop.key for crop in tracklet.crops])
            log.info("%s is not kept: it was erased, or its time is over", tracklet.tracklet_id)
            return
        metrics.ARCHIVED_BYTES.inc(sum(len(crop.jpeg) for crop in tracklet.crops))

    def _set_aside(self, delivery: Delivery, reason: str) -> None:
        self._bus.set_aside(delivery, GROUP, reason)
        log.warning("set aside %s: %s", delivery.entry_id, reason)


def archivable(message: Message) -> TrackletCrops:
    """The tracklet with those of its crops that are whole JPEGs.

    Raises `InvalidMessage` when none is, or for a message of another kind.
    """
    tracklet = expect(TrackletCrops, message, StreamName.CROPS)
    # The first and last bytes tell a torn or foreign file; whether the pixels decode is the embedder's to find out.
    whole = tuple(c for c in tracklet.crops if c.jpeg.startswith(_JPEG_START) and c.jpeg.endswith(_JPEG_END))
    if not whole:
        raise InvalidMessage(
            f"no crop of {tracklet.tracklet_id} is a whole JPEG ({len(tracklet.crops)} looked at); "
            "check the camera worker"
        )
    return tracklet.model_copy(update={"crops": whole})
