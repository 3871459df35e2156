"""An engine that says what a function tells it: the model of tests, and of worked examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from r3lbench.engines.engine import Completion, Engine, Request, Stop


class ScriptedEngine(Engine):
    """Replies with chosen tokens.

    Args:
        reply: Given the request, the reply's token ids without a stop token.
        context_limit: As of ``Engine``.

    Attributes:
        waves: The requests of every wave, for inspection.
    """

    def __init__(self, reply: Callable[[Request], Sequence[int]], context_limit: int = 1 << 20) -> None:
        super().__init__()
        self.reply = reply
        self.context_limit = context_limit
        self.waves: list[list[Request]] = []

    def wave(self, requests: Sequence[Request]) -> list[Completion]:
        """Answer from the script, ending with the first stop token; every log-probability is -0.5."""
        self.waves.append(list(requests))
        completions = []
        for request in requests:
            tokens = (*self.reply(request), *request.sampling.stop_ids[:1])[: request.sampling.max_tokens]
            ended = bool(request.sampling.stop_ids) and tokens[-1] in request.sampling.stop_ids
            completions.append(Completion(tuple(tokens), (-0.5,) * len(tokens), Stop.END if ended else Stop.LENGTH))
            self.work.generated += len(tokens)
            self.work.prefilled += len(request.token_ids)
        return completions

    def weights_changed(self) -> None:
        """Nothing is cached."""
