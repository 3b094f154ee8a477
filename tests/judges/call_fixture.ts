/** Calls of language models for tests. */
import { traceLog } from "../../judges/tracing.ts";
import { openStore, type Store } from "../../runtime/store/store.ts";
import { setTracing } from "../../runtime/traces/log.ts";
import { TracingParams } from "../../runtime/traces/params.ts";
import { makeId, type SpanAttributes, type SpanRecord } from "../../runtime/traces/span.ts";
import { makeSpan } from "../runtime/traces/span_fixture.ts";

/** A call as instrumentations write it. */
export function makeCall(
  { user = "What is shale?", reply = "A fine-grained rock.", attributes = {}, ...others }:
    & Partial<Omit<SpanRecord, "attributes">>
    & {
      readonly user?: string;
      readonly reply?: string | null;
      readonly attributes?: SpanAttributes;
    } = {},
): SpanRecord {
  const say = (role: string, content: string) =>
    JSON.stringify([{ role, parts: [{ type: "text", content }] }]);
  return makeSpan({
    traceId: makeId(16),
    name: "chat large",
    kind: "client",
    ...others,
    attributes: {
      "gen_ai.operation.name": "chat",
      "gen_ai.request.model": "large",
      "gen_ai.input.messages": say("user", user),
      ...(reply === null ? {} : { "gen_ai.output.messages": say("assistant", reply) }),
      ...attributes,
    },
  });
}

/** Opens a store that holds these spans. */
export async function openCalls(spans: readonly SpanRecord[], tracing = {}): Promise<Store> {
  const store = await openStore(":memory:");
  setTracing(store, { params: TracingParams.parse(tracing) });
  await traceLog(store).write(spans);
  return store;
}
