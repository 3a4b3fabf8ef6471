"""From a stream to an entity type: rules, their check when a SCHEMA arrives, and how a record is written."""
