// Heat map and state timeline: not among Grafana's public components, so drawn here as its own look.
import React from 'react';
import { DataFrame, getFieldDisplayName, getValueFormat, formattedValueToString, dateTime, TimeRange, GrafanaTheme2 } from '@grafana/data';
import { theme } from './job';

const SCHEMES: Record<string, string[]> = {
  Viridis: ['#440154', '#482878', '#3e4989', '#31688e', '#26828e', '#1f9e89', '#35b779', '#6ece58', '#b5de2b', '#fde725'],
  Oranges: ['#fff5eb', '#fee6ce', '#fdd0a2', '#fdae6b', '#fd8d3c', '#f16913', '#d94801', '#a63603', '#7f2704'],
  Blues: ['#f7fbff', '#deebf7', '#c6dbef', '#9ecae1', '#6baed6', '#4292c6', '#2171b5', '#08519c', '#08306b'],
  Spectral: ['#9e0142', '#d53e4f', '#f46d43', '#fdae61', '#fee08b', '#e6f598', '#abdda4', '#66c2a5', '#3288bd', '#5e4fa2'],
  Turbo: ['#30123b', '#4662d7', '#36aaf9', '#1ae4b6', '#72fe5e', '#c8ef34', '#faba39', '#f66b19', '#cb2a04', '#7a0403'],
};

const measure = (() => { const context = document.createElement('canvas').getContext('2d')!; return (text: string) => { context.font = `12px ${theme.typography.fontFamily}`; return context.measureText(text).width; }; })();

type Cell = { x: number; w: number; fill: string; text?: string };
type Rows = { labels: string[]; rows: Cell[][]; gap: number };

function Axes({ labels, rows, gap, w, h, range, hideLabels }: Rows & { w: number; h: number; range: TimeRange; hideLabels?: boolean }) {
  const left = hideLabels ? 8 : Math.min(w * 0.35, 12 + Math.max(0, ...labels.map(measure))), width = w - left - 12, height = (h - 22) / Math.max(1, rows.length);
  const each = Math.max(1, Math.ceil(14 / height)), span = range.to.valueOf() - range.from.valueOf();
  const format = span > 36 * 3600e3 ? 'MM/DD' : 'HH:mm';
  const ticks = timeTicks(range, width);
  return <svg width={w} height={h} fontSize={12} fontFamily={theme.typography.fontFamily}>
    {rows.map((row, i) => <g key={i} transform={`translate(${left},${i * height})`}>
      {i % each === 0 && <text x={-6} y={height / 2 + 4} textAnchor="end" fill={theme.colors.text.primary}>{fit(labels[i], left - 8)}</text>}
      {row.map((cell, j) => <rect key={j} shapeRendering="crispEdges" x={Math.round(cell.x * width)} width={Math.max(1, Math.round((cell.x + cell.w) * width) - Math.round(cell.x * width))} y={gap / 2} height={Math.max(1, height - gap)} fill={cell.fill} />)}
      {row.map((cell, j) => cell.text && cell.w * width > measure(cell.text) + 8 ? <text key={`t${j}`} x={cell.x * width + 4} y={height / 2 + 4} fill={theme.colors.getContrastText(cell.fill)}>{cell.text}</text> : null)}
    </g>)}
    {ticks.map((at) => <text key={at} x={left + (at - range.from.valueOf()) / span * width} y={h - 6} textAnchor="middle" fill={theme.colors.text.primary}>{dateTime(at).utc().format(format)}</text>)}
  </svg>;
}

const fit = (text: string, width: number) => { let shown = text; while (shown && measure(shown + '…') > width) shown = shown.slice(0, -1); return shown === text ? text : measure(text) <= width ? text : shown + '…'; };

function timeTicks(range: TimeRange, width: number): number[] {
  const span = range.to.valueOf() - range.from.valueOf();
  const step = [5, 10, 15, 30, 60, 120, 180, 360, 720, 1440].map((minutes) => minutes * 60e3).find((each) => span / each <= width / 70) ?? 2880 * 60e3;
  const ticks = [];
  for (let at = Math.ceil((range.from.valueOf() + span * 0.02) / step) * step; at <= range.to.valueOf() - span * 0.02; at += step) ticks.push(at);
  return ticks;
}

