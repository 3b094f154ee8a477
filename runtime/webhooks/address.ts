/**
 * Where a webhook may lead: to public addresses, unless its maker allowed others. A server that posts
 * to whatever URL it is given would else reach what only it can reach, such as the metadata service
 * of a cloud.
 *
 * @module
 */
import { lookup as systemLookup } from "node:dns/promises";
import { BlockList, isIP } from "node:net";
import { UsageError } from "../errors.ts";

/** Gives every address of a host. */
export type Lookup = (host: string) => Promise<{ address: string; family: number }[]>;

/** Asks the resolver of the system, which also knows the names of `/etc/hosts`. */
const resolveHost: Lookup = (host) => systemLookup(host, { all: true });

/** What is not on the public internet. @see IANA special-purpose address registries (RFC 6890) */
const notPublic = new BlockList();
for (
  const [network, prefix] of [
    ["0.0.0.0", 8],
    ["10.0.0.0", 8],
    ["100.64.0.0", 10],
    ["127.0.0.0", 8],
    ["169.254.0.0", 16],
    ["172.16.0.0", 12],
    ["192.0.0.0", 24],
    ["192.0.2.0", 24],
    ["192.168.0.0", 16],
    ["198.18.0.0", 15],
    ["198.51.100.0", 24],
    ["203.0.113.0", 24],
    ["224.0.0.0", 3],
  ] as const
) notPublic.addSubnet(network, prefix, "ipv4");
for (
  const [network, prefix] of [
    // Teredo and 6to4 carry IPv4 addresses within.
    ["2001::", 23],
    ["2001:db8::", 32],
    ["2002::", 16],
    ["3fff::", 20],
  ] as const
) notPublic.addSubnet(network, prefix, "ipv6");
const globalUnicast = new BlockList();
globalUnicast.addSubnet("2000::", 3, "ipv6");

/**
 * Whether an IP address is on the public internet.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { isPublicAddress } from "./address.ts";
 *
 * assert(isPublicAddress("1.1.1.1"));
 * assert(!isPublicAddress("169.254.169.254"));
 * assert(!isPublicAddress("::ffff:10.0.0.1"));
 * ```
 */
export function isPublicAddress(address: string): boolean {
  return isIP(address) === 4
    ? !notPublic.check(address)
    : globalUnicast.check(address, "ipv6") && !notPublic.check(address, "ipv6");
}

/**
 * Gives a URL that a webhook may have. Without `allowsLocal` it is of https: else what is sent could be
 * read on the way, and a name could lead elsewhere once it was checked.
 * @throws {UsageError} when it is not of https or http, or has a user or password in it.
 */
export function parseEndpoint(
  text: string,
  { allowsLocal }: { readonly allowsLocal: boolean },
): URL {
  const url = URL.parse(text);
  const state = url === null
    ? "it is no URL; write https://host/path"
    : !/^https?:$/.test(url.protocol)
    ? `its scheme is ${url.protocol.slice(0, -1)}; write https`
    : url.username !== "" || url.password !== ""
    ? "it has a user or a password; a signature tells the receiver who sends"
    : url.protocol === "http:" && !allowsLocal
    ? "its scheme is http; write https, or make the webhook with --allow-local"
    : null;
  if (url !== null && state === null) return url;
  // Without password, path and query: they often hold a secret.
  const shown = url === null ? text.split("?")[0].slice(0, 80) : `${url.protocol}//${url.host}`;
  throw new UsageError(`Cannot use URL "${shown}": ${state}`);
}

/** Host of a URL as a resolver and a socket want it: an IPv6 address without brackets. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, "$1");
}

/**
 * Gives the addresses of a URL's host, all of them public unless `allowsLocal`.
 * @throws {UsageError} when one is not, or the host has none.
 */
export async function resolveEndpoint(
  url: URL,
  { allowsLocal, lookup = resolveHost }: {
    readonly allowsLocal: boolean;
    readonly lookup?: Lookup;
  },
): Promise<{ address: string; family: number }[]> {
  const host = hostOf(url);
  const family = isIP(host);
  const addresses = family !== 0
    ? [{ address: host, family }]
    : await lookup(host).catch((cause) => {
      throw new UsageError(
        `Cannot reach "${host}": ${
          cause?.code === "EPERM"
            ? 'this task may not; add the host to "net" of its permission set in deno.json'
            : "it has no address; is the name right?"
        }`,
        { cause },
      );
    });
  const local = addresses.find(({ address }) => !allowsLocal && !isPublicAddress(address));
  if (local === undefined && addresses.length > 0) return addresses;
  throw new UsageError(
    `Cannot reach "${host}": ${
      local === undefined
        ? "it has no address"
        : `its address ${local.address} is not a public one; make the webhook with --allow-local`
    }`,
  );
}
