"""The crops with which runtimes are compared: people of a simulated site, the same on every machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.adapters.simulation.site import SimulatedSite
from pipeline.adapters.simulation.truth import TrueBox, true_boxes

if TYPE_CHECKING:
    from reid_models.serving.pixels import U8

PROBE_CROPS = 64
_SEED, _PEOPLE, _SIZE_PX, _EVERY_S = 11, 24, (960, 540), 7.3
_LEAST_HEIGHT_PX, _LEAST_VISIBILITY = 40.0, 0.4


def probe_crops(height_px: int, width_px: int) -> U8:
    """(64, `height_px`, `width_px`, 3) RGB, as four cameras would show them.

    A comparison of runtimes is one of arithmetic: the same pixels through two programs. For that it takes images that
    excite the network as its work does, which these do (people near and far, half hidden, from all sides, in many
    colours, with the cast, noise and blur of four cameras); they need not be photographs. Whether int8 holds on
    photographs is checked where it is calibrated, on crops that were held out.
    """
    from reid_models.serving.pixels import pixel_block

    site = SimulatedSite(_SEED, people=_PEOPLE, size_px=_SIZE_PX)
    crops: list[U8] = []
    moment = 0
    while len(crops) < PROBE_CROPS:
        moment += 1
        camera, time_s = moment % len(site.views), moment * _EVERY_S
        boxes = [box.box_px for box in true_boxes(site, camera, time_s) if _shows_enough(box)]
        if boxes:
            picture = site.render(camera, time_s)
            crops += [picture[int(y1) : int(y2), int(x1) : int(x2)] for x1, y1, x2, y2 in boxes]
    return pixel_block(crops[:PROBE_CROPS], height_px, width_px)


def _shows_enough(box: TrueBox) -> bool:
    return box.visibility >= _LEAST_VISIBILITY and box.box_px[3] - box.box_px[1] >= _LEAST_HEIGHT_PX
