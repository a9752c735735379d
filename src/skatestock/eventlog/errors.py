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
