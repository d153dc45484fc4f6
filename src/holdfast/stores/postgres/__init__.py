"""The PostgreSQL store. Needs the extra ``holdfast[postgres]``."""

from holdfast.stores.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
