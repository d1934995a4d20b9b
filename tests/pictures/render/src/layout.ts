// Where rows and panels stand: Grafana's grid of 24 columns, rows opened, panels and rows repeated by a variable.
import { JOB } from './job';
import { Placed } from './panels';
import { Variables } from './variables';

const COLUMNS = 24;
type Item = Placed & { x: number; y: number; w: number; h: number };

/** Everything that is drawn, with its place in the grid; `open` in the job opens collapsed rows. */
export function place(panels: any[], variables: Variables): Item[] {
  const rows: Array<{ row?: any; panels: any[] }> = [{ panels: [] }];
  for (const panel of [...panels].sort((a, b) => a.gridPos.y - b.gridPos.y || a.gridPos.x - b.gridPos.x)) {
    if (panel.type === 'row') rows.push({ row: panel, panels: [...(panel.panels ?? [])] }); else rows[rows.length - 1].panels.push(panel);
  }
  const items: Item[] = [];
  let y = 0;
  for (const { row, panels: below } of rows) {
    for (const scope of row?.repeat ? scopes(row.repeat, variables) : [variables]) {
      const shown = !row?.collapsed || JOB.open;
      if (row) items.push({ panel: { ...row, collapsed: !shown, count: below.length }, variables: scope, x: 0, y: y++, w: COLUMNS, h: 1 });
      if (shown) y = section(below, scope, y, items);
    }
  }
  return items;
}

function section(panels: any[], variables: Variables, top: number, items: Item[]): number {
  if (!panels.length) return top;
  const base = Math.min(...panels.map((panel) => panel.gridPos.y));
  let pushed = 0, bottom = top;
  for (const panel of panels) {
    const { x, y, w, h } = panel.gridPos, at = top + y - base + pushed;
    if (!panel.repeat) { items.push({ panel, variables, x, y: at, w, h }); bottom = Math.max(bottom, at + h); continue; }
    const each = scopes(panel.repeat, variables), down = panel.repeatDirection === 'v';
    const across = Math.max(1, Math.min(each.length, panel.maxPerRow ?? 4)), width = down ? w : COLUMNS / across;
    each.forEach((scope, i) => items.push({ panel, variables: scope, x: down ? x : (i % across) * width, y: at + (down ? i : Math.floor(i / across)) * h, w: width, h }));
    const lines = Math.max(1, down ? each.length : Math.ceil(each.length / across));
    pushed += (lines - 1) * h; bottom = Math.max(bottom, at + lines * h);
  }
  return bottom;
}

function scopes(name: string, variables: Variables): Variables[] {
  const variable = variables[name];
  const values = variable.isAll ? variable.options : variable.chosen;
  return values.map((value) => ({ ...variables, [name]: { ...variable, isAll: false, chosen: [value] } }));
}
