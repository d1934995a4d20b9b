// What to draw, as draw.mjs says it, and Grafana's theme.
import { createTheme, dateTime, TimeRange } from '@grafana/data';

export const JOB = (window as any).JOB as {
  prometheus: string; theme: 'light' | 'dark'; width: number | string; now: number | string; step: number | string; hours?: string;
  open?: unknown; variables: Record<string, string[]>;
};
export const theme = createTheme({ colors: { mode: JOB.theme } });
/** The data source's scrape interval, seconds. */
export const SCRAPE = Number(JOB.step);
(window as any).QUERIES = 0;

const UNITS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86400, w: 604800 };

/** A dashboard's `now-7d`; `hours` of the job comes before it. */
export function timeRange(from: string): TimeRange {
  const match = /^now-(\d+)([smhdw])$/.exec(from);
  if (!match) throw new Error(`time.from must be like now-6h, got ${from}`);
  const seconds = JOB.hours ? Number(JOB.hours) * 3600 : Number(match[1]) * UNITS[match[2]];
  const to = dateTime(Number(JOB.now));
  return { from: dateTime(to.valueOf() - seconds * 1000), to, raw: { from: JOB.hours ? `now-${JOB.hours}h` : from, to: 'now' } };
}

export async function ask(path: string, parameters: Record<string, string>): Promise<any> {
  (window as any).QUERIES += 1;
  const answer = await fetch(`${JOB.prometheus}/api/v1/${path}?${new URLSearchParams(parameters)}`);
  const content = await answer.json();
  if (content.status !== 'success') throw new Error(content.error);
  return content.data;
}
