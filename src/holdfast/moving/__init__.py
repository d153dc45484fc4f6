"""Moving a store into another one, and events out into files: a leaf."""

from holdfast.moving.mover import Move, Mover
from holdfast.moving.reading import pages
from holdfast.moving.tally import Table

__all__ = ["Move", "Mover", "Table", "pages"]
