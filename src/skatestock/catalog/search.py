"""Search: how the words that a person typed meet the words that products are found by.

The words of both are split and folded by the same functions of the database, `split_words` and `fold_text`.
"""

from typing import NamedTuple

from skatestock.database.pool import Connection

# Words that hold the typed one, and those that are so like it that it may be a slip. What is less like it
# counts only where no word begins with or holds it. Words of fewer than five letters, and numbers, are too
# often like others.
_FIND_WORDS = """
SELECT typed.word,
    ARRAY(SELECT w.word FROM product_words w
          WHERE length(typed.word) >= 3 AND w.word LIKE '%' || typed.word || '%'
          ORDER BY length(w.word), w.word LIMIT $2) AS holding,
    ARRAY(SELECT w.word FROM product_words w
          WHERE length(typed.word) >= 5 AND typed.word !~ '[0-9]' AND w.word % typed.word
              AND similarity(w.word, typed.word) >= CASE WHEN EXISTS (
                  SELECT FROM product_words h WHERE h.word LIKE '%' || typed.word || '%')
                  THEN 0.6 ELSE 0.4 END
          ORDER BY similarity(w.word, typed.word) DESC, w.word LIMIT $2) AS alike
FROM unnest(split_words($1)) AS typed (word)
"""
_MAX_WORDS = 200
"""As many words of the catalogue stand for one that was typed, at most."""


class Search(NamedTuple):
    """What was typed, as text search queries: the first finds, the others rank."""

    any: str
    """Each word, or what begins with it, holds it or is like it."""
    own: str
    """Each word as it is among the product's own."""
    whole: str
    """Each word as it is, anywhere."""
    begun: str
    """Each word as the beginning of one."""


async def find_search(connection: Connection, typed: str) -> Search | None:
    """Find the queries for what a person typed; None where it holds no word."""
    rows = await connection.fetch(_FIND_WORDS, typed, _MAX_WORDS)
    if not rows:
        return None
    words = [row["word"] for row in rows]
    return Search(
        any=" & ".join(_alternatives(row["word"], [*row["holding"], *row["alike"]]) for row in rows),
        own=" & ".join(f"'{word}':A" for word in words),
        whole=" & ".join(f"'{word}'" for word in words),
        begun=" & ".join(f"'{word}':*" for word in words),
    )


def _alternatives(word: str, others: list[str]) -> str:
    # Words hold neither quotes nor backslashes.
    return "(" + " | ".join((f"'{word}':*", *(f"'{other}'" for other in dict.fromkeys(others)))) + ")"
