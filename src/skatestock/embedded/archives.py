"""Unpacks archives without trusting them, and tells files and folders of files apart by their content."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from pathlib import Path, PurePosixPath

from skatestock.embedded.errors import UnsafeArchiveError


def digest_file(path: Path) -> str:
    """Compute a file's SHA-256."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_tree(folder: Path) -> str:
    """Compute one SHA-256 over the relative names and contents of all files below a folder."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if not path.is_dir()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{digest_file(path)}\n".encode())
    return digest.hexdigest()


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar archive's plain files into a new folder, readable for all.

    Raises UnsafeArchiveError for a member that would land elsewhere or that is neither file nor folder. Not
    left to tarfile's own filters: the first releases of Python 3.11 have none.
    """
    folder.mkdir()
    with tarfile.open(archive, "r:*") as tar:
        for member in tar:
            target = folder / _safe_name(member)
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            source = tar.extractfile(member)
            assert source is not None
            target.parent.mkdir(parents=True, exist_ok=True)
            with source, target.open("xb") as stream:
                shutil.copyfileobj(source, stream, 1 << 20)
            target.chmod(0o644)
    for made in (folder, *folder.rglob("*")):
        if made.is_dir():
            made.chmod(0o755)


def _safe_name(member: tarfile.TarInfo) -> PurePosixPath:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or not (member.isreg() or member.isdir()):
        raise UnsafeArchiveError(member.name)
    return name
