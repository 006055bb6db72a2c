-- While a transaction is open: two ticks.
select pgq.insert_event('q', 'k', i::text) from generate_series(1, 40) i;
select pgq.force_tick('q');
select pgq.ticker('q');
select pgq.insert_event('q', 'k', i::text) from generate_series(41, 80) i;
select pgq.force_tick('q');
select pgq.ticker('q');
