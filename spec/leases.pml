/* Leases, epochs, the fence, zombies and take-over: one partition, several workers.

Promise: no write stands under an epoch that is over; the cursor never passes an event that is neither settled nor on
record; a transactional effect happens at most once; in the end every event is settled; an event that kills its worker
does so at most MAX + 2 times (fast, in a chunk, then MAX counted attempts), plus once for each zombie that runs it as
well, and no other event is dead because of it.

Abstraction: a step is a transaction, or a fence (lock) and the writes after it; a crash in the midst of a transaction
is a crash before it. A lease expires when it likes, and its worker does not notice: whatever it does then is a
zombie's. Events in hand run in any order. All events are transactional, or all are ordinary.

Left out: time, renewal, several partitions, keys (keys.pml), failures that are no crash (keys.pml), snapshots
(windows.pml: here the log is a number line), the halving of chunks.

small: -DN=2 -DKILLS=0 -DEXPIRIES=1 -DGOODBYES=0 -DMAX=2
large: -DN=2 -DKILLS=1 -DEXPIRIES=1 -DGOODBYES=1 -DMAX=3
mutant NO_FENCE: outcomes are written without a look at the epoch
mutant EPOCH_IN_WHERE_ONLY: the epoch is compared, the lease row is not locked
mutant EPOCH_NOT_RAISED: a new owner goes on under the old epoch
mutant CURSOR_BEFORE_SETTLE: the cursor is written up to what was read
mutant RECEIPT_APART: a transactional handler's receipt is written after its transaction
mutant TAKEOVER_BY_RECEIPTS_ALONE: take-over does not look for delivery rows
mutant NO_RECOVERY_MODE: what a vanished worker had in hand is handed out at once
mutant NOT_COUNTED: a suspect runs without an attempt counted first
mutant COUNT_ALL_IN_FLIGHT: a crash counts an attempt for everything that was in hand
mutant CLEAN_WITH_EVENTS_IN_HAND: goodbye says that the cursor is exact while read events were dropped
*/
#ifndef N
#define N 2                     /* events, at most 4 */
#define KILLS 1
#define EXPIRIES 1
#define GOODBYES 1
#define MAX 3                   /* attempts; more than KILLS + EXPIRIES, or those alone could use them up */
#endif
#define HAND 2                  /* events that a worker has in hand at most; the size of a chunk too */
#define WORKERS 2

mtype = { FREE, HELD, VANISHED };                /* the lease's owner */
mtype = { NOROW, RUNNING, DEAD };                /* a delivery row */
mtype = { OUT, GIVEN, DONE };                    /* an event in a worker's hand */

mtype owner = FREE, row[4] = NOROW;
bool clean = true, receipt[4], transactional;
byte epoch, locks, cursor, published = N - 1, poison, deaths;
byte attempts[4], effects[4];
byte kills = KILLS, expiries = EXPIRIES, goodbyes = GOODBYES;

#define known(e) (receipt[e] || row[e] != NOROW)
#define over(e) (e >= N || receipt[e] || row[e] == DEAD)
#define ALL_OVER (published == N && over(0) && over(1) && over(2) && over(3))
#define IN_HAND(state) ((h[0] == state) + (h[1] == state) + (h[2] == state) + (h[3] == state))
#define PICK if :: h[0] == GIVEN -> i = 0 :: h[1] == GIVEN -> i = 1 :: h[2] == GIVEN -> i = 2 :: h[3] == GIVEN -> i = 3 fi
#ifdef TAKEOVER_BY_RECEIPTS_ALONE
#define passed_over(e) receipt[e]
#else
#define passed_over(e) known(e)
#endif
#if defined(NO_FENCE)
#define HOLDS true
#else
#define HOLDS (epoch == my)
#endif
#if defined(NO_FENCE) || defined(EPOCH_IN_WHERE_ONLY)
#define LOCK
#define UNLOCK
#else
#define LOCK locks++
#define UNLOCK locks--
#endif

/* fence.sql: a key-share lock on the lease, if the epoch still stands. Writes follow in a step of their own. */
inline fence() { atomic { ok = HOLDS; if :: ok -> LOCK :: else fi } }
inline fence_or_leave() { atomic { fence(); if :: !ok -> goto out :: ok -> ok = false fi } }
inline under_fence() { assert(epoch == my) }     /* no stale write */

inline handle(e) {
    if
    :: e == poison -> atomic { deaths++; assert(deaths <= MAX + 2 + EXPIRIES - expiries); goto dead }
    :: e != poison && transactional ->
        fence_or_leave();
        atomic {
            under_fence();
            if :: !receipt[e] -> effects[e]++; assert(effects[e] == 1) :: else fi;
#ifndef RECEIPT_APART
            receipt[e] = true;
#endif
            UNLOCK; h[e] = DONE
        }
    :: else -> h[e] = DONE
    fi
}

