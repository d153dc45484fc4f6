"""The schema version that this release works with: the number of its newest migration."""

SCHEMA_VERSION = 10
