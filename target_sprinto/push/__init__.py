"""Sprinto's push API: sessions, pages and all-or-nothing runs. Does not depend on Singer."""
