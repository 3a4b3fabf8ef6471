"""Checks undocumented behaviour of the real API, in one session that is always discarded.

    examples ─▶ questions ─▶ evidence ─▶ report

`questions.py` asks the questions in order, `session.py` is the one session that it asks: only these two do
I/O. `about_pages.py`, `about_rejections.py` and `about_sessions.py` draw conclusions from the responses.
"""
