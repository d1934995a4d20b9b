// A panel's targets against Prometheus, as the frames that Grafana's data source makes of the answers.
import { DataFrame, FieldType, TimeRange, toDataFrame } from '@grafana/data';
import { ask, SCRAPE } from './job';
import { replace, Variables } from './variables';

export type Answer = { frames: DataFrame[]; step: number };

export function intervals(range: TimeRange, points: number, least: number) {
  const seconds = (range.to.valueOf() - range.from.valueOf()) / 1000;
  const step = Math.max(least, nice(seconds / points));
  return { step, extra: {
    __interval: `${step}s`, __interval_ms: String(step * 1000), __rate_interval: `${Math.max(step + least, 4 * least)}s`,
    __range: `${Math.round(seconds)}s`, __range_s: String(Math.round(seconds)), __range_ms: String(Math.round(seconds * 1000)),
  } };
}

/** The steps that Grafana rounds an interval to. */
function nice(seconds: number): number {
  const steps = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400];
  return steps.find((step) => seconds <= step * 1.25) ?? 86400;
}

export async function run(panel: any, variables: Variables, range: TimeRange, width: number): Promise<Answer> {
  const least = panel.interval ? Number(replace(panel.interval, variables).replace(/s$/, '')) || SCRAPE : SCRAPE;
  const { step, extra } = intervals(range, panel.maxDataPoints ?? Math.max(100, width), least);
  const targets = (panel.targets ?? []).filter((target: any) => !target.hide && target.expr);
  const tables = targets.filter((target: any) => target.format === 'table').length;
  const answers = await Promise.all(targets.map(async (target: any) => {
    const query = replace(target.expr, variables, extra);
    const from = Math.floor(range.from.valueOf() / 1000 / step) * step, to = Math.floor(range.to.valueOf() / 1000 / step) * step;
    const data = target.instant
      ? await ask('query', { query, time: String(range.to.valueOf() / 1000) })
      : await ask('query_range', { query, start: String(from), end: String(to), step: String(step) });
    return target.format === 'table' ? [table(target, data, tables > 1)] : series(target, data, step);
  }));
  return { frames: answers.flat().filter((frame) => frame.length || frame.fields.length > 1), step };
}

function table(target: any, data: any, several: boolean): DataFrame {
  const results = data.result ?? [];
  const names = [...new Set(results.flatMap((one: any) => Object.keys(one.metric)))].sort() as string[];
  const rows = results.flatMap((one: any) => (one.values ?? [one.value]).map((pair: any) => ({ metric: one.metric, pair })));
  return toDataFrame({ refId: target.refId, fields: [
    { name: 'Time', type: FieldType.time, values: rows.map((row: any) => row.pair[0] * 1000) },
    ...names.map((name) => ({ name, type: FieldType.string, config: { filterable: true }, values: rows.map((row: any) => row.metric[name] ?? '') })),
    { name: several ? `Value #${target.refId}` : 'Value', type: FieldType.number, values: rows.map((row: any) => Number(row.pair[1])) },
  ].filter(() => rows.length) });
}

export function legend(format: string | undefined, metric: Record<string, string>, expression: string): string {
  if (format && format !== '__auto') return format.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, name) => metric[name] ?? '');
  const { __name__: name = '', ...labels } = metric;
  const text = Object.entries(labels).map(([key, value]) => `${key}="${value}"`).join(', ');
  return name || text ? `${name}${text ? `{${text}}` : ''}` : expression;
}

function series(target: any, data: any, step: number): DataFrame[] {
  if (data.resultType === 'scalar') data = { result: [{ metric: {}, value: data.result }] };
  const frames = data.result.map((one: any) => {
    const name = legend(target.legendFormat, one.metric, target.expr);
    const pairs = one.values ?? [one.value];
    const times: number[] = [], values: Array<number | null> = [];
    for (const [at, value] of pairs) { // a gap is a null, as Grafana's data source has it
      const last = times[times.length - 1];
      if (last !== undefined && at * 1000 - last > step * 1000) { times.push(last + step * 1000); values.push(null); }
      times.push(at * 1000); values.push(Number(value));
    }
    return toDataFrame({ refId: target.refId, name, meta: { type: 'timeseries-multi' as any }, fields: [
      { name: 'Time', type: FieldType.time, values: times },
      { name: 'Value', type: FieldType.number, labels: one.metric, config: { displayNameFromDS: name }, values },
    ] });
  });
  return frames;
}
