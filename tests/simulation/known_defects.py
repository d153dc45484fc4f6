"""Defects of the engine that seeds have shown and that are not repaired yet.

Each of them makes the workload or the checker look away, at the place that names it. Whoever repairs one sets it to
False, sees the seeds find what is left of it, and then deletes it here and there.
"""

from __future__ import annotations

from typing import Final

# worker/feeder.py: a worker that holds partitions of paused subscriptions only reads nothing, so it never sees the
# generation that tells of the resume. The workload tells such workers.
RESUME_IS_NOT_NOTICED: Final = True

# worker/runner.py, aftermath.py: the probe of an open breaker goes back to the front and is the next probe again, and
# nothing else is read meanwhile: an event that always fails keeps its subscription closed for ever. Subscriptions
# with a breaker get no such event.
BREAKER_PROBES_ONE_EVENT_FOR_EVER: Final = True

# worker/runner.py: a batch that fails as the breaker's probe is put back, and its key's lane is freed all the same:
# the next of the key runs beside it. Batch subscriptions get no breaker.
BATCH_PROBE_FREES_ITS_LANE: Final = True

# worker/takeover.py: chunks and suspects run although their key waits behind a row that has failed meanwhile.
RECOVERY_OVERTAKES: Final = True

# worker/aftermath.py: a suspect that is handed back at a goodbye is no suspect any more, and may kill once more.
GOODBYE_ACQUITS_SUSPECTS: Final = True

# worker/feeder.py: a reader whose `horizon` fails during a reload stays in place, void, and every reload after it fails
# as well: the worker reads nothing any more. In the simulation a horizon is given by another session then.
VOID_READER_IS_KEPT: Final = True

# worker/aftermath.py: a key that an operator's row blocks has earlier events in its lane; later ones are written as
# rows at once, and when one of the lane fails then, its row is behind theirs. The checker asks for no order where an
# operator has retried or replayed something.
HELD_EVENTS_OVERTAKE_THEIR_LANE: Final = True

# worker/runner.py: a probe that is not handed out after all (no valid lease, paused), dropped, or loses its lease leaves
# the breaker waiting for its end for ever. The run sets such breakers back after healing.
LOST_PROBES_CLOSE_FOR_EVER: Final = True

# worker/retries.py: after a claim whose answer was lost, partitions in recovery are passed over in the look for what it
# took, and never looked at again. In the simulation the answer to a claim is not lost.
FORGOTTEN_CLAIMS_STAY_FORGOTTEN: Final = True

# worker/aftermath.py: a suspect that is buried without a run frees the lane of its key, which it never held: the next of
# the key runs beside the one that does. The checker asks for no order of such keys. Seed 491, before this was here.
BURYING_FREES_A_LANE: Final = True

# worker/worker.py: the count of blocked keys among the chores is outside of their `try`: a store that does not answer
# just then ends the worker. Its process is started again in the simulation. Seed 1368.
CHORES_END_THE_WORKER: Final = True
