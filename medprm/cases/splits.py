"""Splits by patient: no patient, case or image on two sides.

In: cases with their solutions. Out: the same cases under the names of the splits. What stays together is `group_id`:
the patient, or the case where no patient is known.
"""

import logging
import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from medprm.cases.schema import Case, CaseSolutions
from medprm.errors import InputError

logger = logging.getLogger(__name__)

SHARES = {"train": 0.6, "validation": 0.15, "test": 0.25}


class SplitError(InputError):
    """Splits cannot be made as asked, or leak."""


def split_by_patient(
    cases: Sequence[CaseSolutions], shares: Mapping[str, float], seed: int
) -> dict[str, list[CaseSolutions]]:
    """Put every patient into one split; within a split the cases keep their order.

    `shares` (split -> share of the cases) add up to 1; they are met as closely as whole patients allow. The draw
    depends on the patients and the seed, not on the order of the cases. Every split gets at least one patient.
    Cases without patient_id go by case_id: counted and logged.
    """
    _check_shares(shares)
    num_without = sum(item.case.patient_id is None for item in cases)
    if num_without:
        logger.warning("%d of %d cases have no patient_id: they are split by case_id", num_without, len(cases))
    groups = sorted({item.case.group_id for item in cases})
    if len(groups) < len(shares):
        raise SplitError(f"{len(groups)} patients for {len(shares)} splits; expected at least one patient a split")
    random.Random(seed).shuffle(groups)
    sizes = Counter(item.case.group_id for item in cases)
    wanted = {name: share * len(cases) for name, share in shares.items()}
    missing = dict(wanted)
    split_of: dict[str, str] = {}
    for group in groups:
        # To the split that is furthest from full in proportion: none stays empty, large patients tip none over twice.
        name = max(shares, key=lambda name: missing[name] / wanted[name])
        split_of[group] = name
        missing[name] -= sizes[group]
    splits: dict[str, list[CaseSolutions]] = {name: [] for name in shares}
    for item in cases:
        splits[split_of[item.case.group_id]].append(item)
    return splits


def check_leakage(splits: Mapping[str, Sequence[CaseSolutions]]) -> None:
    """SplitError where a patient, a case or an image file lies in two splits. Names it and both splits."""
    owner: dict[tuple[str, str], str] = {}
    for split, cases in splits.items():
        for item in cases:
            for kind, key in _identities(item.case):
                other = owner.setdefault((kind, key), split)
                if other != split:
                    raise SplitError(
                        f"{kind} {key!r} lies in two splits, {other} and {split} (case {item.case.case_id}); "
                        "expected one: split by patient again"
                    )


def _identities(case: Case) -> Iterator[tuple[str, str]]:
    if case.patient_id is not None:
        yield "patient", case.patient_id
    yield "case", case.case_id
    for image in case.all_images:
        yield "image", image.path


def _check_shares(shares: Mapping[str, float]) -> None:
    shown = ", ".join(f"{name} {share}" for name, share in shares.items())
    if not shares or not all(share > 0 for share in shares.values()):
        raise SplitError(f"shares are {shown or 'empty'}; expected each above 0")
    if not math.isclose(sum(shares.values()), 1.0, abs_tol=1e-6):
        raise SplitError(f"shares are {shown}, together {sum(shares.values()):g}; expected together 1")
