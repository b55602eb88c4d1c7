"""The world outside, one thing a file: onnxruntime, files, this process.

No door of names: each file is loaded by who needs it, since in the enclave a
module that is not needed is memory.
"""
