"""What plans, seals and verifies: the owner's part of `app`, which uses `app.host` to try it.

No door of names: each file is loaded by who needs it.
"""
