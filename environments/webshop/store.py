"""A catalogue of WebShop's files, of any size, in a folder that all processes share.

The files are read once, entry by entry. What is kept of them is what they say of the products and of the goals; prices
and goals, which depend on seeds, are drawn from it elsewhere (``shop``, ``stored_goals``).
"""

from __future__ import annotations

import json
import warnings
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from r3lbench.errors import BadData
from r3lbench.files import to_json

from .catalogue import Product, listed
from .columns import Column, LookedUp, Numbering, Texts, TextWriter
from .keeping import content_of, kept
from .reading import a_list_of_records, a_record, read_mapping, read_records
from .stored_index import StoredIndex, write_index

KEPT = 4096
"""Products looked at last that a process keeps."""
POSTINGS = 1 << 21
"""Postings of the index that are in memory at a time while it is made."""
LARGE = 1 << 26
"""Bytes of a product file whose first opening takes a minute or more."""
_PRODUCTS, _PRICES, _IDS, _BY_ID, _FACTS = "products", "price_ranges", "ids", "by_id", "facts.json"
_INSTRUCTIONS, _HUMAN = "instructions", "human"


@dataclass(frozen=True)
class Sources:
    """WebShop's files.

    Attributes:
        products: ``items_shuffle``.
        instructions: ``items_ins_v2``.
        human: ``items_human_ins``; None where there is none.
        nouns: ``title_nouns``, a table of nouns by title; None where there is none.
    """

    products: Path
    instructions: Path
    human: Path | None
    nouns: Path | None

    @property
    def files(self) -> list[Path]:
        """Those that describe the catalogue."""
        return [file for file in (self.products, self.instructions, self.human) if file is not None]

    @property
    def all_files(self) -> list[Path]:
        """Also the table of nouns."""
        return self.files if self.nouns is None else [*self.files, self.nouns]


class Store:
    """An opened catalogue: nothing of it is held but what was looked at last.

    Args:
        made_from: What the folder was made from, for whatever is made from the store.
        folder: The folder.

    Attributes:
        products: All products, in file order.
        lines: The same as they are stored, see ``Product.line``.
        price_ranges: Of each product, one after the other, its price and NaN, or the ends of the range shown.
        index: Search over the products' indexed texts.
        position: ASIN to position.
        instructions: What ``items_ins_v2`` says of the products that it has an instruction for, see ``written``.
        human: What ``items_human_ins`` holds for products of the catalogue, see ``written``.
        human_goals: How many instructions there have attributes.
    """

    def __init__(self, made_from: Mapping[str, Any], folder: Path) -> None:
        facts = json.loads((folder / _FACTS).read_bytes())
        self.made_from = made_from
        self.lines = Texts(folder / _PRODUCTS)
        self.products = LookedUp(len(self.lines), lambda position: Product.from_line(self.lines[position]), KEPT)
        self.price_ranges = Column(folder / _PRICES, "<f8")
        self.index = StoredIndex(folder, facts["documents_with_text"])
        self.position = _Positions(Numbering(Texts(folder / _IDS)), Column(folder / _BY_ID, "<i4"))
        self.instructions = Texts(folder / _INSTRUCTIONS)
        self.human = Texts(folder / _HUMAN)
        self.human_goals: int = facts["human_goals"]


class _Positions(Mapping[str, int]):
    """ASIN to position, in the order of ASINs."""

    def __init__(self, ids: Numbering, by_id: Column) -> None:
        self._ids = ids
        self._by_id = by_id

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __getitem__(self, asin: str) -> int:
        position: int = self._by_id[self._ids[asin]]
        return position


def open_store(sources: Sources, num_products: int | None) -> Store:
    """Open the catalogue of some files; it is made first where this has not been done yet.

    Args:
        sources: The files.
        num_products: Look only at this many entries of the product file.

    Raises:
        BadData: A file is not in WebShop's format, or there is no room for the catalogue.
    """
    contents = [content_of(file) for file in sources.files]
    made_from = {"files": contents, "num_products": num_products}

    def make(folder: Path) -> None:
        _make(sources, num_products, folder)
        if [content_of(file) for file in sources.files] != contents:
            raise BadData(f"the files in {sources.products.parent} changed while they were read; try again")

    return kept("catalogue", made_from, make, partial(Store, made_from))


def written(texts: Texts) -> Iterator[tuple[int, Any]]:
    """Positions of products, ascending, and what the file of instructions holds for each."""
    for text in texts:
        position, record = json.loads(text)
        yield position, record


def _text(position: int, record: Any) -> bytes:
    return json.dumps([position, record]).encode("ascii")


def _make(sources: Sources, num_products: int | None, folder: Path) -> None:
    """Fill a folder with what ``Store`` opens."""
    if (size := sources.products.stat().st_size) > LARGE:
        warnings.warn(
            f"{sources.products} ({size >> 20:,} MB) is opened for the first time; its index is made once and takes "
            "about a minute for a hundred megabytes",
            stacklevel=2,
        )
    # Only making needs a database, and importing one takes time.
    from .staging import staging

    human_goals = 0
    with staging(folder / "staged", (_INSTRUCTIONS, _HUMAN)) as staged:
        staged.put(_INSTRUCTIONS, read_mapping(sources.instructions, a_record))
        if sources.human is not None:
            staged.put(_HUMAN, read_mapping(sources.human, a_list_of_records))
        source = str(sources.products)
        records = listed(islice(read_records(sources.products), num_products), staged.is_new, source)
        with (
            TextWriter(folder / _PRODUCTS) as products,
            TextWriter(folder / _INSTRUCTIONS) as instructions,
            TextWriter(folder / _HUMAN) as human,
            (folder / _PRICES).open("wb") as prices,
        ):
            for position, record in enumerate(records):
                asin = record["asin"]
                about = staged.get(_INSTRUCTIONS, asin) or {}
                product = Product.parse(record, about.get("attributes"), source)
                products.append(product.line)
                prices.write(np.array((*product.prices, np.nan)[:2], "<f8").tobytes())
                if "instruction" in about:
                    instructions.append(_text(position, about))
                asked = staged.get(_HUMAN, asin)
                if asked is not None:
                    human.append(_text(position, asked))
                    human_goals += sum(bool(goal.get("instruction_attributes")) for goal in asked)
        by_id = array("i")
        with TextWriter(folder / _IDS) as ids:
            for asin, position in staged.in_order():
                ids.append(asin)
                by_id.append(position)
    if not by_id:
        raise BadData(f"{source}: no product found; expected a JSON list of WebShop products")
    order = np.array(by_id, "<i4")
    order.tofile(folder / _BY_ID)
    lines = Texts(folder / _PRODUCTS)
    indexed = (Product.from_line(line).indexed_text for line in lines)
    documents_with_text = write_index(folder, order, indexed, POSTINGS)
    facts = {"documents_with_text": documents_with_text, "human_goals": human_goals}
    (folder / _FACTS).write_bytes(to_json(facts))
