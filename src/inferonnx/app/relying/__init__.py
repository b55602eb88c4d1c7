"""What speaks to servers: clients with numpy, and what an owner sends with its key files.

No door of names: each file is loaded by who needs it.
"""
