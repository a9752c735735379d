"""What can go wrong with the event log; each message says what to do."""


class EventLogError(Exception):
    """The root of this room's errors."""


class UnknownTopicError(EventLogError):
    """The topic was never set up in this log, or this process was not told of it."""


class PartitionCountError(EventLogError):
    """The topic stands with another number of partitions; changing it would break the order of keys."""


class FencedError(EventLogError):
    """The consumer has lost its partition, or the stored offset was moved by somebody else."""


class ConsumerClosedError(EventLogError):
    """The consumer was closed and processes nothing any more."""


class DeadLetterNotFoundError(EventLogError):
    """There is no dead letter of this id."""


class OtherLogError(EventLogError):
    """A dead letter's bytes belong to another log than the one in use, whose readers would misread them."""


class LogUnavailableError(EventLogError, ConnectionError):
    """The log's servers do not answer now; the same work may succeed later."""


class LogRefusedError(EventLogError):
    """The log's servers answer, but refuse us: a login, a right, a protocol."""


class MessageTooLargeError(EventLogError):
    """A message is larger than the log takes; nothing of its append was appended."""


class RegistryUnavailableError(EventLogError, ConnectionError):
    """The schema registry does not answer now; the same work may succeed later."""


class RegistryRefusedError(EventLogError):
    """The schema registry answers, but refuses what was asked of it."""


class SchemaNotRegisteredError(EventLogError):
    """A schema that events are written with is not in the registry yet."""


class IncompatibleSchemaError(EventLogError):
    """A schema cannot read what was written with its predecessor."""
