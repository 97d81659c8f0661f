"""Defines where the page is served and who may open it."""

import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from qlumen.errors import UsageError
from qlumen.realtime.config.outputs import ViewSettings
from qlumen.realtime.view.security.passwords import Password, read_password


@dataclass(frozen=True, slots=True)
class Access:
    """Holds the address, the password and the certificate of the page.

    Attributes:
        port: port to listen on; 0 for any free port.
        password: password that the page asks for; None only on the loopback.
        certificate, key: PEM files for TLS; both or neither.
    """

    host: str
    port: int
    password: Password | None = None
    certificate: Path | None = None
    key: Path | None = None

    @property
    def secure(self) -> bool:
        return self.certificate is not None

    def url(self, port: int, root_path: str) -> str:
        """Return the address of a page on this port, without a slash at its end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{port}{root_path}"


def read_access(settings: ViewSettings) -> Access:
    """Check the settings of the page's access and read the password's hash.

    Raises:
        UsageError: a host that is not the loopback has no password, or a certificate has no key
            or cannot be used.
        OSError: a file cannot be read.
    """
    certificate, key = settings.certificate, settings.key
    if settings.password_file is None and not _is_loopback(settings.host):
        raise UsageError(
            f"host {settings.host} lets others reach the page, so it needs a password file; make "
            "one with qlumen view --set-password FILE"
        )
    if (certificate is None) != (key is None):
        raise UsageError("view.certificate and view.key belong together; set both or neither")
    if certificate and key:
        _check_certificate(certificate, key)
    password = read_password(settings.password_file) if settings.password_file else None
    return Access(settings.host, settings.port, password, certificate, key)


def warning(access: Access) -> str | None:
    """Return a warning if the network can read the connection, otherwise None."""
    if access.secure or _is_loopback(access.host):
        return None
    return "the network can read all, also the password; set view.certificate and view.key"


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
            f"{certificate} and {key} must be a certificate and its key in PEM: {error.reason}"
        ) from None
