"""Cases with solutions to training examples, lazily: images are decoded and texts encoded when an example is asked for.

In: cases with solutions, the encoder, label settings. Out: `StepDataset` (map-style) and its counts. All texts are
encoded once at the start, so that what is over budget is known before training; a missing image file raises then, too.
A solution that cannot be trained on is refused and counted by reason; nothing takes its place. Of cases that stay in
their file (`medprm.cases.stored`) only the places are kept.
"""

import logging
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard, overload

import numpy as np
from torch.utils.data import Dataset

from medprm.cases.schema import Case, CaseSolutions, Solution
from medprm.cases.stored import ChosenCases, StoredCases
from medprm.encoding.collator import Example
from medprm.encoding.encoder import Encoded, Encoder, check_positions
from medprm.encoding.pixels import PixelLoader
from medprm.encoding.settings import LabelSettings, TileSettings
from medprm.encoding.targets import Targets, history_texts, step_targets
from medprm.errors import InputError
from medprm.images.settings import ImageSettings

logger = logging.getLogger(__name__)

NO_STEPS = "no steps"
NO_LABEL = "no step with a known label"


@dataclass
class DatasetCounts:
    """What was read, kept and refused. Steps and tokens are of the kept solutions."""

    num_cases: int = 0
    num_solutions_read: int = 0
    num_solutions_kept: int = 0
    # Reason -> number of solutions.
    refused: dict[str, int] = field(default_factory=dict)
    num_steps: int = 0
    # Label text, or "unknown" -> number of steps.
    steps_by_label: dict[str, int] = field(default_factory=dict)
    num_text_tokens: int = 0
    longest_text_tokens: int = 0
    num_dropped_documents: int = 0
    num_text_only: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class TrainingItem(NamedTuple):
    """One solution that is trained on."""

    case: Case
    solution: Solution
    targets: Targets


class StoredItems(Sequence[TrainingItem]):
    """Items of cases that stay in their file, read when asked for; the last case stays in memory."""

    def __init__(self, cases: StoredCases | ChosenCases, labels: LabelSettings) -> None:
        self.cases = cases
        self.labels = labels
        self._places = array("q")  # case and solution of each item, one after the other
        self._last: tuple[int, CaseSolutions] | None = None

    def __len__(self) -> int:
        return len(self._places) // 2

    @overload
    def __getitem__(self, index: int) -> TrainingItem: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[TrainingItem]: ...
    def __getitem__(self, index: int | slice) -> TrainingItem | Sequence[TrainingItem]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        number, solution_number = self._places[2 * place], self._places[2 * place + 1]
        if self._last is None or self._last[0] != number:
            self._last = number, self.cases[number]
        case, solutions = self._last[1]
        solution = solutions[solution_number]
        return TrainingItem(case, solution, step_targets(solution, self.labels))

    def add(self, number: int, solution_number: int) -> None:
        """A solution by its place."""
        self._places.extend((number, solution_number))


class StepDataset(Dataset[Example]):
    """One example per solution. `groups[i]` is the number of item i's case."""

    def __init__(
        self,
        items: list[TrainingItem] | StoredItems,
        counts: DatasetCounts,
        encoder: Encoder,
        labels: LabelSettings,
        pixels: PixelLoader,
    ) -> None:
        self.items = items
        self.counts = counts
        self.encoder = encoder
        self.labels = labels
        self.pixels = pixels
        self.groups = array("q")

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Example:
        return Example(self.encode(index), self.load_pixels(index), self.item(index).targets)

    def item(self, index: int) -> TrainingItem:
        return self.items[index]

    def load_pixels(self, index: int) -> np.ndarray | None:
        """The tiles of the item's case (tiles, 3, H, W) float32; None where it has no image."""
        return self.pixels.load(self.item(index).case).values

    def encode(self, index: int) -> Encoded:
        """The ids of one solution; no pixel is read."""
        return self.encode_item(self.item(index))

    def encode_item(self, item: TrainingItem) -> Encoded:
        """The same of an item that is at hand."""
        case, solution, targets = item
        history = history_texts(targets, self.labels) if self.encoder.settings.history == "labels" else None
        return self.encoder.encode(case, solution.step_texts, self.pixels.count(case), history)


