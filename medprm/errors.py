"""Errors that a user can mend, and the two commonest checks: the entry scripts print one line and exit with code 2."""


class InputError(ValueError):
    """Something given by the user is wrong. The message says what, where, the value, what is allowed, what to do."""


class SolutionTooLong(InputError):
    """One solution has more tokens than the model reads, or more steps than a service takes; a shorter one would do."""


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raises InputError unless `value` is one of `allowed`."""
    if value not in allowed:
        raise InputError(f"{name} is {value!r}; expected one of {', '.join(allowed)}")


def check_least(name: str, value: float, least: float) -> None:
    """Raises InputError where `value` is below `least`, or no number (nan)."""
    if not value >= least:
        raise InputError(f"{name} is {value}; expected {least} or more")
