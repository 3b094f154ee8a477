/** Malformed bodies, the same for the same seed. */

/** A body with headers, as it is sent. */
export interface FuzzedBody {
  readonly body: Uint8Array<ArrayBuffer>;
  readonly headers: Record<string, string>;
}

/** Gives numbers in `[0, 1)`. @see mulberry32 */
export function makeRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const junk: readonly unknown[] = [
  null,
  true,
  -1,
  0,
  0.5,
  1e15,
  2 ** 53,
  1e300,
  "",
  "x\u0000",
  "\ud800",
  "input",
  "x".repeat(5000),
  [],
  {},
  [[]],
  [[[[1]]]],
  [null],
  { records: [] },
  JSON.parse('{"__proto__": [1], "constructor": 1}'),
];

/** Gives `count` bodies made from valid ones by wrong values, lost keys, cut ends and stray bytes. */
export function* fuzzBodies(
  seed: number,
  count: number,
  valid: readonly FuzzedBody[],
): Generator<FuzzedBody> {
  const random = makeRandom(seed);
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)];
  for (let i = 0; i < count; i++) {
    const { body, headers } = pick(valid);
    const changed = pick([breakBytes, breakJson, breakJson])(body, random);
    yield { body: changed, headers: random() < 0.2 ? breakHeaders(headers, random) : headers };
  }
}

function breakHeaders(headers: Record<string, string>, random: () => number) {
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)];
  const [name, values] = pick(
    [
      ["content-encoding", ["gzip", "deflate", "br", "identity", "gzip, gzip"]],
      ["content-type", [
        "text/csv",
        "text/plain",
        "multipart/form-data",
        "application/octet-stream",
      ]],
      ["inference-header-content-length", ["0", "-1", "7", "1e3", "99999999", "x", " "]],
      ["accept-encoding", ["gzip", "deflate;q=0.1, gzip;q=x", "*", ";;,"]],
    ] as const,
  );
  return { ...headers, [name]: pick<string>(values) };
}

/** Flips, cuts and inserts bytes. */
function breakBytes(
  body: Uint8Array<ArrayBuffer>,
  random: () => number,
): Uint8Array<ArrayBuffer> {
  const kind = random();
  if (kind < 0.1) return Uint8Array.from({ length: random() * 200 }, () => random() * 256);
  const cut = kind < 0.5 ? body.slice(0, random() * body.length) : body.slice();
  for (let i = 0; i < random() * 8; i++) {
    if (cut.length > 0) cut[Math.floor(random() * cut.length)] = random() * 256;
  }
  return cut;
}

/** Puts a wrong value in one place of a JSON body, or takes the place away. */
function breakJson(
  body: Uint8Array<ArrayBuffer>,
  random: () => number,
): Uint8Array<ArrayBuffer> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(body));
  } catch {
    return breakBytes(body, random);
  }
  const root = { value };
  let parent: Record<string, unknown> = root;
  let key = "value";
  while (typeof parent[key] === "object" && parent[key] !== null && random() < 0.75) {
    const keys = Object.keys(parent[key] as object);
    if (keys.length === 0) break;
    parent = parent[key] as Record<string, unknown>;
    key = keys[Math.floor(random() * keys.length)];
  }
  if (random() < 0.2 && parent !== root) delete parent[key];
  else parent[key] = junk[Math.floor(random() * junk.length)];
  return new TextEncoder().encode(JSON.stringify(root.value) ?? "");
}
