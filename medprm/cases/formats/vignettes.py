"""Notes that are told of the same patient: versions of one vignette, which must not lie in two splits.

In: the sentences of each note. Out: which notes belong together. Sets that put errors into notes use a vignette several
times: the sentences of one version tell which sentence of the other is wrong.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import combinations

# Of the shorter note's sentences. In MEDEC-MS validation two notes share less than a third or more than two thirds, but
# for few: 249 pairs and 76 single notes from here on, 224 pairs at 0.7.
SHARE_IN_COMMON = 0.5


def first_of_vignette(notes: Sequence[Sequence[str]]) -> list[int]:
    """Of each note the place of the first one that shares half of the shorter one's sentences, also through others."""
    sentences = [set(note) for note in notes]
    holders: dict[str, list[int]] = defaultdict(list)
    for place, found in enumerate(sentences):
        for sentence in found:
            holders[sentence].append(place)
    shared = Counter(pair for places in holders.values() for pair in combinations(places, 2))
    first = list(range(len(notes)))
    for (one, other), number in shared.items():
        if number >= SHARE_IN_COMMON * min(len(sentences[one]), len(sentences[other])):
            a, b = _root(first, one), _root(first, other)
            first[max(a, b)] = min(a, b)
    return [_root(first, place) for place in range(len(notes))]


def _root(first: list[int], place: int) -> int:
    while first[place] != place:
        place = first[place]
    return place
