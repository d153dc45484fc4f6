-- Workers see the new number with their next read and reload.
update :"schema".meta set generation = generation + 1;
