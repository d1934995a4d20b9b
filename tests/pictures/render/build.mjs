// node build.mjs: bundles src/ into dist/ beside it; run where node_modules is.
import * as esbuild from 'esbuild';

// Grafana's .mjs files import CommonJS packages by default; esbuild takes Node's way there (default = module.exports). Through a .js
// file in between they get Babel's way.
const packages = ['react-window-infinite-loader', 'react-custom-scrollbars-2', 'react-highlight-words', 'tinycolor2',
  'react-virtualized-auto-sizer', 'react-loading-skeleton', 'react-inlinesvg'];
const interop = {
  name: 'interop',
  setup(build) {
    build.onResolve({ filter: new RegExp('^(' + packages.join('|') + ')$') }, (a) =>
      a.importer.endsWith('.mjs') && a.importer.includes('@grafana') ? { path: a.path, namespace: 'shim' } : undefined);
    build.onLoad({ filter: /.*/, namespace: 'shim' }, (a) => ({
      contents: `import d from '${a.path}'; export default d; export * from '${a.path}';`, loader: 'js', resolveDir: process.cwd() }));
  },
};
await esbuild.build({
  entryPoints: ['src/main.tsx'], bundle: true, outfile: 'dist/main.js', format: 'iife', minify: true, plugins: [interop],
  define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
  loader: { '.svg': 'dataurl', '.woff2': 'dataurl', '.png': 'dataurl', '.ttf': 'dataurl' }, logLevel: 'error',
});
