"""Where the page is served and who gets in."""

import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from qlumen.realtime.errors import UsageError
from qlumen.realtime.view.passwords import Password, read_password

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 7860


@dataclass(frozen=True, slots=True)
class Access:
    """Attributes:
    host, port: to listen on; port 0 for any free one.
    password: asked for by the page; None on the loopback only.
    certificate, key: PEM files, for TLS; both or none.
    """

    host: str = LOOPBACK
    port: int = DEFAULT_PORT
    password: Password | None = None
    certificate: Path | None = None
    key: Path | None = None

    @property
    def secure(self) -> bool:
        """Whether it is served over TLS."""
        return self.certificate is not None


def read_access(
    host: str, port: int, password_file: Path | None, certificate: Path | None, key: Path | None
) -> Access:
    """Check what was asked for, and read the password's hash.

    Raises:
        UsageError: another host than the loopback without a password; a certificate without
            its key, or one that cannot be used.
        OSError: a file cannot be read.
    """
    if password_file is None and not _is_loopback(host):
        raise UsageError(
            f"--host {host} lets others reach the page; give --password-file FILE, made by "
            "qlumen view --set-password FILE"
        )
    if (certificate is None) != (key is None):
        raise UsageError("--certificate and --key belong together; give both or none")
    if certificate and key:
        _check_certificate(certificate, key)
    password = read_password(password_file) if password_file else None
    return Access(host, port, password, certificate, key)


def warning(access: Access) -> str | None:
    """What the user should know of it."""
    if access.secure or _is_loopback(access.host):
        return None
    return "the network can read along, the password too; --certificate and --key prevent it"


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
