/** Hashes that are fast and the same everywhere; none of them keeps a secret. */

/**
 * Gives the 32-bit FNV-1a hash of bytes.
 * @see https://datatracker.ietf.org/doc/html/draft-eastlake-fnv-17.html
 */
export function hashBytes(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ bytes[i], 0x01000193);
  return hash >>> 0;
}

/**
 * Spreads a 32-bit hash over all its bits: FNV alone leaves keys that differ in their last letter near
 * one another, as a counter leaves its neighbors.
 * @see https://github.com/aappleby/smhasher/wiki/MurmurHash3 its finalizer
 */
export function mix(hash: number): number {
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
