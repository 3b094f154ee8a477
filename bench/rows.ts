/** Past predictions of the model of the benchmarks, made by SQL. */
import type { Store } from "../runtime/store/store.ts";
import { CLASSES, columnNames, MODEL } from "./model.ts";

const PER_REQUEST = 20;

/**
 * Fills a store with so many rows of the last thirty days, in requests of twenty records each, one in
 * fifty of them labeled.
 */
export async function fillInferences(store: Store, rows: number): Promise<void> {
  const requests = Math.ceil(rows / PER_REQUEST);
  await store.query("set preserve_insertion_order = true");
  await store.query(
    `insert into core.requests by name
     select 'r' || i as request_id, now() at time zone 'UTC' - to_seconds(2592000.0 * (1 - i / ?)) as
       request_time, 'POST' as method, '/predict' as endpoint,
       case when i % 200 = 0 then 500 else 200 end as status_code, '${MODEL}' as model, 1 as version,
       ${PER_REQUEST} as row_count, 1 + i % 17 as duration_ms
     from range(?) t(i)`,
    [requests, requests],
  );
  const values = columnNames().map((_, j) => `(hash(i * 16 + ${j}) % 10000) / 10000.0`);
  await store.query(
    `insert into core.inferences by name
     select 'r' || (i // ${PER_REQUEST}) as request_id, i % ${PER_REQUEST} as row,
       now() at time zone 'UTC' - to_seconds(2592000.0 * (1 - (i // ${PER_REQUEST}) / ?)) as request_time,
       '${MODEL}' as model, 1 as version, [${values}] as features,
       ${JSON.stringify(CLASSES).replaceAll('"', "'")}[1 + i % 3] as label,
       0.34 + 0.66 * ((i * 7919) % 1000) / 1000.0 as confidence,
       [0.4, 0.3, 0.3]::float[] as probabilities, 's' || (i % 5) as slice
     from range(?) t(i)`,
    [requests, rows],
  );
  await store.query(
    `insert into core.labels by name select request_id, row, label, request_time as created_at
     from core.inferences where hash(request_id || row) % 50 = 0`,
  );
  await store.query("checkpoint");
}
