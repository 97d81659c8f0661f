"""Lines of JSON that each carry the hash of the line before.

A line ends in two keys: `previous`, the SHA-256 of the whole line before it (bytes,
without the newline; 64 zeros in the first line), and `sha256`, that of the line itself
up to this key. The first tells where lines were taken out, put in or moved, the second
which line was changed, also if it is the last.

The chain has no secret: it shows damage and careless editing. Who rewrites a line and
all after it leaves a valid chain with another last hash, and who takes lines off the
end leaves a shorter one; both show where the last hash was kept elsewhere.
"""

import hashlib
import json
import re
from collections.abc import Mapping

START = "0" * 64
"""What the first line carries as `previous`."""
_TAIL = re.compile(rb',"previous":"([0-9a-f]{64})","sha256":"([0-9a-f]{64})"\}$')
_TAIL_BYTES = len(',"previous":"","sha256":""}') + 2 * 64
_OWN_BYTES = len(',"sha256":""}') + 64


def link(content: Mapping[str, object], previous: str) -> bytes:
    """The line, without newline, that holds `content` (one key at least) and follows the
    line with the hash `previous`."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    body = f'{text[:-1]},"previous":"{previous}"'
    return f'{body},"sha256":"{hash_of(body.encode())}"}}'.encode()


def hash_of(line: bytes) -> str:
    """SHA-256 as 64 hexadecimal digits."""
    return hashlib.sha256(line).hexdigest()


def previous_of(line: bytes) -> str | None:
    """What a line, without newline, carries as `previous`; None if it is not as written."""
    tail = _TAIL.match(line[-_TAIL_BYTES:])
    if tail is None or hash_of(line[:-_OWN_BYTES]) != tail[2].decode():
        return None
    return tail[1].decode()
