"""Search: how words from a person meet the words of a listing, in plain SQL on any PostgreSQL.

Letters are compared without case and accents. No extension is needed: text is decomposed, its combining marks
are dropped, and letters that have no decomposition are spelt out. Text in ASCII, most of it, skips all that.
"""

# Letters of Latin alphabets that Unicode does not decompose, capital and small, and what they are read as.
# The `C` locale lowers ASCII only, but after the decomposition no other Latin capitals are left.
_UNDECOMPOSED = "ØøŁłĐđÐðÞþĦħŦŧŊŋıÆæŒœẞß"
_READ_AS = "oollddddtthhttnniaaooss"

_FOLD = (
    "lower(CASE WHEN octet_length({text}) = char_length({text}) THEN {text} ELSE translate("
    r"regexp_replace(normalize({text}, NFKD), '[\u0300-\u036f]', '', 'g'), "
    "'{undecomposed}', '{read_as}') END)"
)
_PATTERNS = (
    r"SELECT array_agg('%' || regexp_replace({word}, '([\\%_])', '\\\1', 'g') || '%') "
    "FROM unnest({words}) AS word"
)


def fold_sql(text: str) -> str:
    """Return the SQL expression that folds the text which the SQL expression `text` gives."""
    return _FOLD.format(text=text, undecomposed=_UNDECOMPOSED, read_as=_READ_AS)


def patterns_sql(words: str) -> str:
    """Return the SQL query of the LIKE patterns, an array, for the words in the SQL array `words`.

    `%`, `_` and the backslash stand for themselves. They are escaped after folding, because folding makes new
    ones from their full-width forms.
    """
    return _PATTERNS.format(word=fold_sql("word"), words=words)


def split_words(search: str) -> list[str]:
    """Split what a person typed into the words that must all be found, each once, in their order."""
    return list(dict.fromkeys(search.split()))
