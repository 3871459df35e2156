"""The contract of a reflector: what to ask about an episode, how to read the answer, what to tell the retry."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from r3lbench.agent import Message, Sees, Turn, Undeclared, Voice
from r3lbench.episode import Trajectory
from r3lbench.plugin import Plugin
from r3lbench.rubric import Rubric
from r3lbench.teaching import Diagnosis
from r3lbench.tokens import Sample

SUCCESS = "success"
INEFFICIENT = "success_but_inefficient"
FAILURE = "failure"
OUTCOMES = (SUCCESS, INEFFICIENT, FAILURE)
"""The three verdicts of R3L's report (arXiv 2601.03715)."""


@dataclass(frozen=True)
class Looked:
    """What can only be found out by going back to the states of an episode.

    Attributes:
        admissible: Valid actions before each move; None if nobody looked.
        expert: The oracle's action before each move; None likewise.
        diagnosis: The environment's own; None if it has none, or nobody asked.
    """

    admissible: tuple[tuple[str, ...], ...] | None = None
    expert: tuple[str | None, ...] | None = None
    diagnosis: Diagnosis | None = None


@dataclass(frozen=True)
class Case:
    """An episode as its reflector may see it: what the reflector did not declare is not in it.

    Attributes:
        turns: The agent's moves with the messages before them.
        observations: What was seen before each move, and at the end.
        notes: What the method adds in words (ERL's memory, batch statistics, ...).
        truncated: Whether a step or context limit ended the episode.
    """

    turns: tuple[Turn, ...]
    observations: tuple[str, ...]
    notes: Mapping[str, str]
    truncated: bool
    _given: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(
        cls,
        trajectory: Trajectory,
        turns: tuple[Turn, ...],
        sees: frozenset[Sees],
        *,
        truncated: bool,
        notes: Mapping[str, str] | None = None,
        looked: Looked | None = None,
    ) -> Case:
        """The part of an episode that a declaration opens.

        Args:
            trajectory: What happened.
            turns: The agent's moves.
            sees: What is declared.
            truncated: Whether a limit ended the episode.
            notes: What the method adds.
            looked: What was found out by going back.
        """
        looked = looked or Looked()
        opened: dict[Sees, dict[str, Any]] = {
            Sees.REWARD: {
                "rewards": trajectory.rewards,
                "valid": tuple(state.valid for state in trajectory.states[1:]),
                "score": trajectory.score,
                "success": trajectory.success,
                "feedback": trajectory.feedback,
            },
            Sees.RUBRICS: {"rubrics": trajectory.rubrics},
            Sees.ADMISSIBLE: {"admissible_actions": looked.admissible or ()},
            Sees.EXPERT: {"expert_actions": looked.expert or ()},
            Sees.GROUND_TRUTH: {"diagnosis": looked.diagnosis},
        }
        given = {name: value for kind in sees for name, value in opened[kind].items()}
        return cls(turns, trajectory.observations, dict(notes or {}), truncated, given)

    @property
    def steps(self) -> int:
        """Number of moves."""
        return len(self.turns)

    @property
    def rewards(self) -> tuple[float, ...]:
        """Reward of each move; needs ``Sees.REWARD``."""
        return self._read("rewards", Sees.REWARD)  # type: ignore[no-any-return]

    @property
    def valid(self) -> tuple[bool, ...]:
        """Whether the environment understood each move; needs ``Sees.REWARD``."""
        return self._read("valid", Sees.REWARD)  # type: ignore[no-any-return]

    @property
    def score(self) -> float:
        """Score at the end; needs ``Sees.REWARD``."""
        return self._read("score", Sees.REWARD)  # type: ignore[no-any-return]

    @property
    def success(self) -> bool:
        """Whether the task was solved; needs ``Sees.REWARD``."""
        return self._read("success", Sees.REWARD)  # type: ignore[no-any-return]

    @property
    def feedback(self) -> str:
        """The environment's closing words; needs ``Sees.REWARD``."""
        return self._read("feedback", Sees.REWARD)  # type: ignore[no-any-return]

    @property
    def rubrics(self) -> tuple[Rubric, ...]:
        """Milestones at the end; needs ``Sees.RUBRICS``."""
        return self._read("rubrics", Sees.RUBRICS)  # type: ignore[no-any-return]

    @property
    def admissible_actions(self) -> tuple[tuple[str, ...], ...]:
        """Valid actions before each move; needs ``Sees.ADMISSIBLE``."""
        return self._read("admissible_actions", Sees.ADMISSIBLE)  # type: ignore[no-any-return]

    @property
    def expert_actions(self) -> tuple[str | None, ...]:
        """The oracle's action before each move; needs ``Sees.EXPERT``."""
        return self._read("expert_actions", Sees.EXPERT)  # type: ignore[no-any-return]

    @property
    def diagnosis(self) -> Diagnosis | None:
        """The environment's own diagnosis; needs ``Sees.GROUND_TRUTH``."""
        return self._read("diagnosis", Sees.GROUND_TRUTH)  # type: ignore[no-any-return]

    def _read(self, name: str, what: Sees) -> Any:
        if name not in self._given:
            raise Undeclared(f"this reflector does not declare that it sees {what.value!r}; add it to its `sees`")
        return self._given[name]


