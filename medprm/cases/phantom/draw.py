"""Draw a study as a film: float brightness in [0, 1], (size, size), air dark and bone bright as on a radiograph.

Coordinates run from -1 to 1, x to the right of the picture (the patient's left), y downwards. Axes: H rows, W columns.
"""

import numpy as np

from medprm.cases.phantom.study import Study
from medprm.cases.phantom.world import Located

Array = np.ndarray
ZONE_HEIGHT = {"upper": -0.45, "middle": 0.0, "lower": 0.42}
LUNG_X = 0.45


def draw_film(study: Study, rng: np.random.Generator, size: int) -> Array:
    """The film of a study; `rng` draws what differs between patients: build, pose, exposure, noise."""
    x, y = _grid(rng, size)
    film = 0.58 * _inside(x / 0.92, y / 1.25, 0.06)  # the body
    lung_height = 0.62 * rng.uniform(0.94, 1.06)
    for sign in (-1.0, 1.0):
        film -= 0.40 * _inside((x - sign * LUNG_X) / 0.33, (y + 0.02) / lung_height, 0.08)
    film += 0.16 * _smooth(0.10 - np.abs(x), 0.05)  # spine and mediastinum
    film += _heart(study, rng, x, y)
    film += _ribs(rng, x, y)
    if study.view == "AP":
        film += _scapulae(x, y)
    for located in study.visible:
        film += PAINTERS[located.finding](located, rng, x, y)
    film = film * rng.uniform(0.92, 1.08) + rng.uniform(-0.03, 0.03)
    film += rng.normal(0.0, 0.025, film.shape)
    return np.clip(film, 0.0, 1.0)


def _grid(rng: np.random.Generator, size: int) -> tuple[Array, Array]:
    """Pixel coordinates after a small turn, shift and zoom of the patient."""
    line = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = np.meshgrid(line, line)
    angle, zoom = rng.normal(0, 0.03), rng.uniform(0.95, 1.05)
    x, y = x - rng.normal(0, 0.025), y - rng.normal(0, 0.025)
    return zoom * (np.cos(angle) * x + np.sin(angle) * y), zoom * (np.cos(angle) * y - np.sin(angle) * x)


def _smooth(distance: Array, softness: float) -> Array:
    """0 outside, 1 inside, by signed distance."""
    return 1.0 / (1.0 + np.exp(-np.clip(distance / softness, -30, 30) * 3))


def _inside(x: Array, y: Array, softness: float) -> Array:
    return _smooth(1.0 - np.sqrt(x**2 + y**2), softness)


def _blob(x: Array, y: Array, width: float, height: float) -> Array:
    return np.exp(-((x / width) ** 2 + (y / height) ** 2))


def _heart(study: Study, rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Half width by view and by cardiomegaly: a film taken from the front magnifies the heart."""
    is_large = any(located.finding == "cardiomegaly" for located in study.visible)
    width = (0.46 if is_large else 0.25) + (0.04 if study.view == "AP" else 0.0) + rng.normal(0, 0.012)
    return 0.27 * _inside((x - 0.10) / width, (y - 0.36) / 0.27, 0.10)


def _ribs(rng: np.random.Generator, x: Array, y: Array) -> Array:
    phase = rng.uniform(0, 2 * np.pi)
    return 0.025 * np.sin(y * 28 + np.abs(x) * 5 + phase) * _inside(x / 0.85, y / 0.75, 0.1)


def _scapulae(x: Array, y: Array) -> Array:
    """Shoulder blades over the outer lungs: they are turned out of the way in a PA film."""
    film = np.zeros_like(x)
    for sign in (-1.0, 1.0):
        blade = _smooth(0.07 - np.abs(sign * x - 0.70 + 0.30 * (y + 0.45)), 0.02)
        film += 0.38 * blade * _smooth(0.40 - np.abs(y + 0.45), 0.05)
    return film


def _centre(located: Located, rng: np.random.Generator) -> tuple[float, float]:
    sign = -1.0 if located.place.side == "right" else 1.0
    assert located.place.zone, f"{located.finding} has no zone"
    return sign * (LUNG_X + rng.normal(0, 0.025)), ZONE_HEIGHT[located.place.zone] + rng.normal(0, 0.025)


def _consolidation(located: Located, rng: np.random.Generator, x: Array, y: Array) -> Array:
    """A large patch with an uneven edge."""
    cx, cy = _centre(located, rng)
    wobble = 1 + 0.15 * np.sin(3 * np.arctan2(y - cy, x - cx) + rng.uniform(0, 6))
    return 0.42 * _blob(x - cx, y - cy, 0.20, 0.17) * wobble


def _effusion(located: Located, rng: np.random.Generator, x: Array, y: Array) -> Array:
    """White below a level that climbs towards the chest wall."""
    sign = -1.0 if located.place.side == "right" else 1.0
    level = 0.34 + rng.normal(0, 0.03) - 0.9 * np.clip(sign * x - LUNG_X, -0.2, 0.4) ** 2 - 0.25 * (sign * x - LUNG_X)
    in_lung = _inside((x - sign * LUNG_X) / 0.35, (y + 0.02) / 0.66, 0.08)
    return 0.45 * _smooth(y - level, 0.05) * in_lung


def _pneumothorax(located: Located, rng: np.random.Generator, x: Array, y: Array) -> Array:
    """A black apex without ribs' shadows, bounded by the bright line of the pleura."""
    sign = -1.0 if located.place.side == "right" else 1.0
    edge = -0.22 + rng.normal(0, 0.03) + 0.35 * (sign * x - LUNG_X)
    in_lung = _inside((x - sign * LUNG_X) / 0.33, (y + 0.02) / 0.62, 0.08)
    return in_lung * (0.45 * np.exp(-(((y - edge) / 0.035) ** 2)) - 0.28 * _smooth(edge - y, 0.03))


def _atelectasis(located: Located, rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Two flat parallel bands."""
    cx, cy = _centre(located, rng)
    across = _smooth(0.25 - np.abs(x - cx), 0.04)
    tilt = rng.normal(0, 0.05) * (x - cx)
    bands = np.exp(-(((y - cy - 0.06 + tilt) / 0.028) ** 2)) + np.exp(-(((y - cy + 0.06 + tilt) / 0.028) ** 2))
    return 0.45 * across * bands


def _nodule(located: Located, rng: np.random.Generator, x: Array, y: Array) -> Array:
    """A small, round, sharp spot."""
    cx, cy = _centre(located, rng)
    return 0.60 * _inside((x - cx) / 0.085, (y - cy) / 0.085, 0.2)


def _oedema(located: Located, rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Fine vertical lines through the whole lung of one side."""
    sign = -1.0 if located.place.side == "right" else 1.0
    in_lung = _inside((x - sign * LUNG_X) / 0.30, y / 0.55, 0.12)
    return in_lung * (0.10 + 0.22 * np.cos((x - sign * LUNG_X) * 2 * np.pi / 0.15 + rng.normal(0, 0.2)))


def _no_extra(located: Located, rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Cardiomegaly is drawn by the heart itself."""
    return np.zeros_like(x)


PAINTERS = {
    "pneumothorax": _pneumothorax,
    "effusion": _effusion,
    "consolidation": _consolidation,
    "oedema": _oedema,
    "atelectasis": _atelectasis,
    "cardiomegaly": _no_extra,
    "nodule": _nodule,
}
