-- Say goodbye: nobody's now, and "clean" when the cursor says it all. What the owner before left unfinished keeps an
-- owner whose time is over, so that the next one knows that there is something to recover.
update leases set owner = case when :lost then owner end, lease_until = case when :lost then :now end,
    clean = :clean and not :lost, crashes = case when :lost then max(crashes - 1, 0) else 0 end
where subscription = :subscription and partition = :partition and epoch = :epoch and owner = :worker;
