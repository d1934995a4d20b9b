// One panel: its queries, its transformations, and the component of Grafana that draws its kind.
import React, { useEffect, useState } from 'react';
import { lastValueFrom } from 'rxjs';
import {
  applyFieldOverrides, DataFrame, FieldType, getFieldDisplayValues, getDisplayValueAlignmentFactors, LoadingState, renderMarkdown, TimeRange, transformDataFrame, VizOrientation,
} from '@grafana/data';
import { BarGauge, BigValue, Gauge, PanelChrome, Table, TimeSeries, VizRepeater } from '@grafana/ui';
import { Event, hook } from './annotations';
import { HeatMap, StateTimeline } from './cells';
import { theme } from './job';
import { run } from './queries';
import { registry, TRANSFORMERS } from './registry';
import { replace, Variables } from './variables';

export type Placed = { panel: any; variables: Variables };
let waiting = 0;
/** Panels whose data has not come yet. */
export const pending = () => waiting;

const EMPTY = { showLegend: true, displayMode: 'list', placement: 'bottom', calcs: [] };

function Viz({ p, data, w, h, range, step, events, variables }: any) {
  const options = p.options ?? {}, text = (value: string) => replace(value, variables);
  if (p.type === 'text') return <div className="markdown-html" style={{ height: h, overflow: 'hidden' }} dangerouslySetInnerHTML={{ __html: renderMarkdown(text(options.content ?? '')) }} />;
  const frames = (data as DataFrame[]).filter((frame) => frame.length && frame.fields.length);
  if (!frames.length) return <div style={{ display: 'grid', placeItems: 'center', height: h, color: theme.colors.text.secondary }} data-nodata="1">{p.fieldConfig?.defaults?.noValue ?? 'No data'}</div>;
  switch (p.type) {
    case 'timeseries':
      return <TimeSeries frames={frames} structureRev={1} width={w} height={h} timeRange={range} timeZone="utc" legend={options.legend ?? EMPTY} options={options}>
        {(config: any) => { if (!config.annotated) { config.annotated = true; config.addHook('draw', hook(events)); } return null; }}</TimeSeries>;
    case 'stat': case 'gauge': case 'bargauge': return <Values p={p} frames={frames} w={w} h={h} replaceVariables={text} />;
    case 'table': return <Table data={frames[0]} width={w} height={h} initialSortBy={options.sortBy} />;
    case 'heatmap': return <HeatMap p={p} data={frames} w={w} h={h} range={range} step={step} />;
    case 'state-timeline': case 'status-history': return <StateTimeline p={p} data={frames} w={w} h={h} range={range} step={step} />;
    case 'barchart': case 'histogram': return <Bars p={p} frames={frames} w={w} h={h} />;
    default: return <pre data-error="1">panels of type {p.type} are not drawn</pre>;
  }
}

function Values({ p, frames, w, h, replaceVariables }: any) {
  const options = p.options ?? {};
  const getValues = () => getFieldDisplayValues({ fieldConfig: p.fieldConfig, reduceOptions: options.reduceOptions ?? { calcs: ['lastNotNull'] }, replaceVariables, theme, data: frames, sparkline: p.type === 'stat' && options.graphMode !== 'none', timeZone: 'utc' });
  const orientation = options.orientation === 'horizontal' ? VizOrientation.Horizontal : options.orientation === 'vertical' ? VizOrientation.Vertical : VizOrientation.Auto;
  const render = ({ value, width, height, alignmentFactors, count, orientation: along }: any) =>
    p.type === 'stat' ? <BigValue theme={theme} value={value.display} width={width} height={height} count={count} sparkline={value.sparkline} colorMode={options.colorMode ?? 'value'} graphMode={options.graphMode ?? 'area'} justifyMode={options.justifyMode ?? 'auto'} textMode={options.textMode ?? 'auto'} text={options.text} disableWideLayout={options.wideLayout === false} alignmentFactors={alignmentFactors} />
    : p.type === 'gauge' ? <Gauge theme={theme} value={value.display} field={value.field} width={width} height={height} text={options.text} orientation={orientation} showThresholdLabels={!!options.showThresholdLabels} showThresholdMarkers={options.showThresholdMarkers !== false} />
    : <BarGauge theme={theme} value={value.display} field={value.field} display={value.view?.getFieldDisplayProcessor(value.colIndex)} width={width} height={height} orientation={along} displayMode={options.displayMode ?? 'gradient'} showUnfilled={options.showUnfilled !== false} valueDisplayMode={options.valueMode} namePlacement={options.namePlacement} text={options.text} isOverflow={false} alignmentFactors={alignmentFactors} />;
  return <VizRepeater getValues={getValues} getAlignmentFactors={getDisplayValueAlignmentFactors as any} renderValue={render} width={w} height={h} source={frames} renderCounter={1} itemSpacing={p.type === 'bargauge' ? 8 : 3} orientation={orientation} autoGrid={p.type !== 'bargauge'} minVizWidth={p.type === 'bargauge' ? options.minVizWidth ?? 8 : 0} minVizHeight={p.type === 'bargauge' ? options.minVizHeight ?? 16 : 0} maxVizHeight={p.type === 'bargauge' ? options.maxVizHeight ?? 300 : undefined} />;
}

