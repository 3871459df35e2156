"""The environment pays and tells what its protocol says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from r3lbench import make
from r3lbench.environments.webshop import WebShop
from r3lbench.errors import UnknownName

FIRST = {"task": "train/0"}


def shop(**options: object) -> WebShop:
    env = make("webshop", data="generated", **options)
    assert isinstance(env, WebShop)
    return env


def finish(env: WebShop) -> float:
    """Play the expert; returns the last reward."""
    reward = 0.0
    while not env.done:
        _, reward, *_ = env.step(env.expert_action() or "")
    return reward


def buy_wrongly(env: WebShop) -> float:
    """Buy the first product that is not worth 1.0; returns the reward."""
    env.reset(options=FIRST)
    env.step(f"search[{env.goal.query}]")
    wrong = next(hit for hit in env.pages.shown(env.state) if env.expert.worth(hit) < 1.0)
    env.step(f"click[{env.shop.catalogue.products[wrong].asin}]")
    return env.step("click[buy now]")[1]


def test_the_default_pays_what_the_purchase_is_worth() -> None:
    env = shop()
    env.reset(options=FIRST)
    assert env.feedback() == "nothing has been bought"
    assert finish(env) == env.score() == 1.0 and env.success()
    assert env.feedback().startswith("score 1.00, attributes ")
    worth = buy_wrongly(env)
    assert worth == env.score() < 1.0 and not env.success()


def test_gigpo_pays_ten_for_success_alone_and_charges_invalid_actions() -> None:
    env = shop(protocol="gigpo")
    env.reset(options=FIRST)
    observation = env.observation
    assert env.step("click[nothing]")[:2] == (observation, -0.1)
    assert finish(env) == 10.0
    assert buy_wrongly(env) == 0.0


def test_r3l_pays_minus_a_tenth_for_an_episode_without_a_purchase() -> None:
    env = shop(protocol="r3l")
    env.reset(options=FIRST)
    observation, reward, terminated, *_ = env.step("click[nothing]")
    assert observation.startswith("Invalid action") and (reward, terminated) == (0.0, False)
    _, reward, terminated, *_ = env.step("no action at all")
    assert (reward, terminated) == (-0.1, True)
    env.reset(options=FIRST)
    rewards = []
    for step in range(env.max_steps):
        _, reward, terminated, truncated, _ = env.step(
            f"search[tea {step}]" if step % 2 == 0 else "click[back to search]"
        )
        rewards.append(reward)
    assert rewards == [0.0] * 14 + [-0.1] and truncated and not terminated


def test_compact_shows_five_results_and_says_that_an_action_is_invalid() -> None:
    env = shop(protocol="compact")
    env.reset(options=FIRST)
    assert env.step("look")[0] == "Invalid action."
    observation, *_ = env.step(env.admissible_actions()[0])
    assert observation.count("\n\n[button] ") == 5
    assert env.step("search[tea]")[0] == "Invalid action."
    assert env.max_steps == 12


def test_rubrics_follow_the_item_looked_at() -> None:
    env = shop()
    env.reset(options=FIRST)
    counts = []
    while not env.done:
        counts.append(sum(rubric.satisfied for rubric in env.rubrics()))
        env.step(env.expert_action() or "")
    assert counts[0] == 0 and counts == sorted(counts)
    assert all(rubric.satisfied for rubric in env.rubrics())


def test_a_native_restore_searches_and_renders_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    env, other = shop(), shop()
    env.reset(options=FIRST)
    env.step(env.admissible_actions()[0])
    saved = env.snapshot()
    monkeypatch.setattr(type(env.pages), "render", lambda *_: pytest.fail("rendered"))
    for each in (env, other):
        assert each.restore(saved)[0] == saved.native.payload[1]  # type: ignore[union-attr]
        assert each.replayed_steps == 0


def test_all_environments_of_a_process_share_one_shop() -> None:
    assert shop().shop is shop(protocol="r3l").shop
    assert shop().pages is shop().pages


@pytest.mark.parametrize(
    "change",
    [
        {"protocol": "r3l"},
        {"observation_mode": "text"},
        {"catalogue_seed": 1},
        {"max_steps": 3},
        {"strict_upstream": True},
    ],
)
def test_a_panel_hash_covers_everything_that_gives_tasks_their_meaning(change: dict[str, object]) -> None:
    assert shop(**change).panel("test").hash != shop().panel("test").hash


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "r3"}, "did you mean 'r3l'"),
        ({"observation_mode": "html"}, "unknown observation mode"),
        ({"goals": "humans"}, "did you mean 'human'"),
    ],
)
def test_unknown_settings_are_refused_with_the_nearest(options: dict[str, str], message: str) -> None:
    with pytest.raises(UnknownName, match=message):
        shop(**options)


def test_brackets_in_an_option_do_not_make_a_listed_action_invalid() -> None:
    env = shop()
    env.reset(options=FIRST)
    env.goal = replace(env.goal, instruction_text="a [strange]\nwish")
    (search,) = env.admissible_actions()
    assert search == "search[a  strange  wish]"
    assert env.step(search)[4]["action_valid"]
