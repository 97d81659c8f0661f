"""HTML templates of a package."""

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


def load_template(package: str, name: str) -> Template:
    """Read a template of a package's folder `templates`; what it fills in is escaped, and a name
    that it is not given is an error."""
    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
