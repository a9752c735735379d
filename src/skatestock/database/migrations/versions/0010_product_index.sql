-- The product index: what lists of products are searched, filtered and sorted by. It is made of the catalogue's own
-- tables, by one process, and may be thrown away and made anew at any time.

-- Misspelt words are found by the groups of three letters that they share with right ones. A trusted extension: the
-- database's owner may create it.
CREATE EXTENSION IF NOT EXISTS pg_trgm;

-- Without case and accents. Letters of Latin alphabets that Unicode does not decompose are spelt out; text in ASCII,
-- most of it, skips all that. The C locale lowers ASCII only, but after the decomposition no other Latin capitals are
-- left.
CREATE FUNCTION fold_text(words text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT lower(CASE WHEN octet_length(words) = char_length(words) THEN words ELSE translate(
        regexp_replace(normalize(words, NFKD), '[\u0300-\u036f]', '', 'g'),
        'ØøŁłĐđÐðÞþĦħŦŧŊŋıÆæŒœẞß', 'oollddddtthhttnniaaooss') END)
$$;

-- The words of a text, folded, each once. A full stop within a word stays, so that 8.25 is one; an apostrophe
-- vanishes, so that men's is mens.
CREATE FUNCTION split_words(words text) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(array_agg(DISTINCT left(word, 100)), '{}')
    FROM (SELECT btrim(part, '.') AS word
          FROM unnest(string_to_array(translate(fold_text(words),
              E' \t\n\r\f\x0b!"#$%&()*+,-/:;<=>?@[\\]^_{|}~¡¦§©«¬®°±¶·»¿×÷‐‑‒–—―“”„†‡•′″⁄\'`´’‘‚',
              repeat(' ', 65)), ' ')) AS part) AS parts
    WHERE word <> ''
$$;

-- The plain colours of a colourway: the words in it that name one, and the whole of a part in which none does.
CREATE FUNCTION split_colours(colourway text, known text[]) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(array_agg(DISTINCT CASE colour WHEN 'gray' THEN 'grey' ELSE left(colour, 60) END), '{}')
    FROM regexp_split_to_table(fold_text(colourway), '\s*[/,;&+|]\s*|\s+-\s+|\s+and\s+') AS part
    CROSS JOIN LATERAL (
        SELECT word AS colour FROM unnest(split_words(part)) AS word WHERE word = ANY (known)
        UNION ALL
        SELECT btrim(part) WHERE btrim(part) <> '' AND NOT split_words(part) && known) AS named
$$;

-- An amount in thousandths of its currency's unit, so that amounts of currencies with other minor units compare.
CREATE FUNCTION amount_of(minor bigint, currency text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN currency IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI', 'VND',
            'VUV', 'XAF', 'XOF', 'XPF') THEN minor * 1000
        WHEN currency IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN minor
        WHEN currency IN ('CLF', 'UYW') THEN minor / 10
        ELSE minor * 10 END
$$;

-- How good an offer is for a buyer, as one number of which less is better: its availability (two bits), its currency
-- (fifteen), its amount (forty-five). So the least of a product's offers is its cheapest among the best available,
-- and amounts of two currencies are never compared. Without a price, or with one beyond belief, all ones.
CREATE FUNCTION standing_of(availability text, currency text, minor bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (CASE availability WHEN 'in_stock' THEN 0 WHEN 'unknown' THEN 1 WHEN 'out_of_stock' THEN 2 ELSE 3 END::bigint
        << 60) | CASE WHEN minor IS NULL THEN (1::bigint << 60) - 1 ELSE
        ((((ascii(currency) - 65) * 26 + ascii(substr(currency, 2)) - 65) * 26 + ascii(substr(currency, 3)) - 65)::bigint
            << 45) | least(amount_of(minor, currency), (1::bigint << 45) - 1) END
$$;

-- One row for each product that has, or had, a listing: narrow, because whole lists are counted and sorted by it.
CREATE TABLE indexed_products (
    product_id  bigint      PRIMARY KEY,
    -- whether a shop lists it now; what follows rests on its live listings, or where none is, on the others
    listed      boolean     NOT NULL,
    brand_id    integer,
    category_id smallint,
    standing    bigint      NOT NULL,
    discount    smallint,
    -- when its youngest listing was first seen, and when an offer last changed
    newest_at   timestamptz NOT NULL,
    changed_at  timestamptz,
    -- of its offers, whatever their availability; in thousandths of their currency
    lowest_amount  bigint,
    highest_amount bigint
);

-- The offers of one listing that differ in nothing but their size, or the listing itself where it has none. Several
-- filters hold if they hold in one row.
CREATE TABLE indexed_offers (
    product_id    bigint      NOT NULL,
    shop_id       integer     NOT NULL,
    listed        boolean     NOT NULL,
    brand_id      integer,
    category_id   smallint,
    standing      bigint      NOT NULL,
    amount        bigint,
    discount      smallint,
    sizes         text[]      NOT NULL,
    colours       text[]      NOT NULL,
    first_seen_at timestamptz NOT NULL,
    -- the product's own
    newest_at     timestamptz NOT NULL,
    changed_at    timestamptz
) PARTITION BY LIST (listed);

-- What shops have no more grows with the years, and is hardly ever asked for.
CREATE TABLE indexed_offers_listed PARTITION OF indexed_offers FOR VALUES IN (true);
CREATE TABLE indexed_offers_delisted PARTITION OF indexed_offers FOR VALUES IN (false);
CREATE INDEX indexed_offers_by_product ON indexed_offers (product_id);
CREATE INDEX indexed_offers_by_brand ON indexed_offers (brand_id);
CREATE INDEX indexed_offers_by_category ON indexed_offers (category_id);
CREATE INDEX indexed_offers_by_shop ON indexed_offers (shop_id);
CREATE INDEX indexed_offers_by_size ON indexed_offers USING gin (sizes) WITH (fastupdate = off);

-- How many listed products each value of a filter finds, kept with every step of the index: counting them anew for a
-- list without filters would read the whole index.
CREATE TABLE facet_counts (
    -- a product has one at most, so that the counts of several categories add up; 0: none
    category_id smallint NOT NULL,
    facet       text     NOT NULL,
    -- of a shop, a brand or a category its id
    value       text     NOT NULL,
    products    integer  NOT NULL,
    -- products with an offer of this value in stock
    in_stock    integer  NOT NULL,
    PRIMARY KEY (facet, category_id, value)
) WITH (fillfactor = 70);

-- What a list shows of a product, and the words that it is found by: its own, its brand's and its category's (weight A),
-- and those of its listings' titles (weight B).
CREATE TABLE product_summaries (
    product_id       bigint   PRIMARY KEY,
    image_url        text,
    availability     text     NOT NULL,
    currency         text,
    price_minor      bigint,
    highest_minor    bigint,
    compare_at_minor bigint,
    shop_ids         integer[] NOT NULL,
    search           tsvector NOT NULL
);
CREATE INDEX product_summaries_search ON product_summaries USING gin (search) WITH (fastupdate = off);

-- Every word that a product is found by, to find the right ones for what a person typed.
CREATE TABLE product_words (
    word text PRIMARY KEY
);
CREATE INDEX product_words_by_letters ON product_words USING gin (word gin_trgm_ops);

-- How far the index was built from all products; changes are followed by the catalogue's clock.
CREATE TABLE product_index_state (
    -- which way of making it the index stands in; 0: it was never built, and must not be read
    version     integer NOT NULL,
    -- while it is being built: up to which product, and from which position of the clock changes must be followed then
    built_to    bigint,
    built_after bigint,
    CHECK ((built_to IS NULL) = (built_after IS NULL))
);
CREATE UNIQUE INDEX product_index_state_is_one ON product_index_state ((true));

-- How prices and stock went on finished days, reckoned once by the process that keeps the index: by shop, brand, category
-- and over all, as offers were grouped then. A day whose history changes afterwards is taken out, and reckoned anew.
CREATE TABLE trend_days (
    day         date        PRIMARY KEY,
    reckoned_at timestamptz NOT NULL
);
CREATE TABLE trends (
    day             date    NOT NULL REFERENCES trend_days ON DELETE CASCADE,
    told_by         text    NOT NULL CHECK (told_by IN ('all', 'shop', 'brand', 'category')),
    -- of a shop, a brand or a category; 0: none
    key_id          integer NOT NULL,
    currency        text    NOT NULL,
    offers_in_stock integer NOT NULL,
    lowest_minor    bigint,
    median_minor    bigint,
    price_drops     integer NOT NULL,
    price_rises     integer NOT NULL,
    restocks        integer NOT NULL,
    sold_out        integer NOT NULL,
    first_seen      integer NOT NULL,
    PRIMARY KEY (told_by, day, key_id, currency)
);
CREATE INDEX trends_by_day ON trends (day);
-- How often days were taken out: whoever reckons one meanwhile is told by the changed row.
CREATE TABLE trend_state (
    taken_out bigint NOT NULL
);
INSERT INTO trend_state VALUES (0);

-- An index of nothing is built. One of a catalogue that was there before is built by the process that keeps it.
INSERT INTO product_index_state (version, built_to, built_after)
SELECT CASE WHEN known THEN 0 ELSE 1 END, CASE WHEN known THEN 0 END, CASE WHEN known THEN 0 END
FROM (SELECT EXISTS (SELECT FROM products) AS known) AS catalogue;
