"""Which cases, and whose labels: what several verbs read alike."""

from dataclasses import dataclass, field

from medprm.annotation.settings import SimulatedSettings
from medprm.cases.phantom.settings import PhantomSettings
from medprm.errors import InputError

BUILT_IN = "cxr"


@dataclass
class DataSettings:
    """Which cases."""

    # A word for the set, shown in tables and reports; cxr alone is built in.
    name: str = "cxr"
    # Folder with train, validation and test as .jsonl or .parquet; null: the built-in phantom set.
    path: str | None = None
    # The phantom set, where path is null.
    phantom: PhantomSettings = field(default_factory=PhantomSettings)
    # Who labels the phantom's training solutions, where path is null.
    annotators: SimulatedSettings = field(default_factory=SimulatedSettings)

    def __post_init__(self) -> None:
        if self.path is None:
            if self.name != BUILT_IN:
                raise InputError(
                    f"data={self.name} has no built-in cases; give data.path=FOLDER with train, validation and test as "
                    f".jsonl or .parquet (conf/data/{self.name}.yaml)"
                )
            return
        for name, given in (("phantom", PhantomSettings()), ("annotators", SimulatedSettings())):
            if getattr(self, name) != given:
                raise InputError(
                    f"data.{name} is set but data.path={self.path} reads other cases; leave one of them out"
                )


@dataclass
class LabelledSettings:
    """Labels of an annotation run in the place of those of the train split."""

    # labelled.jsonl of annotate.py, or the same as Parquet; null: the split's own labels.
    path: str | None = None
    # Leave out the solutions that are not in the file; false: they keep the labels they have.
    only: bool = False

    def __post_init__(self) -> None:
        if self.only and self.path is None:
            raise InputError("labelled.only=true but labelled.path is null; name the file, or leave it out")
