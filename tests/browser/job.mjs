// The list, a job's page and what can be done there, the system page, and a server that goes away.
import assert from 'node:assert/strict';
import { Server, test } from './fixture.mjs';

const TICKING = 'import time\nfor i in range(600):\n  print("tick", i, flush=True)\n  time.sleep(0.1)\n';

export function aJob(the) {
  test('the list shows jobs as they come, and is filtered and searched', async () => {
    const { server, browser: { page }, browser } = the;
    await page.goto(`${server.url}/jobs`);
    await page.locator('.jobs-table').waitFor();
    const id = await server.create({ language: 'python', source: 'raise SystemExit(3)', labels: { user: '42' } });
    const row = page.getByRole('row').filter({ hasText: id.slice(-8) });
    await row.getByText('Runtime error').waitFor();
    const rows = async () => page.locator('.jobs-table tbody tr').count();
    const all = await rows();
    // Not waitForFunction: where it asks a second time it needs eval, which the pages' policy refuses.
    const single = async () => {
      await page.locator('.jobs-table tbody tr').nth(1).waitFor({ state: 'detached' });
      await page.locator('.jobs-table tbody tr').waitFor();
    };
    await page.getByLabel('Search').fill('user:42');
    await single();
    assert.ok(all > 1);
    await page.getByLabel('Search').fill('');
    await page.getByLabel('Verdict').selectOption('compile_error');
    await single();
    await page.getByLabel('Search').fill('no such thing');
    await page.getByRole('button', { name: 'Show all jobs' }).click();
    await row.getByRole('link').click();
    await page.locator('[data-verdict="runtime_error"]').getByText('exit code 3').waitFor();
    browser.expectClean();
  });

  test('a running job: pause, resume, namespaces, a shell beside it, cancel, run again', async () => {
    const { server, browser: { page }, browser } = the;
    const id = await server.create({ language: 'python', source: TICKING, limits: { wall_time_ms: 120000 } });
    await page.goto(`${server.url}/jobs/${id}`);
    await page.locator('[data-log="stdout"]').getByText('tick 3', { exact: true }).waitFor();
    const card = page.getByRole('region', { name: 'Namespaces and cgroup' });
    for (const type of ['user', 'pid', 'mnt', 'net', 'ipc', 'uts', 'cgroup', 'time']) await card.getByRole('cell', { name: type, exact: true }).waitFor();
    const use = page.getByRole('region', { name: 'Resource use' });
    for (const plot of ['CPU', 'Memory', 'Processes']) await use.getByRole('img', { name: new RegExp(`^${plot} over time`) }).waitFor();
    await page.getByRole('button', { name: 'Pause' }).click();
    await page.getByText('Paused').waitFor();
    await page.getByRole('button', { name: 'Resume' }).click();
    await page.getByRole('button', { name: 'Pause' }).waitFor();
    await page.getByRole('button', { name: /Open a shell/ }).click();
    const terminal = page.locator('[data-terminal="Shell"]');
    await terminal.locator('.xterm-screen').waitFor();
    await terminal.locator('textarea:focus').waitFor({ state: 'attached' }); // what is typed from here on is sent, connected or not
    await page.keyboard.type('echo $((6 * 7)) of $(id -u); printf "\\033[38;2;250;120;20mtrue colour\\033[0m\\n"\n');
    await terminal.locator('.xterm-rows').getByText('42 of 1000').waitFor();
    const colour = await terminal.locator('.xterm-rows span', { hasText: /^true colour$/ }).first().evaluate((span) => getComputedStyle(span).color);
    assert.equal(colour, 'rgb(250, 120, 20)');
    await page.getByRole('button', { name: 'Cancel' }).click();
    await page.locator('[data-verdict="cancelled"]').waitFor();
    await use.getByText('Resource use of run').waitFor();
    await page.getByRole('button', { name: 'Run again' }).click();
    await page.waitForURL((url) => !url.pathname.endsWith(id));
    await page.locator('[data-log="stdout"]').getByText('tick 1', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'Cancel' }).click();
    await page.locator('[data-verdict="cancelled"]').waitFor();
    await page.getByRole('link', { name: 'Open in the playground' }).click();
    await page.locator('.cm-content').getByText('tick').waitFor();
    browser.expectClean();
  });

  test('tests of a job, with what each printed', async () => {
    const { server, browser: { page } } = the;
    const id = await server.create({
      language: 'python', source: 'print(sum(map(int, input().split())))', stop_on_failure: false,
      tests: [{ name: 'small', stdin: '1 2\n', expected: '3\n' }, { name: 'wrong', stdin: '2 2\n', expected: '5\n' }],
    });
    await page.goto(`${server.url}/jobs/${id}`);
    await page.locator('[data-verdict="wrong_answer"]').waitFor();
    const card = page.getByRole('region', { name: 'Tests' });
    await card.getByText('1 of 2 accepted').waitFor();
    await card.getByRole('button', { name: 'Show test wrong' }).click();
    await card.locator('[data-log="stdout of wrong"]').getByText('4', { exact: true }).waitFor();
  });

  test('a job that is not there is said to be so', async () => {
    const { server, browser: { page } } = the;
    await page.goto(`${server.url}/jobs/nothing-here`);
    await page.getByRole('heading', { name: 'There is no such job' }).waitFor();
    await page.goto(`${server.url}/jobs`);
  });

  test('the system page shows slots, languages and what the host can do', async () => {
    const { server, browser: { page }, browser } = the;
    const id = await server.create({ language: 'python', source: TICKING, limits: { wall_time_ms: 120000 } });
    await page.goto(`${server.url}/system`);
    await page.locator('.slot.busy').getByText(id.slice(-8)).waitFor();
    assert.equal(await page.locator('.slot').count(), 2);
    const system = await (await server.call('/v1/system')).json();
    assert.equal(await page.locator('.capabilities tbody tr').count(), system.capabilities.length);
    await page.getByRole('region', { name: 'Languages' }).getByRole('cell', { name: 'Python 3', exact: true }).waitFor();
    await page.getByRole('img', { name: /Queue over time/ }).locator('canvas').waitFor();
    await server.call(`/v1/jobs/${id}:cancel`, {});
    browser.expectClean();
  });

  test('a key is sent with every call of the tab, and kept nowhere else', async () => {
    const { server, browser: { page } } = the;
    await page.goto(`${server.url}/jobs`);
    await page.getByRole('button', { name: 'API key' }).click();
    await page.getByLabel('Key', { exact: true }).fill('sesame');
    const asked = page.waitForRequest((request) => request.url().includes('/v1/jobs') && request.headers().authorization === 'Bearer sesame');
    await page.getByRole('button', { name: 'Use this key' }).click();
    await asked;
    assert.equal(await page.evaluate(() => JSON.stringify(localStorage).includes('sesame') || document.cookie.includes('sesame')), false);
    await page.getByRole('button', { name: 'API key' }).click();
    await page.getByRole('button', { name: 'Use none' }).click();
  });
}