def build_dataset(
    cases: Sequence[CaseSolutions],
    encoder: Encoder,
    labels: LabelSettings,
    root: Path,
    image_settings: ImageSettings,
    max_positions: int | None = None,
    tiles: TileSettings | None = None,
) -> StepDataset:
    """The data set of all solutions that have steps and a known label. Raises InputError where none has.

    `max_positions` is the longest sequence that the model takes [tokens]; one that is longer raises, too. `tiles`: what
    is kept of decoded images.
    """
    counts = DatasetCounts(num_cases=len(cases))
    refused: Counter[str] = Counter()
    image_settings = replace(image_settings, windows=tuple(encoder.settings.ct_windows))
    pixels = PixelLoader(root, image_settings, "images" in encoder.settings.blank, tiles)
    stored = StoredItems(cases, labels) if is_stored(cases) else None
    items: list[TrainingItem] = []
    dataset = StepDataset(items if stored is None else stored, counts, encoder, labels, pixels)
    for number, (case, solutions) in enumerate(cases):
        _check_files(case, root)
        for solution_number, solution in enumerate(solutions):
            counts.num_solutions_read += 1
            targets = step_targets(solution, labels)
            if reason := _refusal(solution, targets):
                refused[reason] += 1
                continue
            item = TrainingItem(case, solution, targets)
            if stored is None:
                items.append(item)
            else:
                stored.add(number, solution_number)
            dataset.groups.append(number)
            encoded = dataset.encode_item(item)
            if max_positions is not None:
                check_positions(encoded, max_positions, f"case {case.case_id} solution {solution.solution_id}")
            _count(counts, item, encoded, labels)
    counts.refused = dict(refused)
    for reason, number in refused.items():
        logger.warning("%d of %d solutions refused: %s", number, counts.num_solutions_read, reason)
    if counts.num_dropped_documents:
        logger.warning("%d documents dropped: over the text budget", counts.num_dropped_documents)
    if not dataset.items:
        raise InputError(
            f"{counts.num_solutions_read} solutions of {len(cases)} cases read and none kept "
            f"({counts.refused}); labels.kind={labels.kind} finds no label in them; choose another kind or annotate"
        )
    return dataset


def is_stored(cases: Sequence[CaseSolutions]) -> TypeGuard[StoredCases | ChosenCases]:
    """Whether the cases stay in their file."""
    return isinstance(cases, StoredCases) or (isinstance(cases, ChosenCases) and is_stored(cases.cases))


def _refusal(solution: Solution, targets: Targets) -> str | None:
    if not solution.solution_steps:
        return NO_STEPS
    return None if targets.num_known else NO_LABEL


def _check_files(case: Case, root: Path) -> None:
    for image in case.all_images:
        if not (root / image.path).is_file():
            raise InputError(
                f"case {case.case_id}: no image file {root / image.path}; paths are relative to the data's folder; "
                "mend the path or data.root"
            )


def _count(counts: DatasetCounts, item: TrainingItem, encoded: Encoded, labels: LabelSettings) -> None:
    """Adds the solution to the counts."""
    counts.num_solutions_kept += 1
    counts.num_steps += len(encoded.label_positions)
    for text in history_texts(item.targets, labels):
        name = text or "unknown"
        counts.steps_by_label[name] = counts.steps_by_label.get(name, 0) + 1
    counts.num_text_tokens += encoded.num_text_tokens
    counts.longest_text_tokens = max(counts.longest_text_tokens, encoded.num_text_tokens)
    counts.num_dropped_documents += encoded.dropped_documents
    counts.num_text_only += not item.case.all_images
