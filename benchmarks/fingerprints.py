"""Would a perceptual hash tell chest films apart? `python benchmarks/fingerprints.py FOLDER`

In: a folder of films whose names begin with the patient (NIH: 00000001_000.png). Out: pairs of films of different
patients that a difference hash (dHash, 64 bits) calls alike, by the distance allowed, beside those that `pixel_hash`
calls equal; and what each says of the same film saved anew without loss, as JPEG, and at another size.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from medprm.cases.fingerprints import pixel_hash
from medprm.cases.schema import Image

DISTANCES = (0, 2, 4, 6, 8, 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    files = sorted(parser.parse_args().folder.rglob("*.png"))
    films = [PillowImage.open(one).convert("L") for one in files]
    patients = np.array([one.name.partition("_")[0] for one in files])
    hashes = np.stack([difference_hash(one) for one in films])
    is_other = np.triu(patients[:, None] != patients[None, :], 1)
    distances = (hashes[:, None, :] != hashes[None, :, :]).sum(-1)
    pixels = np.array([pixel_hash(one.parent, Image(path=one.name)) for one in files])
    num_equal = int(((pixels[:, None] == pixels[None, :]) & is_other).sum())
    print(f"{len(files)} films, {len(set(patients))} patients, {is_other.sum():,} pairs of different patients")
    print(f"equal by pixel_hash: {num_equal}")
    changed = [again(one) for one in films]
    for limit in DISTANCES:
        alike = int(((distances <= limit) & is_other).sum())
        touched = int(((distances <= limit) & (patients[:, None] != patients[None, :])).any(1).sum())
        found = {
            name: np.mean([
                (difference_hash(group[name]) != own).sum() <= limit for group, own in zip(changed, hashes, strict=True)
            ])
            for name in changed[0]
        }  # fmt: skip
        shown = ", ".join(f"{name} {share:.3f}" for name, share in found.items())
        print(f"dHash within {limit:2}: {alike:6,} pairs, {touched} films have a false twin; finds again: {shown}")
    with tempfile.TemporaryDirectory() as folder:
        print(f"pixel_hash finds again: {found_by_pixels(films, changed, Path(folder))}")


def difference_hash(film: PillowImage.Image) -> np.ndarray:
    small = np.asarray(film.resize((9, 8), PillowImage.Resampling.BILINEAR), dtype=int)
    return (small[:, 1:] > small[:, :-1]).ravel()


def again(film: PillowImage.Image) -> dict[str, PillowImage.Image]:
    """The same film as JPEG of quality 75, and at three quarters of its size."""
    with tempfile.TemporaryFile() as file:
        film.save(file, "JPEG", quality=75)
        jpeg = PillowImage.open(file).convert("L")
    return {"JPEG 75": jpeg, "smaller": film.resize((film.width * 3 // 4, film.height * 3 // 4))}


def found_by_pixels(films: list[PillowImage.Image], changed: list[dict[str, PillowImage.Image]], folder: Path) -> str:
    num_found: dict[str, int] = {"without loss": 0, "JPEG 75": 0, "smaller": 0}
    for film, group in zip(films, changed, strict=True):
        film.save(folder / "own.png")
        own = pixel_hash(folder, Image(path="own.png"))
        for name, one in [("without loss", film), *group.items()]:
            one.save(folder / "again.png", compress_level=0)
            num_found[name] += pixel_hash(folder, Image(path="again.png")) == own
    return ", ".join(f"{name} {num / len(films):.3f}" for name, num in num_found.items())


if __name__ == "__main__":
    main()
