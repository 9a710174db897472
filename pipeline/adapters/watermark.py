"""Pictures that leave the house: who took them and when is written into them."""

from __future__ import annotations

import io

from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont

_LETTERS_PX, _FAINT = 11, 70  # height of the letters; their opacity across the picture, of 255
_MARGIN_PX, _LEAST_WIDTH_PX = 4, 200
_QUALITY = 92


def watermarked(jpeg: bytes, words: str) -> bytes:
    """The picture as JPEG with `words` across it and in a strip below it, where it hides nothing.

    It carries no metadata of the former file. Raises `ValueError` for what is no picture.
    """
    try:
        with Pictures.open(io.BytesIO(jpeg), formats=("JPEG",)) as opened:
            picture = opened.convert("RGBA")
    except (OSError, SyntaxError, Pictures.DecompressionBombError) as error:
        raise ValueError(f"{len(jpeg)} bytes are not a readable JPEG") from error
    font = ImageFont.load_default(_LETTERS_PX)
    width = max(picture.width, _LEAST_WIDTH_PX)
    lines = _lines(words, font, width - 2 * _MARGIN_PX)
    line_px = _LETTERS_PX + _MARGIN_PX
    page = Pictures.new("RGB", (width, picture.height + line_px * len(lines) + 2 * _MARGIN_PX), "white")
    page.paste(Pictures.alpha_composite(picture, _across(picture.size, words, font)).convert("RGB"), (0, 0))
    pen = ImageDraw.Draw(page)
    for number, line in enumerate(lines):
        pen.text((_MARGIN_PX, picture.height + _MARGIN_PX + number * line_px), line, "black", font)
    written = io.BytesIO()
    page.save(written, "JPEG", quality=_QUALITY, comment=words.encode())
    return written.getvalue()


def _across(size: tuple[int, int], words: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> Pictures.Image:
    """A layer of the words, again and again, each line begun a little further on."""
    layer = Pictures.new("RGBA", size, (0, 0, 0, 0))
    pen = ImageDraw.Draw(layer)
    step_px = round(font.getlength(words)) + 3 * _LETTERS_PX
    for row, top in enumerate(range(0, size[1], 4 * _LETTERS_PX)):
        for left in range(-(row * 5 * _LETTERS_PX) % step_px - step_px, size[0], step_px):
            pen.text((left + 1, top + 1), words, (0, 0, 0, _FAINT), font)
            pen.text((left, top), words, (255, 255, 255, _FAINT), font)
    return layer


def _lines(words: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_px: int) -> list[str]:
    """Words broken so that they fit; one that is too long by itself is cut where the width ends."""
    lines: list[str] = []
    for word in words.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width_px:
            lines[-1] = longer
            continue
        while font.getlength(word) > width_px:
            fits = next(count for count in range(len(word), 0, -1) if font.getlength(word[:count]) <= width_px)
            lines.append(word[:fits])
            word = word[fits:]
        lines.append(word)
    return lines
