"""HTML bodies as trees, within limits. Pure."""

import codecs
import re
import warnings
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any, cast

from parsel import Selector
from parsel.csstranslator import HTMLTranslator

from skatestock.crawl.errors import PageError
from skatestock.crawl.reasons import CrawlReason
from skatestock.crawl.walls import is_wall

MAX_BYTES = 8 * 1024 * 1024
"""Larger than any product page; a tree takes about ten times its text."""

# What is looked through for the charset, as browsers do it.
_HEAD_BYTES = 2048
_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([A-Za-z0-9_.:-]{2,40})""", re.IGNORECASE)
_BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_END = re.compile(rb"</html\s*>", re.IGNORECASE)
_TAIL_BYTES = 4096
_BLANKS = " \t\r\n\f"

_TRANSLATOR = HTMLTranslator()
# Publishes no types, and is Scrapy's own parser.
_etree: Any = import_module("lxml.etree")

Element = Any
"""An element of lxml, which publishes no types."""


def parse_document(body: bytes) -> Selector:
    """Parse an HTML body of any charset; raises PageError for a bot wall and for what is too large."""
    if len(body) > MAX_BYTES:
        raise PageError(CrawlReason.TOO_LARGE, f"a page of {len(body)} bytes")
    if is_wall(body):
        raise PageError(CrawlReason.BLOCKED, "a bot wall stands before the page")
    text = decode_document(body)
    # A NUL ends a text for the parser beneath, and what follows it would be lost.
    cleaned = text.replace("\0", "").encode("utf-8", "replace")
    with warnings.catch_warnings():
        # Said of pages nested beyond the parser's limit: what lies deeper is left out, as intended.
        warnings.simplefilter("ignore", UserWarning)
        return Selector(body=cleaned or b"<html/>", encoding="utf-8", type="html", huge_tree=False)


def decode_document(body: bytes) -> str:
    """Decode HTML by its byte order mark, else by the charset it names, else as UTF-8."""
    for mark, charset in _BOMS:
        if body.startswith(mark):
            return body[len(mark) :].decode(charset, "replace")
    named = _CHARSET.search(body[:_HEAD_BYTES])
    return body.decode(_find_codec(named[1].decode("ascii")) if named else "utf-8", "replace")


def is_whole(body: bytes) -> bool:
    """Tell whether an HTML body ends as a document does; many that do not are whole all the same."""
    return _END.search(body[-_TAIL_BYTES:]) is not None


def text_of(element: Element) -> str:
    """Return an element's text without that of comments."""
    return str(compile_xpath("string()")(element))


@lru_cache(maxsize=1024)
def compile_xpath(expression: str) -> Callable[[Element], Any]:
    """Compile an XPath expression once; what it finds of texts are plain ones."""
    # The same few expressions are asked of every part of every page: compiling them costs more than asking.
    return cast(Callable[[Element], Any], _etree.XPath(expression, smart_strings=False))


@lru_cache(maxsize=1024)
def compile_css(selector: str) -> Callable[[Element], Any]:
    """Compile a CSS selector, `::text` and `::attr(name)` included; raises SelectorError for what is none."""
    return compile_xpath(_TRANSLATOR.css_to_xpath(selector))


def attribute(element: Element, name: str) -> str:
    """Return an attribute without the white space around it; empty where there is none."""
    return str(element.get(name) or "").strip(_BLANKS)


def _find_codec(name: str) -> str:
    try:
        info = codecs.lookup(name)
    except LookupError:
        return "utf-8"
    # A page that says in ASCII letters that it is UTF-16 is not; and what is no charset (`hex`) is none.
    usable = info._is_text_encoding and not info.name.startswith(("utf-16", "utf-32", "utf-7", "idna"))
    return {"iso8859-1": "cp1252"}.get(info.name, info.name) if usable else "utf-8"
