update sealing set dropped = :position where dropped < :position;
