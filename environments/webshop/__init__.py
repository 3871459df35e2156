"""WebShop: buy the product that an instruction describes (Yao et al. 2022, arXiv 2207.01206).

A direct reimplementation of the official text environment: the same pages, search results and rewards, from pure
functions over an immutable state.
"""

from .env import WebShop

__all__ = ["WebShop"]
