"""A judge behind any server that speaks OpenAI's chat completions."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from r3lbench.hosting import ChatServer, Usage
from r3lbench.judging import Judge, Question, Reply, wording


class OpenAIJudge(Judge):
    """A model behind any OpenAI-compatible server.

    Args:
        model: The model's name at the server.
        url: Base address, e.g. ``http://localhost:8000/v1``; None takes the one of the ``openai`` package.
        key_env: Environment variable with the server's key. The key itself is written nowhere. A server of one's own
            (``url``) may do without.
        temperature: Of its replies; HeRL judges at 0.1.
        max_tokens: Longest reply.
        timeout: Seconds to wait for a reply.
        parallel: Questions asked at once.
        retries, pause: As of every judge.
    """

    def __init__(
        self,
        *,
        model: str | None = None,
        url: str | None = None,
        key_env: str = "OPENAI_API_KEY",
        temperature: float = 0.0,
        max_tokens: int = 512,
        timeout: float = 60.0,
        parallel: int = 8,
        retries: int = 3,
        pause: float = 1.0,
    ) -> None:
        super().__init__(retries=retries, pause=pause)
        self._server = ChatServer("the judge 'openai'", model=model, url=url, key_env=key_env, timeout=timeout)
        self.temperature, self.max_tokens, self.parallel = temperature, max_tokens, max(1, parallel)

    @property
    def identity(self) -> str:
        """Model and temperature; the same model may be served anywhere."""
        return f"openai/{self._server.model}/temperature {self.temperature:g}"

    def replies(self, questions: Sequence[Question], attempt: int) -> list[Reply]:
        """Ask the server, several questions at a time."""
        with ThreadPoolExecutor(max_workers=min(self.parallel, len(questions))) as pool:
            return list(pool.map(self._ask, questions))

    def _ask(self, question: Question) -> Reply:
        # A server takes no lone surrogates, and an answer may hold any text.
        content = wording(question).encode("utf-8", "replace").decode("utf-8")
        said = self._server.ask(
            [{"role": "user", "content": content}], temperature=self.temperature, max_tokens=self.max_tokens
        )
        text = None if said.message is None else said.message.get("content")
        usage = said.usage or Usage()
        return Reply(
            text,
            said.problem or ("" if text is not None else "the server's reply holds no text"),
            hopeless=said.hopeless,
            prompt_tokens=usage.prompt,
            completion_tokens=usage.written,
        )
