"""Records that are not sent: what is wrong with them, their file, and their groups."""
