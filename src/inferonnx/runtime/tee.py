"""Which trusted execution environment this process runs in, as far as it shows.

What shows is what a library OS or the guest's kernel puts there; both are measured
in a TEE. Outside one, anybody may put such files there: the answer serves to
refuse what makes no sense inside, never to trust.
"""

from __future__ import annotations

import os
from enum import Enum


class Tee(Enum):
    """A kind of TEE."""

    GRAMINE = "Gramine on SGX"
    OCCLUM = "Occlum on SGX"
    TDX = "an Intel TDX guest"
    SEV_SNP = "an AMD SEV-SNP guest"

    @property
    def is_library_os(self) -> bool:
        """Whether system calls are answered inside the enclave, by fewer than Linux has."""
        return self in (Tee.GRAMINE, Tee.OCCLUM)


_SIGNS = (
    (Tee.GRAMINE, "dev/attestation"),
    # A host with SGX has sgx_enclave and sgx_provision; the bare name is Occlum's.
    (Tee.OCCLUM, "dev/sgx"),
    (Tee.TDX, "dev/tdx_guest"),
    (Tee.TDX, "dev/tdx-guest"),
    (Tee.SEV_SNP, "dev/sev-guest"),
)


def find_tee(root: str = "/") -> Tee | None:
    """Return the TEE around this process, or None where nothing shows one.

    Args:
        root: Where `dev` and `proc` are looked for.
    """
    for tee, path in _SIGNS:
        full = os.path.join(root, path)
        # Older drivers of hosts made a folder /dev/sgx with enclave and provision in it.
        if os.path.exists(full) and not (tee is Tee.OCCLUM and os.path.isdir(full)):
            return tee
    if "tdx_guest" in _cpu_flags(root):
        return Tee.TDX
    return None


def _cpu_flags(root: str) -> frozenset[str]:
    try:
        with open(os.path.join(root, "proc/cpuinfo"), encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("flags"):
                    return frozenset(line.partition(":")[2].split())
    except OSError:
        pass
    return frozenset()
