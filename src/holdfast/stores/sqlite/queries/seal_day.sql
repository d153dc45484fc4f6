select segments, events, head from seal_days where day = :day;
