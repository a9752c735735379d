"""Evidence in any storage that speaks S3."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from skatestock.evidence.errors import EvidenceMissingError, EvidenceUnavailableError

_LISTED_AT_ONCE = 500
_RETRIES = 2
_PATIENCE = timedelta(seconds=10)


class S3Storage:
    """Objects in a bucket; without a key of our own, credentials come from the environment, as AWS has it."""

    def __init__(
        self,
        bucket: str,
        *,
        prefix: str = "",
        endpoint: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        region: str | None = None,
    ) -> None:
        where = f"s3://{bucket}" if endpoint is None else f"{endpoint}/{bucket}"
        self._place = f"{where}/{prefix}" if prefix else where
        given: dict[str, Any] = {
            "endpoint": endpoint,
            "access_key_id": access_key,
            "secret_access_key": secret_key,
            "region": region,
        }
        self._store = S3Store(
            bucket,
            prefix=prefix or None,
            client_options={
                "allow_http": endpoint is not None and endpoint.startswith("http:"),
                "connect_timeout": "3s",
                "timeout": "10s",
            },
            retry_config={"max_retries": _RETRIES, "retry_timeout": _PATIENCE},
            **{name: value for name, value in given.items() if value is not None},
        )

    @property
    def place(self) -> str:
        """Name server, bucket and prefix."""
        return self._place

    async def write(self, name: str, content: bytes) -> None:
        """Write an object whole or not at all: so S3 itself has it."""
        try:
            await obstore.put_async(self._store, name, content, use_multipart=False)
        except (BaseError, OSError) as error:
            raise self._explain(error) from error

    async def read(self, name: str) -> bytes:
        """Read an object; raises EvidenceMissingError where there is none."""
        try:
            answer = await obstore.get_async(self._store, name)
            return bytes(await answer.bytes_async())
        except FileNotFoundError as error:
            raise EvidenceMissingError(f"nothing is kept at {self._place}/{name}") from error
        except (BaseError, OSError) as error:
            raise self._explain(error) from error

    async def list_folders(self, prefix: str) -> list[str]:
        """Name the common prefixes directly below a prefix, in order."""
        try:
            found = await obstore.list_with_delimiter_async(self._store, prefix or None)
        except (BaseError, OSError) as error:
            raise self._explain(error) from error
        return sorted(name.rsplit("/", 1)[-1] for name in found["common_prefixes"])

    async def list_objects(self, prefix: str) -> AsyncIterator[list[str]]:
        """Name all objects below a prefix, some at a time."""
        try:
            async for part in obstore.list(self._store, prefix or None, chunk_size=_LISTED_AT_ONCE):
                yield [found["path"] for found in part]
        except (BaseError, OSError) as error:
            raise self._explain(error) from error

    async def delete(self, names: Sequence[str]) -> None:
        """Delete objects; one that is gone already is no error."""
        try:
            await obstore.delete_async(self._store, list(names))
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise self._explain(error) from error

    def _explain(self, error: Exception) -> EvidenceUnavailableError:
        # What follows the first lines is the client's inner state.
        detail = str(error).partition("\n\nDebug source")[0][:500]
        return EvidenceUnavailableError(f"the storage {self._place} cannot be used: {detail}")
