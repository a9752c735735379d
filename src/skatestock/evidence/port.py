"""What the store needs of a storage: whole objects by name. A folder and S3 are the two there are."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol


class ObjectStorage(Protocol):
    """Keeps bytes under names like paths; every method raises EvidenceUnavailableError when it cannot."""

    @property
    def place(self) -> str:
        """Name the storage for a person, without any secret."""
        ...

    async def write(self, name: str, content: bytes) -> None:
        """Write an object whole or not at all; the same content twice is as if it were once."""
        ...

    async def read(self, name: str) -> bytes:
        """Read an object; raises EvidenceMissingError where there is none."""
        ...

    async def list_folders(self, prefix: str) -> list[str]:
        """Name what stands directly below a prefix and has objects below itself, in order."""
        ...

    def list_objects(self, prefix: str) -> AsyncIterator[list[str]]:
        """Name all objects below a prefix, some at a time."""
        ...

    async def delete(self, names: Sequence[str]) -> None:
        """Delete objects; one that is gone already is no error."""
        ...
