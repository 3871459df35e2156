"""The agent behind a server, against a real one on this machine: what it asks, what it does with the answers."""

from __future__ import annotations

import itertools
import json
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

pytest.importorskip("openai", reason="needs the openai package: pip install 'r3lbench[api]'")

import tests.rollout.worker_toys
import tests.toy  # noqa: F401 - registers the environment
from r3lbench import run as training
from r3lbench.agents.api import ApiAgent
from r3lbench.agents.chat import Format
from r3lbench.evaluate import main, parse
from r3lbench.grids import evaluations
from r3lbench.recording import RunFolder
from r3lbench.results import absolute_paths, read
from r3lbench.standings import Kind, compare
from r3lbench.tools import schema
from tests.conftest import Command
from tests.judges.chat_server import Answer, ChatServer, chat_server
from tests.toy import Toy

KEY = "sk-very-secret"
Evaluate = Callable[..., RunFolder]


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("R3LBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    # Requests to this machine take no detour.
    monkeypatch.setenv("NO_PROXY", "*")


def arguments(server: ChatServer, *more: object) -> list[str]:
    env = [] if "--env" in more else ["--env", "toy"]
    usual = [*env, "--agent", "api", "--model", "small", "--base-url", server.url, "--agent.pause", "0"]
    return [*usual, *map(str, more), "--quiet"]


@pytest.fixture
def evaluate(tmp_path: Path) -> Evaluate:
    """Evaluate a server's model on the toy environment and return the record."""

    def go(server: ChatServer, *more: object, out: str = "out") -> RunFolder:
        assert main(arguments(server, *more, "--out", tmp_path / out)) == 0
        return RunFolder.open(tmp_path / out)

    return go


def last(asked: dict[str, Any]) -> str:
    """What was said last to the model."""
    return str(asked["messages"][-1]["content"])


def sensible(asked: dict[str, Any]) -> str:
    """An action that gets somewhere, by what was said last."""
    valid = last(asked).partition("Valid actions: ")[2].split(", ")
    wanted = ("take key", "open door", "go east" if "You hold a key" in last(asked) else "go west", "go east")
    return next(action for action in wanted if action in valid)


def plainly(asked: dict[str, Any]) -> Answer:
    return Answer(sensible(asked))


def thoughtfully(asked: dict[str, Any]) -> Answer:
    return Answer(f"<think>Where is the key?</think><action>{sensible(asked)}</action>")


def by_tools(asked: dict[str, Any]) -> Answer:
    arguments = json.dumps({"action": sensible(asked)})
    return Answer(None, [{"id": "x", "type": "function", "function": {"name": "act", "arguments": arguments}}])


SPEAKERS: dict[Format, Callable[[dict[str, Any]], Answer]] = {
    "plain": plainly,
    "think": thoughtfully,
    "tools": by_tools,
}


# Asking


@pytest.mark.parametrize("format", get_args(Format))
def test_a_served_model_plays_in_every_format(format: Format, evaluate: Evaluate) -> None:
    with chat_server(SPEAKERS[format]) as server:
        folder = evaluate(server, "--agent.format", format, "--modes", "greedy")
    episodes = folder.evaluations()
    assert len(episodes) == 8 and sum(line["steps"] for line in episodes) == len(server.requests)
    assert sum(line["success"] for line in episodes) >= 4 and not any(line["invalid"] for line in episodes)


@pytest.mark.parametrize("format", get_args(Format))
def test_the_whole_conversation_is_sent_with_the_rules(format: Format, evaluate: Evaluate) -> None:
    with chat_server(SPEAKERS[format]) as server:
        folder = evaluate(server, "--agent.format", format, "--modes", "greedy", "--tasks", 1)
    (episode,) = folder.evaluations()
    assert episode["steps"] == len(server.requests) > 2
    for step, asked in enumerate(server.requests):
        system, *turns = asked["messages"]
        assert system["role"] == "system" and "At most 20 actions" in system["content"]
        assert [turn["role"] for turn in turns[::2]] == ["user", *["tool" if format == "tools" else "user"] * step]
        assert all(turn["content"].startswith(f"Step {at}: ") for at, turn in enumerate(turns[::2]))
        assert [turn["role"] for turn in turns[1::2]] == ["assistant"] * step
        said = [
            turn["tool_calls"][0]["function"]["arguments"] if format == "tools" else turn["content"]
            for turn in turns[1::2]
        ]
        assert all(action in text for action, text in zip(episode["actions"], said, strict=False))
        offered = [schema(f"Take one action in the environment. {Toy.instructions}")] if format == "tools" else None
        assert asked.get("tools") == offered
        assert (asked["model"], asked["max_tokens"]) == ("small", 512)


def test_rules_and_lists_can_be_left_out(evaluate: Evaluate) -> None:
    with chat_server([Answer("go east")]) as server:
        evaluate(server, "--agent.rules", "False", "--agent.show-admissible", "False", "--tasks", 1)
    (first,) = server.requests[0]["messages"]
    assert first["role"] == "user" and "Valid actions" not in first["content"]


def test_the_mode_decides_on_the_temperature_and_the_seed_on_the_seeds(evaluate: Evaluate) -> None:
    def asked(*more: object, out: str) -> list[tuple[float, int]]:
        with chat_server([Answer("open door")]) as server:
            evaluate(server, "--tasks", 1, "--env.max-steps", 2, "--temperature", 0.7, *more, out=out)
        return [(one["temperature"], one["seed"]) for one in server.requests]

    first = asked("--episodes-per-task", 2, "--agent.parallel", 1, out="first")
    assert sorted(temperature for temperature, _ in first) == [0.0] * 2 + [0.7] * 4
    assert len({seed for _, seed in first}) == 6 and all(0 <= seed < 2**31 for _, seed in first)
    assert asked("--episodes-per-task", 2, "--agent.parallel", 1, out="again") == first
    assert not {seed for _, seed in asked("--seed", 1, out="other")} & {seed for _, seed in first}


def test_a_request_can_be_given_more_and_less(evaluate: Evaluate) -> None:
    request = '{"seed": null, "max_tokens": null, "max_completion_tokens": 9, "reasoning_effort": "low"}'
    with chat_server(plainly) as server:
        folder = evaluate(server, "--agent.request", request, "--tasks", 1, "--modes", "greedy")
    asked = server.requests[0]
    assert not {"seed", "max_tokens", "tools"} & set(asked)
    assert (asked["max_completion_tokens"], asked["reasoning_effort"], asked["temperature"]) == (9, "low", 0.0)
    assert folder.manifest["config"]["agent"]["request"] == request


def test_tasks_are_played_side_by_side_up_to_the_limit(evaluate: Evaluate) -> None:
    together, one_more = threading.Barrier(3), threading.Event()
    arrivals = itertools.count(1)
    exceeded = []

    def answer(asked: dict[str, Any]) -> Answer:
        arrived = next(arrivals)
        if arrived <= 3:
            # None of the first three is answered before all have been asked, and then not at once.
            together.wait(timeout=30)
            exceeded.append(one_more.wait(timeout=0.2))
        elif not exceeded:
            one_more.set()
        return plainly(asked)

    with chat_server(answer) as server:
        evaluate(server, "--agent.parallel", 3, "--modes", "greedy")
    assert exceeded == [False] * 3


def test_episodes_in_worker_processes_are_the_same(evaluate: Evaluate) -> None:
    with chat_server(plainly) as server:
        here = evaluate(server, "--modes", "greedy")
        elsewhere = evaluate(
            server, "--modes", "greedy", "--env", "toy-elsewhere", "--pool.workers", 2, out="elsewhere"
        )
    assert here.evaluations() == elsewhere.evaluations()


@pytest.mark.parametrize("reply", ["", None, "I would rather not.", "<action>go east"])
def test_a_reply_without_an_action_is_an_invalid_one(reply: str | None, evaluate: Evaluate) -> None:
    with chat_server([Answer(reply)]) as server:
        folder = evaluate(server, "--tasks", 1, "--env.max-steps", 3, "--modes", "greedy", "--agent.format", "think")
    (episode,) = folder.evaluations()
    assert episode["actions"] == ["", "", ""] and episode["invalid"] == 3


# Recording


TOLD = {
    "model": "small-2026-01-01",
    "system_fingerprint": "fp_1",
    "usage": {"prompt_tokens": 11, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 4}},
}


