import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  checkTemplate,
  describeEvent,
  fillTemplate,
  templateParam,
} from "../../../plugins/sinks/template.ts";
import { sampleEvents } from "../../contract.ts";

const [firing, resolved] = sampleEvents;

Deno.test("fillTemplate() gives every field of an event, and nothing for what it does not have", () => {
  const template =
    "{{kind}}|{{alert}}|{{ series }}|{{severity}}|{{value}}|{{startsAt}}|{{endsAt}}|" +
    "{{runbook}}|{{labels}}|{{labels.well}}|{{labels.none}}";
  assertEquals(
    fillTemplate(template, firing),
    "firing|first_alert||critical|0.05|2026-03-04T05:06:07.000Z||https://example.com/first|||",
  );
  assertEquals(
    fillTemplate(template, resolved),
    "resolved|second_alert|well=P-130|info||2026-03-04T05:06:07.000Z|2026-03-04T06:00:00.000Z||" +
      "well=P-130|P-130|",
  );
});

Deno.test("fillTemplate() escapes what it puts in, once, and leaves the template alone", () => {
  const event = { ...firing, message: "{{alert}} & $& <x>", alert: "a" };
  const escape = (text: string) => text.replaceAll("&", "&amp;");
  assertEquals(fillTemplate("<& {{message}}>", event, escape), "<& {{alert}} &amp; $&amp; <x>>");
});

Deno.test("describeEvent() says what became of the alert when it does not fire", () => {
  const say = (kind: typeof firing.kind) => describeEvent({ ...firing, kind, message: "why" });
  assertEquals(say("firing"), "why");
  assertEquals(say("resolved"), "resolved: why");
  assertEquals(say("error"), "alert first_alert cannot be evaluated: why");
  assertEquals(say("no_data"), "alert first_alert has no data any more");
});

Deno.test("checkTemplate() names a field that is none, also one of every object", () => {
  for (const name of ["massage", "labels.", "", "constructor", "toString"]) {
    assertThrows(() => checkTemplate(`a {{${name}}}`), RangeError, `"{{${name}}}"`);
  }
  checkTemplate("no field, { one brace } and {{ labels.any name }}");
});

Deno.test("templateParam() refuses a template with an unknown field and has its default", () => {
  const schema = templateParam("{{text}}", "a test");
  assertEquals(schema.parse(undefined), "{{text}}");
  const result = schema.safeParse("{{massage}}");
  assert(!result.success);
  assert(result.error.issues[0].message.includes("there are text, message"));
});