@dataclass(frozen=True)
class Reflection:
    """What came of reflecting on an episode.

    Attributes:
        text: The answer as written.
        valid: Whether it could be read.
        problem: Why it could not; empty when valid.
        outcome: The verdict, one of ``OUTCOMES``; empty when not valid or not asked for.
        pivot: 0-based step to retry from; None when there is none.
        guidance: What to tell the retry; empty when there is nothing to tell.
        fields: The parsed answer.
        sample: The model's tokens; None when no model wrote it.
    """

    text: str
    valid: bool
    problem: str = ""
    outcome: str = ""
    pivot: int | None = None
    guidance: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    sample: Sample | None = None

    @property
    def asks_for_retry(self) -> bool:
        """Valid, not a plain success, and with a pivot: R3L's retry trigger (arXiv 2601.03715)."""
        return self.valid and self.outcome != SUCCESS and self.pivot is not None

    def to_json(self) -> dict[str, Any]:
        """The reflection as recorded."""
        return {
            "text": self.text,
            "valid": self.valid,
            "problem": self.problem,
            "outcome": self.outcome,
            "pivot": self.pivot,
            "guidance": self.guidance,
            "turns": None if self.sample is None else list(self.sample.turns),
        }


@dataclass(frozen=True)
class Question:
    """What the model is asked.

    Attributes:
        messages: The messages that end in the question.
        continues: True to ask at the end of the episode's own conversation, False to open a new one.
    """

    messages: Sequence[Message]
    continues: bool


class Reflector(Plugin):
    """A way to reflect. Subclass, implement ``question`` and ``read``, register with ``@register_reflector``."""

    sees: ClassVar[frozenset[Sees]] = frozenset()
    """What it is given beyond the conversation."""
    speaks: ClassVar[bool] = True
    """Whether a model writes the answer."""
    replaces_prompt: ClassVar[bool] = False
    """Whether the guidance is a system prompt in place of the original one, hence for retries from the start."""
    style: Literal["full", "compact"] = "full"
    """`full`: worded for instruction-tuned models. `compact`: for small policies trained on that wording."""
    max_tokens: int = 1024
    """Longest answer, in tokens."""

    @abstractmethod
    def question(self, case: Case) -> Question:
        """What to ask about ``case``."""

    @abstractmethod
    def read(self, text: str, case: Case) -> Reflection:
        """Parse and validate an answer; what cannot be read is a reflection with ``valid=False``."""

    async def reflect(self, voice: Voice, case: Case) -> Reflection:
        """Ask and read. Called by the agent; a reflector that needs no model overrides ``judge`` instead."""
        question = self.question(case)
        node = case.turns[-1].node if question.continues else None
        reply = await voice.reply(node, question.messages, turn=0, max_tokens=self.max_tokens)
        reflection = self.read(reply.text, case)
        sample = Sample(voice.forest, (reply.node,), (reply.node,))
        return replace(reflection, sample=sample)

    def example(self, case: Case) -> str:
        """A well-formed answer, to show what follows from one."""
        return "(what the model answers)"

    def judge(self, case: Case) -> Reflection:
        """The reflection of one that ``speaks`` not."""
        raise NotImplementedError(f"{type(self).__name__} needs a model: its `speaks` is True")
