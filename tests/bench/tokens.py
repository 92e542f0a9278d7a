"""Verifying a token that nobody has seen before, by algorithm, against one that is remembered."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import jwt

from hibana_server.auth.issuer import Issuer, IssuerRules
from hibana_server.auth.jwks import Jwks
from hibana_server.auth.tokens import TokenVerifier
from tests.framework.provider import AUDIENCE, ISSUER, SigningKey, claims, key_set
from tests.framework.server import Server

CALLS = 300
ROUNDS = 5
SECRET = b"s" * 32
ALGORITHMS = ("RS256", "ES256", "EdDSA")


def cold_us(verifier: TokenVerifier, sign: Callable[[int], str]) -> float:
    """Return microseconds of a token at its first call; the median of rounds."""
    rounds = []
    for turn in range(ROUNDS):
        tokens = [sign(turn * CALLS + number) for number in range(CALLS)]
        begin = time.perf_counter()
        for token in tokens:
            verifier.verify(token)
        rounds.append((time.perf_counter() - begin) / CALLS * 1e6)
    return statistics.median(rounds)


def measure(_server: Server) -> dict[str, float]:
    """Measure all in this process."""
    keys = {algorithm: SigningKey(algorithm, algorithm) for algorithm in ALGORITHMS}
    with TemporaryDirectory() as scratch:
        file = Path(scratch, "keys.json")
        file.write_bytes(key_set(*keys.values()))
        jwks = Jwks(str(file), ALGORITHMS, lambda: None)
        asyncio.run(jwks.refresh())
    verifier = TokenVerifier(b"o" * 32, Issuer(IssuerRules((ISSUER,), (AUDIENCE,)), secret=SECRET, jwks=jwks))
    figures = {"token HS256 cold us": cold_us(verifier, lambda n: jwt.encode(claims(jti=str(n)), SECRET, "HS256"))}
    for algorithm, key in keys.items():

        def sign(number: int, key: SigningKey = key) -> str:
            return key.sign(claims(jti=str(number)))

        figures[f"token {algorithm} cold us"] = cold_us(verifier, sign)
    same = keys["ES256"].sign(claims())
    verifier.verify(same)
    return {**figures, "token remembered us": cold_us(verifier, lambda _n: same)}
