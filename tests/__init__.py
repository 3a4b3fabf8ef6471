"""Tests start hundreds of processes: what each of them imports is compiled once, in a folder of pytest's.

Only pytest's own processes write there: what a test starts may be killed, or have no room for a file.
"""

import os
import sys
from pathlib import Path

os.environ["PYTHONPYCACHEPREFIX"] = str(Path(__file__).parents[1] / ".pytest_cache" / "bytecode")
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"]
sys.dont_write_bytecode = False
