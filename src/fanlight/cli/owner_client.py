"""Asks a role of this machine as its owner: by HTTP, with the ``api-token`` from its state folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from fanlight.errors import MalformedMessage, Unreachable
from fanlight.services.http.sessions import API_TOKEN_FILE
from fanlight.storage.secret_files import read_secret

_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class OwnerClient:
    """One role: its name, its port and its state folder."""

    name: str
    port: int
    state: Path

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://localhost:{self.port}"

    def is_healthy(self) -> bool:
        """Does it answer?"""
        try:
            return httpx.get(f"{self.url}/healthz", timeout=_TIMEOUT_S, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def get(self, path: str) -> dict[str, Any]:
        """The JSON object at ``path``.

        Raises:
            Unreachable, MalformedMessage: no answer, a refusal, or no JSON object.
        """
        return self._ask("GET", path)

    def login_link(self) -> str:
        """A one-time link that logs a browser in; errors as in ``get``."""
        return str(self._ask("POST", "/api/v1/login-links")["url"])

    def _ask(self, method: str, path: str) -> dict[str, Any]:
        token = read_secret(self.state / API_TOKEN_FILE).decode().strip()
        try:
            answer = httpx.request(
                method,
                self.url + path,
                headers={"Authorization": f"Bearer {token}"},
                timeout=_TIMEOUT_S,
                trust_env=False,  # a proxy has no business between processes of one machine
            )
        except httpx.HTTPError as error:
            raise Unreachable(f"{self.name} does not answer at {self.url}{path}: {error}.") from error
        if not answer.is_success:
            raise Unreachable(f"{self.name} refuses {method} {path}: {answer.status_code} {answer.text[:300]}")
        try:
            body = answer.json()
        except ValueError as error:
            raise MalformedMessage(f"{self.name} answers {path} with something that is not JSON.") from error
        if not isinstance(body, dict):
            raise MalformedMessage(f"{self.name} answers {path} with something that is not a JSON object.")
        return body
