select step, done, open, position, highest, 0 as recount, dropped from sealing;
