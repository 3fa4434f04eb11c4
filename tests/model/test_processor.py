"""The saved image processor cuts and normalises as our own tiles do."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from medprm.images.settings import ImageSettings
from medprm.images.tiles import pixel_values, split_tiles
from medprm.model.processor import image_processor, save_image_processor


def test_same_pixels_as_transformers() -> None:
    settings = ImageSettings(tile_size=64, max_tiles=6)
    noise = np.random.default_rng(0).integers(0, 256, (150, 230, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    theirs = image_processor(settings)(images=[image], return_tensors="np")["pixel_values"]
    ours = pixel_values(split_tiles(image, settings.tile_size, settings.max_tiles))
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= 2e-6  # measured 0.0


def test_settings_are_saved(tmp_path: Path) -> None:
    save_image_processor(tmp_path, ImageSettings(tile_size=64, max_tiles=6))
    saved = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert saved["max_patches"] == 6
    assert saved["size"] == {"height": 64, "width": 64}
