"""Read how long certificates hold."""

from __future__ import annotations

import datetime as dt

from cryptography import x509

from hibana_server.domain.errors import Invalid


def first_end(pem: bytes) -> dt.datetime:
    """Return when the first of these certificates (PEM, one or more) ceases to hold, UTC. Raises Invalid."""
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise Invalid(f"no certificates in PEM: {error}") from None
    return min(certificate.not_valid_after_utc for certificate in certificates)
