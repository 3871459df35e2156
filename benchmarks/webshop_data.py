"""WebShop files of any size, for measurements: ``python benchmarks/webshop_data.py FOLDER --products 100000``.

The files have the official names, format and, about, its statistics: lengths of titles and texts, shares of products
without description, price or options, kinds and counts of options, attributes, and as many human instructions as the
full set has. Half of the words are drawn from a vocabulary of a million that thins out as a language's does. All texts
are made up. The same seed gives the same files, and a smaller catalogue is the beginning of a larger one.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from r3lbench.environments.webshop.generated import vocabulary

HUMAN_INSTRUCTIONS = 12_087
WORDS = 1_000_000
BLOCK = 500
"""Products made from one generator."""
_SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
_PICTURE = "https://images.invalid/I/{}._AC_.jpg"

Entry = tuple[dict[str, Any], dict[str, Any]]
"""A product's record in ``items_shuffle`` and in ``items_ins_v2``."""


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--products", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gzip", action="store_true", help="compress the product file")
    given = parser.parse_args()
    write_files(given.folder, given.products, given.seed, compress=given.gzip)


def write_files(folder: Path, products: int, seed: int = 0, *, compress: bool = False) -> None:
    """Write ``items_shuffle.json``, ``items_ins_v2.json`` and ``items_human_ins.json``.

    Args:
        folder: Where; it is made if need be.
        products: How many products.
        seed: Of everything.
        compress: Write ``items_shuffle.json.gz`` instead.
    """
    folder.mkdir(parents=True, exist_ok=True)
    every = max(1, products // HUMAN_INSTRUCTIONS)
    with ExitStack() as files:
        items, attributes, human = (
            _Json(files.enter_context(_open(folder / name)), bracket)
            for name, bracket in (
                (f"items_shuffle.json{'.gz' * compress}", "["),
                ("items_ins_v2.json", "{"),
                ("items_human_ins.json", "{"),
            )
        )
        asked = 0
        for number, (record, about) in enumerate(entries(products, seed)):
            items.add(json.dumps(record))
            attributes.add(f"{json.dumps(record['asin'])}: {json.dumps(about)}")
            if number % every == 0 and asked < HUMAN_INSTRUCTIONS and about["attributes"]:
                asked += 1
                human.add(f"{json.dumps(record['asin'])}: {json.dumps([_human(record, about)])}")
        items.end("]")
        attributes.end("}")
        human.end("}")


def entries(products: int, seed: int) -> Iterator[Entry]:
    """The products, one by one."""
    words = vocabulary()
    # Zipf's law, flattened at its head as Mandelbrot has it.
    weights = 1.0 / (np.arange(WORDS) + 20.0) ** 1.35
    upto = np.cumsum(weights) / weights.sum()
    for block in range(-(-products // BLOCK)):
        rng = np.random.default_rng((seed, block))
        made = [_product(rng, words, upto, BLOCK * block + place) for place in range(BLOCK)]
        yield from made[: products - BLOCK * block]


def _open(path: Path) -> IO[str]:
    return gzip.open(path, "wt", compresslevel=1) if path.suffix == ".gz" else path.open("w")


class _Json:
    """A JSON list or object that is written entry by entry."""

    def __init__(self, file: IO[str], bracket: str) -> None:
        self._file = file
        self._before = bracket

    def add(self, entry: str) -> None:
        self._file.write(f"{self._before}{entry}")
        self._before = ",\n"

    def end(self, bracket: str) -> None:
        self._file.write(bracket)


def word(number: int) -> str:
    """A made-up word, the same for each number; frequent ones are short."""
    syllables, number = [], number + len(_SYLLABLES)
    while number:
        number, place = divmod(number, len(_SYLLABLES))
        syllables.append(_SYLLABLES[place])
    return "".join(syllables)


def _product(rng: np.random.Generator, words: dict[str, Any], upto: npt.NDArray[np.float64], number: int) -> Entry:
    kind = words["types"][rng.integers(len(words["types"]))]
    department = words["departments"][kind["category"]]
    counts = rng.lognormal((2.2, 3.9, 2.9), (0.4, 0.8, 0.5)).astype(int) + 1
    drawn = iter(np.searchsorted(upto, rng.random(int(counts.sum()) + 6 * int(counts[2]))).tolist())

    def some(count: int, *ours: str) -> str:
        """Words of ours among words from the large vocabulary."""
        return " ".join([*ours, *(word(next(drawn)) for _ in range(count))])

    attributes = _pick(rng, kind["attributes"], int(min(rng.geometric(0.35) - 1, len(kind["attributes"]))))
    features = [*_pick(rng, kind["features"], 1), *_pick(rng, kind["materials"], 1)]
    title = some(
        int(counts[0]), *_pick(rng, department["brands"], 1), kind["query"], *attributes[:1], *features
    ).title()
    bullets = [some(int(counts[2]), *attributes[place : place + 1]) for place in range(5 if rng.random() < 0.6 else 1)]
    groups = _pick(rng, list(kind["options"]), int(np.searchsorted((0.58, 0.83), rng.random())))
    price, shown = 1.0 + rng.lognormal(3.3, 0.9), rng.random()
    pricing = "" if shown < 0.09 else f"${price:,.2f}"
    if shown > 0.91:
        pricing += f" to ${price + rng.integers(1, 40):,.2f}"
    asin = f"B{number * 7_368_787 % 10**9:09d}"
    record = {
        "name": title,
        "full_description": some(int(counts[1]), *features).capitalize() if rng.random() < 0.7 else "",
        "small_description": bullets,
        "pricing": pricing,
        "customization_options": {
            name.title(): [
                {"value": value, "image": _PICTURE.format(f"{asin}{place}") if name == "color" else None}
                for place, value in enumerate(kind["options"][name])
            ]
            for name in groups
        },
        "images": [_PICTURE.format(f"{asin}{place}") for place in range(int(rng.integers(1, 8)))],
        "asin": asin,
        "category": kind["category"],
        "query": kind["query"],
        "page": int(rng.integers(1, 400)),
        "product_category": " › ".join([department["name"], *kind["path"], kind["query"].title()]),
        "average_rating": float(rng.integers(10, 51)) / 10,
        "product_information": {"Item Weight": f"{rng.integers(1, 90)} ounces", "Manufacturer": some(1)},
        "brand": some(1).title(),
    }
    about: dict[str, Any] = {"attributes": attributes}
    if attributes and rng.random() < 0.6:
        wanted = attributes[:2]
        about |= {"instruction": f"Find me {', '.join(wanted)} {kind['query']}", "instruction_attributes": wanted}
    return record, about


def _human(record: dict[str, Any], about: dict[str, Any]) -> dict[str, Any]:
    """A crowd worker's instruction for a product, in the form of ``items_human_ins``."""
    options = {name.lower(): values[0]["value"] for name, values in record["customization_options"].items()}
    wanted = about["attributes"][:2]
    return {
        "asin": record["asin"],
        "instruction": f"i am looking for a {', '.join([' '.join(wanted), record['query'], *options.values()])}.",
        "attributes": about["attributes"],
        "options": [f"{name}: {value}" for name, value in options.items()],
        "instruction_attributes": wanted,
        "instruction_options": list(options.values()),
        "assignment_id": "A",
        "worker_id": "W",
    }


def _pick(rng: np.random.Generator, values: Sequence[str], count: int) -> list[str]:
    """Some of the values, in their order."""
    return [values[place] for place in sorted(rng.permutation(len(values))[:count].tolist())]


if __name__ == "__main__":
    main()
