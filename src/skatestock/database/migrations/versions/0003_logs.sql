-- An offset means nothing without the log that it is an offset of: the tables here, or a topic of Kafka under the
-- id that Kafka gave it. A topic that was deleted and made again is another log, and begins at its own beginning.
-- `owner` is the consumer to which Kafka's group gave the partition last: another one cannot move the offset.

ALTER TABLE consumer_offsets
    ADD COLUMN log   text NOT NULL DEFAULT 'tables',
    ADD COLUMN owner text,
    DROP CONSTRAINT consumer_offsets_pkey,
    ADD PRIMARY KEY (consumer_group, log, topic, partition);

-- `sent_offset` is where the letter stands in the dead letter topic, for logs that have one.
ALTER TABLE dead_letters
    ADD COLUMN log         text NOT NULL DEFAULT 'tables',
    ADD COLUMN sent_at     timestamptz,
    ADD COLUMN sent_offset bigint,
    DROP CONSTRAINT dead_letters_consumer_group_topic_partition_offset_key,
    ADD UNIQUE (consumer_group, log, topic, partition, "offset");
CREATE INDEX dead_letters_unsent ON dead_letters (id) WHERE sent_at IS NULL AND log <> 'tables';
