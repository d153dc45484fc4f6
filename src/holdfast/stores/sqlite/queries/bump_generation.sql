update meta set generation = generation + 1;
