"""``holdfast bench``: Holdfast beside plain SQL, on this machine or on a server that somebody names.

Each measurement is a process of its own (`apart`) on a fresh copy of a prepared database (`places`, `loads`). What is
measured (`figures`) is Holdfast through its public face (`publishing`, `draining`, `latency`; `held_back`, `backlog`,
`retention`, `idle`) and the same rows written and read by plain SQL (`raw_sqlite`, `raw_postgres`, `raw_transactions`);
`alternatives` are what others use for the same work. What must be shown is in `targets`, how it is shown in `report` and
`plots`. Whatever needs psycopg is imported only for PostgreSQL.
"""
