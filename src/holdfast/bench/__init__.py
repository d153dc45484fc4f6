"""``holdfast bench``: Holdfast beside plain SQL, on this machine or on a server that somebody names.

Each measurement is a process of its own (`apart`) on a fresh copy of a prepared database (`places`). What is measured
(`figures`) is Holdfast through its public face (`publishing`, `draining`, `latency`) and the same rows written and read
by plain SQL (`raw_sqlite`, `raw_postgres`); `alternatives` are what others use for the same work. Whatever needs
psycopg imports it only for PostgreSQL.
"""
