"""The simulation on the real SQLite store, on a file on a memory disk."""
