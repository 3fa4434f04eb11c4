"""All solutions of a split with their step scores, a progress bar beside the work."""

from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

from medprm.cases.schema import CaseSolutions
from medprm.evaluation.scored import ScoredSolution, scored_solutions
from medprm.scoring.engine import RowScorer, Share, gather, score_rows
from medprm.scoring.kept_rows import KeptRows
from medprm.scoring.rows import Candidates


def score_split(
    scorer: RowScorer,
    cases: Sequence[CaseSolutions],
    split: str,
    root: Path,
    *,
    kept: KeptRows | None = None,
    share: Share = Share(),
    num_workers: int = 0,
    meet: Callable[[], None] = lambda: None,
) -> list[ScoredSolution]:
    """The scored solutions in file order; image paths start at `root`.

    Of several processes each does its share, `meet` waits for all, and every one returns the whole.
    """
    kept = kept or KeptRows()
    candidates = [Candidates(item.case, [one.step_texts for one in item.solutions]) for item in cases]
    rows = scorer.plan(candidates, root)
    mine = range(share.rank, len(rows), share.num)
    total = sum(one.num_steps for index in mine for one in rows.owners(index))
    with tqdm(total=total, desc=f"scoring {split}", unit=" steps", disable=share.rank > 0) as bar:

        def advance(num_steps: int) -> None:
            bar.update(num_steps)

        score_rows(scorer, rows, kept, share=share, num_workers=num_workers, progress=advance)
    meet()
    kept.reload()
    scores = gather(rows, kept, candidates)
    return [one for item, of_case in zip(cases, scores, strict=True) for one in scored_solutions(item, of_case, split)]
