"""Ways to reflect on an episode, one file each."""
