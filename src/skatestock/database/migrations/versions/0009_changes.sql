-- What each commit changed in the catalogue, in the order of the commits: caches, streams of events and the product
-- index follow it. A position is taken under the clock's row lock as the last act of a transaction, so positions are
-- dense and become visible in order.

CREATE TABLE catalogue_clock (
    -- a catalogue restored or made anew is another one: what was remembered of the old one's positions means nothing
    epoch    text   NOT NULL,
    position bigint NOT NULL DEFAULT 0,
    -- up to which position the product index has followed
    indexed  bigint NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX catalogue_clock_is_one ON catalogue_clock ((true));
INSERT INTO catalogue_clock (epoch) VALUES (gen_random_uuid()::text);

CREATE TABLE catalogue_changes (
    position        bigint      PRIMARY KEY,
    changed_at      timestamptz NOT NULL,
    -- true: anything may have changed (rules applied, a shop renamed), and the lists below say nothing
    everything      boolean     NOT NULL DEFAULT false,
    -- shops of which a crawl ended or a listing changed
    shop_ids        integer[]   NOT NULL DEFAULT '{}',
    -- products of which a listing or an offer changed
    product_ids     bigint[]    NOT NULL DEFAULT '{}',
    new_listing_ids bigint[]    NOT NULL DEFAULT '{}',
    -- the price points that were written for listings known before: their offers, and in runs their moments, of which
    -- each is that of the next so many offers
    point_offer_ids bigint[]      NOT NULL DEFAULT '{}',
    point_moments   timestamptz[] NOT NULL DEFAULT '{}',
    point_runs      integer[]     NOT NULL DEFAULT '{}'
);
-- Written once and read within seconds: compressing them takes longer than writing them.
ALTER TABLE catalogue_changes
    ALTER COLUMN product_ids SET STORAGE EXTERNAL,
    ALTER COLUMN new_listing_ids SET STORAGE EXTERNAL,
    ALTER COLUMN point_offer_ids SET STORAGE EXTERNAL;
