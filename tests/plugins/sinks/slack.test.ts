import { assert, assertEquals } from "@std/assert";
import { createSlack } from "../../../plugins/sinks/slack.ts";
import { sampleEvents } from "../../contract.ts";
import { startReceiver } from "../../webhook_receiver.ts";

const { signal } = new AbortController();

Deno.test("deliver() posts one text with a line per event, escaped as Slack wants it", async () => {
  await using receiver = startReceiver();
  const slack = createSlack({ read: () => receiver.url });
  await slack.deliver(sampleEvents, signal);
  assertEquals(receiver.received.map(({ body }) => body), [{
    text: "*critical* `first_alert`: first message of two lines\n" +
      "*info* `second_alert`: resolved: zweite Nachricht µ 漢 &lt;b&gt;&amp;",
  }]);
  await slack.deliver([{ ...sampleEvents[0], message: "<!channel> <https://evil|here>" }], signal, {
    id: "1",
    params: { template: "<!here> {{text}}" },
  });
  assertEquals(
    receiver.received[1].body.text,
    "<!here> &lt;!channel&gt; &lt;https://evil|here&gt;",
  );
});

Deno.test("deliver() leaves out whole lines and says how many when there are too many for a message", async () => {
  await using receiver = startReceiver();
  const events = Array.from(
    { length: 50 },
    () => ({ ...sampleEvents[0], message: "x".repeat(2_000) }),
  );
  await createSlack({ read: () => receiver.url }).deliver(events, signal);
  const { text } = receiver.received[0].body;
  assert(text.length < 40_000);
  assert(text.endsWith("x\n… and 31 more"), text.slice(-30));
});
