"""What `train` learns from: the sets, the solutions that are chosen, rows of them, and the validation split beside.

In: settings and cases. Out: data sets and the collator that fits them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medprm.cases.folder import DataFolder
from medprm.cases.schema import CaseSolutions
from medprm.commands.data_source import (
    TrainingSet,
    further_sets,
)
from medprm.config import TrainConfig
from medprm.encoding.collator import Collator, TreeCollator
from medprm.encoding.encoder import Encoder
from medprm.encoding.settings import LabelSettings
from medprm.encoding.targets import Targets
from medprm.encoding.tokens import LabelTokens
from medprm.errors import InputError
from medprm.model.loading import LoadedModel
from medprm.training.dataset import StepDataset, build_dataset
from medprm.training.mixture import MixedDataset, Part
from medprm.training.packing import PackedDataset, pack_dataset
from medprm.training.selection import select
from medprm.training.settings import PackingSettings


def training_sets(
    config: TrainConfig, data: DataFolder, splits: Mapping[str, Sequence[CaseSolutions]]
) -> list[TrainingSet]:
    """The train split of `data`, then those of the sets that are mixed in."""
    main = TrainingSet(config.data.name, splits.get("train") or data.split("train"), data.image_root, {})
    return [main, *further_sets(config.mix, splits, data.image_root)]


def selected(sets: Sequence[TrainingSet], config: TrainConfig) -> tuple[list[TrainingSet], dict[str, Any]]:
    """The sets with the solutions that are chosen, and the counts of the choice by set."""
    if config.selection.kind == "none":
        return list(sets), {}
    seed = config.seed if config.selection.seed is None else config.selection.seed
    found = [select(one.cases, config.selection, config.labels, seed) for one in sets]
    counts = {one.name: chosen.counts.to_json() for one, chosen in zip(sets, found, strict=True)}
    return [one._replace(cases=chosen.cases) for one, chosen in zip(sets, found, strict=True)], {"selection": counts}


def training_dataset(
    sets: Sequence[TrainingSet], encoder: Encoder, config: TrainConfig, loaded: LoadedModel
) -> StepDataset | MixedDataset:
    """The solutions of all sets; each as often as the weights say."""
    parts = [
        Part(
            one.name,
            build_dataset(
                one.cases,
                encoder,
                config.labels,
                one.image_root,
                loaded.image_settings,
                max_positions(loaded),
                config.tiles,
            ),
        )
        for one in sets
    ]
    if len(parts) == 1 and not config.mix.is_weighted:
        return parts[0].dataset
    return MixedDataset(parts, config.mix, config.seed)


def validation_dataset(
    cases: Sequence[CaseSolutions] | None, encoder: Encoder, config: TrainConfig, root: Path, loaded: LoadedModel
) -> StepDataset | None:
    """The validation split with its labels as truth, whatever training's labels are; None where it is not wanted."""
    if config.training.eval_strategy == "no":
        return None
    if not cases:
        raise InputError(
            f"no validation split in {config.data.path}; add validation.jsonl, or choose training.eval_strategy=no"
        )
    kind = "outcome" if config.labels.kind == "outcome" else "hybrid"
    dataset = build_dataset(
        cases, encoder, LabelSettings(kind=kind), root, loaded.image_settings, max_positions(loaded), config.tiles
    )
    if len(config.labels.texts) == 3:
        dataset.items = [one._replace(targets=_with_neutral(one.targets)) for one in dataset.items]
    return dataset


def _with_neutral(targets: Targets) -> Targets:
    """Rows over + and - as rows over +, = and -."""
    rows = tuple(None if row is None else (row[0], 0.0, row[1]) for row in targets.rows)
    return Targets(rows=rows, weights=targets.weights)


def max_positions(loaded: LoadedModel) -> int:
    """The longest sequence that the text model was made for [tokens]."""
    return int(loaded.model.config.get_text_config().max_position_embeddings)


def packed(
    dataset: StepDataset | MixedDataset, settings: PackingSettings
) -> StepDataset | MixedDataset | PackedDataset:
    """The data set as rows of trees, unless one solution is to have a row."""
    if settings.kind == "none":
        return dataset
    return pack_dataset(dataset, settings.kind, settings.max_row_tokens, settings.max_tree_solutions)


def make_collator(loaded: LoadedModel, label_tokens: LabelTokens, config: TrainConfig) -> Collator | TreeCollator:
    """The one that fits what `packed` gives."""
    kind = Collator if config.packing.kind == "none" else TreeCollator
    return kind(pad_id=int(loaded.tokenizer.pad_token_id), num_labels=len(label_tokens.ids))  # type: ignore[arg-type]


def count_of_validation(validation_set: StepDataset | None) -> dict[str, Any]:
    return {} if validation_set is None else {"validation": validation_set.counts.to_json()}
