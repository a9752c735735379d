-- What the rules make of listings and offers, beside the raw words it was made of. Null where no rule knows, and in
-- rows from before: `rules_version` is null there, and `skatestock rules apply` fills them in.

-- Title, vendor, brand and product type are the shop's words; name and colourway are read from the title.
-- brand_id and category_id refer to brands and categories, of which nothing is ever removed; a foreign key would
-- cost two more look-ups for every row that ingest copies in.
ALTER TABLE listings
    ADD COLUMN brand_id      integer,
    ADD COLUMN category_id   smallint,
    ADD COLUMN style_code    text,
    ADD COLUMN rules_version text;

-- The size in our one way of writing it (`8.25"`, `M 9.5`, `W32 L30`); options and title are the shop's words.
ALTER TABLE offers ADD COLUMN size text;
