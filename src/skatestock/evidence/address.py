"""Where evidence is kept, by the setting `evidence_url`."""

from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from skatestock.evidence.errors import EvidenceAddressError
from skatestock.evidence.folder import FolderStorage
from skatestock.evidence.port import ObjectStorage
from skatestock.evidence.store import EvidenceStore

_FORMS = (
    "write file:///a/folder, s3://bucket/prefix?region=… for Amazon (the credentials of its environment), or "
    "s3+https://KEY:SECRET@host/bucket/prefix for another server"
)


def open_store(url: str | None, folder: Path) -> EvidenceStore:
    """Open the store at an address, or in the folder where there is none; contacts nobody yet.

    Raises EvidenceAddressError, which does not repeat the address: it may hold a secret.
    """
    if url is None:
        return EvidenceStore(FolderStorage(folder))
    try:
        parts = urlsplit(url)
        known = parts.hostname, parts.port
    except ValueError:
        known = None, None
        parts = SplitResult("", "", "", "", "")
    if parts.scheme == "file" and parts.path.startswith("/") and not parts.netloc:
        return EvidenceStore(FolderStorage(Path(unquote(parts.path))))
    if parts.scheme in ("s3", "s3+http", "s3+https") and known[0]:
        return EvidenceStore(_open_s3(parts))
    raise EvidenceAddressError(f"SKATESTOCK_EVIDENCE_URL cannot be understood: {_FORMS}")


def _open_s3(parts: SplitResult) -> ObjectStorage:
    # A machine that keeps its evidence in a folder need not load the client.
    from skatestock.evidence.s3 import S3Storage

    asked = parse_qs(parts.query)
    unknown = sorted(asked.keys() - {"region"})
    if unknown or parts.fragment:
        raise EvidenceAddressError("SKATESTOCK_EVIDENCE_URL: only ?region=… may stand behind the path")
    region = asked["region"][0] if "region" in asked else None
    path = [unquote(part) for part in parts.path.split("/") if part]
    if parts.scheme == "s3":
        if parts.username or parts.password or parts.port:
            raise EvidenceAddressError(
                "SKATESTOCK_EVIDENCE_URL: with s3:// the credentials are those of the environment "
                "(AWS_ACCESS_KEY_ID …); to name a server and a key, write s3+https://"
            )
        return S3Storage(parts.netloc, prefix="/".join(path), region=region)
    if not path:
        raise EvidenceAddressError(f"SKATESTOCK_EVIDENCE_URL names no bucket: {_FORMS}")
    host = parts.netloc.rpartition("@")[2]
    return S3Storage(
        path[0],
        prefix="/".join(path[1:]),
        endpoint=f"{parts.scheme.removeprefix('s3+')}://{host}",
        access_key=None if parts.username is None else unquote(parts.username),
        secret_key=None if parts.password is None else unquote(parts.password),
        region=region or "us-east-1",
    )
