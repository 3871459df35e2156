"""Environments: one folder or file each. They know no agent and no method."""
