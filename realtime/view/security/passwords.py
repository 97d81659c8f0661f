"""Reads and writes the password file: one line with a salted scrypt hash, for its owner only."""

import base64
import hashlib
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from qlumen.errors import UsageError

LOG2_COST, BLOCK_SIZE, LANES = 15, 8, 1
"""Cost of scrypt: 32 MiB and about a tenth of a second (RFC 7914)."""
MAX_LOG2_COST = 20
SALT_BYTES, HASH_BYTES = 16, 32
MIN_CHARACTERS = 8
MAX_CHARACTERS = 1000
MEMORY_MARGIN = 2
KIND = "scrypt"


@dataclass(frozen=True, slots=True)
class Password:
    """Holds the hash of a password, which the repr hides."""

    log2_cost: int
    salt: bytes
    hash: bytes

    def __repr__(self) -> str:
        return "Password(***)"

    def matches(self, given: str) -> bool:
        """Check whether the given password is this one; takes scrypt's time and memory."""
        if len(given) > MAX_CHARACTERS:
            return False
        return secrets.compare_digest(_hash(given, self.salt, self.log2_cost), self.hash)


def read_password(file: Path) -> Password:
    """Read a file that `write_password` wrote.

    Raises:
        UsageError: others may read the file, or it holds no hash.
        OSError: the file cannot be read.
    """
    mode = file.stat().st_mode
    if os.name == "posix" and stat.S_IMODE(mode) & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(f"{file} can be read by others; run chmod 600 {file}")
    try:
        kind, log2_cost, salt, hashed = file.read_text(encoding="ascii").strip().split("$")
        password = Password(int(log2_cost), _decode_base64(salt), _decode_base64(hashed))
    except ValueError:
        raise _no_hash_error(file) from None
    if kind != KIND or not 1 <= password.log2_cost <= MAX_LOG2_COST or not password.hash:
        raise _no_hash_error(file)
    return password


def write_password(file: Path, password: str) -> None:
    """Write the hash to a new file that only its owner may read.

    Raises:
        UsageError: the password is too short or too long, or the file exists.
        OSError: the file cannot be written.
    """
    if not MIN_CHARACTERS <= len(password) <= MAX_CHARACTERS:
        raise UsageError(
            f"the password has {len(password)} characters; use {MIN_CHARACTERS} to {MAX_CHARACTERS}"
        )
    salt = secrets.token_bytes(SALT_BYTES)
    hashed = _hash(password, salt, LOG2_COST)
    line = "$".join((KIND, str(LOG2_COST), _encode_base64(salt), _encode_base64(hashed)))
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(f"{file} exists; remove it first, or choose another name") from None
    with os.fdopen(handle, "w", encoding="ascii") as opened:
        opened.write(line + "\n")


def _no_hash_error(file: Path) -> UsageError:
    return UsageError(f"{file} holds no password hash; make one with qlumen view --set-password")


def _hash(password: str, salt: bytes, log2_cost: int) -> bytes:
    cost = 1 << log2_cost
    memory = MEMORY_MARGIN * 128 * cost * BLOCK_SIZE
    return hashlib.scrypt(
        password.encode(), salt=salt, n=cost, r=BLOCK_SIZE, p=LANES, maxmem=memory, dklen=HASH_BYTES
    )


def _encode_base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _decode_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
