"""The room's HTML templates; every value is escaped, and a missing one is an error."""

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


def page_template(name: str) -> Template:
    """A template beside this file."""
    environment = Environment(
        loader=PackageLoader("medprm.evaluation", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
