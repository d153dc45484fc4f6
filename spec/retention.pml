/* Retention: a day of the log is dropped when no subscription needs it, while all others go on.

Promise: no event is dropped that a subscription, a paused one too, has not settled, and none that is being published;
a day that all are through with goes in the end.

Abstraction: one day with two events and two subscriptions, the second of which is paused and resumed. drop_day looks
without a lock (cheap), locks, looks again, and drops. Publishing holds a row-exclusive lock until it commits; settling
and replaying lock as well. The clock may be wrong: the day gets events while it is old enough.

Left out: the default partitions, several days (each goes alone), receipts and attempts that go with the day, lock
timeouts (giving up is always allowed), several droppers that race (the second finds no table).

small: -DEVENTS=2
large: -DEVENTS=5
mutant CHECK_THEN_DROP: what the look without the lock has found is believed
mutant NO_LOCK: looked twice, but nobody is kept out
mutant PAUSED_DOES_NOT_COUNT: only running subscriptions are asked
*/
#ifndef EVENTS
#define EVENTS 2
#endif

byte stored;                    /* events of the day that are committed */
byte settled[2];                /* by subscription: how many of them */
bool paused[2], dropped;
byte publishing, replaying;     /* transactions that hold their lock */
bool exclusive;                 /* the dropper's */

#ifdef PAUSED_DOES_NOT_COUNT
#define asks(s) (!paused[s])
#else
#define asks(s) true
#endif
#define needed (asks(0) && settled[0] < stored || asks(1) && settled[1] < stored)

active proctype publisher() {
    byte n;
    do
    :: n < EVENTS ->
        atomic { !exclusive -> publishing++ };
        atomic { publishing--; n++;
            if
            :: !dropped -> stored++              /* commits */
            :: dropped -> skip                   /* no such partition: the publish fails, or goes to the default one */
            :: true                              /* rolls back */
            fi }
    :: n == EVENTS -> break
    od
}

proctype subscription(byte s) {
    bool replayed;
    do
    :: atomic { !paused[s] && !dropped && settled[s] < stored -> settled[s]++ }
    :: atomic { s == 1 && !paused[s] && !dropped -> paused[s] = true }
    :: atomic { paused[s] -> paused[s] = false }
    :: atomic { !replayed && !exclusive && !dropped && settled[s] > 0 -> replayed = true; replaying++ };
        atomic { replaying--; if :: !dropped -> settled[s] = 0 :: else fi }      /* it needs all of it again */
    :: dropped -> break
    od
}

active proctype dropper() {
    bool is_needed;
    do
    :: atomic { is_needed = needed;
        if :: is_needed -> skip :: else fi };
        if
        :: is_needed -> skip
        :: !is_needed ->
#ifndef NO_LOCK
            atomic { publishing == 0 && replaying == 0 -> exclusive = true };
#endif
#ifndef CHECK_THEN_DROP
            is_needed = needed;
#endif
            if
            :: is_needed -> exclusive = false
            :: !is_needed ->
                atomic {
                    assert(settled[0] == stored && settled[1] == stored);
                    assert(publishing == 0);
                    dropped = true; exclusive = false
                }
                break
            fi
        fi
    od
}

init { atomic { run subscription(0); run subscription(1) } }
