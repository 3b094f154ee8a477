/** `deno task judges`: every judge version that judged, with coverage, mean and card. */
import { formatTable, print } from "../../runtime/terminal.ts";
import type { JudgesContext } from "../judges.ts";

/** Shows what judges say of a version, and what they are worth. */
export async function handle({ args, project, version }: JudgesContext): Promise<void> {
  const { model, version: number, note } = version;
  const rows = await project.store.query(
    `select m.judge, m.judge_version, m.judged, m.coverage, m.mean, m.low, m.high,
       coalesce(c.status, 'advisory') as status, c.auc, c.kappa_low,
       (select sum(auc * scored) / sum(scored) filter (auc is not null) from judge_canaries a
        where a.judge = m.judge and a.judge_version = m.judge_version
          and a.model = m.model and a.version = m.version) as canary_auc,
       c.summary
     from judge_means m
     left join judge_cards c on c.judge = m.judge and c.judge_version = m.judge_version
       and c.model = m.model and c.version = m.version
     where m.model = ? and m.version = ? order by m.judge, m.last_judged_at desc`,
    [model, number],
  );
  if (args.options.json === true) {
    return print(JSON.stringify({ model, version: number, judges: rows }));
  }
  if (note !== null) print(`note: ${note}`);
  print(`${model} version ${number}: means are Hájek's, with 95 % intervals\n`);
  print(formatTable(
    ["judge", "version", "judged", "coverage", "mean", "low", "high", "status", "AUC", "canaries"],
    rows.map((row) => [
      row.judge,
      row.judge_version,
      row.judged,
      row.coverage,
      row.mean,
      row.low,
      row.high,
      row.status,
      row.auc,
      row.canary_auc,
    ]),
  ));
  for (const { judge, summary } of rows) if (summary !== null) print(`\n${judge} ${summary}`);
}