def test_what_answered_and_what_it_cost_is_recorded(evaluate: Evaluate) -> None:
    with chat_server(lambda asked: Answer(sensible(asked), told=TOLD)) as server:
        folder = evaluate(server, "--tasks", 3)
    asked, told, result = len(server.requests), folder.manifest["elsewhere"], folder.result
    assert result is not None
    steps = sum(line["steps"] for line in folder.evaluations())
    assert asked == steps == told["requests"]
    assert result["cost"] == {
        "evaluate": {
            "env_steps": steps,
            "replayed_steps": 0,
            "generated_tokens": 7 * asked,
            "prefilled_tokens": 7 * asked,
            "reused_tokens": 4 * asked,
        }
    }
    assert told.pop("seconds") > 0
    assert told == {
        "kind": "hosted",
        "reproducible": False,
        "model": "small",
        "url": f"{server.url}/",
        "models": ["small-2026-01-01"],
        "fingerprints": ["fp_1"],
        "requests": asked,
        "remembered": 0,
        "failed": 0,
        "uncounted": 0,
    }
    assert set(result["evaluation"]["after"]) == {"sampled", "greedy"}
    assert folder.manifest["policy"] == {"name": "small"}
    assert "policy" not in folder.manifest["config"]
    # Whom to ask, and how, sets no results apart.
    settings = {"name": "api", "format": "plain", "rules": True, "show_admissible": True, "max_tokens": 512}
    assert folder.manifest["config"]["agent"] == {**settings, "request": "{}"}


