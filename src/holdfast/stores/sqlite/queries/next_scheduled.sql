select due_at from scheduled where refused_at is null order by due_at, number limit 1;
