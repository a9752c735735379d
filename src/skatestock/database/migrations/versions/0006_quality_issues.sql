-- What is wrong with the data of a shop, as the last check of it found. A row is one stretch of time: it is resolved
-- when a check does not find the issue any more, and an issue that comes back is a new row.

CREATE TABLE quality_issues (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind          text        NOT NULL,
    severity      text        NOT NULL CHECK (severity IN ('info', 'warning', 'error')),
    shop_id       integer     NOT NULL REFERENCES shops,
    -- the shop's own identifiers: what was rejected may never have become a listing; null is the shop itself
    listing_id    text,
    offer_id      text        CHECK (offer_id IS NULL OR listing_id IS NOT NULL),
    -- the facts by which the issue was found
    detail        jsonb       NOT NULL DEFAULT '{}',
    -- the crawls that showed it, the first and the last
    first_seen_at timestamptz NOT NULL,
    last_seen_at  timestamptz NOT NULL CHECK (last_seen_at >= first_seen_at),
    resolved_at   timestamptz CHECK (resolved_at >= last_seen_at)
-- Every crawl moves last_seen_at of every open row: room on the page lets it be done without touching an index.
) WITH (fillfactor = 80);

CREATE UNIQUE INDEX quality_issues_open ON quality_issues (shop_id, kind, listing_id, offer_id)
    NULLS NOT DISTINCT WHERE resolved_at IS NULL;
CREATE INDEX quality_issues_resolved ON quality_issues (resolved_at) WHERE resolved_at IS NOT NULL;
