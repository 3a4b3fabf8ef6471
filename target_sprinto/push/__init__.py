"""Sprinto's push API: sessions, pages, and one run that is applied whole or not at all. Knows no Singer."""
