// Every page, light on a desk and dark on a phone: axe finds nothing serious, and nothing is wider than the window.
// BROWSER_SHOTS=DIRECTORY looks at both themes in both sizes, and keeps a picture of each.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { AXE, test } from './fixture.mjs';

const SIZES = { desk: { width: 1280, height: 800 }, phone: { width: 390, height: 844 } };
const shots = process.env.BROWSER_SHOTS;
const LOOKS = shots ? ['light', 'dark'].flatMap((theme) => Object.keys(SIZES).map((size) => [theme, size])) : [['light', 'desk'], ['dark', 'phone']];
const COLOURS = String.raw`import time
for i in range(16): print("\x1b[%dmcolour %d\x1b[0m \x1b[%dmon it\x1b[0m" % (i + 30 if i < 8 else i + 82, i, i + 40 if i < 8 else i + 92))
print("\x1b[38;2;250;220;20mtrue colour\x1b[0m \x1b[48;2;250;220;20mon it\x1b[0m \x1b[2mdim\x1b[0m \x1b[7minverse\x1b[0m", flush=True)
`;

// For the plots: work, memory, a process.
const USE = `
import os
for i in range(6):
    until = time.process_time() + 0.1 * i
    while time.process_time() < until: pass
    held = 'x' * (8000000 * i)
    time.sleep(0.2)
if os.fork() == 0: time.sleep(300)
`;

export function accessible(the) {
  test('axe finds nothing serious on any page', async () => {
    const { server, browser: { page } } = the;
    const jobs = {
      colours: { language: 'python', source: COLOURS },
      tests: { language: 'cpp', source: '#include <iostream>\nint main() { int a, b; std::cin >> a >> b; std::cout << a + b << "\\n"; }', tests: [{ name: 'one', stdin: '1 2', expected: '3' }, { name: 'two', stdin: '1 2', expected: '4' }] },
      compile: { language: 'c', source: 'int main(void) { retrun 0; }' },
      signal: { language: 'c', source: 'int main(void) { volatile int *p = 0; *p = 1; }' },
      memory: { language: 'python', source: 'x = "x" * (1 << 30)' },
    };
    const places = { playground: '/', jobs: '/jobs', nothing: '/jobs?search=zzz', system: '/system', nowhere: '/jobs/none' };
    for (const [name, request] of Object.entries(jobs)) {
      const id = await server.create(request);
      await server.finished(id);
      places[`job-${name}`] = `/jobs/${id}`;
    }
    const running = await server.create({ language: 'python', source: `${COLOURS}${USE}time.sleep(300)`, limits: { wall_time_ms: 400000 }, interactive: { tty: true } });
    places['job-running'] = `/jobs/${running}`;
    const found = [];
    for (const [theme, size] of LOOKS) {
      await page.setViewportSize(SIZES[size]);
      await page.emulateMedia({ colorScheme: theme });
      for (const [name, path] of Object.entries(places)) {
        await page.goto(server.url + path);
        await settle(page, name);
        const label = `${name}-${theme}-${size}`;
        found.push(...(await look(page, label)));
        if (shots) await page.screenshot({ path: join(shots, `${label}.png`), fullPage: true });
      }
    }
    await server.call(`/v1/jobs/${running}:cancel`, {});
    await page.setViewportSize(SIZES.desk);
    await page.emulateMedia({ colorScheme: 'light' });
    assert.deepEqual(found, []);
  }, 300_000);
}

/** Until the page shows what it is about. */
async function settle(page, name) {
  const ready = { playground: '.cm-content', jobs: '.jobs-table', nothing: '.empty', nowhere: '.empty h1', system: '.capabilities tbody tr' };
  await page.locator(ready[name] ?? '[data-step]').first().waitFor();
  if (name === 'system') await page.locator('.plot canvas').waitFor();
  if (name === 'job-running') {
    await page.getByRole('region', { name: 'Namespaces and cgroup' }).waitFor();
    await page.getByRole('region', { name: 'Resource use' }).locator('canvas').first().waitFor();
    await page.getByRole('button', { name: /Open a shell/ }).click();
    await page.getByRole('button', { name: 'Type to the program' }).click();
    await page.locator('.xterm-rows').nth(1).waitFor();
  }
  if (name.startsWith('job-') && name !== 'job-running') await page.locator('[data-verdict]').waitFor();
  if (name === 'job-tests') await page.getByRole('button', { name: 'Show test two' }).click();
}

async function look(page, label) {
  const found = [];
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  if (wider > 0) found.push(`${label}: ${wider} px wider than the window`);
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  for (const { id, impact, nodes } of violations)
    if (impact === 'serious' || impact === 'critical')
      found.push(`${label}: ${id} (${impact}): ${nodes.slice(0, 3).map((node) => `${node.target.join(' ')}: ${node.any[0]?.message ?? ''}`).join('; ')}`);
  return found;
}
