"""The topics of the event log, and into how many partitions each is cut."""

from collections.abc import Mapping

from skatestock.ingest.consumer import TOPIC

PARTITIONS = 6
TOPICS: Mapping[str, int] = {TOPIC: PARTITIONS}
