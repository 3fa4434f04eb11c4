"""Settings of de-identification. Light on purpose, as `settings.py`; the secret itself is never a setting."""

from dataclasses import dataclass

from medprm.errors import InputError, check_choice, check_least


@dataclass(frozen=True)
class DeidentifySettings:
    """What is kept, what is changed and what is held back. The defaults remove most."""

    # File with the secret that pseudonyms, UIDs and date shifts are made from: 16 bytes or more, kept out of backups of
    # the result. Empty: the environment variable is read.
    secret_file: str = ""
    # Environment variable with the secret, where no file is named.
    secret_variable: str = "MEDPRM_DEIDENTIFY_SECRET"
    # PatientAge and PatientSex: part of the clinical context (PS3.15 option 113108). Ages are capped whatever is kept.
    keep_age_and_sex: bool = True
    # Oldest age that is written as it is, in years; all older ones become the next year (HIPAA: 89).
    age_cap_years: int = 89
    # `shift`: all dates of a patient move back by the same secret number of days (113107). `remove`: no date is kept.
    dates: str = "shift"
    # Largest shift, in days; the smallest is one day.
    max_shift_days: int = 3650
    # Text burned into the pixels: `redact` covers it, `hold` refuses the file, `off` does not look (for pictures
    # that are known to hold none).
    burned_in: str = "redact"
    # Names, numbers and the like to be looked for in every file beside its own, one a line; empty: none.
    identifiers_file: str = ""

    def __post_init__(self) -> None:
        check_choice("dates", self.dates, ("shift", "remove"))
        check_choice("burned_in", self.burned_in, ("redact", "hold", "off"))
        check_least("max_shift_days", self.max_shift_days, 1)
        check_least("age_cap_years", self.age_cap_years, 1)
        if not self.secret_file and not self.secret_variable:
            raise InputError("neither secret_file nor secret_variable is given; name one of them")