/* One transaction: receipts, which state facts, for all; rows and cursor under the fence. */
inline settle() {
    fence();
    d_step {
        place = cur; s = N;
        do
        :: s > 0 -> s--;
            if
            :: h[s] == DONE ->
                receipt[s] = true; h[s] = OUT;
                if :: ok && row[s] == RUNNING -> under_fence(); row[s] = NOROW :: else fi
            :: h[s] == GIVEN && s >= cursor -> place = (s < place -> s : place)
            :: else
            fi
        :: else -> break
        od;
#ifdef CURSOR_BEFORE_SETTLE
        place = cur;
#endif
        if :: ok -> under_fence(); cursor = place; UNLOCK :: else fi;
        s = 0;
        do :: s < cursor -> assert(known(s)); s++ :: else -> break od;
        s = 0; place = 0; horizon = (cur < horizon -> horizon : 0)
    }
    if :: !ok -> goto out :: ok -> ok = false fi
}

proctype worker() {
    mtype h[4] = OUT;
    byte my, cur, horizon, i, s, place;
    bool ok, lost;
out:
    skip;
    d_step { h[0] = OUT; h[1] = OUT; h[2] = OUT; h[3] = OUT; i = 0; my = 0; cur = 0; horizon = 0; ok = false; lost = false }
    atomic {
        if
        :: ALL_OVER -> goto end
        :: !ALL_OVER && owner != HELD && locks == 0 ->     /* acquire.sql: for update, skip locked */
#ifndef EPOCH_NOT_RAISED
            epoch++;
#endif
            my = epoch; lost = (owner == VANISHED); cur = cursor;
            horizon = (clean && !lost -> 0 : published);
            owner = HELD; clean = false
        fi
    }
suspects:                                        /* one at a time, each counted before it runs */
#ifdef COUNT_ALL_IN_FLIGHT
    fence_or_leave();
    atomic {
        i = 0; do :: i < N -> if :: row[i] == RUNNING -> attempts[i]++ :: else fi; i++ :: else -> break od;
        UNLOCK; i = 0
    }
#endif
    do
    :: atomic { i == N -> i = 0; break }
    :: atomic { i < N && row[i] != RUNNING -> i++ }
    :: i < N && row[i] == RUNNING && receipt[i] -> h[i] = DONE; settle()
    :: i < N && row[i] == RUNNING && !receipt[i] && attempts[i] >= MAX ->
        fence_or_leave(); atomic { under_fence(); row[i] = DEAD; assert(i == poison); UNLOCK }
    :: i < N && row[i] == RUNNING && !receipt[i] && attempts[i] < MAX ->
        fence_or_leave();
        atomic {
            under_fence(); h[i] = GIVEN; UNLOCK;
#if !defined(NOT_COUNTED) && !defined(COUNT_ALL_IN_FLIGHT)
            attempts[i]++
#endif
        }
        if :: atomic { kills > 0 -> kills--; goto dead } :: true fi;
        handle(i); settle()
    od;
#ifdef NO_RECOVERY_MODE
    lost = false;
#endif
    if :: !lost -> goto fast :: else fi;
    d_step {                                     /* known.sql: the first that the vanished may have had in hand */
        i = cursor;
        do
        :: i < horizon && IN_HAND(GIVEN) < HAND -> if :: !passed_over(i) -> h[i] = GIVEN :: else fi; i++
        :: else -> break
        od;
        i = 0
    }
    fence_or_leave();
    d_step {                                     /* take_in.sql: on record before it runs; on conflict do nothing */
        under_fence();
        do
        :: i < N -> if :: h[i] == GIVEN && row[i] == NOROW -> row[i] = RUNNING :: else fi; i++
        :: else -> break
        od;
        i = 0; UNLOCK
    }
    do
    :: atomic { IN_HAND(GIVEN) > 0 -> PICK }; handle(i); i = 0
    :: IN_HAND(DONE) > 0 -> settle()
    :: atomic { IN_HAND(OUT) < 4 && kills > 0 -> kills--; goto dead }
    :: IN_HAND(OUT) == 4 -> break
    od;
fast:
    atomic { i = 0; lost = false };
    do
    :: cur < published && IN_HAND(OUT) > 4 - HAND ->
        atomic { if :: cur < horizon && passed_over(cur) :: else -> h[cur] = GIVEN fi; cur++ }
    :: atomic { IN_HAND(GIVEN) > 0 -> PICK }; handle(i); i = 0
    :: IN_HAND(DONE) > 0 || IN_HAND(OUT) == 4 && cursor < cur -> settle()
    :: atomic { kills > 0 -> kills--; goto dead }
    :: atomic { goodbyes > 0 && IN_HAND(DONE) == 0 -> goodbyes-- };
        fence_or_leave();                        /* release.sql; what was read and did not start is dropped */
        atomic {
            under_fence(); UNLOCK; owner = FREE;
#ifdef CLEAN_WITH_EVENTS_IN_HAND
            clean = true; cursor = cur;
#else
            clean = IN_HAND(GIVEN) == 0 && cursor == cur && cur >= horizon;
#endif
            goto out
        }
    :: ALL_OVER -> goto end
    od;
dead:                                            /* a new process takes its place */
    atomic { if :: epoch == my && owner == HELD -> owner = VANISHED :: else fi; goto out }
end:
    skip
}

active proctype time() {
    do
    :: atomic { expiries > 0 && owner == HELD -> expiries--; owner = VANISHED }
    :: atomic { published < N -> published++ }
    :: ALL_OVER -> break
    od
}

init {
    byte w;
    atomic {
        select(poison : 0 .. N); transactional = false;
        if :: transactional = true :: true fi;
        for (w : 1 .. WORKERS) { run worker() }
    }
}
