"""HotpotQA as a text environment: one question, a corpus to search, one answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from r3lbench.env import Outcome, TextEnv
from r3lbench.errors import UnknownName
from r3lbench.registry import register_env, unknown
from r3lbench.rubric import Rubric
from r3lbench.tasks import Task, TaskPanel
from r3lbench.teaching import Demonstrator, Diagnosis, Player

from . import metrics
from .corpus import Corpus
from .diagnosis import diagnose
from .expert import Expert
from .game import START, State, advance, opening, reminded, results, told
from .index import words
from .library import corpus_hash, open_library
from .metrics import Reward, exact_match, f1
from .players import Manner, Scene, manners
from .protocols import PROTOCOLS, SPLITS, Protocol, Tool
from .questions import Question

if TYPE_CHECKING:
    from r3lbench.episode import Trajectory

_NAME = re.compile(r"(?<![.?!:] )(?<!^)[A-Z]\w+(?: (?:of |de |the )?[A-Z]\w+)*|\b[12][0-9]{3}\b")
_CLOSED = frozenset(["are", "is", "was", "were", "do", "does", "did", "has", "have", "had", "can"])
"""First words of questions that are answered by yes or no."""


@register_env("hotpotqa")
class HotpotQA(TextEnv):
    """Answer questions that take two articles, with search, lookup and finish (arXiv 1809.09600, tools of 2210.03629).

    Args:
        protocol: Name of a published setting, see ``protocols.PROTOCOLS``.
        data: Folder or file with HotpotQA's questions, and wiki passages where there are any; None takes
            ``HOTPOTQA_DATA``, and the generated world where that is not set either; ``"generated"`` always takes the
            latter.
        reward: ``"em"``, ``"f1"`` or ``"erl"``, overriding the protocol.
        max_steps: Step limit, overriding the protocol's.
        world_seed: Seed of the generated world.
        **options: Passed on to ``TextEnv``.
    """

    name: ClassVar[str] = "HotpotQA-v0"
    kind: ClassVar[str] = "retrieval"
    splits: ClassVar[tuple[str, ...]] = SPLITS
    reward_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    instructions: ClassVar[str] = (
        "Answer the question; it takes facts from two articles. Write search[name] to open the article of that name, "
        "lookup[word] to find the next sentence of the open article that holds the word, and finish[answer] to answer "
        "in as few words as possible."
    )

    def __init__(
        self,
        *,
        protocol: str = "default",
        data: str | None = None,
        reward: str | None = None,
        max_steps: int | None = None,
        world_seed: int = 0,
        **options: Any,
    ) -> None:
        rules: Protocol = _known("protocol", protocol, PROTOCOLS)
        paid: Reward = (
            rules.reward if reward is None else _known("reward", reward, {each.value: each for each in Reward})
        )
        super().__init__(max_steps=rules.max_steps if max_steps is None else max_steps, **options)
        self.protocol = replace(rules, max_steps=self.max_steps, reward=paid)
        self.library = open_library(data, world_seed)
        self._panels: dict[str, TaskPanel] = {}
        self.question: Question
        self.state: State = START

    def panel(self, split: str) -> TaskPanel:
        """The split's questions; the settings name the corpus and everything else that decides what they mean."""
        if split not in self._panels:
            if split not in self.splits:
                raise UnknownName(unknown("split", split, self.splits))
            settings = {
                "protocol": self.protocol.name,
                "reward": self.protocol.reward.value,
                "library": self.library.name,
                "corpus_hash": corpus_hash(self.library.corpus),
                "split_rule": self.library.split_rule,
                "max_steps": self.max_steps,
            }
            self._panels[split] = TaskPanel(self.name, split, self.library.keys(split), settings)
        return self._panels[split]

    def start(self, task: Task) -> str:
        """The question."""
        self.question, self.state = self._question_of(task), START
        return opening(self.question)

    def act(self, action: str) -> Outcome:
        """Search, look up or answer; anything else does nothing."""
        turn = advance(self.library.corpus, self.state, action, self.protocol)
        self.state = turn.state
        shown = turn.shown
        if self.protocol.verbatim and self.state.answer is not None:
            shown = f"Episode finished, reward = {self.score():.0f}"
        if self.protocol.reminds and not self.state.ended:
            shown = reminded(shown, self.question)
        return Outcome(shown, self.score(), self.state.ended, turn.valid)

    def score(self) -> float:
        """What the answer is worth by the protocol's reward; 0 before it."""
        return (
            0.0
            if self.state.answer is None
            else metrics.reward(self.protocol.reward, self.state.answer, self.question.answer)
        )

    def success(self) -> bool:
        """An exact match; with ERL's reward, the full reward."""
        if self.protocol.reward is Reward.ERL:
            return self.score() >= 1.0
        return self.state.answer is not None and exact_match(self.state.answer, self.question.answer)

    def feedback(self) -> str:
        """How many of the articles were read, and what the answer is worth."""
        retrieved = self.expert.retrieved(self.state)
        verdict = "no answer" if self.state.answer is None else f"score {self.score():.2f}"
        return f"articles read {sum(retrieved)} / {len(retrieved)}, {verdict}"

    def task_type(self) -> str:
        """``"bridge"`` or ``"comparison"``."""
        return self.question.kind

    def rubrics(self) -> tuple[Rubric, ...]:
        """Each hop's article retrieved, an answer given, half right, right. No name gives an article away."""
        answer, gold = self.state.answer, self.question.answer
        exact = answer is not None and exact_match(answer, gold)
        return (
            *(
                Rubric(f"hop {number} retrieved", read)
                for number, read in enumerate(self.expert.retrieved(self.state), start=1)
            ),
            Rubric("an answer given", answer is not None),
            Rubric("F1 of at least 0.5", answer is not None and (exact or f1(answer, gold) >= 0.5)),
            Rubric("exact match", exact),
        )

    def admissible_actions(self) -> tuple[str, ...]:
        """Calls that the screen suggests; any other call with an argument is just as valid.

        Searches for titles that the question or the last observation mentions (for the question itself where there are
        none), lookups of words that the question shares with the open article, and answers: the names and years on
        the screen, and yes and no where the question asks for them.
        """
        if self.done:
            return ()
        corpus, text = self.library.corpus, f"{self.question.text}\n{self.observation}"
        titles = corpus.mentions(text)
        found = [f"{Tool.SEARCH}[{title}]" for title in titles or (self.question.text,)]
        asked = dict.fromkeys(words(self.question.text))
        if Tool.LOOKUP in self.protocol.tools and self.state.article >= 0:
            longer = [word for word in asked if len(word) > 3 and results(corpus, self.state.article, word)]
            found += [f"{Tool.LOOKUP}[{word}]" for word in longer]
        closed = next(iter(asked), "") in _CLOSED
        answers = ("yes", "no") if closed else (*titles, *_NAME.findall(told(self.observation)))
        found += [f"{Tool.FINISH}[{answer}]" for answer in answers]
        return tuple(dict.fromkeys(found))

    def expert_action(self) -> str | None:
        """The next action of a reader who knows which articles matter, or the answer where no step is left for them."""
        return None if self.done else self._scene().oracle[0]

    def value(self) -> float:
        """1 as long as an answer can be given, which needs no reading; then what it is worth."""
        return self.score() if self.done else 1.0

    def diagnose(self, trajectory: Trajectory) -> Diagnosis | None:
        """The step to do differently, and a plan from there."""
        question = self._question_of(self.resolve(trajectory.task.id))
        expert = _expert(self.library.corpus, question, self.protocol)
        return diagnose(expert, trajectory.actions, self.max_steps, success=trajectory.success)

    def demonstrators(self) -> tuple[Demonstrator, ...]:
        """An expert, a careless reader, and one who goes astray and finds the way back."""
        return tuple(Demonstrator(manner.name, manner.weight, _beginning(manner)) for manner in manners())

    @property
    def expert(self) -> Expert:
        """The oracle of the running episode's question."""
        return _expert(self.library.corpus, self.question, self.protocol)

    def capture(self) -> State:
        """The state itself: it is immutable."""
        return self.state

    def reinstate(self, payload: State) -> None:
        """Return to a captured state."""
        self.question, self.state = self._question_of(self.task), payload

    @property
    def native_owner(self) -> Hashable:
        """Every environment of this process that uses the same library by the same rules."""
        return self.name, self.library, self.protocol

    def _question_of(self, task: Task) -> Question:
        return self.library.questions[task.split][task.index]

    def _scene(self) -> Scene:
        return Scene(self.expert, self.state, self.observation, self.max_steps - self.elapsed_steps)


@lru_cache(maxsize=1024)
def _expert(corpus: Corpus, question: Question, protocol: Protocol) -> Expert:
    """One oracle a question, as it remembers the routes that it has found."""
    return Expert(corpus, question, protocol)


def _beginning(manner: Manner) -> Callable[[np.random.Generator], Player]:
    """A manner of reading as a player of the environment."""

    def begin(rng: np.random.Generator) -> Player:
        play = manner.begin(rng)

        def player(env: TextEnv) -> tuple[str, bool]:
            if not isinstance(env, HotpotQA):
                raise TypeError(f"a reader plays {HotpotQA.name}, not {env.name}")
            return play(env._scene())

        return player

    return begin


def _known(kind: str, name: str, table: dict[str, Any]) -> Any:
    """The table's entry of this name.

    Raises:
        UnknownName: There is none.
    """
    if name not in table:
        raise UnknownName(unknown(kind, name, table))
    return table[name]
