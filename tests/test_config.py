"""One typed configuration: the command line, a TOML file and a manifest say the same things."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

import tests.toy  # noqa: F401 - registers the environment
from r3lbench import config as configuration
from r3lbench import envs, evaluate, play, run
from r3lbench.config import dump, options_of, plugin_model, validate, with_plugins
from r3lbench.errors import BadConfig
from r3lbench.registry import Entry, Registry
from r3lbench.run import RunConfig
from tests.toy_policy import DEFAULTS

NAMES = {"method": "grpo", "env": "toy", "agent": "chat"}


def parse(*flags: str) -> RunConfig:
    """Settings without a policy's card."""
    parsed: RunConfig = configuration.parse(RunConfig, flags, names=NAMES, prog="test", description="")
    return parsed


def flags_of(values: Mapping[str, Any], prefix: str = "--") -> list[str]:
    """Nested settings as a command line."""
    flags: list[str] = []
    for key, value in values.items():
        name = f"{prefix}{key}".replace("_", "-")
        if isinstance(value, Mapping):
            flags += flags_of(value, f"{name}.")
        else:
            flags += [name, *map(str, value if isinstance(value, list) else [value])]
    return flags


def toml_of(values: Mapping[str, Any]) -> str:
    """Nested settings as TOML; JSON writes strings, numbers and lists alike."""
    plain = [f"{key} = {json.dumps(value)}\n" for key, value in values.items() if not isinstance(value, Mapping)]
    tables = [f"[{key}]\n{toml_of(value)}" for key, value in values.items() if isinstance(value, Mapping)]
    return "".join(plain + tables)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


