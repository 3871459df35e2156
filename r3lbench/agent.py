"""The contract of an agent: it acts in a conversation, and it may reflect on an episode.

An agent sees of the world what it declares and nothing more; the declaration is recorded with every result. Agents that
speak do so through a `Voice`, which puts every token they read or write into the group's token forest.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from r3lbench.engines.engine import Request, Sampling, Stop, seed_of
from r3lbench.engines.template import ChatTemplate, Message
from r3lbench.env import TextEnv
from r3lbench.errors import R3LBenchError
from r3lbench.hosting import Usage
from r3lbench.plugin import Plugin
from r3lbench.rollout.waves import Waves
from r3lbench.rubric import Rubric
from r3lbench.teaching import Diagnosis
from r3lbench.tokens import Segment, TokenForest

if TYPE_CHECKING:
    from r3lbench.reflection import Case, Reflection, Reflector

__all__ = ["Agent", "ContextFull", "Conversation", "Message", "Reply", "Sees", "Turn", "View", "Voice"]


class Sees(StrEnum):
    """What an agent or reflector may be given beyond the observations."""

    REWARD = "reward"
    """Rewards, score and the environment's feedback."""
    RUBRICS = "rubrics"
    """Milestones and whether they are met."""
    ADMISSIBLE = "admissible"
    """The list of valid actions."""
    EXPERT = "expert"
    """The oracle's next action."""
    GROUND_TRUTH = "ground_truth"
    """The environment's own diagnosis."""


class Undeclared(R3LBenchError):
    """An agent or reflector asked for what it did not declare in ``sees``."""


class ContextFull(Exception):
    """The next turn does not fit into the model's context; the episode ends as truncated."""


class View:
    """What one agent or reflector may see of a running environment."""

    def __init__(self, env: TextEnv, sees: frozenset[Sees], who: str) -> None:
        self._env = env
        self._sees = sees
        self._who = who

    @property
    def observation(self) -> str:
        """The text last shown."""
        return self._env.observation

    @property
    def instructions(self) -> str:
        """How actions are written in this environment."""
        return self._env.instructions

    @property
    def step(self) -> int:
        """Steps taken so far."""
        return self._env.elapsed_steps

    @property
    def max_steps(self) -> int:
        """The step limit."""
        return self._env.max_steps

    def admissible_actions(self) -> tuple[str, ...]:
        """Valid actions; needs ``Sees.ADMISSIBLE``."""
        self._need(Sees.ADMISSIBLE)
        return self._env.admissible_actions()

    def expert_action(self) -> str | None:
        """The oracle's action; needs ``Sees.EXPERT``."""
        self._need(Sees.EXPERT)
        return self._env.expert_action()

    def feedback(self) -> str:
        """The environment's feedback; needs ``Sees.REWARD``."""
        self._need(Sees.REWARD)
        return self._env.feedback()

    def rubrics(self) -> tuple[Rubric, ...]:
        """Milestones; needs ``Sees.RUBRICS``."""
        self._need(Sees.RUBRICS)
        return self._env.rubrics()

    def _need(self, what: Sees) -> None:
        if what not in self._sees:
            raise Undeclared(f"{self._who} does not declare that it sees {what.value!r}; add it to its `sees`")


@dataclass(frozen=True)
class Reply:
    """What a model wrote.

    Attributes:
        text: Without the end token.
        prompt_node: Forest node of the tokens that led up to it.
        node: Forest node of its own tokens.
        stop: Why it ended.
    """

    text: str
    prompt_node: int
    node: int
    stop: Stop


@dataclass(frozen=True)
class Voice:
    """One speaker's way to the model: adds what it hears and says to a token forest.

    Attributes:
        waves: Where requests go.
        template: How messages become tokens.
        forest: Where tokens are kept.
        purpose: Requests of one purpose share waves.
        key: Identifies the speaker among all of the update; with the node it seeds every reply.
        seed: The run's seed.
        sampling: How to draw; ``max_tokens`` and stop tokens are set per reply.
    """

    waves: Waves
    template: ChatTemplate
    forest: TokenForest
    purpose: str
    key: str
    seed: int
    sampling: Sampling = field(default_factory=Sampling)

    async def reply(self, node: int | None, messages: Sequence[Message], *, turn: int, max_tokens: int) -> Reply:
        """Append ``messages`` after ``node`` (None: open a conversation) and let the model answer.

        Raises:
            ContextFull: Context and reply would not fit.
        """
        engine = self.waves.engine
        if engine is None:
            raise R3LBenchError("this agent needs a model; give a policy")
        if node is None:
            tokens = self.template.opening(messages)
        else:
            last = self.forest.nodes[node].segment.token_ids[-1]
            tokens = self.template.between(messages, closed=last in self.template.stop_ids)
        context = (*self.forest.token_ids(node), *tokens)
        if len(context) + max_tokens > engine.context_limit:
            raise ContextFull(f"{len(context)} + {max_tokens} tokens exceed {engine.context_limit}")
        request = Request(
            token_ids=context,
            sampling=replace(self.sampling, max_tokens=max_tokens, stop_ids=self.template.stop_ids),
            seed=seed_of(self.seed, self.purpose, self.key, turn),
            purpose=self.purpose,
            key=f"{self.key}#{turn:04d}",
        )
        completion = await self.waves.generate(request)
        prompt = self.forest.add(node, Segment("prompt", tokens))
        segment = Segment("assistant", completion.token_ids, sampled=True, logprobs=completion.logprobs)
        said = self.forest.add(prompt, segment)
        return Reply(self.template.decode(completion.token_ids), prompt, said, completion.stop)


