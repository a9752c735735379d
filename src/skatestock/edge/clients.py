"""Who asks: the address behind trusted proxies, or whoever the credentials are of."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Protocol

from skatestock.edge.errors import TrustedProxyError

RawHeaders = Sequence[tuple[bytes, bytes]]

# Of a header that anybody may write as long as he likes, the end is ours.
_MOST_HOPS = 20
_LONGEST_FORWARDED = 64 * _MOST_HOPS
# What is remembered of callers: with the longest headers some five megabytes.
_REMEMBERED = 4096
_UNKNOWN = "unknown"

Address = IPv4Address | IPv6Address


class Client(Protocol):
    """Who a request's credentials are of."""

    @property
    def kind(self) -> str:
        """What is limited: `user` or `key`."""
        ...

    @property
    def id(self) -> str | int:
        """Who, among the clients of this kind."""
        ...


Identify = Callable[[RawHeaders], Awaitable[Client | None]]
"""Tells whose credentials a request carries; None where nobody's, or none that hold. Never raises."""


NameClient = Callable[[Mapping[str, Any], Mapping[bytes, bytes]], str]
"""Names the bucket of a request's address, by its scope and its headers."""


def build_name_client(trusted_proxies: Iterable[str]) -> NameClient:
    """Make what names addresses, behind trusted networks such as `10.0.0.0/8` or directly.

    Raises TrustedProxyError for what is no network.
    """
    try:
        networks = [ip_network(text.strip(), strict=False) for text in trusted_proxies]
    except ValueError as error:
        raise TrustedProxyError(f"a trusted proxy must be an address or a network: {error}") from error

    def is_trusted(address: Address) -> bool:
        return any(address in network for network in networks)

    @lru_cache(maxsize=_REMEMBERED)
    def name_peer(peer: str) -> str:
        return name_address(parse_address(peer))

    @lru_cache(maxsize=_REMEMBERED)
    def name_forwarded(peer: str, forwarded: bytes) -> str:
        return name_address(_walk(parse_address(peer), forwarded, is_trusted))

    def name_client(scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> str:
        peer = scope.get("client")
        host = peer[0] if peer else ""
        forwarded = headers.get(b"x-forwarded-for") if networks else None
        if forwarded is None:
            return name_peer(host)
        if len(forwarded) > _LONGEST_FORWARDED:
            # the first hop of what is left may be cut: it is nobody's address
            forwarded = forwarded[-_LONGEST_FORWARDED:].partition(b",")[2]
        return name_forwarded(host, forwarded)

    return name_client


def parse_address(text: str) -> Address | None:
    """Read an address as proxies write it, also with a port; one of IPv4 in IPv6's clothes is one of IPv4."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def name_address(address: Address | None) -> str:
    """Name the bucket of an address; a whole /64 of IPv6 is one, because whoever has one address has all."""
    if address is None:
        return f"address:{_UNKNOWN}"
    if isinstance(address, IPv6Address):
        return f"address:{IPv6Address(int(address) >> 64 << 64)}/64"
    return f"address:{address}"


def _walk(peer: Address | None, forwarded: bytes, is_trusted: Callable[[Address], bool]) -> Address | None:
    """Go from hop to hop, from the right, as long as the one who says so is trusted."""
    address = peer
    hops = forwarded.decode("latin-1").rsplit(",", _MOST_HOPS)[-_MOST_HOPS:]
    while address is not None and hops and is_trusted(address):
        further = parse_address(hops.pop())
        if further is None:
            break
        address = further
    return address
