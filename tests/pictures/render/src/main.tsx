// The page: a dashboard's bar with its variables, then its rows and panels.
import React from 'react';
import { createRoot } from 'react-dom/client';
import { ThemeContext } from '@grafana/data';
import { GlobalStyles } from '@grafana/ui';
import { initPluginTranslations } from '@grafana/i18n';
import * as annotations from './annotations';
import { JOB, theme, timeRange } from './job';
import { place } from './layout';
import { Panel, pending } from './panels';
import './registry';
import * as variables from './variables';

const PIXELS = 38, GAP = 8, MARGIN = 16;

const chip: React.CSSProperties = { display: 'inline-flex', height: 32, alignItems: 'center', borderRadius: 2, fontSize: 12, border: `1px solid ${theme.components.input.borderColor}`, overflow: 'hidden' };
const Chip = ({ label, text }: { label?: string; text: string }) => <span style={chip}>
  {label && <b style={{ padding: '0 8px', fontWeight: 500, lineHeight: '32px', background: theme.colors.background.secondary, color: theme.colors.text.primary }}>{label}</b>}
  <span style={{ padding: '0 8px', maxWidth: 260, whiteSpace: 'nowrap', overflow: 'hidden', textOverflow: 'ellipsis', lineHeight: '32px', background: theme.components.input.background, color: theme.components.input.text }}>{text} <small>▾</small></span></span>;

const RANGES: Record<string, string> = { m: 'minutes', h: 'hours', d: 'days', w: 'weeks' };

async function main() {
  await initPluginTranslations('mlmon', []).catch(() => undefined);
  document.fonts.add(await new FontFace('Inter', 'url(Inter.woff2)', { weight: '100 900' }).load()); // axes are measured with it
  const dashboard = await (await fetch('dashboard.json')).json();
  const range = timeRange(dashboard.time?.from ?? 'now-6h');
  const list = dashboard.templating?.list ?? [];
  const chosen = await variables.load(list, range);
  const events = await annotations.load(dashboard.annotations?.list ?? [], chosen, range);
  const items = place(dashboard.panels, chosen);
  const width = Number(JOB.width) - 2 * MARGIN + GAP, column = width / 24, height = Math.max(...items.map((item) => (item.y + item.h) * PIXELS));
  const [, count, unit] = /now-(\d+)(\w)/.exec(range.raw.from as string)!;
  createRoot(document.getElementById('root')!).render(<ThemeContext.Provider value={theme}><GlobalStyles isExtensionSidebarOpen={false} />
    <div style={{ padding: `10px ${MARGIN}px`, color: theme.colors.text.primary, width: Number(JOB.width), boxSizing: 'border-box' }}>
      <div style={{ display: 'flex', flexWrap: 'wrap', gap: 8, alignItems: 'center', marginBottom: 10 }}>
        <span style={{ fontSize: 16, fontWeight: 500, flex: 1, whiteSpace: 'nowrap' }}>{dashboard.title}</span>
        {(dashboard.links ?? []).map((link: any, i: number) => <Chip key={i} text={link.title} />)}
        <Chip text={`Last ${count === '1' ? RANGES[unit].slice(0, -1) : `${count} ${RANGES[unit]}`}`} /></div>
      <div style={{ display: 'flex', flexWrap: 'wrap', gap: 8, marginBottom: 10 }}>{list.filter((one: any) => one.hide !== 2).map((one: any) => { const v = chosen[one.name]; return <Chip key={one.name} label={v.label} text={v.isAll ? 'All' : v.chosen.join(' + ') || 'None'} />; })}
        {(dashboard.annotations?.list ?? []).filter((one: any) => one.enable && !one.hide && !one.builtIn).map((one: any, i: number) => <span key={`a${i}`} style={{ display: 'inline-flex', alignItems: 'center', gap: 6, fontSize: 12 }}><span style={{ width: 26, height: 14, borderRadius: 8, background: theme.colors.primary.main }} />{one.name}</span>)}</div>
      <div style={{ position: 'relative', height, width }}>{items.map(({ panel, variables: scope, x, y, w, h }, i) => {
        const place: React.CSSProperties = { position: 'absolute', left: x * column, top: y * PIXELS, width: w * column - GAP, height: h * PIXELS - GAP };
        return panel.type === 'row'
          ? <div key={i} style={{ ...place, fontWeight: 500, lineHeight: '30px' }}>{panel.collapsed ? '▸' : '▾'}&nbsp; {variables.replace(panel.title, scope)}{panel.collapsed && <small style={{ color: theme.colors.text.secondary, marginLeft: 8 }}>({panel.count} {panel.count === 1 ? 'panel' : 'panels'})</small>}</div>
          : <div key={i} style={place}><Panel panel={panel} variables={scope} range={range} w={w * column - GAP} h={h * PIXELS - GAP} events={events} /></div>;
      })}</div></div></ThemeContext.Provider>);
  // Panels begin to wait when they are mounted.
  let quiet = 0;
  const check = () => { quiet = document.querySelector('#root > *') && pending() === 0 ? quiet + 1 : 0; if (quiet > 5) (window as any).DRAWN = true; else setTimeout(check, 50); };
  check();
}
document.body.style.cssText = `background:${theme.colors.background.canvas};font-family:${theme.typography.fontFamily};margin:0`;
main().catch((error) => { (window as any).FAILED = String(error?.stack ?? error); });
