"""A certificate authority, by openssl's own commands: no code of ours signs here."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from machine import tool

if TYPE_CHECKING:
    from pathlib import Path

_P256 = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def openssl(*arguments: object, said: bytes = b"") -> bytes:
    """Return what `openssl` shows; raises when it fails."""
    command = [tool("openssl"), *map(str, arguments)]
    return subprocess.run(command, input=said, capture_output=True, check=True).stdout


class Authority:
    """A CA in a folder.

    Attributes:
        pem: Its certificate.
    """

    def __init__(self, folder: Path, name: str = "a CA") -> None:
        """Make one."""
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._key = folder / "ca.key"
        self.pem = folder / "ca.pem"
        openssl(
            *("req", "-x509", *_P256, "-subj", f"/CN={name}"),
            *("-keyout", self._key, "-out", self.pem),
        )

    def sign(self, request: Path, certificate: Path) -> Path:
        """Sign a request; the certificate says what it asks for."""
        openssl(
            *("x509", "-req", "-in", request, "-CA", self.pem, "-CAkey", self._key),
            *("-copy_extensions", "copy", "-out", certificate),
        )
        return certificate

    def client(self, name: str) -> tuple[Path, Path]:
        """Return certificate and key of a new client."""
        request, certificate, key = (self._folder / f"{name}.{e}" for e in ("csr", "pem", "key"))
        openssl("req", *_P256, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        return self.sign(request, certificate), key
