"""Serve sealed models over TLS: connections, repository, memory, queues.

What computes and what opens a sealed file is handed in through `ports`: nothing
here knows how a model runs. All of it runs on one asyncio loop; what blocks (a
pass, a file) runs in threads.
"""
