-- Every crawl writes the rows of all listings that it saw anew, and those of the offers that changed. A row that finds
-- room on the page of the one before it needs no new entry in any index, which is most of what an update costs. Pages
-- that are full already stay as they are until their dead rows are cleared away.
ALTER TABLE listings SET (fillfactor = 50);
ALTER TABLE offers SET (fillfactor = 70);
