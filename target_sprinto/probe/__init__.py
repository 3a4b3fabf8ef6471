"""Checks undocumented behaviour of the real API, in one session that is always discarded.

    examples ─▶ questions ─▶ evidence ─▶ report

`questions.py` sends the requests in order, in the one session of `session.py`; only these two do I/O.
`about_pages.py`, `about_rejections.py` and `about_sessions.py` draw conclusions from the responses.
"""
