"""Lists what other packages add to qlumen."""

from qlumen.errors import QlumenError
from qlumen.realtime.doctor.machine import Check
from qlumen.system.plugins import GROUPS, find_plugins, load_plugin


def plugin_checks() -> list[Check]:
    """Load each plugin, of qlumen itself and of other packages."""
    checks = []
    for group in GROUPS:
        for name, point in sorted(find_plugins(group).items()):
            package = f"{point.dist.name} {point.dist.version}" if point.dist else ""
            title = f"{group.removeprefix('qlumen.')}: {name}"
            try:
                load_plugin(point)
            except QlumenError as error:
                checks.append(Check(title, "absent", package, str(error)))
            else:
                checks.append(Check(title, "ok", package))
    return checks
