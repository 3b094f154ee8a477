import { assertEquals, assertThrows } from "@std/assert";
import { decodeJson, encodeJson } from "../../runtime/transport.ts";

Deno.test("encodeJson() gives back every array that an append may hold, with the view's own values", () => {
  const bytes = new Float64Array([9, 1.5, NaN, -Infinity]).subarray(1);
  const value = {
    values: bytes,
    floats: Float32Array.of(0.1, NaN),
    lengths: Uint32Array.of(0, 4_294_967_295),
    signed: Int32Array.of(-1),
    frame: Uint8Array.of(0, 255),
    plain: ["a", null, 1, true, { nested: Uint32Array.of() }],
    at: new Date(5),
    big: 2n ** 60n,
    end: -Infinity,
  };
  assertEquals(decodeJson(encodeJson(value)), value);
});

Deno.test("encodeJson() refuses an array that decodeJson() could not give back", () => {
  assertThrows(() => encodeJson([new Int16Array(1)]), TypeError, "Cannot send a Int16Array");
});
