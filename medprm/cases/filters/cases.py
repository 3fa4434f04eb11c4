"""Cases left out because they are there twice, or in an evaluation set.

In: training cases, the folder of their images, files of evaluation sets. Out: the cases that are kept, in order, and
the counts. Images are compared by pixels (`fingerprints.pixel_hash`), texts by their words; near ones are found by
MinHash (datasketch) and confirmed by counting.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from medprm.cases.filters.counts import FilterCounts, Filtered, counted
from medprm.cases.filters.settings import FilterSettings
from medprm.cases.fingerprints import jaccard, normalised, pixel_hash, word_runs
from medprm.cases.folder import DESCRIPTION, open_data
from medprm.cases.jsonl import read_cases
from medprm.cases.schema import Case, CaseSolutions
from medprm.errors import InputError

NUM_HASHES = 128
# Below this a text's runs are too few for MinHash to estimate; candidates are confirmed by counting in any case.
CANDIDATE_MARGIN = 0.1


class Identity(NamedTuple):
    """What a case is, whatever its id: the pixels of its images, its words."""

    pixels: tuple[str, ...]
    text: str


class Held(NamedTuple):
    """What the evaluation sets hold."""

    patients: set[tuple[str | None, str]]
    pixels: set[str]
    texts: "TextIndex"


def filter_cases(cases: Sequence[CaseSolutions], image_root: Path, settings: FilterSettings) -> Filtered:
    """Without doubles, and without what `settings.held_out` holds; of equal cases the first is kept."""
    counts = FilterCounts()
    if not (settings.duplicates or settings.held_out):
        return counted(cases, counts, list(cases))
    held = read_held_out(settings)
    known: dict[tuple[str, ...], TextIndex] = defaultdict(lambda: TextIndex(settings.near_duplicates or 1.0))
    kept = []
    for item in cases:
        identity = identity_of(item.case, image_root)
        reason = leak(item.case, identity, held, item.case.metadata.source) if settings.held_out else None
        if reason is None and settings.duplicates:
            reason = known[identity.pixels].find(identity.text) and "the same case twice"
        if reason:
            counts.leave_out_case(reason, item)
            continue
        if settings.duplicates:
            known[identity.pixels].add(identity.text)
        kept.append(item)
    return counted(cases, counts, kept)


def identity_of(case: Case, image_root: Path) -> Identity:
    return Identity(tuple(sorted(pixel_hash(image_root, image) for image in case.all_images)), normalised(_words(case)))


def read_held_out(settings: FilterSettings) -> Held:
    """What the files of evaluation sets hold. Images start in the file's folder, or where its dataset.json says."""
    held = nothing_held(settings.held_out_similarity)
    for name in settings.held_out:
        file = Path(name)
        root = open_data(file.parent).image_root if (file.parent / DESCRIPTION).is_file() else file.parent
        for case, _ in read_cases(file):
            hold(held, case, root, case.metadata.source)
    return held


def nothing_held(similarity: float) -> Held:
    """To be filled by `hold`."""
    return Held(set(), set(), TextIndex(similarity))


def hold(held: Held, case: Case, image_root: Path, source: str | None) -> None:
    """Adds a case of an evaluation set; patients of two sources may have one name."""
    if case.patient_id is not None:
        held.patients.add((source, case.patient_id))
    pixels, text = identity_of(case, image_root)
    held.pixels.update(pixels)
    if not pixels:
        held.texts.add(text)


class TextIndex:
    """Texts, to find one that is equal, or overlaps by `similarity` or more (Jaccard of runs of 3 words)."""

    def __init__(self, similarity: float) -> None:
        self.similarity = similarity
        self.texts: set[str] = set()
        self._runs: list[frozenset[str]] = []
        self._index: Any = None

    def add(self, text: str) -> None:
        if text in self.texts:
            return
        self.texts.add(text)
        if self.similarity < 1.0:
            self._opened().insert(len(self._runs), _min_hash(word_runs(text)))
            self._runs.append(word_runs(text))

    def find(self, text: str) -> bool:
        """Whether a text that was added is equal or near."""
        if text in self.texts:
            return True
        if self.similarity >= 1.0 or not self._runs:
            return False
        runs = word_runs(text)
        candidates = self._opened().query(_min_hash(runs))
        return any(jaccard(runs, self._runs[number]) >= self.similarity for number in candidates)

    def _opened(self) -> Any:
        if self._index is None:
            threshold = max(0.1, self.similarity - CANDIDATE_MARGIN)
            self._index = _datasketch().MinHashLSH(threshold=threshold, num_perm=NUM_HASHES, weights=(0.1, 0.9))
        return self._index


def leak(case: Case, identity: Identity, held: Held, source: str | None) -> str | None:
    """What the case shares with what is held out; None where that is nothing."""
    if case.patient_id is not None and (source, case.patient_id) in held.patients:
        return "a patient of an evaluation set"
    if held.pixels.intersection(identity.pixels):
        return "an image of an evaluation set"
    # Questions about images repeat ("What is the diagnosis?"): there the image decides.
    if not identity.pixels and held.texts.find(identity.text):
        return "a question of an evaluation set"
    return None


def _words(case: Case) -> str:
    context = case.clinical_context.model_dump(exclude_none=True, exclude_defaults=True)
    return " ".join([case.question, *case.options, *_leaves(context)])


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, one in value.items():
            yield from (name, *_leaves(one))
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _leaves(one)
    else:
        yield str(value)


def _min_hash(runs: Iterable[str]) -> Any:
    found = _datasketch().MinHash(num_perm=NUM_HASHES, seed=1)
    found.update_batch([run.encode() for run in sorted(runs)])
    return found


def _datasketch() -> Any:
    # Imported at call time: it brings SciPy, and only near duplicates need it.
    try:
        import datasketch
    except ImportError as error:
        raise InputError(f"near duplicates need datasketch ({error}); pip install 'medprm[annotate]'") from None
    return datasketch
