"""What can go wrong with a lease."""


class JobsError(Exception):
    """The root of this room's errors."""


class LeaseLostError(JobsError):
    """The lease ran out and the job was claimed anew, or it was given back: its holder is late."""
