-- Where each price point is from: one row for each observation that was applied, which is the one of its listing and
-- moment. A price point that a crawl's end made (gone, back) has none, nor has what was observed before this migration.

CREATE TABLE observations (
    listing_id     bigint      NOT NULL,
    observed_at    timestamptz NOT NULL,
    crawl_id       text        NOT NULL,
    parser         text        NOT NULL,
    parser_version integer     NOT NULL,
    -- the key of the page's body, while that is kept; it begins with the day it is kept under
    evidence       text,
    PRIMARY KEY (listing_id, observed_at)
) PARTITION BY RANGE (observed_at);

CREATE TABLE observations_default PARTITION OF observations DEFAULT;
