/* The spool: a record goes from the file to the store, through crashes and lost answers.

Promise: what was acknowledged is stored exactly once, and in the order in which it was published, per key. What goes
to the store directly does not overtake what waits in the spool.

Abstraction: one key, one process and those that adopt its file after it. Appending to the file (with its sync), the
store's transaction, its answer, and the removal of the record are steps of their own; the process may die, or the store
go away, between any two. The store takes an id once. A publish whose answer got lost goes to the spool with its id.

Left out: pages of several records, quarantine, a full disk, torn writes (tests/unit), several processes at once, whose
common order nobody promises; a publisher without a spool, who is told that the outcome is unknown.

small: -DEVENTS=3 -DCRASHES=1 -DOUTAGES=2
large: -DEVENTS=6 -DCRASHES=4 -DOUTAGES=6
mutant SPOOL_WITHOUT_DEDUP: the store does not look whether it has the id
mutant REMOVE_BEFORE_STORE: a record is forgotten before the store has it
mutant DIRECT_WHILE_SPOOLING: a publish goes to the store as soon as that answers, past the spool
mutant NEW_ID_ON_SPOOLING: what may be stored goes into the spool under another id
*/
#ifndef EVENTS
#define EVENTS 3                /* at most 7 */
#define CRASHES 1
#define OUTAGES 2
#endif

byte published;                 /* events 0 .. published - 1 were given to publish, one after the other */
bool acknowledged[8], spooled[8], renamed[8];
byte stored[8];                 /* how often */
byte newest;                    /* greatest event that is stored, and one more */
byte first, last;               /* of the file: events from first up to last that are spooled and not removed */
byte crashes = CRASHES, outages = OUTAGES;

#define waiting (first < last)

/* One transaction. on conflict do nothing. */
inline store(e) {
#ifndef SPOOL_WITHOUT_DEDUP
    if
    :: stored[e] > 0 && !renamed[e]
    :: else ->
#endif
        stored[e]++;
        assert(stored[e] == 1);
        assert(e + 1 >= newest);                 /* nothing later is there before it */
        newest = e + 1
#ifndef SPOOL_WITHOUT_DEDUP
    fi
#endif
}

active proctype process() {
    byte e;
begin:
    skip;
    do
    :: published < EVENTS ->                     /* publish */
        atomic { e = published; published++ };
        if
#ifdef DIRECT_WHILE_SPOOLING
        :: true ->
#else
        :: !waiting ->
#endif
            if
            :: atomic { store(e); goto answered }
            :: atomic { outages > 0 -> outages--; store(e); goto to_spool }     /* the answer is lost */
            :: atomic { outages > 0 -> outages--; goto to_spool }
            :: atomic { crashes > 0 -> crashes--; goto dead }
            fi
        :: waiting
        fi;
to_spool:
        if
        :: atomic { crashes > 0 -> crashes--; goto dead }
        :: atomic {
            if :: !waiting -> first = e :: else fi;
            spooled[e] = true; last = e + 1
#ifdef NEW_ID_ON_SPOOLING
            ; renamed[e] = true
#endif
            }
        fi;
answered:
        if
        :: atomic { crashes > 0 -> crashes--; goto dead }       /* written, not acknowledged: may be stored */
        :: acknowledged[e] = true
        fi
    :: waiting ->                                /* drain: peek, append, remove */
#ifdef REMOVE_BEFORE_STORE
        d_step { e = first; first++ };
        if :: atomic { crashes > 0 -> crashes--; goto dead } :: true fi;
        atomic { if :: spooled[e] -> store(e) :: else fi }
#else
        if
        :: atomic { outages > 0 -> outages--; goto begin }
        :: atomic { outages > 0 -> outages--; if :: spooled[first] -> store(first) :: else fi; goto begin }
        :: atomic { if :: spooled[first] -> store(first) :: else fi }
        fi;
        if
        :: atomic { crashes > 0 -> crashes--; goto dead }
        :: first++
        fi
#endif
    :: atomic { crashes > 0 -> crashes--; goto dead }
    :: published == EVENTS && !waiting -> break
    od;
    goto end;
dead:                                            /* another process adopts the file, and goes on publishing */
    e = 0;
    goto begin;
end:
    skip;
    d_step {
        e = 0;
        do :: e < EVENTS -> assert(!acknowledged[e] || stored[e] == 1); e++ :: else -> break od
    }
}
