"""Bodies as they come over the wire: decompressed whole, or an error; never a silent part of one."""

import zlib
from collections.abc import Sequence

from skatestock.crawl.errors import PageError
from skatestock.crawl.reasons import CrawlReason

ACCEPT_ENCODING = "gzip, deflate"
"""What we can read whole and within limits; Shopify's pages shrink to a tenth by gzip alone."""

_CHUNK_BYTES = 256 * 1024
# Each member of a gzip body copies what follows it: a body of tiny ones costs minutes.
_MAX_MEMBERS = 1000
_GZIP = zlib.MAX_WBITS | 16


def parse_content_encoding(values: Sequence[str]) -> list[str]:
    """List the encodings of a body in the order in which they were applied, `identity` left out."""
    names = [name.strip().lower() for value in values for name in value.split(",")]
    return [name for name in names if name and name != "identity"]


def decompress_body(body: bytes, encodings: Sequence[str], max_bytes: int) -> bytes:
    """Undo the encodings, the last one first.

    Raises PageError: `too_large` as soon as `max_bytes` are exceeded (a bomb is never unpacked), `truncated`
    when the compressed stream ends early or is damaged, `unknown_encoding` for one we did not ask for.
    """
    for encoding in reversed(encodings):
        body = _decompress(body, encoding, max_bytes)
    return body


def _decompress(body: bytes, encoding: str, max_bytes: int) -> bytes:
    if encoding in ("gzip", "x-gzip"):
        return _inflate(body, _GZIP, encoding, max_bytes)
    if encoding == "deflate":
        # By the standard this is a zlib stream; some servers send the bare deflate inside of it.
        bare = not body or body[0] & 0x0F != 8
        return _inflate(body, -zlib.MAX_WBITS if bare else zlib.MAX_WBITS, encoding, max_bytes)
    raise PageError(CrawlReason.UNKNOWN_ENCODING, f"the body is encoded as {encoding[:40]!r}")


def _inflate(body: bytes, window_bits: int, encoding: str, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    rest = body
    for _ in range(_MAX_MEMBERS):
        stream = zlib.decompressobj(window_bits)
        while not stream.eof:
            part = _inflate_chunk(stream, rest, encoding)
            size += len(part)
            if size > max_bytes:
                raise PageError(CrawlReason.TOO_LARGE, f"the body unpacks to more than {max_bytes} bytes")
            parts.append(part)
            rest = stream.unconsumed_tail
            if not stream.eof and not rest and len(part) < _CHUNK_BYTES:
                raise PageError(CrawlReason.TRUNCATED, f"the {encoding} stream ends after {size} bytes")
        # A gzip body may consist of several members; what follows the last of them is padding.
        rest = stream.unused_data.lstrip(b"\0")
        if window_bits != _GZIP or not rest.startswith(b"\x1f\x8b"):
            return b"".join(parts)
    raise PageError(CrawlReason.TOO_LARGE, f"the body has more than {_MAX_MEMBERS} gzip members")


def _inflate_chunk(stream: "zlib._Decompress", rest: bytes, encoding: str) -> bytes:
    try:
        return stream.decompress(rest, _CHUNK_BYTES)
    except zlib.error as error:
        raise PageError(CrawlReason.TRUNCATED, f"the {encoding} stream is damaged: {error}") from error
