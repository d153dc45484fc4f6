update deliveries set state = 'running', updated_at = :now where id = :delivery;
