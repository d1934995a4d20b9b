// Annotations of a dashboard, and the lines that they draw through its graphs.
import { TimeRange } from '@grafana/data';
import { ask, SCRAPE, theme } from './job';
import { intervals, legend } from './queries';
import { replace, Variables } from './variables';

export type Event = { from: number; to: number; colour: string; text: string };

export async function load(list: any[], variables: Variables, range: TimeRange): Promise<Event[]> {
  const queries = list.filter((one) => one.enable && one.expr && one.type !== 'dashboard' && !one.builtIn);
  return (await Promise.all(queries.map((one) => events(one, variables, range)))).flat();
}

async function events(one: any, variables: Variables, range: TimeRange): Promise<Event[]> {
  const { step, extra } = intervals(range, 2000, Math.max(SCRAPE, 60));
  const query = replace(one.expr, variables, extra);
  const [start, end] = [range.from, range.to].map((at) => Math.floor(at.valueOf() / 1000 / step) * step);
  const data = await ask('query_range', { query, start: String(start), end: String(end), step: String(step) });
  const colour = theme.visualization.getColorByName(one.iconColor || 'blue');
  const found: Event[] = [];
  for (const result of data.result) {
    const text = legend(one.titleFormat || '__auto', result.metric, one.name);
    if (one.useValueForTime) {
      for (const at of new Set<number>(result.values.map((pair: any) => Math.floor(Number(pair[1]))))) found.push({ from: at, to: at, colour, text });
      continue;
    }
    let last: Event | undefined;
    for (const [at, value] of result.values) {
      if (!Number(value)) continue;
      if (last && at * 1000 - last.to <= step * 1000) last.to = at * 1000;
      else found.push(last = { from: at * 1000, to: at * 1000, colour, text });
    }
  }
  return found.filter((each) => each.to >= range.from.valueOf() && each.from <= range.to.valueOf());
}

/** Draws them when uPlot has drawn its lines: dashed lines, a mark below the axis, a band where they last. */
export function hook(found: Event[]) {
  return (plot: any) => {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.beginPath(); ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height + 8); ctx.clip();
    for (const one of found) {
      const [left, right] = [one.from, one.to].map((at) => plot.valToPos(at, 'x', true));
      ctx.fillStyle = ctx.strokeStyle = one.colour;
      ctx.lineWidth = 1; ctx.setLineDash([5, 5]);
      for (const x of new Set([left, right])) { ctx.beginPath(); ctx.moveTo(x, bbox.top); ctx.lineTo(x, bbox.top + bbox.height); ctx.stroke(); }
      if (right > left) { ctx.globalAlpha = 0.07; ctx.fillRect(left, bbox.top, right - left, bbox.height); ctx.globalAlpha = 1; ctx.fillRect(left, bbox.top + bbox.height, right - left, 4); }
      ctx.beginPath(); ctx.moveTo(left - 4, bbox.top + bbox.height + 6); ctx.lineTo(left + 4, bbox.top + bbox.height + 6); ctx.lineTo(left, bbox.top + bbox.height); ctx.fill();
    }
    ctx.restore();
  };
}
