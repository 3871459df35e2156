"""Agents: one file each, and `reflection/`, one file per way to reflect. They know no environment and no method."""