positive = st.floats(1e-9, 1e3)
share = st.floats(0, 1)
decay = st.floats(0, 1, exclude_max=True)
common = {
    "seed": st.integers(0, 2**40),
    "tasks_per_update": st.integers(1, 99),
    "quiet": st.booleans(),
    "out": st.sampled_from(["runs/x", "with space", "é"]),
    "env": some(rooms=st.integers(-9, 9), max_steps=st.integers(-9, 9)),
    "agent": some(format=st.sampled_from(["plain", "think"]), rules=st.booleans(), max_tokens=st.integers(1, 99)),
    "budget": some(updates=st.integers(0, 9), seconds=positive),
    "sampling": some(temperature=positive, top_p=st.floats(1e-3, 1), top_k=st.integers(0, 9)),
    "optimiser": some(lr=positive, betas=st.lists(decay, min_size=2, max_size=2)),
    "evaluation": some(
        split=st.sampled_from(["test", "None-such"]),
        modes=st.lists(st.sampled_from(["sampled", "greedy"]), min_size=1, max_size=2),
    ),
}
grpo = some(
    normalise=st.booleans(), clip=st.lists(share, min_size=2, max_size=2), aggregate=st.just("seq-mean-token-sum")
)
r3l = some(preset=st.just("paper"), positive_amplification=positive, pivotal_credit=st.booleans())
settings_of_a_run = st.one_of(
    some(**common, method=grpo.map(lambda fields: {"name": "grpo", **fields})),
    some(**common, method=r3l.map(lambda fields: {"name": "r3l", **fields})),
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=settings_of_a_run)
def test_flags_file_and_manifest_give_the_same_settings(values: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(toml_of(values), encoding="utf-8")
    by_flags = parse(*flags_of(values))
    by_file = parse("--config", str(file))
    assert dump(by_flags) == dump(by_file)
    for key, value in values.items():
        given = getattr(by_flags, key)
        for name, part in value.items() if isinstance(value, dict) else [(None, value)]:
            found = given if name is None else getattr(given, name)
            assert found == (tuple(part) if isinstance(part, list) else part)
    written = json.loads(json.dumps(dump(by_flags)))
    names = {kind: written[kind]["name"] for kind in NAMES}
    restored = validate(with_plugins(RunConfig, names, configuration.PLUGINS), written, "manifest")
    assert dump(restored) == dump(by_flags)
    assert type(restored.method).__name__ == type(by_flags.method).__name__


def test_without_a_word_everything_is_as_built_in() -> None:
    config = parse()
    assert (config.method.name, config.env.name, config.agent.name) == ("grpo", "toy", "chat")
    assert config.seed == 0 and config.budget.updates == 30 and config.env.rooms == 5


@pytest.mark.parametrize(
    "flags", [("--method", "r3l"), ("--method.name", "r3l"), ("--method=r3l",), ("--method.name=r3l",)], ids=str
)
def test_a_name_stands_for_its_table(flags: tuple[str, ...], tmp_path: Path) -> None:
    expected = parse(*flags, "--method.pivotal-credit", "False")
    assert (expected.method.name, expected.method.pivotal_credit) == ("r3l", False)
    for text in ("method = 'r3l'", "method.name = 'r3l'", "[method]\nname = 'r3l'"):
        (tmp_path / "run.toml").write_text(text)
        by_file = parse("--config", str(tmp_path / "run.toml"), "--method.pivotal-credit", "False")
        assert dump(by_file) == dump(expected)


def test_switches_need_no_word_and_take_either_case() -> None:
    assert parse("--quiet").quiet and parse("--quiet", "true").quiet and parse("--quiet=True", "--seed", "1").quiet
    assert parse("--quiet", "--seed", "1").seed == 1
    assert not parse("--quiet", "false").quiet


def test_underscores_are_as_good_as_dashes_and_the_last_flag_wins() -> None:
    assert dump(parse("--tasks_per_update", "3")) == dump(parse("--tasks-per-update=3"))
    assert parse("--seed", "1", "--seed", "2").seed == 2


def test_none_lifts_a_limit() -> None:
    config = parse("--budget.updates", "None", "--budget.env-steps", "100")
    assert (config.budget.updates, config.budget.env_steps) == (None, 100)


def test_none_lifts_a_limit_in_a_file_too(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('[budget]\nupdates = "None"\nenv_steps = 100\n')
    config = parse("--config", str(file))
    assert (config.budget.updates, config.budget.env_steps) == (None, 100)


@pytest.mark.parametrize("written", ["7", "7.0", "0_7"])
def test_a_whole_number_may_be_written_in_any_way(written: str) -> None:
    assert parse("--seed", written).seed == 7


def test_settings_cannot_be_changed_afterwards() -> None:
    config = parse()
    with pytest.raises(ValidationError):
        config.seed = 1
    with pytest.raises(ValidationError):
        config.budget.updates = 1


# What suits a policy


def test_flags_win_over_the_file_and_the_file_over_the_policys_card(toy_policy: Path, tmp_path: Path) -> None:
    ask = ("--env", "toy", "--policy", str(toy_policy))
    card = run.parse(ask)
    assert card.env.rooms == DEFAULTS["env"]["rooms"] == 3  # type: ignore[index]
    assert card.agent.max_tokens == 3 and card.reflection.style == "compact" and card.optimiser.lr == 1e-3
    file = tmp_path / "run.toml"
    file.write_text("seed = 7\nenv.rooms = 4\n[agent]\nmax_tokens = 5\n[reflection]\nmax_tokens = 9\n")
    middle = run.parse([*ask, "--config", str(file)])
    assert (middle.seed, middle.env.rooms, middle.agent.max_tokens) == (7, 4, 5)
    # What the file does not mention stays as the card says, in the same table too.
    assert middle.env.max_steps == 8 and middle.reflection.style == "compact" and middle.reflection.max_tokens == 9
    top = run.parse([*ask, "--config", str(file), "--env.rooms", "6", "--seed", "8"])
    assert (top.seed, top.env.rooms, top.agent.max_tokens) == (8, 6, 5)


def test_a_file_may_name_the_policy_whose_card_counts(toy_policy: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(f"env = 'toy'\npolicy = {json.dumps(str(toy_policy))}\n")
    assert run.parse(["--config", str(file)]).env.rooms == 3
    file.write_text(f"env = 'toy'\n[policy]\nname = {json.dumps(str(toy_policy))}\ndevice = 'cpu'\n")
    config = run.parse(["--config", str(file)])
    assert (config.env.rooms, config.policy.device) == (3, "cpu")


def test_a_card_speaks_for_its_own_environment_and_agent_only(toy_policy: Path) -> None:
    elsewhere = run.parse(["--env", "webshop", "--policy", str(toy_policy)])
    assert elsewhere.env.name == "webshop" and elsewhere.agent.max_tokens == 3
    other = run.parse(["--env", "toy", "--agent", "random", "--policy", str(toy_policy)])
    assert other.agent.name == "random" and other.env.rooms == 3


# What plug-ins bring


class Plain:
    """A class with a constructor.

    Args:
        width: How wide.
        names: Of what.
        **options: Passed on.
    """

    def __init__(self, *, width: int = 3, names: tuple[str, ...] = (), render_mode: str | None = None, **options: Any):
        self.width, self.names = width, names


def test_a_constructors_parameters_are_settings_with_its_docstrings_words() -> None:
    model = plugin_model("plain", Plain)
    assert set(model.model_fields) == {"name", "width", "names"}
    assert model.model_fields["width"].description == "How wide."
    assert options_of(model(width=4)) == {"width": 4, "names": ()}
    with pytest.raises(ValidationError):
        model(depth=1)


def test_the_settings_of_a_plug_in_are_worked_out_once() -> None:
    assert plugin_model("plain", Plain) is plugin_model("plain", Plain)
    assert plugin_model("other", Plain).model_fields["name"].default == "other"


def test_a_setting_without_a_type_is_of_its_defaults() -> None:
    class Untyped:
        def __init__(self, width=3, names=None, sure=False):  # type: ignore[no-untyped-def]
            pass

    model = plugin_model("untyped", Untyped)
    assert options_of(model(width="4", names="n", sure="true")) == {"width": 4, "names": "n", "sure": True}
    with pytest.raises(ValidationError):
        model(width="wide")


def test_a_plug_in_with_a_setting_that_has_no_default_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Needy:
        def __init__(self, size: int):
            pass

    registry: Registry[Any] = Registry("environment", "r3lbench.environments")
    registry.add(Entry("needy", Needy))
    monkeypatch.setitem(configuration.PLUGINS, "env", registry)
    with pytest.raises(BadConfig, match=r"^--env needy lacks a default: size: Field required"):
        play.parse(["--env", "needy"])


def test_an_environment_that_refuses_its_settings_is_named() -> None:
    for command, flags in ((evaluate, ["--agent", "random"]), (envs, []), (play, [])):
        with pytest.raises(BadConfig, match=r"^--env toy: max_steps must be at least 1"):
            command.run(command.parse(["--env", "toy", "--env.max-steps", "0", *flags]))  # type: ignore[attr-defined]


def test_a_plug_in_that_is_a_model_keeps_being_itself() -> None:
    class Method(BaseModel):
        strength: float = 1.0

        def double(self) -> float:
            return 2 * self.strength

    made = plugin_model("mine", Method)(strength=3)
    assert isinstance(made, Method) and made.double() == 6.0
    assert options_of(made) == {"strength": 3.0}


def test_the_first_problem_is_named_by_its_path() -> None:
    with pytest.raises(BadConfig, match=r"^here: budget\.updates: .*got 'many'"):
        validate(RunConfig, {"budget": {"updates": "many"}}, "here")
    with pytest.raises(BadConfig, match=r"unknown setting 'budget\.updats'; did you mean budget\.updates"):
        validate(RunConfig, {"budget": {"updats": 1}}, "here")


def test_help_lists_every_flag_of_the_chosen_plug_ins(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run.parse(["--method", "r3l", "--env", "toy", "--help"])
    assert left.value.code == 0
    output = capsys.readouterr().out
    for flag in ("--method.pivotal-credit", "--env.rooms", "--agent.max-tokens", "--budget.env-steps", "--resume"):
        assert flag in output
    assert "Mask the turns that attempt and retry share" in " ".join(output.replace("│", " ").split())
