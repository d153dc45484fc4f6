-- Indexes; their sizes are not kept.
select tbl_name, name, null as bytes, null as scans, 1 as valid
from sqlite_master where type = 'index' and tbl_name not like 'sqlite_%' order by tbl_name, name;
