"""Settings of the quality filters. Each is off until it is set; each counts what it leaves out."""

from dataclasses import dataclass, field, fields

from medprm.errors import InputError

OF_CASES = ("duplicates", "near_duplicates", "held_out")
OF_LABELS = ("refuse_wrong_without_error", "max_right_per_case", "max_correct_step_share")


@dataclass
class FilterSettings:
    """Which cases and solutions of training data are left out; never used on validation or test."""

    # Fewest steps of a solution; null: any number.
    min_steps: int | None = None
    # Most steps of a solution; null: any number.
    max_steps: int | None = None
    # Leave out solutions with a step that says the same as an earlier one, or has no letter in it.
    refuse_repeated_steps: bool = False
    # Largest share of a step's runs of 4 words that stood in the solution before (a loop); null: any.
    max_repeated_share: float | None = None
    # Leave out solutions whose final answer cannot be read.
    refuse_unparsed: bool = False
    # Leave out what is there twice: a case (images, question, options, context) and a solution of a case.
    duplicates: bool = False
    # The same for texts whose 3-word runs overlap by this much (Jaccard), images equal; null: only equal texts.
    near_duplicates: float | None = None
    # Record files of evaluation sets: left out is what shares a patient, pixels, or a question without image with one.
    held_out: list[str] = field(default_factory=list)
    # Overlap from which on a question without image is one of held_out (Jaccard of 3-word runs).
    held_out_similarity: float = 0.9
    # Leave out solutions with a wrong answer and no step labelled incorrect (Med-PRM).
    refuse_wrong_without_error: bool = False
    # Most solutions with a right answer a case: max(this, those with a wrong one), drawn (Med-PRM: 2); null: all.
    max_right_per_case: int | None = None
    # Solutions without an incorrect step are left out, drawn, until at most this share of labelled steps is correct.
    max_correct_step_share: float | None = None
    # Of the draws.
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("min_steps", "max_steps", "max_right_per_case"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"filters.{name} is {value}; expected null or 1 or more")
        if self.min_steps and self.max_steps and self.min_steps > self.max_steps:
            raise InputError(f"filters.min_steps is {self.min_steps} and max_steps {self.max_steps}: nothing is left")
        for name in ("max_repeated_share", "near_duplicates", "held_out_similarity", "max_correct_step_share"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value <= 1.0:
                raise InputError(f"filters.{name} is {value}; expected above 0, and 1 at most")
        if self.near_duplicates is not None and not self.duplicates:
            raise InputError("filters.near_duplicates is set but filters.duplicates=false; set both")
        if not self.held_out and self.held_out_similarity != FilterSettings.held_out_similarity:
            raise InputError("filters.held_out_similarity is set but filters.held_out names no file; name one")

    @property
    def given(self) -> list[str]:
        """The filters that are on."""
        return [
            one.name
            for one in fields(self)
            if one.name not in ("seed", "held_out_similarity") and getattr(self, one.name) not in (None, False, [])
        ]