def test_the_key_is_used_and_written_nowhere(evaluate: Evaluate, tmp_path: Path) -> None:
    with chat_server(plainly) as server:
        evaluate(server, "--tasks", 2, "--agent.remember")
    assert set(server.keys) == {f"Bearer {KEY}"}
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) > 5 and not [file for file in files if KEY.encode() in file.read_bytes()]


def test_a_model_named_from_the_root_of_a_machine_is_recorded_by_its_own_name(evaluate: Evaluate) -> None:
    with chat_server(plainly) as server:
        folder = evaluate(server, "--tasks", 1, "--model", "/srv/models/small")
    assert server.requests[0]["model"] == "/srv/models/small"
    assert folder.manifest["elsewhere"]["models"] == ["small"]
    for file in ("manifest.json", "result.json"):
        assert list(absolute_paths(json.loads((folder.path / file).read_bytes()))) == []


def test_the_leaderboard_has_a_row_of_the_models_name(evaluate: Evaluate) -> None:
    with chat_server(plainly) as server:
        folders = [evaluate(server, "--seed", seed, out=f"s{seed}") for seed in (0, 1)]
        folders.append(evaluate(server, "--agent.max-tokens", 99, out="short"))
    for mode in ("sampled", "greedy"):
        (group,), notes = compare([read(folder) for folder in folders], mode=mode)
        rows = {row.label: row for row in group.rows}
        assert set(rows) == {"api, policy small", "api, policy small (max_tokens=99)"} and not notes
        assert rows["api, policy small"].seeds == (0, 1)
        assert {row.kind for row in group.rows} == {Kind.EVALUATED}
        assert rows["api, policy small"].sees == {"agent": ("admissible",)}
        costs = evaluations(group)
        assert costs is not None
        episodes = folders[2].evaluations()
        steps = sum(line["steps"] for line in episodes) / len(episodes)
        cells = next(cells for cells in costs.rows if cells[0] == "api, policy small (max_tokens=99)")
        # Seven tokens written and eleven read at every step, as the server counts them, in both modes.
        spent = (f"{7 * steps:.1f}", f"{11 * steps:.1f}", f"{steps:.1f}")
        assert cells == ("api, policy small (max_tokens=99)", "hosted", *spent, "agent: admissible", "")


def test_tokens_that_a_server_does_not_count_are_not_made_up(evaluate: Evaluate) -> None:
    with chat_server(lambda asked: Answer(sensible(asked), told={"usage": None})) as server:
        folder = evaluate(server, "--tasks", 1, "--modes", "greedy")
    assert folder.manifest["elsewhere"]["uncounted"] == len(server.requests)
    assert folder.result is not None and set(folder.result["cost"]["evaluate"]) == {"env_steps", "replayed_steps"}


# Failures


def test_what_fails_for_a_while_is_asked_again(evaluate: Evaluate) -> None:
    bad = [Answer(status=500, body="oops"), Answer(status=429, body="{}"), Answer(body="?"), Answer(drop=True)]

    def answer(asked: dict[str, Any]) -> Answer:
        return bad.pop() if bad else plainly(asked)

    with chat_server(answer) as server:
        folder = evaluate(server, "--tasks", 2, "--modes", "greedy", "--agent.parallel", 1)
    told = folder.manifest["elsewhere"]
    assert told["failed"] == 4 and told["requests"] == len(server.requests) - 4
    assert folder.result is not None
    assert folder.result["cost"]["evaluate"]["generated_tokens"] == 7 * told["requests"]


