select deliveries_placed, events_kept from :"schema".after_restore();
