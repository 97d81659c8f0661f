"""Where the page is served and who gets in."""

import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from qlumen.errors import UsageError
from qlumen.realtime.config.outputs import ViewSettings
from qlumen.realtime.view.security.passwords import Password, read_password


@dataclass(frozen=True, slots=True)
class Access:
    """Attributes:
    host, port: to listen on; port 0 for any free one.
    password: asked for by the page; None on the loopback only.
    certificate, key: PEM files, for TLS; both or none.
    """

    host: str
    port: int
    password: Password | None = None
    certificate: Path | None = None
    key: Path | None = None

    @property
    def secure(self) -> bool:
        """Whether it is served over TLS."""
        return self.certificate is not None


def read_access(settings: ViewSettings) -> Access:
    """Check what was asked for, and read the password's hash.

    Raises:
        UsageError: another host than the loopback without a password; a certificate without
            its key, or one that cannot be used.
        OSError: a file cannot be read.
    """
    certificate, key = settings.certificate, settings.key
    if settings.password_file is None and not _is_loopback(settings.host):
        raise UsageError(
            f"host {settings.host} lets others reach the page; give a password file, made by "
            "qlumen view --set-password FILE"
        )
    if (certificate is None) != (key is None):
        raise UsageError("certificate and key belong together; set both or none")
    if certificate and key:
        _check_certificate(certificate, key)
    password = read_password(settings.password_file) if settings.password_file else None
    return Access(settings.host, settings.port, password, certificate, key)


def warning(access: Access) -> str | None:
    """What the user should know of it."""
    if access.secure or _is_loopback(access.host):
        return None
    return "the network can read along, the password too; view.certificate and view.key prevent it"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_certificate(certificate: Path, key: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise UsageError(
            f"{certificate} and {key} are no certificate with its key in PEM: {error.reason}"
        ) from None
