"""One run, step by step.

    run ─▶ session ─▶ opening ─▶ send_queue ─▶ sender ─▶ staged_session ─▶ closing ─▶ processing

A page in doubt is resolved in `staged_pages.py`; after an error `discarding.py` ends the session.
"""
