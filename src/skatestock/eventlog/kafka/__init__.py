"""The event log on Apache Kafka."""

from skatestock.eventlog.kafka.connection import Cluster, KafkaServers, check_servers
from skatestock.eventlog.kafka.consumer import KafkaConsumer
from skatestock.eventlog.kafka.log import KafkaEventLog
from skatestock.eventlog.kafka.topics import Topic, describe_topics, ensure_topics

__all__ = [
    "Cluster",
    "KafkaConsumer",
    "KafkaEventLog",
    "KafkaServers",
    "Topic",
    "check_servers",
    "describe_topics",
    "ensure_topics",
]
