"""Mutants of letting go of what lags behind retention."""

from __future__ import annotations

from tests.mutations.mutant import LET_GO, POSTGRES, SQLITE, Change, Mutant

_CONTRACT = "tests/contract/test_letting_go.py"
_POSTGRES = "tests/postgres/test_letting_go.py"
_WORKER = "src/holdfast/worker/letting_go.py"
_DECISION = 'return bool(choices) and "hold" not in choices'
_WRITE = """\
            if page.rows and laggard.choice == "archive":
                await self._write(laggard.name, page.rows)
            now = await self._store.let_go(now, page)
"""
_TELL_FIRST = """\
            now = await self._store.let_go(now, page)
            if page.rows and laggard.choice == "archive":
                await self._write(laggard.name, page.rows)
"""

MUTANTS = (
    Mutant(
        "let go though another one holds",
        "An event that somebody has not handled, and wants kept, loses its delivery for the other one.",
        (Change("src/holdfast/stores/lagging.py", _DECISION, "return bool(choices)"),),
        tests=(f"{_CONTRACT}::TestWhoLetsGo::test_nobody_while_another_one_holds_it[postgres]",),
    ),
    Mutant(
        "archived after the store was told",
        "Whoever is killed in between has lost a page.",
        (Change(_WORKER, _WRITE, _TELL_FIRST),),
        tests=("tests/crash/test_letting_go.py::test_nothing_is_lost[lite]",),
    ),
    Mutant(
        "a day let go of with what came late",
        "What commits while the day is let go of is dropped, neither handled nor archived.",
        (
            Change(
                LET_GO,
                "            select subscription from short where lets_go\n        )",
                "            select subscription from short where false\n        )",
            ),
        ),
        tests=(f"{_POSTGRES}::test_what_commits_while_it_is_let_go_of_stands_in_the_way_and_has_another_round",),
    ),
    Mutant(
        "another round of everything",
        "What was archived in the round before is archived and counted again.",
        (
            Change(
                f"{POSTGRES}/queries/left_behind.sql",
                "            and (g.before is null or not pg_visible_in_snapshot(e.txid, g.before))\n",
                "",
            ),
        ),
        tests=(f"{_POSTGRES}::test_what_commits_while_it_is_let_go_of_stands_in_the_way_and_has_another_round",),
    ),
    Mutant(
        "leases that stay with what is dropped",
        "A worker that has such an event in hand writes its failure: a delivery without an event.",
        (
            Change(LET_GO, "    where subscription = any(letting_go_now) and owner is not null;", "    where false;"),
            Change(f"{SQLITE}/queries/let_go_leases.sql", "where subscription = :subscription", "where false"),
        ),
        tests=(
            f"{_CONTRACT}::TestItsWorkers::test_settle_nothing_of_it_any_more[postgres]",
            f"{_CONTRACT}::TestItsWorkers::test_settle_nothing_of_it_any_more[file]",
        ),
    ),
    Mutant(
        "a cursor that letting go sets back",
        "What a partition had passed beyond it is read again, by the patterns of now.",
        (
            Change(
                f"{SQLITE}/queries/let_go_cursors.sql",
                "open = case when position > :shown then open end,\n"
                "    position = case when position > :shown and open is not null then position else 0 end,",
                "open = null, position = 0,",
            ),
        ),
        tests=(f"{_CONTRACT}::TestItsWorkers::test_go_on_where_they_were_beyond_it[file]",),
    ),
    Mutant(
        "leases locked after the tables",
        "A settlement that has its fence waits for a table, and the drop waits for the lease.",
        (
            Change(
                LET_GO,
                "    perform from leases where subscription = any(letting_go) order by subscription, partition for update;\n",
                "",
            ),
        ),
        tests=(f"{_POSTGRES}::test_a_settlement_under_way_comes_first",),
    ),
    Mutant(
        "let go by the choice of before",
        "Who has been declared to hold loses a page all the same.",
        (
            Change(
                f"{SQLITE}/queries/advance_letting_go.sql",
                "\n    and :choice = (select s.behind_retention from subscriptions as s where s.id = let_go.subscription)",
                "",
            ),
        ),
        tests=(f"{_CONTRACT}::TestWhoeverIsInterrupted::test_lets_go_of_nothing_that_is_to_be_held_by_now[file]",),
    ),
    Mutant(
        "a restore that keeps what was let go of",
        "By the snapshots of the old server everything counts as let go of.",
        (Change(LET_GO, "    delete from let_go;  -- by the old server's", "    -- by the old server's"),),
        tests=(f"{_POSTGRES}::test_a_restore_forgets_what_was_let_go_of_by_the_old_server",),
    ),
)