export function deleting(the) {
  test('a finished job is deleted at a second word', async () => {
    const { server, browser: { page }, browser } = the;
    const id = await server.create({ image: 'host', steps: [{ command: ['true'] }] });
    await server.finished(id);
    await page.goto(`${server.url}/jobs/${id}`);
    await page.getByRole('button', { name: 'Delete', exact: true }).click();
    await page.getByRole('button', { name: 'Delete for good' }).click();
    await page.waitForURL(`${server.url}/jobs`);
    assert.equal((await server.call(`/v1/jobs/${id}`)).status, 404);
    browser.expectClean();
  });
}

export function offline(the) {
  test('a part of the pages that is gone after an upgrade is told, and loading again helps', async () => {
    const { server, browser: { page }, browser } = the;
    const gone = /\/assets\/(?!index-)[^/]*\.js$/;
    await page.goto(`${server.url}/jobs`);
    await page.locator('.jobs-table').waitFor();
    await page.route(gone, (route) => route.fulfill({ status: 404, body: '' }));
    await page.getByRole('link', { name: 'Playground' }).click();
    await page.getByText('the pages have changed').waitFor();
    await page.getByRole('link', { name: 'System' }).waitFor();
    await page.unroute(gone);
    await page.locator('.banner').getByRole('button', { name: 'Load again' }).click();
    await page.locator('.cm-content').waitFor();
    assert.equal(await page.getByText('the pages have changed').count(), 0);
    browser.faults.splice(0); // the parts that were not there
    browser.expectClean();
  });

  test('a server that goes away is told, and one that comes back is noticed', async () => {
    const { server, browser: { page } } = the;
    await page.goto(`${server.url}/jobs`);
    await page.locator('.jobs-table').waitFor();
    const port = new URL(server.url).port;
    await server.stop();
    await page.getByText('The server cannot be reached. What you see may be old').waitFor();
    assert.ok((await page.locator('.jobs-table tbody tr').count()) > 0, 'what was read last stays');
    the.server = await Server.start(port);
    await page.getByText('What you see may be old').waitFor({ state: 'detached', timeout: 30_000 });
  });
}
