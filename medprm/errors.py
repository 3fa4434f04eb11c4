"""Errors that a user can mend: the entry scripts print them as one line and exit with code 2."""


class InputError(ValueError):
    """Something given by the user is wrong. The message says what, where, the value, what is allowed, what to do."""