@dataclass(frozen=True)
class Turn:
    """An agent's move.

    Attributes:
        action: What goes to the environment.
        text: What the agent wrote, action included.
        prompt: The messages that entered the conversation just before.
        prompt_node: Forest node of those messages' tokens; None for an agent without a trained model.
        node: Forest node of the agent's own tokens; None likewise.
        usage: What it cost, where the model is elsewhere and says so.
    """

    action: str
    text: str
    prompt: tuple[Message, ...] = ()
    prompt_node: int | None = None
    node: int | None = None
    usage: Usage | None = None


@dataclass
class Conversation:
    """Where an attempt stands, as its agent sees it.

    Attributes:
        view: The world.
        rng: The attempt's own random stream, for agents that play by chance.
        voice: The way to the model; None for agents that do not speak.
        sampling: How turns are to be drawn, for agents whose model is elsewhere.
        node: Forest node of the agent's last turn.
        history: All messages up to and including that turn.
        pending: Messages that came since.
    """

    view: View
    rng: np.random.Generator
    voice: Voice | None = None
    sampling: Sampling = field(default_factory=Sampling)
    node: int | None = None
    history: list[Message] = field(default_factory=list)
    pending: list[Message] = field(default_factory=list)

    def resume(self, turns: Sequence[Turn], pending: Sequence[Message]) -> None:
        """Stand after ``turns`` with ``pending`` as what came next."""
        for turn in turns:
            self._say(turn)
        self.pending = list(pending)

    def heard(self, turn: Turn, message: Message) -> None:
        """Take note of the agent's own turn and of what it led to."""
        self._say(turn)
        self.pending = [message]

    def _say(self, turn: Turn) -> None:
        self.history += [*turn.prompt, Message("assistant", turn.text)]
        self.node = turn.node

    async def reply(self, *, max_tokens: int) -> Reply:
        """Let the model answer what is pending."""
        if self.voice is None:
            raise R3LBenchError("this agent does not speak: it has no model")
        return await self.voice.reply(self.node, self.pending, turn=self.view.step, max_tokens=max_tokens)


class Agent(Plugin):
    """Plays episodes. Subclass, implement ``act``, register with ``@register_agent``."""

    sees: ClassVar[frozenset[Sees]] = frozenset()
    """What it may see beyond observations."""
    speaks: ClassVar[bool] = False
    """Whether it needs a model."""
    elsewhere: ClassVar[bool] = False
    """Whether it has a model that is not at hand: behind a server, or where its play was recorded."""
    untrained: ClassVar[Mapping[str, Any]] = {}
    """Settings that suit a model which was trained on no environment of ours, and has to be told everything."""

    @property
    def has_model(self) -> bool:
        """Whether a model speaks, here or elsewhere; other agents know one way of drawing actions only."""
        return self.speaks or self.elsewhere

    def elsewhere_json(self) -> dict[str, Any]:
        """What is known so far of a model that is elsewhere, as recorded; its name is ``"model"``.

        Raises:
            R3LBenchError: It cannot be reached from here.
        """
        raise NotImplementedError

    @abstractmethod
    async def act(self, conversation: Conversation) -> Turn:
        """Choose the next action; what the agent is told stands in ``conversation.pending``."""

    def opening(self, view: View) -> list[Message]:
        """Messages that open an episode: rules if any, and the first observation."""
        return [self.hear(view)]

    def hear(self, view: View) -> Message:
        """The present observation as a message."""
        return Message("user", view.observation)

    def say(self, action: str) -> str:
        """What the agent would have written to take an action: the words in which others' moves are taught to it."""
        return action

    def guided(self, messages: Sequence[Message], guidance: str, *, at: int) -> list[Message]:
        """Place guidance at the pivot.

        It follows the pivot's observation as a system message; when the pivot is the first step and a system prompt
        opens the conversation, it is appended to that prompt (R3L; arXiv 2601.03715, and its released code).
        """
        if at == 0 and messages and messages[0].role == "system":
            first = replace(messages[0], content=f"{messages[0].content}\n\n{guidance}")
            return [first, *messages[1:]]
        return [*messages, Message("system", guidance)]

    def instructed(self, messages: Sequence[Message], instructions: str) -> list[Message]:
        """An opening whose system prompt is replaced (ERL's second attempt; arXiv 2602.13949)."""
        rest = [message for message in messages if message.role != "system"]
        return [Message("system", instructions), *rest]

    async def reflect(self, voice: Voice, case: Case, reflector: Reflector) -> Reflection:
        """Reflect on an episode in the reflector's way, with the agent's own model."""
        return await reflector.reflect(voice, case)


def diagnosis_json(diagnosis: Diagnosis) -> dict[str, object]:
    """A diagnosis as the five keys of R3L's report (arXiv 2601.03715)."""
    return {
        "trajectory_summary": diagnosis.summary,
        "root_cause_analysis": diagnosis.root_cause,
        "trajectory_outcome": diagnosis.outcome,
        "improvement_suggestion": diagnosis.suggestion,
        "retry_from_step": diagnosis.pivot,
    }
