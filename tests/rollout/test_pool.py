from __future__ import annotations

import pytest

from r3lbench.rollout.pool import EnvPool
from tests.toy import Toy


def pool() -> tuple[EnvPool, list[Toy]]:
    made: list[Toy] = []

    def make() -> Toy:
        made.append(Toy(rooms=3))
        return made[-1]

    return EnvPool(make), made


def test_an_instance_is_lent_to_one_at_a_time_and_again_when_it_is_back() -> None:
    envs, made = pool()
    with envs.borrow() as first, envs.borrow() as second:
        assert first is not second
    with envs.borrow() as third:
        assert third in (first, second)
    assert len(made) == 2


def test_an_instance_comes_back_after_an_error() -> None:
    envs, made = pool()
    with pytest.raises(ZeroDivisionError), envs.borrow():
        raise ZeroDivisionError
    with envs.borrow():
        pass
    assert len(made) == 1


def test_the_instance_that_knows_a_state_is_lent_for_it() -> None:
    envs, _ = pool()
    with envs.borrow() as first, envs.borrow(), envs.borrow():
        first.reset(options={"task": "train/0"})
        snapshot = first.snapshot()
    with envs.borrow(snapshot) as env:
        assert env is first
        with envs.borrow(snapshot) as other:  # it is out: any other will do, and must replay
            assert other is not first


def test_closing_leaves_nothing_to_lend() -> None:
    envs, made = pool()
    closed: list[Toy] = []
    with envs.borrow() as env:
        env.close = lambda: closed.append(env)  # type: ignore[method-assign,arg-type]
    envs.close()
    assert closed == made
    with envs.borrow() as other:
        assert other is not env