export function HeatMap({ p, data, w, h, range, step }: { p: any; data: DataFrame[]; w: number; h: number; range: TimeRange; step: number }) {
  const options = p.options ?? {}, from = range.from.valueOf(), span = range.to.valueOf() - from;
  const bound = (frame: DataFrame) => { const le = frame.fields[1].labels?.le; return le === undefined ? undefined : le === '+Inf' ? Infinity : Number(le); };
  const cumulative = data.every((frame) => bound(frame) !== undefined);
  const frames = cumulative ? [...data].sort((a, b) => bound(a)! - bound(b)!) : data;
  const at = frames.map((frame) => new Map<number, number>(frame.fields[0].values.map((time: number, i: number) => [time, frame.fields[1].values[i] ?? 0])));
  const filter = options.filterValues?.le ?? 1e-9;
  let least = Infinity, most = 0;
  const grid = frames.map((_, k) => [...at[k]].map(([time, value]) => {
    const count = Math.max(0, cumulative && k ? value - (at[k - 1].get(time) ?? 0) : value);
    if (count > filter) { least = Math.min(least, count); most = Math.max(most, count); }
    return { time, count };
  }));
  const colour = options.color ?? {}, scheme = [...(SCHEMES[colour.scheme] ?? SCHEMES.Oranges)];
  const flip = colour.reverse !== (theme.isDark && scheme !== SCHEMES.Viridis && ['Oranges', 'Blues'].includes(colour.scheme)); if (flip) scheme.reverse();
  if (colour.min !== undefined) least = colour.min; else least = 0;
  if (colour.max !== undefined) most = colour.max;
  const shade = (count: number) => { const f = Math.max(0, Math.min(1, (count - least) / (most - least || 1))); return scheme[Math.min(scheme.length - 1, Math.floor((colour.scale === 'exponential' || colour.exponent ? Math.pow(f, colour.exponent ?? 0.5) : f) * scheme.length))]; };
  const rows = grid.map((row) => row.filter((cell) => cell.count > filter).map((cell) => ({ x: (cell.time - step * 1000 - from) / span, w: step * 1000 / span, fill: shade(cell.count) })).filter((cell) => cell.x + cell.w > 0).map((cell) => ({ ...cell, x: Math.max(0, cell.x) })));
  const unit = options.yAxis?.unit ?? p.fieldConfig?.defaults?.unit ?? 'short';
  const label = (frame: DataFrame) => { const le = bound(frame); return le === undefined ? getFieldDisplayName(frame.fields[1], frame, data) : le === Infinity ? '+Inf' : formattedValueToString(getValueFormat(unit)(le)); };
  const cell = options.cellValues?.unit ?? (cumulative ? 'short' : p.fieldConfig?.defaults?.unit ?? 'short');
  const number = (value: number) => formattedValueToString(getValueFormat(cell)(value, value < 1 && value > 0 && cell === 'short' ? 2 : undefined));
  const legend = options.legend?.show !== false;
  return <div><Axes labels={frames.map(label).reverse()} rows={rows.reverse()} gap={1} w={w} h={h - (legend ? 26 : 0)} range={range} />
    {legend && most > 0 && <div style={{ display: 'flex', gap: 8, alignItems: 'center', justifyContent: 'center', fontSize: 12, color: theme.colors.text.primary }}>
      {number(least)}<span style={{ width: Math.min(240, w / 2), height: 8, background: `linear-gradient(to right, ${scheme.join(',')})` }} />{number(most)}</div>}</div>;
}

export function StateTimeline({ p, data, w, h, range, step }: { p: any; data: DataFrame[]; w: number; h: number; range: TimeRange; step: number }) {
  const from = range.from.valueOf(), span = range.to.valueOf() - from, options = p.options ?? {};
  const shown = new Map<string, string>();
  const rows = data.map((frame) => {
    const [time, field] = frame.fields, cells: Array<Cell & { key: string }> = [];
    time.values.forEach((at: number, i: number) => {
      const value = field.values[i];
      if (value === null || value === undefined || at < from - step * 1000) return;
      const display = field.display!(value), text = formattedValueToString(display), fill = display.color ?? theme.colors.secondary.main;
      const key = text + fill, x = Math.max(0, (at - from) / span), end = Math.min(1, (at + step * 1000 - from) / span), last = cells[cells.length - 1];
      shown.set(text, fill);
      if (last && options.mergeValues !== false && last.key === key && x - last.x - last.w < step * 100 / span + 1e-6) last.w = end - last.x;
      else cells.push({ x, w: end - x, fill, text: options.showValue === 'never' ? undefined : text, key });
    });
    return cells;
  });
  const labels = data.map((frame) => getFieldDisplayName(frame.fields[1], frame, data));
  const legend = options.legend?.showLegend !== false && shown.size > 0;
  return <div><Axes labels={labels} rows={rows} gap={(h - 44) / Math.max(1, rows.length) * (1 - (options.rowHeight ?? 0.9))} w={w} h={h - (legend ? 24 : 0)} range={range} />
    {legend && <div style={{ display: 'flex', gap: 14, fontSize: 12, paddingLeft: 8, color: theme.colors.text.primary }}>{legendOf(p, shown).map(([text, fill]) =>
      <span key={text}><span style={{ display: 'inline-block', width: 14, height: 4, borderRadius: 2, background: fill, verticalAlign: 'middle', marginRight: 6 }} />{text}</span>)}</div>}</div>;
}

/** Grafana's legend names all thresholds or mappings, seen or not. */
function legendOf(p: any, shown: Map<string, string>): Array<[string, string]> {
  const mapped = (p.fieldConfig?.defaults?.mappings ?? []).filter((one: any) => one.type === 'value').flatMap((one: any) => Object.values(one.options)) as any[];
  const words = mapped.filter((one) => one.text && one.color).map((one): [string, string] => [one.text, theme.visualization.getColorByName(one.color)]);
  return words.length ? words : [...shown];
}
