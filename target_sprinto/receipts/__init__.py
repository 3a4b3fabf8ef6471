"""Receipts: the documents about runs, for auditors."""
