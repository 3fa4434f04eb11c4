"""The error of this room."""

from medprm.errors import InputError


class ModelError(InputError):
    """A model folder cannot be used as it is."""
