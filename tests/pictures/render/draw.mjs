// node draw.mjs JOBS.json: an array of {dashboard, prometheus, out, theme, width, now, step, open, variables: {NAME: [VALUE, ...]}}
// node draw.mjs DASHBOARD.json PROMETHEUS OUT.png [theme=dark] [width=1000] [open=1] [now=EPOCH_MS] [hours=N] [step=SECONDS] [var-NAME=VALUE ...]
// Prints a line of JSON a picture: {out, panels, nodata, errors, blank, thrown, queries}; exit status 1 where a panel failed to draw.
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import puppeteer from 'puppeteer-core';
import UPNG from 'upng-js';

const here = path.dirname(new URL(import.meta.url).pathname);
const arguments_ = process.argv.slice(2);
const jobs = arguments_.length === 1 ? JSON.parse(fs.readFileSync(arguments_[0], 'utf8')) : [job(arguments_)];

function job([dashboard, prometheus, out, ...rest]) {
  const found = { dashboard, prometheus, out, variables: {} };
  for (const word of rest) {
    const [key, value] = [word.slice(0, word.indexOf('=')), word.slice(word.indexOf('=') + 1)];
    if (key.startsWith('var-')) (found.variables[key.slice(4)] ??= []).push(value); else found[key] = value;
  }
  return found;
}

const font = path.join(here, 'node_modules/@fontsource-variable/inter/files/inter-latin-wght-normal.woff2'); // Grafana's
let current = jobs[0];
const types = { '.js': 'text/javascript', '.css': 'text/css', '.json': 'application/json' };
const server = http.createServer((request, response) => {
  const name = new URL(request.url, 'http://x').pathname.slice(1);
  if (name === '') {
    const job = JSON.stringify({ theme: 'light', width: 1600, now: Date.now(), step: 15, variables: {}, ...current });
    response.setHeader('content-type', 'text/html');
    return response.end(`<!doctype html><meta charset=utf-8><link rel=stylesheet href=main.css><div id=root></div><script>
      window.grafanaBootData={settings:{featureToggles:{},unifiedAlerting:{},appSubUrl:''},user:{timezone:'utc',locale:'en-US'}};
      window.JOB=${job.replaceAll('<', '\\u003c')};
      window.Date = class extends Date { constructor(...a) { a.length ? super(...a) : super(Number(JOB.now)); } static now() { return Number(JOB.now); } };</script><script src=main.js></script>`);
  }
  const source = name === 'dashboard.json' ? current.dashboard : /inter.*\.woff2/i.test(name) ? font : path.join(here, 'dist', path.basename(name));
  if (!fs.existsSync(source)) { response.statusCode = 404; return response.end(); }
  response.setHeader('content-type', types[path.extname(name)] ?? 'application/octet-stream');
  return fs.createReadStream(source).pipe(response);
}).listen(0, '127.0.0.1');
await new Promise((done) => server.once('listening', done));

const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--force-device-scale-factor=1', '--font-render-hinting=none'],
});
try {
  for (current of jobs) {
    const tab = await browser.newPage();
    await tab.setViewport({ width: Number(current.width || 1600), height: 1200 });
    const thrown = [];
    tab.on('pageerror', (error) => thrown.push(String(error.stack || error).slice(0, 500)));
    await tab.goto(`http://127.0.0.1:${server.address().port}/`, { waitUntil: 'domcontentloaded', timeout: 90_000 });
    await tab.waitForFunction(() => window.DRAWN || window.FAILED, { timeout: 180_000, polling: 100 })
      .catch(() => thrown.push('not drawn within three minutes'));
    await tab.evaluate(() => document.fonts.ready);
    await tab.evaluate(() => new Promise((done) => { let left = 20; const next = () => --left ? requestAnimationFrame(next) : done(); next(); }));
    const seen = await tab.evaluate(() => {
      const title = (e) => e.closest('[data-panel]')?.getAttribute('data-panel') ?? '?';
      const all = (selector) => [...document.querySelectorAll(selector)];
      return {
        panels: all('[data-panel]').length,
        nodata: all('[data-nodata]').map(title),
        errors: [...all('[data-error]').map((e) => title(e) + ': ' + e.textContent), ...(window.FAILED ? [window.FAILED] : [])],
        blank: all('canvas').filter((c) => c.width && c.height && !c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((x) => x)).map(title),
        queries: window.QUERIES,
      };
    });
    const picture = UPNG.decode(await tab.screenshot({ fullPage: true })); // 256 colours: two fifths of the size
    fs.writeFileSync(current.out, Buffer.from(UPNG.encode(UPNG.toRGBA8(picture), picture.width, picture.height, 256)));
    console.log(JSON.stringify({ out: current.out, ...seen, thrown }));
    if (seen.errors.length || seen.blank.length || thrown.length) process.exitCode = 1;
    await tab.close();
  }
} finally { await browser.close(); server.close(); }
