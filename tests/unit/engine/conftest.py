"""Lets the tests of this folder share what test_stream.py builds."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
