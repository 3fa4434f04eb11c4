"""Settings of the phantom set. The exam is fixed: change these numbers and results are no longer comparable."""

from dataclasses import dataclass

from medprm.errors import InputError


@dataclass
class PhantomSettings:
    seed: int = 0  # of the whole set; another seed is another set of patients
    num_train_patients: int = 700  # patients whose solutions carry fused labels
    num_validation_patients: int = 60  # patients whose labels are the truth: threshold, aggregation, calibration
    num_test_patients: int = 220  # patients whose labels are the truth: every reported number
    num_train_candidates: int = 8  # solutions per training case
    num_validation_candidates: int = 16  # solutions per validation case
    num_test_candidates: int = 32  # solutions per test case
    image_size: int = 128  # side of the square film, in pixels

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "seed" and value < 1:
                raise InputError(f"data.phantom.{name} is {value}; expected a whole number of at least 1")
        if self.image_size < 32:
            raise InputError(f"data.phantom.image_size is {self.image_size}; below 32 pixels no finding can be drawn")
