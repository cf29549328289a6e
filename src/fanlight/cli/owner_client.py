"""Asks a role as its owner: by HTTP, with the ``api-token`` from its state folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from fanlight.errors import MalformedMessage, Unreachable
from fanlight.services.http.hosts import LOOPBACK_HOSTS, host_name
from fanlight.services.http.sessions import API_TOKEN_FILE
from fanlight.storage.secret_files import read_secret

_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class OwnerClient:
    """One role.

    Attributes:
        name: what messages call it.
        url: where it answers.
        token_file: its api-token.
        timeout_s: how long to wait for an answer.
    """

    name: str
    url: str
    token_file: Path
    timeout_s: float = _TIMEOUT_S

    @classmethod
    def here(cls, name: str, port: int, state: Path) -> Self:
        """A role of this machine, by its port and its state folder."""
        return cls(name, f"http://localhost:{port}", state / API_TOKEN_FILE)

    @property
    def port(self) -> int | None:
        """Its port, if the address names one."""
        return urlsplit(self.url).port

    @property
    def state(self) -> Path:
        """The folder with its token: its state folder."""
        return self.token_file.parent

    def is_healthy(self) -> bool:
        """Does it answer?"""
        try:
            return httpx.get(f"{self.url}/healthz", **self._options).is_success
        except httpx.HTTPError:
            return False

    def get(self, path: str) -> dict[str, Any]:
        """The JSON object at ``path``.

        Raises:
            Unreachable, MalformedMessage: no answer, a refusal, or no JSON object.
            NotFound, StorageError: the token cannot be read.
        """
        return self._ask("GET", path)

    def post(self, path: str) -> dict[str, Any]:
        """Ask for something to be done; the JSON object that answers, errors as in ``get``."""
        return self._ask("POST", path)

    def download(self, path: str) -> bytes:
        """The file at ``path``, errors as in ``get``."""
        return self._answer("GET", path).content

    def login_link(self) -> str:
        """A one-time link that logs a browser in; errors as in ``get``."""
        return str(self.post("/api/v1/login-links")["url"])

    @property
    def _options(self) -> dict[str, Any]:
        # a proxy of the environment has no business between processes of one machine
        trust_env = host_name(urlsplit(self.url).netloc) not in LOOPBACK_HOSTS
        return {"timeout": self.timeout_s, "trust_env": trust_env}

    def _answer(self, method: str, path: str) -> httpx.Response:
        token = read_secret(self.token_file).decode("ascii", "replace").strip()
        try:
            answer = httpx.request(
                method, self.url + path, headers={"Authorization": f"Bearer {token}"}, **self._options
            )
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeEncodeError) as error:
            raise Unreachable(f"{self.name} does not answer at {self.url}{path}: {error}.") from error
        if not answer.is_success:
            raise Unreachable(f"{self.name} refuses {method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer

    def _ask(self, method: str, path: str) -> dict[str, Any]:
        try:
            body = self._answer(method, path).json()
        except ValueError as error:
            raise MalformedMessage(f"{self.name} answers {path} with something that is not JSON.") from error
        if not isinstance(body, dict):
            raise MalformedMessage(f"{self.name} answers {path} with something that is not a JSON object.")
        return body
