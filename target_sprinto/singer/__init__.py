"""The Singer target: messages in, STATE out.

    reader ─▶ messages ─▶ target ─▶ routes ─▶ record_plan ─▶ sink ─▶ intake ─▶ push/run/run

`streams.py` makes the routes from each SCHEMA. `target.py` holds STATE until `run_end.py` lets it out.
"""
