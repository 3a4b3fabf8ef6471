"""Tests start hundreds of processes: their imports are compiled once, into a folder of pytest's.

Only pytest's processes write there: a process that a test starts may be killed, or be unable to write.
"""

import os
import py_compile
import sys
from importlib.util import cache_from_source
from pathlib import Path

os.environ["PYTHONPYCACHEPREFIX"] = str(Path(__file__).parents[1] / ".pytest_cache" / "bytecode")
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"]
sys.dont_write_bytecode = False

# Modules imported before this point were not cached there.
for _module in list(sys.modules.values()):
    _source = getattr(_module, "__file__", None) or ""
    if _source.endswith(".py") and not Path(cache_from_source(_source)).exists():
        py_compile.compile(_source)
