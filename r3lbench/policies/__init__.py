"""Policies: the language models that act, from a few hundred thousand parameters up."""
