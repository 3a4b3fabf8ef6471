"""A Singer target that delivers records to Sprinto as evidence: all of a run, or none of it."""
