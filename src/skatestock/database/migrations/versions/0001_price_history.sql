-- The event log, the catalogue and its price history, consumer offsets, dead letters and leases.
-- Every moment is whole seconds; every amount is integer minor units of the row's currency.

-- ---------------------------------------------------------------- eventlog

CREATE TABLE eventlog_topics (
    topic      text PRIMARY KEY,
    partitions smallint NOT NULL CHECK (partitions BETWEEN 1 AND 1024)
);

-- The next free offset of each partition. An append takes its offsets here, inside its own transaction: the row
-- lock makes offsets dense and visible in order, and a rolled-back append leaves no gap.
CREATE TABLE eventlog_ends (
    topic       text     NOT NULL REFERENCES eventlog_topics,
    partition   smallint NOT NULL,
    next_offset bigint   NOT NULL DEFAULT 0,
    PRIMARY KEY (topic, partition)
);

-- Ranges by day of appending, so that retention drops whole partitions. The default partition takes what the
-- maintenance job has made no day for yet: a missed job loses nothing.
CREATE TABLE eventlog_records (
    topic       text        NOT NULL,
    partition   smallint    NOT NULL,
    "offset"    bigint      NOT NULL,
    appended_at timestamptz NOT NULL,
    key         text        NOT NULL,
    value       bytea       NOT NULL,
    headers     jsonb       NOT NULL DEFAULT '{}',
    PRIMARY KEY (topic, partition, "offset", appended_at)
) PARTITION BY RANGE (appended_at);

CREATE TABLE eventlog_records_default PARTITION OF eventlog_records DEFAULT;

-- The truth about what a consumer group has processed: moved in the transaction that stores what was processed.
CREATE TABLE consumer_offsets (
    consumer_group text        NOT NULL,
    topic          text        NOT NULL,
    partition      smallint    NOT NULL,
    next_offset    bigint      NOT NULL DEFAULT 0,
    updated_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer_group, topic, partition)
);

CREATE TABLE dead_letters (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer_group text        NOT NULL,
    topic          text        NOT NULL,
    partition      smallint    NOT NULL,
    "offset"       bigint      NOT NULL,
    key            text        NOT NULL,
    value          bytea       NOT NULL,
    headers        jsonb       NOT NULL DEFAULT '{}',
    error_kind     text        NOT NULL,
    error_text     text        NOT NULL,
    consumer_version text      NOT NULL,
    state          text        NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'replayed', 'discarded')),
    dead_at        timestamptz NOT NULL DEFAULT date_trunc('second', now()),
    settled_at     timestamptz,
    UNIQUE (consumer_group, topic, partition, "offset")
);
CREATE INDEX dead_letters_waiting ON dead_letters (id) WHERE state = 'waiting';

-- ---------------------------------------------------------------- jobs

-- One row per job. `token` grows with every claim and fences a worker that lost its lease.
CREATE TABLE job_leases (
    job            text PRIMARY KEY,
    kind           text        NOT NULL,
    every_seconds  integer     NOT NULL CHECK (every_seconds > 0),
    enabled        boolean     NOT NULL DEFAULT true,
    due_at         timestamptz NOT NULL,
    token          bigint      NOT NULL DEFAULT 0,
    holder         text,
    leased_until   timestamptz,
    last_started_at  timestamptz,
    last_finished_at timestamptz,
    last_outcome     text,
    consecutive_failures integer NOT NULL DEFAULT 0,
    state          jsonb       NOT NULL DEFAULT '{}'
);
CREATE INDEX job_leases_due ON job_leases (kind, due_at) WHERE enabled;

-- ---------------------------------------------------------------- catalog

CREATE TABLE shops (
    id            integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slug          text NOT NULL UNIQUE,
    name          text NOT NULL,
    city          text,
    region        text,
    url           text NOT NULL,
    currency      text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    platform      text NOT NULL,
    enabled       boolean NOT NULL DEFAULT true,
    demo          boolean NOT NULL DEFAULT false
);

CREATE TABLE crawls (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    crawl_id      text NOT NULL UNIQUE,
    shop_id       integer NOT NULL REFERENCES shops,
    started_at    timestamptz NOT NULL,
    completed_at  timestamptz,
    -- null while no CrawlCompleted has arrived: running, or dead
    complete      boolean,
    reason        text,
    detail        text NOT NULL DEFAULT '',
    pages         integer NOT NULL DEFAULT 0,
    requests      integer NOT NULL DEFAULT 0,
    listings_seen integer NOT NULL DEFAULT 0,
    changed       integer NOT NULL DEFAULT 0,
    rejected      integer NOT NULL DEFAULT 0
);
CREATE INDEX crawls_by_shop ON crawls (shop_id, started_at DESC);
CREATE INDEX crawls_complete ON crawls (shop_id, completed_at DESC) WHERE complete;

