"""What can go wrong with evidence; each message says what to do, and none shows a secret."""


class EvidenceError(Exception):
    """The root of this room's errors."""


class EvidenceAddressError(EvidenceError):
    """The setting `evidence_url` cannot be understood."""


class EvidenceUnavailableError(EvidenceError):
    """The storage does not answer, refuses us, or is full."""


class EvidenceMissingError(EvidenceError):
    """Nothing is kept under this key: it is older than the days that evidence is kept, or never was."""


class EvidenceDamagedError(EvidenceError):
    """What is kept under a key is not what was put there."""
