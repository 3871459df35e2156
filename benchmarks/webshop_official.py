"""Plays the official WebShop as ``webshop.py`` plays ours; ``webshop.py --official FOLDER`` starts it in a checkout.

It runs by the interpreter that has the official requirements and imports nothing of ours. Prints one line of JSON: CPU
seconds until the first page, and steps per CPU second.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

MOST_STEPS = 15


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-products", type=int)
    parser.add_argument("--episodes", type=int, default=50)
    given = parser.parse_args()
    sys.path.insert(0, str(Path.cwd()))
    began = time.process_time()
    try:
        from web_agent_site.envs import WebAgentTextEnv
    except ImportError as error:
        sys.exit(f"{error}; give --official a checkout of WebShop and --official-python what has its requirements")
    env = WebAgentTextEnv(observation_mode="text_rich", num_products=given.num_products, human_goals=False)
    opened = time.process_time() - began
    began = time.process_time()
    steps = sum(play(env, session) for session in range(given.episodes))
    print(json.dumps({"opened": opened, "rate": steps / (time.process_time() - began)}))


def play(env: Any, session: int) -> int:
    """Search for the instruction, then click at random; returns the number of steps."""
    rng = random.Random(session)
    env.reset(session)
    instruction = env.instruction_text.replace("Instruction:", "").strip()
    for step in range(1, MOST_STEPS + 1):
        possible = env.get_available_actions()
        clicks = [f"click[{text}]" for text in possible["clickables"]]
        if env.step(f"search[{instruction}]" if possible["has_search_bar"] else rng.choice(clicks))[2]:
            return step
    return MOST_STEPS


if __name__ == "__main__":
    main()