/** Bars by the first text field (bar chart), one colour a number field. */
function Bars({ p, frames, w, h }: { p: any; frames: DataFrame[]; w: number; h: number }) {
  const [frame] = frames, names = frame.fields.find((field) => field.type === FieldType.string), numbers = frame.fields.filter((field) => field.type === FieldType.number && !field.config.custom?.hideFrom?.viz);
  const labels: string[] = names ? names.values.map(String) : frames.map((one) => one.name ?? '');
  const columns = names ? numbers.map((field) => field.values as number[]) : [frames.map((one) => one.fields.find((field) => field.type === FieldType.number)!.values.at(-1))];
  const top = Math.max(1e-12, ...columns.flat().filter(Number.isFinite)), legend = columns.length > 1 ? 24 : 0, left = 52, bottom = 46, width = w - left - 8, height = h - bottom - legend - 6;
  const group = width / labels.length, bar = group * (p.options?.groupWidth ?? 0.7) / columns.length, every = Math.max(1, Math.ceil(70 / group));
  const colour = (i: number) => numbers[i] ? (numbers[i].display?.(numbers[i].values[0]).color ?? theme.visualization.palette[i]) : theme.visualization.palette[i];
  const fixed = (i: number) => numbers[i]?.config.color?.mode === 'fixed' ? colour(i) : theme.visualization.getColorByName(theme.visualization.palette[i]);
  const text = (value: number) => { const shown = numbers[0]?.display?.(value); return shown ? `${shown.prefix ?? ''}${shown.text}${shown.suffix ?? ''}` : String(value); };
  const title = (i: number) => numbers[i]?.config.displayName ?? numbers[i]?.config.displayNameFromDS ?? numbers[i]?.name;
  return <div><svg width={w} height={h - legend} fontSize={12}>
    {[0, 0.25, 0.5, 0.75, 1].map((f) => <g key={f} transform={`translate(0,${6 + height * (1 - f)})`}><line x1={left} x2={w - 8} stroke={theme.colors.border.weak} /><text x={left - 6} y={4} textAnchor="end" fill={theme.colors.text.primary}>{text(f * top)}</text></g>)}
    {columns.map((values, i) => values.map((value, j) => Number.isFinite(value) && <rect key={`${i} ${j}`} x={left + group * j + (group - bar * columns.length) / 2 + bar * i} width={Math.max(1, bar - 1)} y={6 + height * (1 - value / top)} height={height * value / top} fill={fixed(i)} fillOpacity={0.8} />))}
    {labels.map((label, j) => j % every === 0 && <text key={j} transform={`translate(${left + group * (j + 0.5)},${height + 20})${group * every < 90 ? ' rotate(-18)' : ''}`} textAnchor={group * every < 90 ? 'end' : 'middle'} fill={theme.colors.text.primary}>{label.length > 18 ? label.slice(0, 17) + '…' : label}</text>)}
  </svg>{legend > 0 && <div style={{ display: 'flex', gap: 14, fontSize: 12, paddingLeft: 8 }}>{columns.map((_, i) => <span key={i}><span style={{ display: 'inline-block', width: 14, height: 4, background: fixed(i), verticalAlign: 'middle', marginRight: 6 }} />{title(i)}</span>)}</div>}</div>;
}

async function load(p: any, variables: Variables, range: TimeRange, width: number) {
  const unknown = (p.transformations ?? []).filter((one: any) => !TRANSFORMERS.has(one.id)).map((one: any) => one.id);
  if (unknown.length) throw new Error(`transformations ${unknown} are not known`);
  const answer = await run(p, variables, range, width);
  const steps = (p.transformations ?? []).filter((one: any) => !one.disabled);
  const made = steps.length ? await lastValueFrom(transformDataFrame(steps, answer.frames, { interpolate: (text: string) => replace(text, variables) } as any)) : answer.frames;
  const frames = applyFieldOverrides({
    data: made, fieldConfigRegistry: registry, replaceVariables: (text: string) => replace(text, variables), theme, timeZone: 'utc',
    fieldConfig: { overrides: p.fieldConfig?.overrides ?? [], defaults: { color: { mode: ['timeseries', 'barchart'].includes(p.type) ? 'palette-classic' : 'thresholds' }, ...p.fieldConfig?.defaults } },
  });
  for (const frame of frames) for (const field of frame.fields) {
    if (field.config.links?.length) field.getLinks = () => field.config.links!.map((link) => ({ title: link.title, href: '#', target: '_self', origin: field })) as any;
  }
  return { frames, step: answer.step };
}

export function Panel({ panel: p, variables, range, w, h, events }: Placed & { range: TimeRange; w: number; h: number; events: Event[] }) {
  const [state, set] = useState<any>({ loading: true });
  useEffect(() => {
    waiting += 1;
    load(p, variables, range, w).then((answer) => set(answer), (error) => set({ error: String(error) })).finally(() => { waiting -= 1; });
  }, []);
  const title = replace(p.title, variables);
  return <div data-panel={title}><PanelChrome title={title} description={p.description} width={w} height={h} padding={p.type === 'table' ? 'none' : 'sm'} displayMode={p.transparent ? 'transparent' : 'default'}
    loadingState={state.loading ? LoadingState.Loading : state.error ? LoadingState.Error : LoadingState.Done} statusMessage={state.error}>
    {(iw: number, ih: number) => state.error ? <pre data-error="1">{state.error}</pre> : state.loading ? null : <Viz p={p} data={state.frames} step={state.step} w={iw} h={ih} range={range} events={events} variables={variables} />}
  </PanelChrome></div>;
}
