"""Pictures as answers. Where one is missing, an image element gets a placeholder to show, and a program gets JSON."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from services.api.problems import Missing

_PLACEHOLDER = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 128" preserveAspectRatio="xMidYMid slice">'
    '<rect width="64" height="128" fill="#8a94a6" fill-opacity=".18"/>'
    '<g fill="#8a94a6" fill-opacity=".55"><circle cx="32" cy="44" r="11"/>'
    '<path d="M12 92c0-16 8-27 20-27s20 11 20 27z"/></g></svg>'
)


def jpeg_response(request: Request, jpeg: bytes | None, name: str, cache_control: str) -> Response:
    """The JPEG; without one a 404 with a placeholder for a browser's image element. Raises `Missing` for others."""
    if jpeg is not None:
        return Response(jpeg, media_type="image/jpeg", headers={"Cache-Control": cache_control})
    if request.headers.get("accept", "").startswith("image/"):
        return Response(_PLACEHOLDER, 404, media_type="image/svg+xml")
    raise Missing(f"there is no {name}", "one that exists", "it may have been deleted, or not have been taken yet")
