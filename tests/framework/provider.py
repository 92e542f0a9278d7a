"""An identity provider: keys of every kind, tokens signed with them, and a real server that publishes them."""

from __future__ import annotations

import http.server
import json
import threading
import time
from types import TracebackType
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

ISSUER = "https://project.example/auth/v1"
AUDIENCE = "authenticated"


class SigningKey:
    """A private key of the provider."""

    def __init__(self, algorithm: str, kid: str) -> None:
        self.algorithm, self.kid = algorithm, kid
        self.private: Any = {
            "RS256": lambda: rsa.generate_private_key(65537, 2048),
            "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate,
        }[algorithm]()

    def public(self, **changes: Any) -> dict[str, Any]:
        """Return the public key as an entry of a key set."""
        algorithm = jwt.get_algorithm_by_name(self.algorithm)
        entry: dict[str, Any] = algorithm.to_jwk(self.private.public_key(), as_dict=True)
        return {**entry, "kid": self.kid, "use": "sig", "alg": self.algorithm, **changes}

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        """Sign a token."""
        headers = {"kid": self.kid, **header}
        return jwt.encode(claims, self.private, self.algorithm, {k: v for k, v in headers.items() if v is not None})


def claims(**changes: Any) -> dict[str, Any]:
    """Return what a token of a user says; a change to None leaves the claim out."""
    now = int(time.time())
    told = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "alice",
        "role": "authenticated",
        "iat": now,
        "exp": now + 600,
        **changes,
    }
    return {name: value for name, value in told.items() if value is not None}


def key_set(*keys: SigningKey) -> bytes:
    """Return a key set."""
    return json.dumps({"keys": [key.public() for key in keys]}).encode()


class Provider:
    """Publishes `body` at `url` until the context is left; `asked` counts requests."""

    def __init__(self, *keys: SigningKey) -> None:
        self.body = key_set(*keys)
        self.status = 200
        self.asked = 0
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked += 1
                self.send_response(provider.status)
                if provider.status in (301, 302, 307, 308):
                    self.send_header("location", "/elsewhere")
                self.send_header("content-length", str(len(provider.body)))
                self.end_headers()
                self.wfile.write(provider.body)

            def log_message(self, *_args: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where the keys are."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/jwks"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _t: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
