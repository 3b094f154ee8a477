/**
 * Functions that tests and intervals rest on: gamma, beta, and the tails of the normal, chi-squared
 * and Student distributions. All are accurate to 1e-10 of their value, deep in the tails too.
 *
 * @see NIST Digital Library of Mathematical Functions, chapters 5 and 8
 * @module
 */

/** Lanczos's coefficients for g = 7 and nine terms (Godfrey): about 15 digits. */
const lanczos = [
  0.99999999999980993,
  676.5203681218851,
  -1259.1392167224028,
  771.32342877765313,
  -176.61502916214059,
  12.507343278686905,
  -0.13857109526572012,
  9.9843695780195716e-6,
  1.5056327351493116e-7,
];

const halfLogTwoPi = Math.log(2 * Math.PI) / 2;

/** Relative size of a term that no longer changes a sum. */
const negligible = 1e-16;

/** More terms than any argument of a test takes; a series that is not done by then is a fault. */
const mostTerms = 1_000_000;

/**
 * Gives the natural logarithm of the gamma function at `x` > 0; `Infinity` at 0, `NaN` below.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { logGamma } from "./special.ts";
 *
 * assertAlmostEquals(logGamma(5), Math.log(24));
 * ```
 *
 * @see Lanczos, "A Precision Approximation of the Gamma Function", SIAM Journal on Numerical
 * Analysis B 1, 1964
 */
export function logGamma(x: number): number {
  if (!(x >= 0)) return NaN;
  if (x === 0) return Infinity;
  if (x === 1 || x === 2) return 0;
  if (x >= 16) return (x - 0.5) * Math.log(x) - x + halfLogTwoPi + stirlingError(x);
  if (x < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * x)) - logGamma(1 - x);
  const z = x - 1;
  let sum = lanczos[0];
  for (let i = 1; i < lanczos.length; i++) sum += lanczos[i] / (z + i);
  const t = z + 7.5;
  return halfLogTwoPi + (z + 0.5) * Math.log(t) - t + Math.log(sum);
}

/** What Stirling's formula lacks: `ln Γ(x) - ((x - 1/2) ln x - x + ln(2π) / 2)`. */
function stirlingError(x: number): number {
  if (x < 16) return logGamma(x) - ((x - 0.5) * Math.log(x) - x + halfLogTwoPi);
  const y = 1 / (x * x);
  return (1 / 12 - y * (1 / 360 - y * (1 / 1260 - y * (1 / 1680 - y / 1188)))) / x;
}

/** `r - 1 - ln(r)` of a ratio r = 1 + d, without the cancellation around 1. */
function logDeviance(d: number, r: number): number {
  if (Math.abs(d) > 0.1) return d - Math.log(r);
  let term = d;
  let sum = 0;
  for (let k = 2; k < 40; k++) {
    term *= -d;
    sum -= term / k;
    if (Math.abs(term) < negligible * Math.abs(sum)) break;
  }
  return sum;
}

/** `x**a * exp(-x) / Γ(a)`, exact for large a too (Loader's saddle point form). */
function gammaKernel(a: number, x: number): number {
  return Math.sqrt(a / (2 * Math.PI)) *
    Math.exp(-a * logDeviance((x - a) / a, x / a) - stirlingError(a));
}

/**
 * Gives the upper regularized incomplete gamma function `Q(a, x) = Γ(a, x) / Γ(a)` in `[0, 1]` for
 * `a` > 0 and `x` ≥ 0; `NaN` outside.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { upperGamma } from "./special.ts";
 *
 * assertAlmostEquals(upperGamma(1, 3), Math.exp(-3));
 * ```
 *
 * @see DLMF 8.11.4 (series) and 8.9.2 (continued fraction)
 */
export function upperGamma(a: number, x: number): number {
  if (!(a > 0 && x >= 0)) return NaN;
  if (x === 0) return 1;
  if (x === Infinity) return 0;
  if (x < a + 1) {
    let term = 1 / a;
    let sum = term;
    for (let k = 1; k < mostTerms && term > negligible * sum; k++) sum += term *= x / (a + k);
    return 1 - gammaKernel(a, x) * sum;
  }
  return gammaKernel(a, x) * solveFraction(x + 1 - a, (k) => ({
    numerator: -k * (k - a),
    denominator: x + 1 - a + 2 * k,
  }));
}

/** `1 / (b0 + a1 / (b1 + a2 / (b2 + …)))` by Lentz's method, as Thompson and Barnett changed it. */
function solveFraction(
  first: number,
  part: (k: number) => { readonly numerator: number; readonly denominator: number },
): number {
  const tiny = 1e-300;
  let c = 1 / tiny;
  let d = 1 / first;
  let value = d;
  for (let k = 1; k < mostTerms; k++) {
    const { numerator, denominator } = part(k);
    d = 1 / nonZero(denominator + numerator * d, tiny);
    c = nonZero(denominator + numerator / c, tiny);
    const factor = c * d;
    value *= factor;
    if (Math.abs(factor - 1) < 2 * negligible) break;
  }
  return value;
}