CREATE TABLE brands (
    id   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slug text NOT NULL UNIQUE,
    name text NOT NULL
);

CREATE TABLE categories (
    id   smallint PRIMARY KEY,
    slug text NOT NULL UNIQUE,
    name text NOT NULL
);

-- What a buyer thinks of: the same thing across shops. Every listing belongs to exactly one.
CREATE TABLE products (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL,
    brand_id    integer REFERENCES brands,
    category_id smallint REFERENCES categories,
    colourway   text,
    created_at  timestamptz NOT NULL
);
CREATE INDEX products_by_brand ON products (brand_id);
CREATE INDEX products_by_category ON products (category_id);

CREATE TABLE listings (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    shop_id       integer NOT NULL REFERENCES shops,
    listing_id    text   NOT NULL,
    product_id    bigint NOT NULL REFERENCES products,
    url           text   NOT NULL,
    handle        text   NOT NULL,
    title         text   NOT NULL,
    name          text   NOT NULL,
    vendor        text,
    brand         text,
    colourway     text,
    product_type  text,
    image_url     text,
    currency      text   NOT NULL,
    fingerprint   bytea  NOT NULL,
    parser        text   NOT NULL,
    parser_version integer NOT NULL,
    first_seen_at timestamptz NOT NULL,
    -- the last observation that was applied
    observed_at   timestamptz NOT NULL,
    -- the last crawl that saw the listing, changed or not
    seen_at       timestamptz NOT NULL,
    -- complete crawls in a row that did not see it; the second delists
    missed        smallint NOT NULL DEFAULT 0,
    delisted_at   timestamptz,
    UNIQUE (shop_id, listing_id)
);
CREATE INDEX listings_by_product ON listings (product_id);
CREATE INDEX listings_by_handle ON listings (shop_id, handle);

CREATE TABLE offers (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    listing_id       bigint NOT NULL REFERENCES listings ON DELETE CASCADE,
    offer_id         text   NOT NULL,
    title            text   NOT NULL,
    options          jsonb  NOT NULL DEFAULT '{}',
    sku              text,
    position         smallint NOT NULL,
    -- the state since the last price point; the price is null while a first price is held
    price_minor      bigint CHECK (price_minor >= 0),
    compare_at_minor bigint CHECK (compare_at_minor >= 0),
    availability     text NOT NULL CHECK (availability IN ('in_stock', 'out_of_stock', 'gone', 'unknown')),
    since_at         timestamptz NOT NULL,
    -- a price that nobody believes yet: zero, or a jump over 70 %; a second crawl confirms or discards it
    held_price_minor      bigint CHECK (held_price_minor >= 0),
    held_compare_at_minor bigint,
    held_at               timestamptz,
    held_crawl_id         text,
    UNIQUE (listing_id, offer_id)
);
CREATE INDEX offers_held ON offers (listing_id) WHERE held_at IS NOT NULL;

-- An offer's state from `observed_at` on: written only when price, compare-at price or availability changed.
CREATE TABLE price_points (
    offer_id         bigint      NOT NULL,
    observed_at      timestamptz NOT NULL,
    price_minor      bigint      NOT NULL CHECK (price_minor >= 0),
    compare_at_minor bigint      CHECK (compare_at_minor >= 0),
    availability     text        NOT NULL CHECK (availability IN ('in_stock', 'out_of_stock', 'gone', 'unknown')),
    -- what happened, as `change` words: first_seen, price_up, price_down, compare_at_changed, out_of_stock,
    -- back_in_stock, delisted, back
    changes          text[]      NOT NULL,
    crawl_id         text        NOT NULL,
    PRIMARY KEY (offer_id, observed_at)
) PARTITION BY RANGE (observed_at);

CREATE TABLE price_points_default PARTITION OF price_points DEFAULT;
CREATE INDEX price_points_by_time ON price_points (observed_at);

CREATE TABLE rejected_observations (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    shop_id     integer NOT NULL REFERENCES shops,
    crawl_id    text NOT NULL,
    -- its place among the rejects of the crawl; null for what ingest itself would not believe
    ordinal     integer,
    listing_id  text,
    reason      text NOT NULL,
    detail      text NOT NULL,
    position    text NOT NULL,
    excerpt     text NOT NULL DEFAULT '',
    rejected_at timestamptz NOT NULL,
    UNIQUE (crawl_id, ordinal)
);
CREATE INDEX rejected_observations_by_shop ON rejected_observations (shop_id, rejected_at DESC);
