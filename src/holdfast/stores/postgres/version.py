"""The schema version that this release works with: the number of its newest ``pre`` migration."""

SCHEMA_VERSION = 16