@pytest.mark.parametrize(
    ("bad", "times", "said"),
    [
        (Answer(status=401, body=f'{{"error": {{"message": "wrong key {KEY}"}}}}'), 1, "status 401"),
        (Answer(status=404, body='{"error": {"message": "no such model"}}'), 1, "no such model"),
        (Answer(status=503, body="later"), 3, "asked 3 times"),
        (Answer(body='{"choices": []}'), 3, "no chat completion (choices: "),
        (Answer(told={"choices": [{"message": {"content": 7}}]}), 3, "choices.0.message.content"),
        (Answer(status=400, body='{"error": {"message": "maximum context length is 5"}}'), 1, "no room for the first"),
    ],
    ids=str,
)
def test_a_server_that_does_not_answer_ends_the_evaluation_in_one_line(
    bad: Answer, times: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with chat_server([bad]) as server:
        assert main(arguments(server, "--tasks", 1, "--agent.retries", 2, "--out", out)) == 2
    errors = capsys.readouterr().err
    assert said in errors and errors.count("\n") == 1 and KEY not in errors
    assert len(server.requests) == times
    assert list(out.iterdir()) == []


def test_an_episode_that_outgrows_the_context_ends_there(evaluate: Evaluate) -> None:
    message = "This model's maximum context length is 2048 tokens. However, you requested 2100 tokens."
    refusal = Answer(status=400, body=json.dumps({"error": {"message": message, "code": 400}}))

    def answer(asked: dict[str, Any]) -> Answer:
        return refusal if len(asked["messages"]) > 6 else Answer("open door")

    with chat_server(answer) as server:
        folder = evaluate(server, "--tasks", 2, "--modes", "greedy")
    assert [line["steps"] for line in folder.evaluations()] == [3, 3]
    assert len(server.requests) == 8


def test_an_evaluation_that_broke_off_goes_on_without_paying_twice(
    evaluate: Evaluate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few, remember = ("--agent.parallel", "1", "--seed", "3"), "--agent.remember"

    def dies_after(count: int) -> Callable[[dict[str, Any]], Answer]:
        answers = iter(range(count))
        return lambda asked: plainly(asked) if next(answers, None) is not None else Answer(status=401, body="{}")

    with chat_server(dies_after(20)) as server:
        assert main(arguments(server, *few, "--out", tmp_path / "broken")) == 2
        assert "--agent.remember goes on with what it answered so far" in capsys.readouterr().err
        paid, url = len(server.requests), server.url
    assert paid == 21
    with chat_server(plainly, port=int(url.rpartition(":")[2].partition("/")[0])) as server:
        folder = evaluate(server, *few, remember)
        told = folder.manifest["elsewhere"]
        assert told["remembered"] == 20 and len(server.requests) == told["requests"] - 20
        again = evaluate(server, *few, remember, out="again")
        assert again.manifest["elsewhere"]["remembered"] == told["requests"]
    # What was remembered is what it was, and costs what it cost.
    assert again.evaluations() == folder.evaluations()
    assert again.result == folder.result


def test_who_interrupts_does_not_wait_for_answers(command: Command, tmp_path: Path) -> None:
    released = threading.Event()

    def never(asked: dict[str, Any]) -> Answer:
        released.wait(timeout=120)
        return plainly(asked)

    with chat_server(never) as server:
        process = command("evaluate", *arguments(server, "--tasks", 3, "--out", tmp_path / "out"), cwd=tmp_path)
        while not server.requests:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=60)
        finally:
            released.set()
            process.kill()
    assert (process.returncode, errors) == (130, "r3lbench evaluate: interrupted; nothing was recorded\n")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--model", ""), "needs the name of a model"),
        (("--base-url", "localhost:1/v1"), "no server's address for a url"),
        (("--agent", "random"), "--base-url: the agent 'random' asks no server; use --agent api"),
        (("--base-url", "http://me:secret@localhost:1/v1"), "holds a name or password"),
        (("--agent.request", "[]"), "a JSON object was expected"),
        (("--agent.request", "{"), "agent.request"),
        (("--agent.parallel", "0"), "greater than or equal to 1"),
        (("--improve", "1"), "has no model here"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(
    flags: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = ["--env", "toy", "--agent", "api", "--model", "small", "--base-url", "http://localhost:1/v1"]
    assert main([*usual, *flags, "--quiet"]) == 2
    errors = capsys.readouterr().err
    assert said in errors and errors.count("\n") == 1 and "secret" not in errors


def test_without_key_and_server_there_is_nobody_to_ask(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    assert main(["--env", "toy", "--agent", "api", "--model", "small", "--agent.key-env", "MY_KEY"]) == 2
    assert "a key in the environment variable MY_KEY" in capsys.readouterr().err


def test_a_served_model_is_not_trained(capsys: pytest.CaptureFixture[str]) -> None:
    assert training.main(["--env", "webshop", "--agent", "api"]) == 2
    assert "the agent 'api' has no model to train" in capsys.readouterr().err


# The short flags


def test_model_and_base_url_are_short_for_the_agents_settings() -> None:
    for flags in (["--model", "m", "--base-url", "u"], ["--model=m", "--base_url=u"]):
        agent = parse(["--env", "toy", "--agent", "api", *flags]).agent
        assert isinstance(agent, ApiAgent) and (agent.model, agent.base_url) == ("m", "u")


def test_model_is_short_for_the_policy_where_the_model_is_here(toy_policy: Path) -> None:
    assert parse(["--env", "toy", "--model", str(toy_policy)]).policy.name == str(toy_policy)
