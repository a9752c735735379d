"""What is wrong with a broker's certificate: librdkafka only says that it could not be verified."""

import ssl
from contextlib import suppress
from socket import create_connection
from urllib.parse import urlsplit

_SECONDS = 2.0


def find_fault(servers: str, ca_file: str | None) -> str | None:
    """Ask the brokers of a list in turn for their certificates and tell the first fault found; blocks.

    None when none is found: then they have become right meanwhile, or are away.
    """
    for server in servers.split(","):
        with suppress(OSError, ValueError):
            fault = _find_fault_of(server.strip(), ca_file)
            if fault is not None:
                return fault
    return None


def _find_fault_of(server: str, ca_file: str | None) -> str | None:
    parts = urlsplit(server if "://" in server else f"//{server}")
    if parts.hostname is None or parts.port is None:
        return None
    context = ssl.create_default_context(cafile=ca_file)
    try:
        with (
            create_connection((parts.hostname, parts.port), _SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=parts.hostname),
        ):
            return None
    except ssl.SSLCertVerificationError as error:
        # OpenSSL's words: who is missing, which host the certificate is not of, since when it is invalid
        return error.verify_message.rstrip(".")
