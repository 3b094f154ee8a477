import { assertEquals } from "@std/assert";
import { file } from "../../../plugins/sinks/file.ts";
import { sampleEvents } from "../../contract.ts";

const { signal } = new AbortController();

Deno.test("deliver() appends a line of JSON per event to what the file has", async () => {
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(path, '{"earlier":1}\n');
    await file.deliver(sampleEvents, signal, { id: "d-1", params: { path } });
    const lines = (await Deno.readTextFile(path)).trimEnd().split("\n").map((line) =>
      JSON.parse(line)
    );
    assertEquals(lines.length, 3);
    assertEquals(lines[0], { earlier: 1 });
    assertEquals(lines[2].delivery_id, "d-1");
    assertEquals(lines[2].text, "resolved: zweite Nachricht µ 漢 <b>&");
    assertEquals(lines[2].endsAt, "2026-03-04T06:00:00.000Z");
  } finally {
    await Deno.remove(path);
  }
});
