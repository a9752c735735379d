-- The barcodes of offers, as the last crawl that was told them read them: a GTIN in fourteen digits, or else the text
-- that is none.

ALTER TABLE offers
    ADD COLUMN barcode         text CHECK (barcode ~ '^[0-9]{14}$'),
    ADD COLUMN invalid_barcode text,
    ADD CONSTRAINT offers_one_barcode CHECK (barcode IS NULL OR invalid_barcode IS NULL);

-- Whoever has a number asks which offers bear it; most offers have none.
CREATE INDEX offers_barcode ON offers (barcode) WHERE barcode IS NOT NULL;
