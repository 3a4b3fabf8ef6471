"""What a run did, as a document."""
