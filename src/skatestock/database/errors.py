"""What can go wrong between us and PostgreSQL; each message says what to do."""


class DatabaseError(Exception):
    """The root of this room's errors."""


class DatabaseUnavailableError(DatabaseError):
    """No connection could be had within the time given: the server is down, starting, or full."""


class CommitUnknownError(DatabaseError):
    """The connection was lost during COMMIT: all of the transaction is stored, or nothing; look which."""


class MigrationError(DatabaseError):
    """The schema could not be brought to the newest revision; nothing of the attempt is stored."""


class MigrationBlockedError(MigrationError):
    """Another session holds a lock that the migration needs, and kept it for too long."""


class ExtensionMissingError(MigrationError):
    """PostgreSQL lacks an extension that the schema needs, or its owner may not create it."""


class UnknownRevisionError(MigrationError):
    """The database was migrated by a newer version of SkateStock than this one."""


class DowngradeRefusedError(MigrationError):
    """Downgrades are not supported: mend forward with a new migration, or restore a backup."""


class PartitionError(DatabaseError):
    """A table's partitions are not as this room makes them."""
