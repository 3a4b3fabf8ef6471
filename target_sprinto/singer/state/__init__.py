"""The last STATE: held, compared with the records, and written as the last step of a run."""
