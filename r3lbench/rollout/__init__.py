"""Episodes as coroutines: waves of generation, groups of attempts, pools of environments, and what it all costs."""
