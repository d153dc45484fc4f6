delete from deliveries where position <= :position and state = 'discarded';
