"""Pictures that people send: how many bytes, how many pixels, which formats; checked before anything is decoded."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image as Pictures
from PIL import ImageOps
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.contracts import Image
from pipeline.errors import InvalidQuery
from services.api.problems import Problem, TooLarge, problem_response

MAX_UPLOAD_BYTES = 8 * 1024 * 1024
MAX_PICTURE_PIXELS = 25_000_000
MIN_SIDE_PX = 16
_FORMATS = ("JPEG", "PNG", "WEBP")
_FORM_BYTES = 64 * 1024  # what a form may hold beside the picture


def read_picture(content: bytes) -> Image:
    """The picture as (H, W, 3) RGB, turned upright. Raises `InvalidQuery`, and `TooLarge` over a limit.

    The size stands in the header, so a few bytes that would unpack to gigabytes are refused unopened.
    """
    if len(content) > MAX_UPLOAD_BYTES:
        raise _too_many_bytes(len(content))
    try:
        with Pictures.open(io.BytesIO(content), formats=_FORMATS) as picture:
            _check_size(*picture.size)
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    except Pictures.DecompressionBombError as error:
        raise TooLarge(str(error), f"at most {MAX_PICTURE_PIXELS:,} pixels", "send a smaller picture") from error
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises all three for broken files
        raise InvalidQuery(
            f"the upload of {len(content)} bytes is not a readable picture",
            f"a complete file of the type {', '.join(_FORMATS)}",
            "send a photograph of one person",
        ) from error


class BodyLimit:
    """Ends a request as soon as its body is over the limit, announced or not, before it fills memory or disk."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = MAX_UPLOAD_BYTES + _FORM_BYTES
        announced = Headers(scope=scope).get("content-length", "0")
        if not announced.isdigit() or int(announced) > limit:
            error = _too_many_bytes(int(announced) if announced.isdigit() else 0)
            problem = Problem(found=error.found, expected=error.expected, to_do=error.to_do)
            await problem_response(scope, 413, problem)(scope, receive, send)
            return
        received = 0

        async def receive_some() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                # An HTTPException, because the form parser turns every other error into "bad request".
                raise HTTPException(413, str(_too_many_bytes(received)))
            return message

        await self._app(scope, receive_some, send)


def _check_size(width_px: int, height_px: int) -> None:
    if width_px * height_px > MAX_PICTURE_PIXELS:
        raise TooLarge(
            f"the picture is {width_px} x {height_px} pixels",
            f"at most {MAX_PICTURE_PIXELS:,} pixels",
            "cut out the person, or make it smaller",
        )
    if min(width_px, height_px) < MIN_SIDE_PX:
        raise InvalidQuery(
            f"the picture is {width_px} x {height_px} pixels",
            f"at least {MIN_SIDE_PX} on each side",
            "send a larger picture of the person",
        )


def _too_many_bytes(count: int) -> TooLarge:
    return TooLarge(
        f"the upload has at least {count:,} bytes", f"at most {MAX_UPLOAD_BYTES:,}", "send a smaller picture"
    )
