-- The cursor that says the least is settled; where several share "done", the one that has read least of its window.
select done, open, position from cursors where subscription = :subscription
order by done, open is not null, position, open
limit 1;
