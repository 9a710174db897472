"""Pictures as answers. Where one is missing, an image element gets a placeholder to show, and a program gets JSON."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from services.api.problems import Missing

PERSON_PLACEHOLDER = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 160" preserveAspectRatio="xMidYMid slice">'
    '<rect width="64" height="160" fill="#8a94a6" fill-opacity=".18"/><g fill="#8a94a6" fill-opacity=".55">'
    '<circle cx="32" cy="60" r="11"/><path d="M12 108c0-16 8-27 20-27s20 11 20 27z"/></g></svg>'
)
CAMERA_PLACEHOLDER = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 180"><rect width="320" height="180" fill="#161d24"/>'
    '<g fill="none" stroke="#5d6b7a" stroke-width="5" stroke-linejoin="round" stroke-linecap="round">'
    '<rect x="122" y="72" width="52" height="38" rx="6"/><path d="M174 86l24-12v34l-24-12M116 118l88-58"/></g></svg>'
)


def jpeg_response(request: Request, jpeg: bytes | None, name: str, placeholder: str, cache_control: str) -> Response:
    """The JPEG; without one a 404, with the placeholder (SVG) for an image element. Raises `Missing` for others."""
    if jpeg is not None:
        return Response(jpeg, media_type="image/jpeg", headers={"Cache-Control": cache_control})
    if request.headers.get("accept", "").startswith("image/"):
        return Response(placeholder, 404, media_type="image/svg+xml")
    raise Missing(f"there is no {name}", "one that exists", "it may have been deleted, or not have been taken yet")
