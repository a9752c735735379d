"""SkateStock: every price and every size's stock of independent skate shops, as history."""

from importlib.metadata import version

__version__ = version("skatestock")
