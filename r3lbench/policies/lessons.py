"""What a small policy is taught before any reinforcement: play, reflection, and retries that follow a plan.

Lessons are made of an environment's teaching hooks (demonstrators, expert, diagnosis) in the very words of the agent
and the reflector that will use the policy, so neither wording is known here. Three kinds:

* *play*: an episode of a demonstrator, with a loss only on the actions that it calls worth imitating;
* *reflection*: the environment's diagnosis of an episode as the answer to the reflector's question. Episodes are those
  of demonstrators and, in a second round, of the policy itself: on its own failures it must be able to reflect;
* *retry*: the same episode left at the pivot, with the diagnosis's plan as guidance and the expert to follow it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from r3lbench.agent import Agent, Message, Sees, Turn, View, diagnosis_json
from r3lbench.engines.template import ChatTemplate
from r3lbench.env import TextEnv
from r3lbench.episode import EpisodeTree, State, Trajectory
from r3lbench.policies.imitation import WeightedSequence
from r3lbench.reflection import Case, Looked, Reflector
from r3lbench.tasks import Task
from r3lbench.teaching import Demonstrator, Diagnosis


@dataclass(frozen=True)
class Played:
    """An episode to teach from.

    Attributes:
        trajectory: What happened in the world.
        turns: The moves with the messages before them.
        tokens: Tokens of each move, end token included; None where they follow from its text.
        worth: Whether each move is worth imitating.
    """

    trajectory: Trajectory
    turns: tuple[Turn, ...]
    tokens: tuple[tuple[int, ...] | None, ...]
    worth: tuple[bool, ...]


@dataclass
class Teacher:
    """Makes lessons.

    Attributes:
        env: The environment, with teaching hooks.
        agent: Words the conversation.
        reflector: Words the question about an episode, and the guidance.
        read_weight: Loss weight of tokens that the policy reads. A little, as predicting pages teaches copying.
    """

    env: TextEnv
    agent: Agent
    reflector: Reflector
    read_weight: float = 0.1
    _view: View = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Look at the environment as the agent does."""
        self._view = View(self.env, self.agent.sees, type(self.agent).__name__)

    def play(self, task: Task, demonstrator: Demonstrator, rng: np.random.Generator) -> Played:
        """Let a demonstrator play a task to its end."""
        self.env.reset(options={"task": task.id})
        tree = EpisodeTree(self.env.task)
        state = tree.root(self.env)
        player = demonstrator.begin(rng)
        turns: list[Turn] = []
        worth: list[bool] = []
        pending = tuple(self.agent.opening(self._view))
        while not self.env.done:
            action, good = player(self.env)
            state, pending = self._step(tree, state, turns, pending, action)
            worth.append(good)
        return Played(Trajectory(tree, state), tuple(turns), (None,) * len(turns), tuple(worth))

    def diagnose(self, played: Played) -> Diagnosis | None:
        """The environment's diagnosis."""
        return self.env.diagnose(played.trajectory)

    def retry(self, played: Played, diagnosis: Diagnosis) -> Played | None:
        """The episode left at the pivot, guided by the diagnosis's plan and continued by the expert.

        Returns:
            The retry, only its own moves worth imitating; None where there is no pivot, or the expert does not solve
            the task from there within the steps that are left.
        """
        pivot = diagnosis.pivot
        if pivot is None:
            return None
        base = played.trajectory
        self.env.restore(base.states[pivot].snapshot)
        state = base.states[pivot]
        turns = list(played.turns[:pivot])
        guidance = self.reflector.read(report_of(diagnosis), self.case(played)).guidance
        pending = tuple(self.agent.guided(played.turns[pivot].prompt, guidance, at=pivot))
        while not self.env.done:
            action = self.env.expert_action()
            if action is None:
                return None
            state, pending = self._step(base.tree, state, turns, pending, action)
        if not state.success:
            return None
        own = len(turns) - pivot
        return Played(
            Trajectory(base.tree, state),
            tuple(turns),
            (*played.tokens[:pivot], *[None] * own),
            (*[False] * pivot, *[True] * own),
        )

    def play_lesson(self, played: Played, template: ChatTemplate) -> WeightedSequence:
        """An episode as a sequence: weight 1 on moves worth imitating, 0 on the others, ``read_weight`` elsewhere."""
        token_ids: list[int] = []
        weights: list[float] = []
        for turn, said, good in zip(played.turns, self._moves(played, template), played.worth, strict=True):
            read = template.between(turn.prompt, closed=True) if token_ids else template.opening(turn.prompt)
            token_ids += [*read, *said]
            weights += [*[self.read_weight] * len(read), *[float(good)] * len(said)]
        return WeightedSequence(tuple(token_ids), tuple(weights))

    def reflection_lesson(self, played: Played, diagnosis: Diagnosis, template: ChatTemplate) -> WeightedSequence:
        """An episode, the reflector's question, and the diagnosis as the answer; weight 1 on the answer only."""
        question = self.reflector.question(self.case(played))
        answer = (*_encode(template, report_of(diagnosis)), template.end_id)
        if question.continues:
            unworthy = replace(played, worth=(False,) * len(played.worth))
            episode = self.play_lesson(unworthy, template)
            read: tuple[int, ...] = template.between(question.messages, closed=True)
            before, weights = episode.token_ids, episode.loss_weights
        else:
            read, before, weights = template.opening(question.messages), (), ()
        return WeightedSequence(
            (*before, *read, *answer), (*weights, *[self.read_weight] * len(read), *[1.0] * len(answer))
        )

    def texts(self, played: Played) -> list[str]:
        """Everything read and written in an episode, for a vocabulary."""
        return [text for turn in played.turns for text in (*(m.content for m in turn.prompt), turn.text)]

    def _step(
        self, tree: EpisodeTree, state: State, turns: list[Turn], pending: Sequence[Message], action: str
    ) -> tuple[State, tuple[Message, ...]]:
        _, reward, _, _, _ = self.env.step(action)
        turns.append(Turn(action, self.agent.say(action), tuple(pending)))
        return tree.grow(state, self.env, action, float(reward)), (self.agent.hear(self._view),)

    def _moves(self, played: Played, template: ChatTemplate) -> list[tuple[int, ...]]:
        return [
            (*_encode(template, turn.text), template.end_id) if tokens is None else tokens
            for turn, tokens in zip(played.turns, played.tokens, strict=True)
        ]

    def case(self, played: Played) -> Case:
        """The episode as its reflector sees it."""
        sees = self.reflector.sees
        looked = Looked(diagnosis=self.diagnose(played) if Sees.GROUND_TRUTH in sees else None)
        truncated = played.trajectory.leaf.truncated
        return Case.of(played.trajectory, played.turns, sees, truncated=truncated, looked=looked)


def report_of(diagnosis: Diagnosis) -> str:
    """A diagnosis as the one-line JSON report that a reflection writes (the five keys of R3L, arXiv 2601.03715)."""
    return json.dumps(diagnosis_json(diagnosis), ensure_ascii=False)


def _encode(template: ChatTemplate, text: str) -> tuple[int, ...]:
    return tuple(template.tokenizer(text, add_special_tokens=False)["input_ids"])
