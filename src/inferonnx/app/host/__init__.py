"""What opens, checks and runs a sealed file: the part of `app` that runs in the enclave.

Nothing here knows of `app.owner`, and nothing needs onnx; numpy is there only for
callers that have it (`arrays`, `comparing`). No door of names: each file is loaded
by who needs it.
"""
