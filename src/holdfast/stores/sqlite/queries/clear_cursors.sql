delete from cursors where subscription = :subscription;
