"""Golden logits of the tiny original checkpoints, by the independent reference; made by python tests/golden.py."""

import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from original import SPECIAL, TEXT_FAMILIES, VISION_TYPES, write_original_checkpoint
from reference_internvl import reference_logits

GOLDEN_FILE = Path(__file__).parent / "data" / "original_logits.json"


def golden_inputs(image_token_id: int, num_tokens: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """Two rows of ids (2, T) with one tile of 4 image tokens each, and the tiles (2, 3, 32, 32)."""
    generator = np.random.RandomState(1)
    ids = generator.randint(0, 200, (2, num_tokens))
    ids[:, 3:7] = image_token_id
    pixels = generator.standard_normal((2, 3, 32, 32)).astype(np.float32)
    return torch.from_numpy(ids), torch.from_numpy(pixels)


def golden_positions(logits: torch.Tensor) -> torch.Tensor:
    """What is kept of the logits: two positions of each row, every twentieth token."""
    return logits[:, [5, -1], ::20]


def main() -> None:
    golden = {}
    for family in TEXT_FAMILIES:
        for vision in VISION_TYPES:
            with tempfile.TemporaryDirectory() as scratch:
                weights = write_original_checkpoint(Path(scratch), family, vision)
                config = json.loads((Path(scratch) / "config.json").read_text())
                tokens = json.loads((Path(scratch) / "tokenizer_config.json").read_text())["added_tokens_decoder"]
            image_token_id = next(int(number) for number, one in tokens.items() if one["content"] == SPECIAL[4])
            ids, pixels = golden_inputs(image_token_id)
            kept = golden_positions(reference_logits(weights, config, image_token_id, ids, pixels))
            golden[f"{family}_{vision}"] = np.round(kept.numpy().astype(float), 6).tolist()
    GOLDEN_FILE.write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
