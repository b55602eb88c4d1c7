"""The server: TLS that ends in this process, HTTP on it, and what a host does with models.

No door of names: a server without gRPC, say, never loads what speaks it, and in the
enclave a module that is not needed is memory. Each file says what it is for.
"""
