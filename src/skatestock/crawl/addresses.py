"""Which addresses a crawl may connect to: no shop that was added by its URL may lie in our own network.

The check is made on the very addresses that a connection is then made to, below all name look-ups, so that a
name which resolves to another address a moment later (DNS rebinding) changes nothing, nor does a redirect.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.interfaces import IAddress, IHostResolution, IResolutionReceiver

_TRANSLATED = IPv6Network("64:ff9b::/96")
"""IPv6 addresses that stand for the IPv4 address in their last 32 bits (RFC 6052)."""

_Place = tuple[str, int]
"""Host and port."""

_guarded: set[_Place] = set()
_refused: dict[_Place, str] = {}


def is_public_address(text: str) -> bool:
    """Tell whether an address is of the public Internet: not private, loopback, reserved or multicast."""
    try:
        address: IPv4Address | IPv6Address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if address in _TRANSLATED:
            inner = IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public_address(str(inner))
    return address.is_global and not (address.is_multicast or address.is_reserved)


def read_shop_address(text: str) -> str:
    """Read a shop's address as a person gives it: scheme (https if none is named), host and port.

    Raises ValueError with what is wrong with it.
    """
    text = text.strip()
    parts = urlsplit(text if "://" in text else f"https://{text}")
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"{parts.scheme}:// is no shop's; give an http or https address")
    if parts.username is not None or parts.password is not None:
        raise ValueError("an address with a user name or password is not crawled")
    host = (parts.hostname or "").rstrip(".")
    if not host or any(letter.isspace() or ord(letter) < 0x21 for letter in host) or parts.port == 0:
        raise ValueError(f"{text!r} is no address of a shop")
    name = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{name}" + (f":{parts.port}" if parts.port else "")


def guard_place(url: str, *, public_only: bool) -> None:
    """Say whether this process may connect to the place of an address at public addresses only."""
    (_guarded.add if public_only else _guarded.discard)(_place_of(url))


def find_refused_address(url: str) -> str | None:
    """Find the address at which a guarded place was refused when it was last looked up."""
    return _refused.get(_place_of(url))


class GuardedResolver:
    """Passes on the addresses of a name, at guarded places the public ones only."""

    def __init__(self, resolver: Any) -> None:
        self._resolver = resolver

    def resolveHostName(  # noqa: N802 - Twisted's name
        self,
        resolutionReceiver: IResolutionReceiver,  # noqa: N803 - Twisted's name
        hostName: str,  # noqa: N803
        portNumber: int = 0,  # noqa: N803
        addressTypes: Sequence[type[IAddress]] | None = None,  # noqa: N803
        transportSemantics: str = "TCP",  # noqa: N803
    ) -> IHostResolution:
        """Look a name up, as Twisted asks for it."""
        place = (_fold(hostName), portNumber)
        receiver: Any = resolutionReceiver
        if place in _guarded:
            _refused.pop(place, None)
            receiver = _PublicReceiver(resolutionReceiver, place)
        found: IHostResolution = self._resolver.resolveHostName(
            receiver, hostName, portNumber, addressTypes, transportSemantics
        )
        return found


class _PublicReceiver:
    def __init__(self, receiver: IResolutionReceiver, place: _Place) -> None:
        self._receiver: Any = receiver
        self._place = place

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:  # noqa: N802, N803
        """Pass on that the look-up began."""
        self._receiver.resolutionBegan(resolutionInProgress)

    def addressResolved(self, address: IAddress) -> None:  # noqa: N802
        """Pass on an address, or note that it was refused."""
        text = str(getattr(address, "host", ""))
        if is_public_address(text):
            self._receiver.addressResolved(address)
        else:
            _refused[self._place] = text

    def resolutionComplete(self) -> None:  # noqa: N802
        """Pass on that there are no more."""
        self._receiver.resolutionComplete()


def _place_of(url: str) -> _Place:
    parts = urlsplit(url)
    return _fold(parts.hostname or ""), parts.port or (443 if parts.scheme == "https" else 80)


def _fold(host: str) -> str:
    return host.lower().rstrip(".")
