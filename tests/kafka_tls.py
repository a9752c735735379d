"""A Kafka broker as production has it: TLS with a certificate, and a login by SCRAM-SHA-512."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from tests.certificates import Authority
from tests.folders import make_public_folder
from tests.servers import require_kafka, run_apart

from skatestock.embedded.kafka import EmbeddedKafka, Listener

USER = "skatestock"
PASSWORD = "right, with a comma=and more"
_ROUNDS = 4096


class SecureKafka(NamedTuple):
    """A broker on loopback that lets nobody in without TLS and a login."""

    servers: str
    """Where its certificate is right."""
    misnamed_servers: str
    """Where it shows a certificate of another host, from the same authority."""
    plain_servers: str
    """Where it speaks neither TLS nor asks for a login: for tests of a client that takes it for secure."""
    ca_file: Path
    other_ca_file: Path
    """An authority that never vouched for it."""

    def settings(self, **changes: str) -> dict[str, str]:
        """Give the settings of a client that is let in, with changes by the names of the settings."""
        right = {
            "KAFKA_SERVERS": self.servers,
            "KAFKA_SECURITY": "sasl_tls",
            "KAFKA_SASL": "SCRAM-SHA-512",
            "KAFKA_USER": USER,
            "KAFKA_PASSWORD": PASSWORD,
            "KAFKA_CA_FILE": str(self.ca_file),
        }
        return {f"SKATESTOCK_{name}": value for name, value in (right | changes).items()}


@contextmanager
def run_secure_kafka() -> Iterator[SecureKafka]:
    """Run such a broker; skips the test where Kafka or its Java is not to be had."""
    cache = require_kafka()
    folder = make_public_folder()
    authority, stranger = Authority(folder, "authority"), Authority(folder, "stranger")
    broker = EmbeddedKafka(
        folder / "kafka",
        cache=cache,
        listeners=(Listener("SECURE"), Listener("MISNAMED")),
        settings={
            "listener.security.protocol.map": (
                "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL,MISNAMED:SASL_SSL"
            ),
            **_secure("secure", authority.issue("127.0.0.1", "localhost")),
            **_secure("misnamed", authority.issue("elsewhere.example")),
        },
    )
    run_apart(broker.start())
    try:
        _add_user(broker.servers)
        yield SecureKafka(
            servers=f"127.0.0.1:{broker.port_of('SECURE')}",
            misnamed_servers=f"127.0.0.1:{broker.port_of('MISNAMED')}",
            plain_servers=broker.servers,
            ca_file=authority.ca_file,
            other_ca_file=stranger.ca_file,
        )
    finally:
        run_apart(broker.stop())
        shutil.rmtree(folder, ignore_errors=True)


def _secure(listener: str, certificate: Path) -> dict[str, str]:
    prefix = f"listener.name.{listener}"
    return {
        f"{prefix}.ssl.keystore.type": "PEM",
        f"{prefix}.ssl.keystore.location": str(certificate),
        f"{prefix}.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        f"{prefix}.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
    }


def _add_user(servers: str) -> None:
    admin = AdminClient({"bootstrap.servers": servers})
    how = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, _ROUNDS)
    answers = admin.alter_user_scram_credentials([UserScramCredentialUpsertion(USER, how, PASSWORD.encode())])
    for answer in answers.values():
        answer.result(20)
