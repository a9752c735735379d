"""What a shop's robots.txt allows; parsing only, fetching it is the middleware's part."""

import re
from typing import Self

from protego import Protego

# "User-agent: SkateStock/1.0" means us, whatever our version; Protego would take it for another name.
_VERSION = re.compile(r"^([ \t]*user-agent[ \t]*:[ \t]*[\w-]+)/.*$", re.IGNORECASE | re.MULTILINE)


class RobotsRules:
    """The rules of one host for us."""

    def __init__(self, rules: Protego | None, agent: str) -> None:
        self._rules = rules
        self._agent = agent

    @classmethod
    def parse(cls, body: bytes, agent: str) -> Self:
        """Read a robots.txt; bytes that are no text are replaced, lines that are no rule are skipped."""
        text = body.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
        return cls(Protego.parse(_VERSION.sub(r"\1", text)), agent)

    @classmethod
    def allow_all(cls, agent: str) -> Self:
        """Return the rules of a host that has no robots.txt (it answered 4xx)."""
        return cls(None, agent)

    def allows(self, url: str) -> bool:
        """Tell whether we may fetch this address."""
        return self._rules is None or bool(self._rules.can_fetch(url, self._agent))

    @property
    def crawl_delay_seconds(self) -> float:
        """Return the pause between requests that the host asks of us; 0 where it asks none."""
        delay = None if self._rules is None else self._rules.crawl_delay(self._agent)
        return max(0.0, float(delay)) if delay is not None else 0.0
