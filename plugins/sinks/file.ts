/** Appends events to a file, one JSON object a line. */
import { dirname } from "node:path";
import { z } from "zod";
import { defineSink } from "./sink.ts";
import { describeEvent, toIso } from "./template.ts";

const Params = z.strictObject({
  path: z.string().min(1).default(".geophone/alerts.ndjson").describe(
    "file that is appended to, against the folder of the process",
  ),
});

const encoder = new TextEncoder();

/** One line of JSON per event, on disk before the delivery counts as one. */
export const file = defineSink({
  name: "file",
  summary: "NDJSON, one line per event, appended to a file and synced to disk",
  params: Params,
  async send(events, { params: { path }, id }) {
    const lines = events.map((event) =>
      JSON.stringify({
        delivery_id: id,
        ...event,
        text: describeEvent(event),
        startsAt: toIso(event.startsAt),
        ...(event.endsAt === undefined ? {} : { endsAt: toIso(event.endsAt) }),
      }) + "\n"
    );
    await Deno.mkdir(dirname(path), { recursive: true });
    using output = await Deno.open(path, { append: true, create: true });
    const bytes = encoder.encode(lines.join(""));
    // In one go, so that what several processes append does not mix.
    for (let offset = 0; offset < bytes.length;) {
      offset += await output.write(bytes.subarray(offset));
    }
    await output.syncData();
  },
});