function nonZero(value: number, tiny: number): number {
  return value === 0 ? tiny : value;
}

/**
 * Gives the regularized incomplete beta function `I_x(a, b)` in `[0, 1]` for `a`, `b` > 0 and `x` in
 * `[0, 1]`; `NaN` outside. `complement` is `1 - x` where it is known more exactly.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { regularizedBeta } from "./special.ts";
 *
 * assertAlmostEquals(regularizedBeta(2, 1, 0.3), 0.09);
 * ```
 *
 * @see DLMF 8.17.22
 */
export function regularizedBeta(a: number, b: number, x: number, complement = 1 - x): number {
  if (!(a > 0 && b > 0 && x >= 0 && x <= 1)) return NaN;
  if (x === 0 || complement === 0) return x;
  if (x > (a + 1) / (a + b + 2)) return 1 - regularizedBeta(b, a, complement, x);
  const fraction = solveFraction(1, (k) => {
    const m = k >> 1;
    const numerator = k % 2 === 0
      ? m * (b - m) * x / ((a + k - 1) * (a + k))
      : -(a + m) * (a + b + m) * x / ((a + k - 1) * (a + k));
    return { numerator, denominator: 1 };
  });
  return betaKernel(a, b, { x, y: complement }) / a * fraction;
}

/** `x**a * y**b / B(a, b)`, exact for large a and b too. */
function betaKernel(a: number, b: number, { x, y }: { x: number; y: number }): number {
  const offset = x * b - y * a;
  const exponent = -a * logDeviance(offset / a, x * (a + b) / a) -
    b * logDeviance(-offset / b, y * (a + b) / b) +
    stirlingError(a + b) - stirlingError(a) - stirlingError(b);
  return Math.sqrt(a * b / (2 * Math.PI * (a + b))) * Math.exp(exponent);
}

/**
 * Gives the probability in `[0, 1]` that a standard normal value exceeds `z`; `NaN` for `NaN`.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { normalTail } from "./special.ts";
 *
 * assertAlmostEquals(normalTail(1.959963984540054), 0.025);
 * ```
 */
export function normalTail(z: number): number {
  const tail = upperGamma(0.5, z * z / 2) / 2;
  return z < 0 ? 1 - tail : tail;
}

/**
 * Gives the `z` that a standard normal value exceeds with the given probability: the inverse of
 * {@linkcode normalTail}. ±`Infinity` at 0 and 1.
 *
 * @throws {RangeError} when `probability` is not in `[0, 1]`.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { normalPoint } from "./special.ts";
 *
 * assertAlmostEquals(normalPoint(0.025), 1.959963984540054, 1e-12);
 * ```
 *
 * @see Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.2.23 (the start of the
 * iteration)
 */
export function normalPoint(probability: number): number {
  if (!(probability >= 0 && probability <= 1)) {
    throw new RangeError(`Cannot find the normal point of "${probability}": it is not in [0, 1]`);
  }
  if (probability > 0.5) return -normalPoint(1 - probability);
  if (probability === 0) return Infinity;
  const t = Math.sqrt(-2 * Math.log(probability));
  let z = t - (2.515517 + t * (0.802853 + t * 0.010328)) /
      (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
  for (let step = 0; step < 3; step++) {
    // Halley's step on the tail, whose derivative is the density and whose curvature is z times it.
    const density = Math.exp(-z * z / 2 - halfLogTwoPi);
    const error = (normalTail(z) - probability) / density;
    z += error / (1 - z * error / 2);
  }
  return z;
}

/**
 * Gives the probability in `[0, 1]` that a chi-squared value of `degrees` > 0 degrees of freedom
 * exceeds `x`; 1 for `x` ≤ 0.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { chiSquaredTail } from "./special.ts";
 *
 * assertAlmostEquals(chiSquaredTail(3, 2), Math.exp(-1.5));
 * ```
 */
export function chiSquaredTail(x: number, degrees: number): number {
  return upperGamma(degrees / 2, Math.max(x, 0) / 2);
}

/**
 * Gives the probability in `[0, 1]` that Student's t of `degrees` > 0 degrees of freedom exceeds `t`.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { studentTail } from "./special.ts";
 *
 * assertAlmostEquals(studentTail(1, 1), 0.25);
 * ```
 *
 * @see Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.1
 */
export function studentTail(t: number, degrees: number): number {
  if (t === Infinity) return 0;
  if (t === -Infinity) return 1;
  const total = degrees + t * t;
  const tail = regularizedBeta(degrees / 2, 0.5, degrees / total, t * t / total) / 2;
  return t < 0 ? 1 - tail : tail;
}

/**
 * Gives the greatest common divisor of two integers ≥ 0.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { greatestDivisor } from "./special.ts";
 *
 * assertEquals(greatestDivisor(12, 18), 6);
 * ```
 */
export function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b);
}
