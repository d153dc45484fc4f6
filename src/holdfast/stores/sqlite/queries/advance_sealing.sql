-- Only from where it was read.
update sealing
set step = step + 1, done = :done, open = :open, position = :position, highest = :highest
where step = :step
returning step;
