"""An enclave page cache that the kernel enforces: a memory limit with swap behind it."""

__all__: list[str] = []
