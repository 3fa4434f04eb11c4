"""Settings of the search for identifying words in free text."""

from dataclasses import dataclass

from medprm.errors import check_choice


@dataclass(frozen=True)
class TextDeidentifySettings:
    """How names are told in contexts, questions and notes."""

    # `lists`: by what stands around them and by lists of names (philter-lite). `patterns`: by what stands around alone,
    # without the library; it finds fewer names.
    names: str = "lists"

    def __post_init__(self) -> None:
        check_choice("names", self.names, ("lists", "patterns"))
