select min(position), max(position) from :"schema".event_log;
