"""How fast a report opens: ``python -m benchmarks.report report.html``, in the repository's root, with Chromium.

Times are of the wall clock, the middle of several rounds with an empty cache: from asking for the file until it is
loaded, with everything readable; until the first figure is drawn, for which the plotting library has to be read; and
until the first group of the branch viewer stands there.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from tests.browser import Browser, browser

ROUNDS = 5
FIGURE, CARDS = "document.querySelectorAll('.main-svg').length", "document.querySelectorAll('#viewer .card').length"


def main() -> None:
    """Measure one report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    report = parser.parse_args().report
    with tempfile.TemporaryDirectory() as profile, browser(Path(profile)) as page:
        rounds = [_round(page, report) for _ in range(ROUNDS)]
        steps = page.value("report.data.recorded.reduce((sum, of) => sum + of.steps, 0)")
    loaded, figure, branches = (statistics.median(times) for times in zip(*rounds, strict=True))
    print(f"{report}: {report.stat().st_size / 1e6:.1f} MB, {steps:,} steps in trees")
    print(f"loaded after {loaded:.2f} s; scrolled there, first figure {figure:.2f} s, first branches {branches:.2f} s")


def _round(page: Browser, report: Path) -> tuple[float, float, float]:
    page.ask("Page.navigate", url="about:blank")
    start = time.perf_counter()
    page.open(report)
    loaded = time.perf_counter() - start
    return loaded, _until(page, "[data-figure=curves]", FIGURE), _until(page, "#branches", CARDS)


def _until(page: Browser, place: str, seen: str) -> float:
    start = time.perf_counter()
    page.value(f"document.querySelector('{place}').scrollIntoView({{behavior: 'instant'}})")
    page.wait(f"{seen} > 0")
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
