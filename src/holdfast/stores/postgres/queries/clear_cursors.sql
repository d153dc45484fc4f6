delete from :"schema".cursors where subscription = %(subscription)s;
