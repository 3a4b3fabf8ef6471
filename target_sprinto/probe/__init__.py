"""How the real API behaves where its documentation is silent, tested in one session that is always discarded.

    examples ─▶ questions ─▶ evidence ─▶ conclusions ─▶ report

`questions.py` is the order of the questions, `session.py` the one session that they go to: only these two do
I/O. What the responses mean is concluded in `about_pages.py`, `about_rejections.py` and `about_sessions.py`.
"""
