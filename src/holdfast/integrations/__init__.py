"""Holdfast inside of frameworks: each module is a leaf that needs its framework, and nothing here is imported by the core."""
