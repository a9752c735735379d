"""What can go wrong with telemetry."""


class TelemetryError(Exception):
    """The root of this room's errors: its message is written for a person."""


class MetricsServerError(TelemetryError):
    """The metrics cannot be served at the address that was asked for."""
