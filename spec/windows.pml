/* Snapshot windows over transactions that commit late, with crashes of the server and a reader that falls behind.

Promise: a window skips no late commit: whatever the cursor (a snapshot) shows as seen has been handed out. After a
crash of the server, which hands the same transaction ids out again, too. A partition that is ahead is not sent back.

Abstraction: a writer takes a transaction id, and a position, in steps of their own; it commits or rolls back later. A
snapshot is xmax and the set of ids that are in progress below it. A read opens the window between the cursor and a
horizon taken now, or for a laggard a stored one; the cursor is written later, in the incarnation that it was read in,
or not at all. A crash ends what is in progress; ids go on from the last one that is durable.

One partition: others share nothing with it but horizons, which the stored snapshot stands for.

Left out: pages within a window, the day floor, bytes, clocks, subtransactions, wraparound.

small: -DTRANSACTIONS=2 -DCRASHES=1 -DROUNDS=2
large: -DTRANSACTIONS=3 -DCRASHES=1 -DROUNDS=2
mutant NUMBER_CURSOR: the cursor is the greatest id seen
mutant SNAPSHOT_WITHOUT_RUNNING: a snapshot forgets which transactions were in progress
mutant SNAPSHOT_KEPT_OVER_CRASH: a cursor is written in another incarnation than it was read in
mutant LAGGARDS_HORIZON_FOR_ALL: a laggard's stored snapshot is the horizon of a partition that is ahead of it
*/
#ifndef TRANSACTIONS
#define TRANSACTIONS 3          /* at most 7: sets of ids are bytes */
#define CRASHES 1
#define ROUNDS 3
#endif
#define HIGHEST 7
#define bit_of(id) (1 << (id))

mtype = { UNUSED, RUNNING, COMMITTED, ABORTED };
mtype state[HIGHEST] = UNUSED;  /* by transaction id */
bool durable[HIGHEST];          /* the log that gives out ids survives up to here */
byte next, written, incarnation, crashes = CRASHES;
byte handed;                    /* ids whose events were handed out, of those that exist now */
byte done_max, done_running;    /* the persisted cursor */
byte stored_max, stored_running;       /* a stored snapshot, for laggards */
bool is_stored;

/* pg_visible_in_snapshot */
#define seen(id, max, running) ((id) < max && !((running >> (id)) & 1))

inline snapshot(max, running) {
    max = next; running = 0; t = 0;
    do
    :: t < next -> if :: state[t] == RUNNING -> running = running | bit_of(t) :: else fi; t++
    :: else -> break
    od;
    t = 0;
#ifdef SNAPSHOT_WITHOUT_RUNNING
    running = 0;
#endif
#ifdef NUMBER_CURSOR
    max = 0; running = 0;
    do :: t < next -> if :: state[t] == COMMITTED -> max = t + 1 :: else fi; t++ :: else -> break od;
    t = 0
#endif
}

/* A commit, that of a cursor too, has an id of its own: those before it are not given out again. */
inline make_durable(end) {
    t = 0;
    do :: t < end -> durable[t] = true; t++ :: else -> break od;
    t = 0
}

/* No committed event is shown as seen by a persisted cursor, and was not handed out. */
inline nothing_skipped() {
    t = 0;
    do
    :: t < next ->
        assert(!(state[t] == COMMITTED && seen(t, done_max, done_running)) || ((handed >> t) & 1)); t++
    :: else -> break
    od;
    t = 0
}

active proctype server() {
    byte id, t;
    do
    :: written < TRANSACTIONS ->
        d_step { state[next] = RUNNING; next++; written++ }
    :: atomic { next > 0 ->                      /* one of them ends, in any order */
        do :: id + 1 < next -> id++ :: break od;
        if
        :: state[id] == RUNNING -> state[id] = COMMITTED; make_durable(id + 1)
        :: state[id] == RUNNING -> state[id] = ABORTED
        :: else
        fi;
        id = 0 }
    :: d_step { !is_stored && next > 0 -> snapshot(stored_max, stored_running); make_durable(next); is_stored = true }
    :: d_step { crashes > 0 && next > 0 ->       /* what was not durable is given out again */
        crashes--; incarnation++; id = 0;
        do
        :: next > 0 && !durable[next - 1] ->
            next--; state[next] = UNUSED;
            handed = handed & ~bit_of(next)
        :: else -> break
        od;
        do
        :: t < next -> if :: state[t] == RUNNING -> state[t] = ABORTED :: else fi; t++
        :: else -> break
        od;
        t = 0 }
    :: written == TRANSACTIONS -> break
    od
}

/* It may go from stored snapshot to stored snapshot, as a laggard does, or keep up. */
active proctype reader() {
    byte from_max, from_running, max, running, mine, t, rounds;
    do
    :: rounds < ROUNDS ->
        d_step { rounds++; from_max = done_max; from_running = done_running; mine = incarnation;
            snapshot(max, running) }
        if
#ifdef LAGGARDS_HORIZON_FOR_ALL
        :: d_step { is_stored -> max = stored_max; running = stored_running }
#else
        :: d_step { is_stored && stored_max > from_max && stored_max <= max -> max = stored_max; running = stored_running }
#endif
        :: true
        fi;
        if
        :: d_step { mine == incarnation ->       /* one statement: what the horizon shows and the cursor does not */
            assert(max >= from_max);             /* nobody is sent back */
            do
            :: t < next ->
                if
                :: state[t] == COMMITTED && seen(t, max, running) && !seen(t, from_max, from_running) ->
                    handed = handed | bit_of(t)
                :: else
                fi; t++
            :: else -> break
            od;
            t = 0 }
        :: mine != incarnation -> goto again     /* the session is void */
        fi;
        d_step {                                 /* settle_advances.sql */
            if
#ifdef SNAPSHOT_KEPT_OVER_CRASH
            :: true ->
#else
            :: mine == incarnation ->
#endif
                done_max = max; done_running = running; make_durable(next)
            :: mine != incarnation
            fi
        }
again:
        skip;
        d_step { from_max = 0; from_running = 0; max = 0; running = 0; mine = 0; nothing_skipped() }
    :: rounds == ROUNDS -> break
    od;
    skip;
    d_step { nothing_skipped() }
}
