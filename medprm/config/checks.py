"""What the settings of several verbs refuse alike."""

from medprm.clients.settings import ServerSettings
from medprm.errors import InputError


def check_resume(resume: bool, overwrite: bool) -> None:
    """InputError where a run would both go on and be deleted."""
    if resume and overwrite:
        raise InputError("resume=true and overwrite=true: one goes on with the run, the other deletes it; leave one")


def check_null_or_positive(name: str, value: int | None) -> None:
    """InputError where `value` is below 1."""
    if value is not None and value < 1:
        raise InputError(f"{name} is {value}; expected null or 1 or more")


def check_addresses(name: str, kind: str, server_name: str, server: ServerSettings) -> None:
    """InputError where a server has no address, or something else has one."""
    if (kind == "server") != bool(server.base_urls):
        raise InputError(
            f"{name} is {kind!r} and {server_name}.base_urls is {list(server.base_urls)}: addresses go with a server, "
            "and only with one"
        )


def check_model(server_name: str, server: ServerSettings) -> None:
    """InputError where a server is not told which model is asked for."""
    if server.base_urls and not server.model:
        raise InputError(f"{server_name}.model is empty; name the model to ask for: {server_name}.model=NAME")
