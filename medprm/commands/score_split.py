"""All solutions of a split with their step scores, a progress bar beside the work."""

from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from medprm.cases.schema import CaseSolutions
from medprm.evaluation.scored import ScoredSolution, scored_solutions
from medprm.scoring.scorer import StepScorer
from medprm.scoring.step_token import StepTokenScorer


def score_split(
    scorer: StepScorer | StepTokenScorer, cases: Sequence[CaseSolutions], split: str, root: Path
) -> list[ScoredSolution]:
    """The scored solutions in file order; image paths start at `root`."""
    scored = []
    with tqdm(total=sum(len(item.solutions) for item in cases), desc=f"scoring {split}", unit=" solutions") as bar:

        def advance(num_solutions: int) -> None:
            bar.update(num_solutions)

        for item in scorer.score_cases(cases, root, advance):
            scored += scored_solutions(CaseSolutions(item.case, item.solutions), item.step_scores, split)
    return scored
