// A dashboard's variables: their values by query, and what `$name` in an expression becomes.
import { TimeRange } from '@grafana/data';
import { ask, JOB } from './job';

export type Variable = { label: string; options: string[]; chosen: string[]; all?: string; isAll: boolean; multi: boolean };
export type Variables = Record<string, Variable>;

const escape = (text: string) => text.replace(/\\/g, '\\\\').replace(/[$^*{}[\]'+?.()|]/g, '\\\\$&');

/** An expression with its variables replaced as Grafana's Prometheus data source does it. */
export function replace(text: string | undefined, variables: Variables, extra: Record<string, string> = {}): string {
  return (text ?? '').replace(/\$(\w+)|\$\{(\w+)(?::(\w+))?\}|\[\[(\w+)\]\]/g, (whole, a, b, format, c) => {
    const name = a ?? b ?? c;
    if (name in extra) return extra[name];
    const variable = variables[name];
    if (!variable) return whole;
    if (variable.isAll && format === 'text') return 'All';
    if (variable.isAll && variable.all !== undefined) return variable.all;
    const values = variable.isAll ? variable.options : variable.chosen;
    if (format === 'raw' || format === 'text' || format === 'csv') return values.join(format === 'text' ? ' + ' : ',');
    if (format === 'queryparam') return values.map((value) => `var-${name}=${encodeURIComponent(value)}`).join('&');
    if (!variable.multi) return values[0]?.replace(/\\/g, '\\\\').replace(/'/g, "\\\\'") ?? '';
    return values.length === 1 ? escape(values[0]) : '(' + values.map(escape).join('|') + ')';
  });
}

export async function load(list: any[], range: TimeRange): Promise<Variables> {
  const found: Variables = {};
  for (const one of list) {
    const options = await optionsOf(one, found, range);
    const asked = JOB.variables[one.name] ?? [];
    const current = one.current?.value === undefined ? [] : [one.current.value].flat().map(String);
    let chosen = asked.length ? asked : current.filter((value: string) => value === '$__all' || options.includes(value));
    if (!chosen.length) chosen = one.includeAll ? ['$__all'] : options.slice(0, 1);
    const isAll = chosen[0] === '$__all' || chosen[0] === 'All';
    found[one.name] = { label: one.label || one.name, options, chosen: isAll ? [] : chosen, isAll, multi: !!(one.multi || one.includeAll), all: one.includeAll ? one.allValue || undefined : undefined };
  }
  return found;
}

async function optionsOf(one: any, known: Variables, range: TimeRange): Promise<string[]> {
  if (one.type === 'datasource') return ['Prometheus'];
  if (one.type === 'custom' || one.type === 'interval') return String(one.query).split(',').map((part) => part.split(' : ').pop()!.trim());
  if (one.type === 'constant' || one.type === 'textbox') return [String(one.query)];
  const text = replace(typeof one.query === 'string' ? one.query : one.query?.query, known);
  const span = { start: String(range.from.valueOf() / 1000), end: String(range.to.valueOf() / 1000) };
  const match = /^\s*label_values\((?:([\s\S]+),\s*)?(\w+)\)\s*$/.exec(text);
  let values: string[];
  if (match) values = await ask(`label/${match[2]}/values`, { ...span, ...(match[1] ? { 'match[]': match[1] } : {}) });
  else {
    const query = /^\s*query_result\(([\s\S]+)\)\s*$/.exec(text);
    if (!query) throw new Error(`variable ${one.name}: query must be label_values or query_result, got ${text}`);
    const data = await ask('query', { query: query[1], time: span.end });
    values = data.result.map(({ metric: { __name__: name = '', ...labels }, value: [at, value] }: any) =>
      `${name}{${Object.entries(labels).map(([key, text]) => `${key}="${text}"`).join(',')}} ${value} ${at * 1000}`);
  }
  if (one.regex) {
    const pattern = new RegExp(one.regex.replace(/^\/|\/\w*$/g, ''));
    values = values.map((value) => pattern.exec(value)).filter((hit) => hit).map((hit) => hit!.groups?.value ?? hit![1] ?? hit![0]);
  }
  values = [...new Set(values)];
  return one.sort ? values.sort((a, b) => (one.sort % 2 ? 1 : -1) * a.localeCompare(b, undefined, { numeric: one.sort > 2 })) : values;
}
