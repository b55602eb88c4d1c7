"""Lets the tests import `golden`, whose tables other test folders use too."""

import sys
from pathlib import Path

_TESTS = str(Path(__file__).parents[2])
if _TESTS not in sys.path:
    sys.path.append(_TESTS)
