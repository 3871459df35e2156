"""Records for reports, and a report read back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from r3lbench.baselines.grpo import GRPO
from r3lbench.baselines.r3l import R3L
from r3lbench.files import gzip_lines
from r3lbench.recording import SEAL, RunFolder, group_json
from r3lbench.report import main
from r3lbench.report.curves import read_past
from r3lbench.report.sections import Section, sections
from r3lbench.results import read_below
from r3lbench.rollout.group import Group
from r3lbench.standings import compare
from r3lbench.tokens import Term
from tests.baselines.attempts import reflectors
from tests.corridor import DAWDLE, MENDED, PRAISE
from tests.recorded import record, record_agent
from tests.stage import EXPERT, TOKENIZER, play, report, stage

GRPO_SETTINGS = {"name": "grpo", "group_size": 8}
R3L_SETTINGS = {"name": "r3l", "group_size": 8}
WITHOUT_CREDIT = {**R3L_SETTINGS, "pivotal_credit": False}


def comparison(folder: Path) -> Path:
    """GRPO, R3L and an ablation of it with two seeds each, floor and ceiling; R3L explores, and is ahead."""
    for seed in (0, 1):
        own: dict[str, Any] = {"config__seed": seed}
        record(folder / f"grpo-s{seed}", [0.0, 0.5, 0.5, 1.0], config__method=GRPO_SETTINGS, **own)
        run = record(folder / f"r3l-s{seed}", [0.5, 1.0, 1.0, 1.0], config__method=R3L_SETTINGS, **own)
        record(folder / f"r3l-without-credit-s{seed}", [0.5, 0.5, 1.0, 1.0], config__method=WITHOUT_CREDIT, **own)
        retell(run, [spent(update, 100 * update + 20 * seed, retries=2 + seed) for update in (1, 2, 3, 4)])
    record_agent(folder / "random", "random", "admissible", [0.0, 0.0, 0.5, 0.0])
    record_agent(folder / "oracle", "oracle", "expert", [1.0, 1.0, 1.0, 1.0])
    return folder


def spent(update: int, tokens: int, *, retries: int) -> dict[str, Any]:
    """A line of the metrics: four attempts in two groups, and half of the retries beat their attempt."""
    explored: dict[str, Any] = {
        "groups": 2,
        "no_signal": 0.5,
        "reflections": 4,
        "reflection_valid": 0.75,
        "retries": retries,
    }
    explored |= {"retry_rate": retries / 4, "retry_improved": 0.5, "pivots": {"0": 1, "2": retries - 1}}
    cost: dict[str, dict[str, int]] = {
        "attempt": {"generated_tokens": tokens, "env_steps": 7 * update},
        "train": {"trained_tokens": 2 * tokens},
    }
    return {"update": update, "explore": explored, "cost": {**cost, "evaluate": {"generated_tokens": 9999}}}


def retell(run: RunFolder, metrics: Sequence[Mapping[str, Any]]) -> None:
    """Give a run other metrics, and timings of 3 seconds an update; it is sealed no longer."""
    (run.path / SEAL).unlink(missing_ok=True)
    (run.path / "metrics.jsonl").unlink(missing_ok=True)
    for line in metrics:
        run.append("metrics.jsonl", line)
        run.append("timings.jsonl", {"update": line["update"], "explore": 2.0, "learn": 1.0, "record": 0.5})


def by_r3l() -> tuple[Group, list[Term]]:
    """Two attempts, one of which fails at step 1 and is mended from there; see tests/corridor.py for its weights."""
    replies = {"a0": DAWDLE, "a0?0": [report(1)], "a0.r0": MENDED, "a1": EXPERT, "a1?0": [PRAISE]}
    return explored(R3L(group_size=4), replies)


def by_grpo() -> tuple[Group, list[Term]]:
    """The same two attempts without a retry."""
    return explored(GRPO(group_size=2), {"a0": DAWDLE, "a1": EXPERT})


def explored(method: Any, replies: Mapping[str, Sequence[str]]) -> tuple[Group, list[Term]]:
    group = stage(replies, reflectors=reflectors()).group()
    play(method.explore(group))
    return group, method.credit(group)


def shown_of(path: Path, **settings: Any) -> list[Section]:
    """The sections of the records below a folder."""
    records = read_below([str(path)]).records
    pasts = {record.path: read_past(record, "sampled") for record in records if record.method is not None}
    groups, _ = compare(records, **settings)
    return sections(groups, pasts, measure="score")


def reported(*arguments: object) -> ReadBack:
    """The report that the command makes of its arguments."""
    assert main([*map(str, arguments), "--out", "report.html", "--quiet"]) == 0
    return ReadBack(Path("report.html"))


def lines_of(*groups: tuple[Group, Sequence[Term]]) -> list[dict[str, Any]]:
    """Groups as recorded."""
    return [json.loads(json.dumps(group_json(group, terms))) for group, terms in groups]


def plant(run: Path, update: int, lines: Sequence[Mapping[str, Any]]) -> None:
    """Give a record trees, and the tokenizer that reads them."""
    (run / "trees").mkdir(exist_ok=True)
    (run / "policy").mkdir(exist_ok=True)
    (run / "trees" / f"u{update:06d}.jsonl.gz").write_bytes(gzip_lines(lines))
    TOKENIZER.backend_tokenizer.save(str(run / "policy" / "tokenizer.json"))


class ReadBack(HTMLParser):
    """A report as a browser takes it apart.

    Attributes:
        tables: By the id of their section: rows of cells' texts.
        scripts: (attributes, content) of every script element.
        links: Everything that an element refers to.
        text: All that is read, without scripts and style.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.tables: dict[str, list[list[list[str]]]] = {}
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.links: list[str] = []
        self.text = ""
        self._section, self._inside, self._raw = "", "", ""
        self._attributes: dict[str, str | None] = {}
        self.feed(file.read_text(encoding="utf-8"))

    @property
    def data(self) -> dict[str, Any]:
        """What the figures are drawn from."""
        found: dict[str, Any] = json.loads(next(text for of, text in self.scripts if of.get("id") == "data"))
        return found

    @property
    def groups(self) -> list[dict[str, Any]]:
        """What the branch viewer reads."""
        return [json.loads(text) for of, text in self.scripts if (of.get("id") or "").startswith("group-")]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = dict(attrs)
        self.links += [value for name in ("src", "href", "action", "data", "poster") if (value := own.get(name))]
        if tag == "section":
            self._section = own.get("id") or ""
        elif tag == "table":
            self.tables.setdefault(self._section, []).append([])
        elif tag == "tr":
            self.tables[self._section][-1].append([])
        elif tag in ("td", "th"):
            self.tables[self._section][-1][-1].append("")
            self._inside = tag
        elif tag in ("script", "style"):
            self._raw, self._attributes = tag, own
            if tag == "script":
                self.scripts.append((own, ""))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._inside = ""
        elif tag == self._raw:
            self._raw = ""

    def handle_data(self, data: str) -> None:
        if self._raw == "script":
            of, text = self.scripts.pop()
            self.scripts.append((of, text + data))
        elif not self._raw:
            self.text += data
            if self._inside:
                cells = self.tables[self._section][-1][-1]
                cells[-1] = " ".join(f"{cells[-1]} {data}".split())
