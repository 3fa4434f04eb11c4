"""Scripts and styles from the package, by name: nothing else can be asked for."""

import functools
from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response

from medprm.review.scored_view import score_css

STATIC = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}

router = APIRouter()


@router.get("/static/{name}")
def static(name: str) -> Response:
    if name not in kept_files():
        raise HTTPException(404, "no such file")
    data, kind = kept_files()[name]
    return Response(data, media_type=kind, headers={"cache-control": "no-cache"})


@router.get("/favicon.ico")
def icon() -> Response:
    return Response(status_code=204)


@functools.cache
def kept_files() -> dict[str, tuple[bytes, str]]:
    """Every file by its name, with its media type; read once."""
    kept = {
        one.name: (one.read_bytes(), STATIC[Path(one.name).suffix])
        for one in (files("medprm.review") / "static").iterdir()
        if Path(one.name).suffix in STATIC
    }
    return kept | {"scores.css": (score_css().encode(), STATIC[".css"])}
