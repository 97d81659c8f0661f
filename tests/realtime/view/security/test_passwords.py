"""Checks the password file: what is written can be read, and nothing else is accepted."""

import base64
import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlumen.errors import UsageError
from qlumen.realtime.view.security.passwords import Password, read_password, write_password

SECRET = "correct horse"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("password") / "p"
    write_password(path, SECRET)
    return path


def test_only_the_password_itself_matches(file: Path) -> None:
    """Its beginning, an added space, other cases and a very long text do not match."""
    password = read_password(file)
    assert password.matches(SECRET)
    for wrong in ("", SECRET[:-1], SECRET + " ", SECRET.upper(), "x" * 1_000_000):
        assert not password.matches(wrong)


def test_the_file_holds_a_salted_scrypt_hash(file: Path, tmp_path: Path) -> None:
    """hashlib recomputes the hash from the line; two files of one password differ."""
    kind, log2_cost, salt, hashed = file.read_text().strip().split("$")
    assert kind == "scrypt"
    assert SECRET not in file.read_text()
    again = hashlib.scrypt(
        SECRET.encode(), salt=base64.b64decode(salt), n=2 ** int(log2_cost), r=8, p=1,
        maxmem=1 << 27, dklen=32,
    )  # fmt: skip
    assert base64.b64decode(hashed) == again
    write_password(tmp_path / "other", SECRET)
    assert (tmp_path / "other").read_text() != file.read_text()


def test_others_may_not_read_it(file: Path, tmp_path: Path) -> None:
    """The file is written for its owner only, and refused with other rights."""
    assert file.stat().st_mode & 0o777 == 0o600
    copy = tmp_path / "open"
    copy.write_bytes(file.read_bytes())
    copy.chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        read_password(copy)


def test_an_existing_file_is_kept(file: Path) -> None:
    """An existing password file is also kept."""
    before = file.read_bytes()
    with pytest.raises(UsageError, match="exists"):
        write_password(file, "another one")
    assert file.read_bytes() == before


@pytest.mark.parametrize("password", ["", "short", "x" * 1001])
def test_the_length_is_checked(tmp_path: Path, password: str) -> None:
    """A bad length is refused before a file is made."""
    with pytest.raises(UsageError, match="characters"):
        write_password(tmp_path / "p", password)
    assert not (tmp_path / "p").exists()


@given(st.one_of(st.binary(max_size=200), st.from_regex(rb"scrypt\$-?\d{1,9}\$[\w+/=]*\$[\w=]*")))
def test_anything_else_is_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    """Any content gives an error that says what to do, or a password of limited cost."""
    path = tmp_path_factory.mktemp("fuzz") / "p"
    path.touch(0o600)
    path.write_bytes(content)
    try:
        password = read_password(path)
    except UsageError as raised:
        error = str(raised)
    else:
        error = "--set-password"
        assert 1 <= password.log2_cost <= 20
    assert "--set-password" in error
    assert "\n" not in error


def test_it_does_not_show_itself(file: Path) -> None:
    """The repr holds neither the salt nor the hash."""
    assert repr(read_password(file)) == "Password(***)"
    assert isinstance(read_password(file), Password)
