"""The Singer target: messages in, STATE out.

    reader ─▶ messages ─▶ target ─▶ record_routes ─▶ record_plan ─▶ sink ─▶ intake ─▶ push/run/run

`streams.py` builds the routes of each SCHEMA. `state/` holds the STATE until `run_end.py` writes it.
"""
