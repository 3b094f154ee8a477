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

/** The bytes of a connection, and whether its client ends its side after them. */
export interface FuzzedConnection {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly isHalfClosed: boolean;
}

/** Gives `count` connections whose bytes are hardly HTTP: cut, doubled, too long or no text at all. */
export function* fuzzRequests(seed: number, count: number): Generator<FuzzedConnection> {
  const random = makeRandom(seed);
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)];
  const noise = (length: number) =>
    String.fromCharCode(...Array.from({ length }, () => Math.floor(random() * 256)));
  const body = '{"records":[{"GR":1,"RHOB":2,"NPHI":0.1}]}';
  const post = (headers: string, rest: string) =>
    `POST /predict HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n${rest}`;
  const length = `Content-Length: ${body.length}\r\n`;
  const shapes: readonly (() => string)[] = [
    () => noise(1 + random() * 300),
    () => post(length, body),
    () => post(length, body).repeat(3) + noise(50),
    () => post("Content-Length: 1000\r\n", body),
    () => post("Content-Length: 5\r\n", body),
    () => post("Content-Length: -1\r\n", body),
    () => post(`${length}Content-Length: 7\r\n`, body),
    () => post(`${length}Transfer-Encoding: chunked\r\n`, `5\r\n{"rec\r\n0\r\n\r\n`),
    () => post("Transfer-Encoding: chunked\r\n", `zz\r\n${body}\r\n0\r\n\r\n`),
    () => post("Transfer-Encoding: chunked\r\n", `ffffffffffffffff\r\n${body}`),
    () => post(`X-Long: ${"a".repeat(1 + random() * 300_000)}\r\n${length}`, body),
    () => post("A: b\r\n".repeat(1 + random() * 3_000) + length, body),
    () => post(`X-Request-Id: ${noise(20).replace(/[\r\n]/g, "")}\r\n${length}`, body),
    () => post(`Content-Encoding: gzip\r\n${length}`, body),
    () => `GET /${"x".repeat(random() * 100_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`,
    () => `GET /%00%ff%zz/..%2f..%2fetc HTTP/1.1\r\nHost: ${noise(5)}\r\n\r\n`,
    () =>
      `${pick(["BREW", "", "get", "CONNECT", "TRACE"])} / HTTP/${pick(["1.1", "9.9", ""])}\r\n\r\n`,
    () => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + noise(100),
  ];
  for (let i = 0; i < count; i++) {
    const text = shapes[i % shapes.length]();
    const cut = random() < 0.3 ? text.slice(0, random() * text.length) : text;
    yield {
      bytes: Uint8Array.from(cut, (character) => character.charCodeAt(0)),
      isHalfClosed: random() < 0.4,
    };
  }
}
