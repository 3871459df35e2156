"""Generated games can be won, stand in the right rooms, and are the same everywhere."""

from __future__ import annotations

from collections import Counter

import pytest

from r3lbench.environments.alfworld.expert import route
from r3lbench.environments.alfworld.generated import (
    LAMP,
    SIZES,
    SIZES_OF_ROOMS,
    Size,
    generate,
    plan,
    scene,
    scenes_of,
    sentence,
)
from r3lbench.environments.alfworld.stack import alfworld_constants
from r3lbench.environments.alfworld.world import TaskType, situation_of, world_of

from .small import SMALL, opened


def test_96_rooms_are_for_training_and_24_others_are_held_out() -> None:
    train, held_out = set(scenes_of("train")), set(scenes_of("valid_unseen"))
    assert (len(train), len(held_out), set(scenes_of("valid_seen"))) == (96, 24, train)
    assert not train & held_out
    for number in sorted(train | held_out):
        room = scene(number)
        assert room.receptacles and room.objects
        assert len({place.id for place in room.receptacles}) == len(room.receptacles)


def test_plans_keep_to_what_fits_where() -> None:
    constants = alfworld_constants()
    kinds = Counter()
    for split in SIZES:
        ids = {place.id for number in scenes_of(split) for place in scene(number).receptacles}
        for index in range(40):
            made = plan(split, index, SMALL)
            kinds[made.task] += 1
            assert {place.id for place in made.receptacles} <= ids
            for _, kind, place in made.objects:
                assert kind == LAMP or kind in constants.VAL_RECEPTACLE_OBJECTS[place.kind]
                assert kind != made.object or place.kind != made.place, "the object is where it should go already"
            wanted = [kind for _, kind, _ in made.objects if kind == made.object]
            assert len(wanted) >= (2 if made.task is TaskType.TWO else 1)
            assert max(Counter(place.kind for place in made.receptacles).values()) <= 2
    assert set(kinds) == set(TaskType)


@pytest.mark.parametrize("size", SIZES_OF_ROOMS.values(), ids=lambda size: size.name)
def test_no_game_is_in_two_splits(size: Size) -> None:
    # By what stands and lies there: the keys name the split, and so differ whatever the games are.
    drawn = {split: {plan(split, index, size) for index in range(count)} for split, count in SIZES.items()}
    assert len(set().union(*drawn.values())) == sum(SIZES.values())


def test_a_game_is_fixed_by_its_key() -> None:
    # A change here is another generator: raise VERSION.
    made = plan("train", 0, SMALL)
    assert (made.task, made.object, made.place, len(made.objects)) == (TaskType.COOL, "Pan", "CounterTop", 13)
    assert len({plan("train", index, SMALL) for index in range(300)}) == 300
    assert plan("train", 1, SMALL) != plan("valid_seen", 1, SMALL)


@pytest.mark.parametrize("size", SIZES_OF_ROOMS.values(), ids=SIZES_OF_ROOMS)
def test_generated_games_are_won_by_the_oracle(size: Size) -> None:
    with opened() as engine:
        for split in SIZES:
            for index in range(6 if size.per_kind is None else 15):
                game = generate(split, index, size)
                shown = engine.start(game)
                assert "UNKNOWN" not in shown and "Your task is to: " in shown
                commands = route(situation_of(world_of(game), engine.facts))
                assert commands, f"{split}/{index}"
                for command in commands:
                    assert not engine.won and engine.step(command) is not None, f"{split}/{index}: {commands}"
                assert engine.won, f"{split}/{index}: {commands}"


def test_sentences_are_alfworlds() -> None:
    import random

    made = plan("train", 0, SMALL)
    said = {sentence(made, random.Random(seed)) for seed in range(20)}
    assert said == {"put a cool pan in countertop", "cool some pan and put it in countertop"}
