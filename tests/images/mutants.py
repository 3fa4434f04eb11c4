"""Damaged DICOM files, each from a seed: flipped bits, cut ends, swapped and copied tags, wrong lengths."""

import random


def mutate(data: bytes, seed: int) -> bytes:
    """One to three mutations of a kind each; the same seed gives the same bytes."""
    rng = random.Random(seed)
    mutant = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        rng.choice(MUTATIONS)(mutant, rng)
    return bytes(mutant)


def flip_bits(mutant: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 4, 40))):
        mutant[rng.randrange(len(mutant))] ^= 1 << rng.randrange(8)


def flip_header_bits(mutant: bytearray, rng: random.Random) -> None:
    """The first kilobyte or two hold the tags, where a bit does more than in pixels."""
    for _ in range(rng.choice((1, 3, 10))):
        mutant[rng.randrange(min(len(mutant), 2048))] ^= 1 << rng.randrange(8)


def truncate(mutant: bytearray, rng: random.Random) -> None:
    del mutant[rng.randrange(1, len(mutant)) :]


def delete_middle(mutant: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(mutant))
    del mutant[start : min(start + rng.choice((1, 2, 7, 500)), len(mutant) - 1)]


def swap_tags(mutant: bytearray, rng: random.Random) -> None:
    """Two places that look like elements of group 0028 change their element numbers."""
    places = [at for at in range(132, len(mutant) - 4) if mutant[at : at + 2] == b"\x28\x00" and mutant[at + 3] == 0]
    if len(places) >= 2:
        one, other = rng.sample(places, 2)
        mutant[one : one + 4], mutant[other : other + 4] = mutant[other : other + 4], mutant[one : one + 4]


def set_number(mutant: bytearray, rng: random.Random) -> None:
    """A value of 16 bits becomes extreme: Rows, Columns, bits, frames, lengths."""
    places = [at for at in range(132, len(mutant) - 10) if mutant[at : at + 2] == b"\x28\x00" and mutant[at + 3] == 0]
    start = rng.choice(places) + 8 if places else rng.randrange(max(1, len(mutant) - 2))
    mutant[start : start + 2] = rng.choice(
        (b"\x00\x00", b"\xff\xff", b"\x00\x80", b"\x01\x00", b"\xff\x7f", b"\x00\x40")
    )


def set_length(mutant: bytearray, rng: random.Random) -> None:
    """Four bytes anywhere become a length that is far too large, undefined or zero."""
    start = rng.randrange(max(1, len(mutant) - 4))
    mutant[start : start + 4] = rng.choice(
        (b"\xff\xff\xff\xff", b"\xfe\xff\xff\x7f", b"\x00\x00\x00\x00", b"\x00\x00\x00\x40")
    )


def insert_bytes(mutant: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(mutant))
    mutant[start:start] = rng.randbytes(rng.choice((1, 2, 8, 300)))


MUTATIONS = (
    flip_bits,
    flip_header_bits,
    truncate,
    delete_middle,
    swap_tags,
    set_number,
    set_length,
    insert_bytes,
)
