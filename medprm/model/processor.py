"""InternVL's processor without torchvision: the Pillow image processor and the tokenizer.

The stock `InternVLProcessor` of transformers builds a video processor, which needs torchvision. This one has images
only; its files name the stock class, so that a machine with torchvision loads that instead.
"""

from pathlib import Path

from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

from medprm.images.settings import ImageSettings
from medprm.images.tiles import IMAGENET_MEAN, IMAGENET_STD


def image_processor(settings: ImageSettings) -> GotOcr2ImageProcessorPil:
    """transformers' own processor with the same tiles and pixels as `images.tiles`."""
    return GotOcr2ImageProcessorPil(
        size={"height": settings.tile_size, "width": settings.tile_size},
        crop_to_patches=True,
        min_patches=1,
        max_patches=settings.max_tiles,
        image_mean=[float(mean) for mean in IMAGENET_MEAN],
        image_std=[float(std) for std in IMAGENET_STD],
        do_convert_rgb=True,
    )


def save_image_processor(folder: Path, settings: ImageSettings) -> None:
    """Write preprocessor_config.json."""
    processor = image_processor(settings)
    processor.save_pretrained(folder)
