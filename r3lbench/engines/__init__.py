"""Token-in, token-out sampling from a language model."""
