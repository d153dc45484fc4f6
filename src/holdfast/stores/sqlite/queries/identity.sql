select store_id from meta;
