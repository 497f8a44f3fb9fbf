// Runs the tests of the pages. 77: the host lacks something that they need, which is named.
import { existsSync } from 'node:fs';
import { CHROMIUM } from './fixture.mjs';

function skip(what) {
  console.log(`SKIPPED: missing host capability: ${what}`);
  process.exit(77);
}

if (process.getuid() !== 0) skip('root');
if (!existsSync(CHROMIUM)) skip('chromium (script/bootstrap test)');
if (!existsSync(`${process.env.BUILT_WEB}/index.html`)) {
  console.log('the pages are not built: build the target browser_pages first, as script/test does');
  process.exit(1);
}
await import('./pages.mjs');
