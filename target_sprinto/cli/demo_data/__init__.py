"""The demo's bundled data: a Singer file, a config, and the entity types of a local Sprinto."""
