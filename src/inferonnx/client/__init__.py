"""Speak to servers: verify first, send second.

Every connection is TLS; a policy decides about its server after the handshake and
before a byte of a request is sent. What is asked is written once, without a socket,
and runs on a transport that blocks or on one of asyncio.
"""
