"""The shop's shelves: products as WebShop's files describe them, with the search index over them.

A catalogue is immutable and holds no goal, no session and no random state, so one copy serves every environment of a
process; one that lies on disk (``store``) serves all processes. Field by field this follows ``load_products`` of
WebShop's ``web_agent_site/engine/engine.py`` and, for the indexed text, its
``search_engine/convert_product_file_format.py``.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import cached_property
from itertools import islice
from typing import Any

from r3lbench.errors import BadData

from .index import SearchIndex
from .nouns import TitleNouns

LONGEST_ASIN = 10
DEFAULT_PRICE = 100.0
"""What a product without a price costs."""
NO_ATTRIBUTES = ("DUMMY_ATTR",)
"""Stands where the attribute file does not know a product."""


@dataclass(frozen=True, slots=True)
class Product:
    """One product.

    Attributes:
        asin: Identity in the shop, as shown on its link.
        title: Name of the product.
        description: Text of its Description page; may be empty.
        bullets: Lines of its Features page.
        prices: One price, or the ends of a range, in dollars.
        options: Each group's name and values, lower-case, in page order.
        attributes: Hidden properties that goals ask for.
        category: Department.
        query: Product type, lower-case.
        product_category: Path of categories, joined by ``›``.
    """

    asin: str
    title: str
    description: str
    bullets: tuple[str, ...]
    prices: tuple[float, ...]
    options: tuple[tuple[str, tuple[str, ...]], ...]
    attributes: tuple[str, ...]
    category: str
    query: str
    product_category: str

    @property
    def price_tag(self) -> str:
        """The price as shown, e.g. ``$27.0`` or ``$1.01 to $1.74``."""
        return " to ".join(f"${price}" for price in self.prices)

    @property
    def indexed_text(self) -> str:
        """What search sees: title, description, first bullet and options."""
        options = ", and ".join(f"{name}: {', '.join(values)}" for name, values in self.options)
        return " ".join((self.title, self.description, self.bullets[0] if self.bullets else "", options)).lower()

    @property
    def line(self) -> bytes:
        """All of it as JSON, in ASCII."""
        return json.dumps([getattr(self, name) for name in self.__slots__]).encode("ascii")

    @classmethod
    def from_line(cls, line: bytes) -> Product:
        """The product that such a line stands for."""
        asin, title, description, bullets, prices, options, attributes, *rest = json.loads(line)
        groups = tuple((name, tuple(values)) for name, values in options)
        return cls(asin, title, description, tuple(bullets), tuple(prices), groups, tuple(attributes), *rest)

    @classmethod
    def parse(cls, record: Mapping[str, Any], attributes: Sequence[str] | None, source: str) -> Product:
        """Read a record of WebShop's ``items_shuffle`` file.

        Args:
            record: One entry of the file.
            attributes: What the attribute file says of it; None when it says nothing.
            source: Where the record stands, for messages.

        Raises:
            BadData: A field is missing or of another form.
        """
        try:
            bullets = record["small_description"]
            title, description, path = texts(
                [record["name"], record["full_description"] or "", record["product_category"] or ""]
            )
            return cls(
                asin=record["asin"],
                title=title,
                description=description,
                bullets=texts(bullets if isinstance(bullets, list) else [bullets or ""]),
                prices=_prices(record.get("pricing")),
                options=_options(record["customization_options"] or {}),
                attributes=NO_ATTRIBUTES if attributes is None else texts(attributes),
                category=record["category"],
                query=record["query"].lower().strip(),
                product_category=path,
            )
        except (KeyError, TypeError, AttributeError, InvalidOperation) as error:
            raise BadData(
                f"{source}: product {record.get('asin')!r} is not in WebShop's format ({type(error).__name__}: {error})"
            ) from error


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Products in file order with everything that follows from them alone.

    Attributes:
        name: What results call it, e.g. ``"webshop-1000"``.
        products: All products.
        prices: The one price of each product that purchases are judged by (a draw where a range is shown).
        nouns: The rule that finds the nouns of a title.
    """

    name: str
    products: Sequence[Product]
    prices: Sequence[float]
    nouns: TitleNouns = field(default_factory=TitleNouns)

    @cached_property
    def index(self) -> SearchIndex:
        """Search over the products' indexed texts; hits are positions in ``products``."""
        return SearchIndex.build(
            [product.asin for product in self.products], (product.indexed_text for product in self.products)
        )

    @cached_property
    def position(self) -> Mapping[str, int]:
        """ASIN to position."""
        return {product.asin: position for position, product in enumerate(self.products)}

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) over all products, their prices and the noun rule."""
        return hash_of(self.nouns, (product.line for product in self.products), self.prices)


def hash_of(nouns: TitleNouns, lines: Iterable[bytes], prices: Iterable[float]) -> str:
    """SHA-256 (hex) over the noun rule, all products as lines, and their prices."""
    sha = hashlib.sha256(f"{nouns.name}\n".encode())
    for line, price in zip(lines, prices, strict=True):
        sha.update(b"%b, %b]\n" % (line[:-1], json.dumps(price).encode("ascii")))
    return sha.hexdigest()


def listed(
    records: Iterable[Mapping[str, Any]], is_new: Callable[[str], bool], source: str
) -> Iterator[Mapping[str, Any]]:
    """The records that are products; over-long, ``nan`` and repeated ASINs are left out, as upstream does.

    Args:
        records: Entries of an ``items_shuffle`` file, in order.
        is_new: Whether an ASIN is asked about for the first time.
        source: Name of the file, for messages.
    """
    for number, record in enumerate(records):
        asin = record.get("asin") if isinstance(record, Mapping) else None
        if not isinstance(asin, str):
            raise BadData(f"{source}: entry {number} is no product (it has no text under 'asin')")
        if asin != "nan" and len(asin) <= LONGEST_ASIN and is_new(asin):
            yield record


def build_catalogue(
    name: str,
    records: Iterable[Mapping[str, Any]],
    instructions: Mapping[str, Mapping[str, Any]],
    *,
    num_products: int | None = None,
    prices: Mapping[str, float] | None = None,
    rng: random.Random | None = None,
    nouns: TitleNouns | None = None,
    source: str = "products",
) -> Catalogue:
    """Build a catalogue from records in WebShop's format.

    Args:
        name: What results call it.
        records: Entries of ``items_shuffle``.
        instructions: Content of ``items_ins_v2``.
        num_products: Look only at this many records.
        prices: The price of each ASIN; None draws it with ``rng`` where a range is shown.
        rng: Generator of the draws; a fresh unseeded one when None.
        nouns: Rule for title nouns; the best one installed when None.
        source: Name of the file, for messages.
    """
    seen: set[str] = set()

    def is_new(asin: str) -> bool:
        new = asin not in seen
        seen.add(asin)
        return new

    products = tuple(
        Product.parse(record, instructions.get(record["asin"], {}).get("attributes"), source)
        for record in listed(islice(records, num_products), is_new, source)
    )
    if not products:
        raise BadData(f"{source}: no product found; expected a JSON list of WebShop products")
    if prices is None:
        prices = draw_prices(products, rng or random.Random())
    missing = [product.asin for product in products if product.asin not in prices]
    if missing:
        raise BadData(f"{source}: no price is given for {', '.join(missing[:5])}")
    return Catalogue(name, products, tuple(prices[product.asin] for product in products), nouns or TitleNouns())


def texts(values: object) -> tuple[str, ...]:
    """A list of texts.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(values, list | tuple) or not all(isinstance(value, str) for value in values):
        raise TypeError(f"texts were expected, not {str(values)[:60]}")
    return tuple(values)


def draw_prices(products: Iterable[Product], rng: random.Random) -> dict[str, float]:
    """One price per ASIN, uniform where a range is shown (``generate_product_prices`` upstream)."""
    return {
        product.asin: product.prices[0] if len(product.prices) == 1 else rng.uniform(*product.prices)
        for product in products
    }


def _prices(pricing: str | None) -> tuple[float, ...]:
    if not pricing:
        return (DEFAULT_PRICE,)
    prices = [float(Decimal(re.sub(r"[^\d.]", "", part))) for part in pricing.split("$")[1:]]
    if not prices:
        raise TypeError(f"the price {pricing!r} has no dollar sign")
    return tuple(prices[:2])


def _options(groups: Mapping[str, Sequence[Mapping[str, Any]] | None]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    options = {
        name.lower(): tuple(content["value"].strip().replace("/", " | ").lower() for content in contents)
        for name, contents in groups.items()
        if contents is not None
    }
    return tuple(options.items())
