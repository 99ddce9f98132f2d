"""Reads a SPIFFE trust bundle from stdin as the standard describes it (SPIFFE Trust Domain and Bundle, section 4; X509-SVID, section 6;
RFC 7517, RFC 7518), with nothing of Troth in it: Python's standard library and the openssl program. Prints what it found as JSON."""

import base64
import json
import re
import subprocess
import sys


def openssl(*args: str, stdin: bytes) -> bytes:
    return subprocess.run(["openssl", *args], input=stdin, capture_output=True, check=True).stdout


def octets(text: str) -> bytes:
    """base64url without padding (RFC 7515, section 2)."""
    assert re.fullmatch(r"[A-Za-z0-9_-]+", text), "not base64url without padding"
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def read_key(key: dict) -> str:
    assert key["use"] == "x509-svid", "another use"
    assert key["kty"] == "EC" and key["crv"] == "P-256", "another kind of key"
    assert len(key["x5c"]) == 1, "x5c must hold exactly one certificate"
    der = base64.b64decode(key["x5c"][0], validate=True)
    public = openssl("x509", "-inform", "DER", "-pubkey", "-noout", stdin=der)
    point = openssl("pkey", "-pubin", "-outform", "DER", stdin=public)[-65:]
    assert point == b"\x04" + octets(key["x"]) + octets(key["y"]), "the certificate has another key"
    assert "d" not in key, "a private key"
    text = openssl("x509", "-inform", "DER", "-text", "-noout", stdin=der).decode()
    assert "CA:TRUE" in text and "Certificate Sign" in text, "not a CA certificate"
    domain = re.search(r"URI:(spiffe://[^/\s,]+)\s*$", text, re.MULTILINE)
    assert domain, "the certificate is not of a trust domain"
    return domain[1]


def unique(pairs: list) -> dict:
    """JSON objects with a name twice are read differently by different readers."""
    assert len({name for name, _ in pairs}) == len(pairs), "a name twice"
    return dict(pairs)


bundle = json.loads(sys.stdin.read(), object_pairs_hook=unique)
assert isinstance(bundle["keys"], list) and bundle["keys"], "no keys"
for name in ("spiffe_sequence", "spiffe_refresh_hint"):
    assert type(bundle[name]) is int and bundle[name] >= 0, f"{name} is no whole number"
print(
    json.dumps(
        {
            "sequence": bundle["spiffe_sequence"],
            "hint": bundle["spiffe_refresh_hint"],
            "domains": [read_key(key) for key in bundle["keys"]],
        }
    )
)
