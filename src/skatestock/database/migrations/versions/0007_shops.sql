-- Shops added by command, shops put to rest, and the last robots.txt of each host.

-- A definition is what an entry in the file of shops would say; null for shops that only the file names. Where both
-- name a shop the file wins. A shop is at rest because an operator said so, or because it failed for too long.
ALTER TABLE shops
    ADD COLUMN crawl_every_seconds integer NOT NULL DEFAULT 1800 CHECK (crawl_every_seconds > 0),
    ADD COLUMN definition          jsonb,
    ADD COLUMN disabled_at         timestamptz,
    ADD COLUMN disabled_because    text CHECK (disabled_because IN ('operator', 'failing')),
    ADD CONSTRAINT shops_disabled_for_a_reason CHECK ((disabled_at IS NULL) = (disabled_because IS NULL));

-- The last rules that a host gave us, for the day on which it cannot be asked; a null body: it had no robots.txt.
CREATE TABLE robots_rules (
    host       text PRIMARY KEY,
    body       bytea,
    fetched_at timestamptz NOT NULL
);
