-- What happened to discounts, read once out of the price points by the process that keeps the product index, so that
-- nobody has to read the whole history for it. A row counts offers of one listing; by shop, brand and category they are
-- grouped when they are asked for. May be thrown away and read out anew at any time.

CREATE TABLE discount_moves (
    at              timestamptz NOT NULL,
    listing_id      bigint      NOT NULL,
    -- offers whose price fell, and offers that had no discount before and have one from then on
    price_drops     integer     NOT NULL,
    discounts_begun integer     NOT NULL,
    PRIMARY KEY (listing_id, at)
);

-- Discounts that ended, of those that had begun after the offer was first seen.
CREATE TABLE discount_ends (
    ended_at   timestamptz NOT NULL,
    listing_id bigint      NOT NULL,
    began_at   timestamptz NOT NULL,
    discounts  integer     NOT NULL,
    PRIMARY KEY (listing_id, ended_at, began_at)
);

-- What stands in both is all that happened from one moment on and before another.
CREATE TABLE discount_state (
    kept_from     timestamptz NOT NULL,
    kept_until    timestamptz NOT NULL,
    -- up to where the price points are being read: whoever brings an earlier one must change this row, which tells the
    -- reader, who began without it, to begin again
    reading_until timestamptz NOT NULL,
    -- how often something was taken out
    taken_out     bigint      NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX discount_state_is_one ON discount_state ((true));
INSERT INTO discount_state (kept_from, kept_until, reading_until) VALUES ('epoch', 'epoch', 'epoch');
