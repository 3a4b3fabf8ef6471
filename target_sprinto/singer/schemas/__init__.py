"""JSON Schemas, of streams and of entity types, and the check of a record against one."""
