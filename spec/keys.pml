/* Events of one key: fast, off the fast path as rows, and after death, with either policy.

Promise: an event starts only when each one of its key before it has been handled, or was discarded, or is dead on
record and the policy is to continue; none starts after a later one was handled, unless an operator retried it. The
cursor passes nothing that is not settled or on record; nothing waits that could run.

Abstraction: one partition, one owner (leases.pml has the others), which may crash at any step and find what is on record.
One settlement writes what has gathered, while the next event runs. Attempts fail, or reject, as they like. Retries are due at
once. A follower that stands in the lane when its key is blocked is one that is read after that.

Left out: other keys, batches, put-offs, the breaker, suspects' counts (leases.pml), due times.

small: -DEVENTS=3 -DCRASHES=1 -DMAX=2 -DOPERATIONS=1
large: -DEVENTS=4 -DCRASHES=1 -DMAX=2 -DOPERATIONS=1
mutant KEY_NOT_HELD: the fast path runs an event whose key waits
mutant BLOCKED_KEYS_NOT_LOADED: the next owner does not load which keys wait
mutant DEAD_BUT_NOT_ON_RECORD: the key goes on before the dead row is committed
mutant HOLD_IGNORED: a dead event does not hold its key
mutant CLAIM_OUT_OF_ORDER: a row is claimed past another one of its key
mutant CURSOR_BEFORE_SETTLE: the cursor is written up to what was read
*/
#ifndef EVENTS
#define EVENTS 3                /* at most 6 */
#define CRASHES 1
#define MAX 2
#define OPERATIONS 1
#endif
#define NONE 7

mtype = { NOROW, PENDING, RUNNING, DEAD, DISCARDED };    /* delivery rows */
mtype = { NOTHING, HANDLED, FAILED, DIED, HELD };        /* outcomes that are not written yet */

mtype row[EVENTS] = NOROW, outcome[EVENTS] = NOTHING;
bool receipt[EVENTS], handled[EVENTS], retried[EVENTS], hold;
byte attempts[EVENTS], cursor, crashes = CRASHES, operations = OPERATIONS;

#define waits(e) (row[e] == PENDING || row[e] == RUNNING || row[e] == DEAD && hold)
#define will_wait(e) (outcome[e] == FAILED || outcome[e] == HELD || outcome[e] == DIED && hold)
#ifdef HOLD_IGNORED
#define in_the_way(e) (row[e] == PENDING || row[e] == RUNNING)
#else
#define in_the_way(e) waits(e)
#endif

inline start(e) {
    run_now = e; s = 0;
    do
    :: s < EVENTS ->
        assert(s >= e || handled[s] || row[s] == DISCARDED || row[s] == DEAD && !hold);
        assert(s <= e || !handled[s] || handled[e] || retried[e]); s++
    :: else -> break
    od;
    s = 0
}

active proctype worker() {
    byte cur, run_now = NONE, s, e;
    bool closed, blocked, blind, stuck;
    if :: hold = true :: true fi;
    do
    :: d_step { cur < EVENTS && run_now == NONE && !closed ->        /* read the next one */
        blocked = false; s = 0;
        do
        :: s < EVENTS -> blocked = blocked || !blind && in_the_way(s) || will_wait(s) && (hold || outcome[s] != DIED); s++
        :: else -> break
        od;
        s = 0;
#ifdef KEY_NOT_HELD
        blocked = false;
#endif
        if
        :: receipt[cur] || row[cur] != NOROW     /* a look-up after a take-over */
        :: else -> if :: blocked -> outcome[cur] = HELD :: else -> start(cur) fi
        fi;
        blocked = false; cur++ }
    :: d_step { run_now == NONE && !closed ->                        /* claim the first row that is not behind another */
        e = 0;
#ifdef CLAIM_OUT_OF_ORDER
        do :: e < EVENTS && !(row[e] == PENDING && e > 0 && row[e - 1] != NOROW) -> e++ :: else -> break od;
        if :: e == EVENTS -> e = 0 :: else fi;
#endif
        do
        :: e < EVENTS && row[e] != PENDING && !in_the_way(e) -> e++
        :: else -> break
        od;
        if
        :: e < EVENTS && row[e] == PENDING && outcome[e] == NOTHING -> row[e] = RUNNING; start(e)
        :: else
        fi;
        e = 0 }
    :: atomic { run_now != NONE ->                                   /* an attempt ends */
        if
        :: handled[run_now] = true; outcome[run_now] = HANDLED
        :: attempts[run_now] + 1 < MAX -> outcome[run_now] = FAILED
        :: outcome[run_now] = DIED;              /* the last one, or a reject */
#ifndef DEAD_BUT_NOT_ON_RECORD
            closed = true
#endif
        fi;
        run_now = NONE }
    :: d_step {                                                      /* settle, in one transaction */
        s = 0;
        do
        :: s < EVENTS ->
            if
            :: outcome[s] == HANDLED -> receipt[s] = true; row[s] = NOROW
            :: outcome[s] == FAILED -> attempts[s]++; row[s] = PENDING
            :: outcome[s] == DIED -> attempts[s]++; row[s] = DEAD
            :: outcome[s] == HELD -> row[s] = PENDING
            :: else
            fi;
            outcome[s] = NOTHING; s++
        :: else -> break
        od;
        closed = false;
        cursor = (run_now != NONE && row[run_now] == NOROW -> run_now : cur);
#ifdef CURSOR_BEFORE_SETTLE
        cursor = cur;
#endif
        s = 0;
        do :: s < cursor -> assert(receipt[s] || row[s] != NOROW); s++ :: else -> break od;
        s = 0 }
    :: d_step { crashes > 0 ->                                       /* the next owner finds what is on record */
        crashes--; run_now = NONE; closed = false; cur = cursor; s = 0;
#ifdef BLOCKED_KEYS_NOT_LOADED
        blind = true;
#endif
        do
        :: s < EVENTS -> outcome[s] = NOTHING; if :: row[s] == RUNNING -> row[s] = PENDING :: else fi; s++
        :: else -> break
        od;
        s = 0 }
    :: atomic { operations > 0 ->                                    /* an operator retries or discards */
        e = 0;
        do :: e + 1 < EVENTS -> e++ :: break od;
        if
        :: row[e] == DEAD && outcome[e] == NOTHING -> operations--;
            if :: row[e] = DISCARDED :: row[e] = PENDING; attempts[e] = 0; retried[e] = true fi
        :: else
        fi;
        e = 0 }
    :: d_step { cur == EVENTS && run_now == NONE && !closed ->       /* is it over? */
        s = 0; stuck = false; e = 0;
        do
        :: s < EVENTS ->
            stuck = stuck || row[s] == DEAD && hold;
            e = e + (!(receipt[s] || row[s] == DEAD || row[s] == DISCARDED || row[s] == PENDING && stuck)); s++
        :: else -> break
        od;
        s = 0; stuck = false }
        if :: e == 0 -> break :: else -> e = 0 fi
    od
}
