/** Draws what was asked for and what is expected, as SVG. */
import type { Demand } from "../runtime/demand.ts";

const WIDTH = 960;
const HEIGHT = 360;
const MARGIN = { top: 40, right: 16, bottom: 32, left: 64 };

/** Hours of the past that are shown. */
const PAST = 7 * 24;

const HOUR_MS = 3_600_000;

/** Gives the drawing of a forecast: the last week, the hours to come and their intervals. */
export function drawDemand({ history, hours }: Demand, title: string): string {
  const past = [...history.counts.subarray(-PAST)];
  const steps = past.length + hours.length - 1;
  const top = niceCeiling(Math.max(...past, ...hours.map(({ high }) => high)));
  const x = (i: number) =>
    round(MARGIN.left + i / Math.max(1, steps) * (WIDTH - MARGIN.left - MARGIN.right));
  const y = (value: number) =>
    round(HEIGHT - MARGIN.bottom - value / top * (HEIGHT - MARGIN.top - MARGIN.bottom));
  const path = (values: readonly number[], from: number) =>
    values.map((value, i) => `${x(from + i)},${y(value)}`).join(" ");
  const band = path(hours.map(({ high }) => high), past.length) + " " +
    path(hours.map(({ low }) => low), past.length).split(" ").reverse().join(" ");
  const start = hours[0].time.getTime() - past.length * HOUR_MS;
  const text = (at: readonly [x: number, y: number], anchor: string, content: string) =>
    `<text x="${at[0]}" y="${at[1]}" text-anchor="${anchor}">${escape(content)}</text>`;
  const rule = (value: number) =>
    `<line x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${y(value)}" y2="${y(value)}" ` +
    `stroke="#ddd"/>${text([MARGIN.left - 8, y(value) + 4], "end", String(round(value)))}`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" ` +
    'font-family="sans-serif" font-size="12" fill="#333" role="img">',
    `<title>${escape(title)}</title>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
    text([MARGIN.left, 20], "start", title),
    ...[0, 0.25, 0.5, 0.75, 1].map((share) => rule(top * share)),
    ...listMidnights(start, steps).map(({ step, day }) =>
      `<line x1="${x(step)}" x2="${x(step)}" y1="${MARGIN.top}" y2="${y(0)}" stroke="#eee"/>` +
      text([x(step), HEIGHT - 12], "middle", day)
    ),
    `<polygon points="${band}" fill="#4269d0" fill-opacity="0.2"/>`,
    `<polyline points="${path(past, 0)}" fill="none" stroke="#333" stroke-width="1.5"/>`,
    `<polyline points="${path(hours.map(({ requests }) => requests), past.length)}" fill="none" ` +
    'stroke="#4269d0" stroke-width="1.5"/>',
    "</svg>\n",
  ].join("\n");
}

/** Midnights of UTC, at most about a dozen. */
function listMidnights(start: number, steps: number): { step: number; day: string }[] {
  const midnights = Array.from({ length: steps + 1 }, (_, step) => ({
    step,
    time: new Date(start + step * HOUR_MS),
  })).filter(({ time }) => time.getUTCHours() === 0);
  const every = Math.ceil(midnights.length / 12);
  return midnights.filter((_, i) => i % every === 0)
    .map(({ step, time }) => ({ step, day: time.toISOString().slice(5, 10) }));
}

/** The next of 1, 2, 2.5, 5 or 10 times a power of ten. */
function niceCeiling(value: number): number {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 2.5, 5, 10].find((factor) => value <= factor * power)!;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
