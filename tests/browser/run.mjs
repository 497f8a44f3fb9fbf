// Runs the tests of the pages. 77: the host lacks something that they need, which is named.
import { existsSync } from 'node:fs';
import { CHROMIUM } from './fixture.mjs';

function skip(what) {
  console.log(`SKIPPED: missing host capability: ${what}`);
  process.exit(77);
}

if (process.getuid() !== 0) skip('root');
if (!existsSync(CHROMIUM)) skip('chromium (script/bootstrap test)');
await import('./pages.mjs');
