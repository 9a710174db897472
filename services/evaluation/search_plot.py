"""A reliability plot: what was said against what was true, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from pipeline.search.reliability import BINS, Bin

_SIDE_PX, _MARGIN_PX = 480, 60
_INK, _FAINT, _BAR = (30, 34, 42), (200, 204, 212), (46, 125, 110)


def plot_reliability(path: Path, bins: Sequence[Bin], title: str) -> None:
    """Each bar is the share that was right where about so much was said; on the diagonal they mean what they say. The
    darker a bar, the more often that was said."""
    whole_px = _SIDE_PX + 2 * _MARGIN_PX
    picture = Image.new("RGB", (whole_px, whole_px), "white")
    draw = ImageDraw.Draw(picture)
    large, small = ImageFont.load_default(18), ImageFont.load_default(14)
    draw.text((_MARGIN_PX, 20), title, _INK, large)
    most = max((each.weight for each in bins), default=1.0)
    for each in bins:
        width = _SIDE_PX / BINS
        left = _MARGIN_PX + int(min(each.said * BINS, BINS - 1)) * width
        share = 0.25 + 0.75 * (each.weight / most) ** 0.5
        colour = tuple(round(255 - share * (255 - part)) for part in _BAR)
        draw.rectangle((left + 2, _y(each.true), left + width - 2, _y(0.0)), colour)
        draw.text((left + 4, _y(each.true) - 18), f"{each.weight:.1%}", _INK, small)
    draw.line((_MARGIN_PX, _y(0.0), _MARGIN_PX + _SIDE_PX, _y(1.0)), _INK, 2)
    draw.rectangle((_MARGIN_PX, _y(1.0), _MARGIN_PX + _SIDE_PX, _y(0.0)), outline=_FAINT)
    draw.text((_MARGIN_PX, _y(0.0) + 10), "said: from 0 to 1; in each bar how often", _INK, small)
    draw.text((_MARGIN_PX, _y(1.0) - 18), "true", _INK, small)
    picture.save(path, "PNG")


def _y(share: float) -> float:
    return _MARGIN_PX + (1.0 - share) * _SIDE_PX
