"""A sandbox in a process of its own that counts records and forgets them. Prints its URL; ends by SIGTERM."""

from __future__ import annotations

import sys

from target_sprinto.sandbox import SandboxOptions, serve

# Any integration id exists, so that every run counts in one of its own. Processing takes no time: whoever
# waits for it is not measured by it.
OPTIONS = SandboxOptions(api_key=sys.argv[1], integrations=None, light=True, processing_seconds=0)

if __name__ == "__main__":
    serve(OPTIONS, "127.0.0.1", 0, lambda url: print(url, flush=True))
