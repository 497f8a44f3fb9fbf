// Edit, run, verdict, job page, live output; and all of it with the keyboard alone.
import assert from 'node:assert/strict';
import { test } from './fixture.mjs';

export function playground(the) {
  test('the first visit finds an empty server, and one click runs something', async () => {
    const { server, browser, browser: { page } } = the;
    await page.goto(`${server.url}/jobs`);
    await page.getByText('Nothing has run here yet').waitFor();
    await page.getByRole('button', { name: 'Run an example' }).click();
    await page.waitForURL(/\/jobs\/[0-9a-z]+$/);
    await page.locator('[data-verdict="ok"]').waitFor();
    await page.locator('[data-log="stdout"]').getByText('Hello, world!', { exact: true }).waitFor();
    browser.expectClean();
  });

  test('edit, run, verdict, job page', async () => {
    const { server, browser, browser: { page } } = the;
    await page.goto(`${server.url}/`);
    await page.getByLabel('Language').selectOption('python');
    await browser.write('name = input()\nprint("begun", name, flush=True)\nprint("\\x1b[32mgreen\\x1b[0m end")\n');
    await page.getByLabel('Standard input').fill('Ada\n');
    await page.getByRole('button', { name: 'Run', exact: true }).click();
    const output = page.locator('[data-log="Output"]');
    await output.getByText('begun Ada').waitFor();
    await page.locator('[data-verdict="ok"]').waitFor();
    assert.equal(await output.locator('.f2').textContent(), 'green');
    const meters = await page.getByRole('meter').evaluateAll((all) => all.map((one) => [one.getAttribute('aria-label'), one.getAttribute('aria-valuetext')]));
    assert.deepEqual(meters.map(([name]) => name), ['CPU time', 'Wall time', 'Memory']);
    assert.match(meters[0][1], / of 10 s$/);
    assert.match(meters[2][1], / of 512 MiB$/);
    await page.getByRole('link', { name: 'Job page' }).click();
    await page.locator('[data-step="0"]').getByText('begun Ada').waitFor();
    const id = new URL(page.url()).pathname.split('/')[2];
    const job = await (await server.call(`/v1/jobs/${id}`)).json();
    assert.equal(job.steps[0].stdout, 'begun Ada\n\x1b[32mgreen\x1b[0m end\n');
    browser.expectClean();
  });

  test('what was written is there again after a reload', async () => {
    const { server, browser, browser: { page } } = the;
    await page.goto(`${server.url}/`);
    await page.locator('.cm-content').getByText('begun').waitFor();
    assert.equal(await page.getByLabel('Standard input').inputValue(), 'Ada\n');
  });

  test('with the keyboard alone', async () => {
    const { server, browser, browser: { page } } = the;
    await page.goto(`${server.url}/`);
    await page.locator('.cm-content').waitFor();
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to the page');
    const focused = () => page.evaluate(() => {
      let element = document.activeElement;
      while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
      return element?.className ?? '';
    });
    for (let i = 0; i < 20 && !(await focused()).includes('cm-content'); ++i) await page.keyboard.press('Tab');
    assert.ok((await focused()).includes('cm-content'), 'the editor is reached with Tab');
    await page.keyboard.press('Control+A');
    await page.keyboard.type('print("keys only")\n');
    await page.keyboard.press('Tab');
    assert.ok((await focused()).includes('cm-content'), 'Tab indents');
    await page.keyboard.press('Shift+Tab');
    await page.keyboard.press('Control+Enter');
    await page.locator('[data-log="Output"]').getByText('keys only').waitFor();
    await page.locator('[data-verdict="ok"]').waitFor();
    await page.keyboard.press('Escape');
    await page.keyboard.press('Tab');
    assert.ok(!(await focused()).includes('cm-content'), 'Escape and Tab leave the editor');
  });

  test('a limit that is exceeded is told in words, with the figure', async () => {
    const { server, browser, browser: { page } } = the;
    await page.goto(`${server.url}/`);
    await page.locator('.cm-content').waitFor();
    await browser.write('while True: pass\n');
    await page.getByText('Arguments, limits, terminal').click();
    await page.getByLabel('CPU time, s').fill('0.3');
    await page.getByRole('button', { name: 'Run', exact: true }).click();
    const verdict = page.locator('[data-verdict="time_limit_exceeded"]');
    await verdict.waitFor();
    assert.match(await verdict.innerText(), /CPU time of 300 ms/);
    await page.getByLabel('CPU time, s').fill('');
  });

  test('output is there while the program runs, and the program can be stopped', async () => {
    const { server, browser, browser: { page } } = the;
    await page.goto(`${server.url}/`);
    await page.locator('.cm-content').waitFor();
    await browser.write('import time\nprint("waiting", flush=True)\ntime.sleep(60)\n');
    await page.getByRole('button', { name: 'Run', exact: true }).click();
    await page.locator('[data-log="Output"]').getByText('waiting').waitFor();
    assert.equal(await page.locator('[data-verdict]').count(), 0);
    assert.equal(await page.getByText('Running', { exact: true }).count(), 1);
    await page.getByRole('button', { name: 'Stop' }).click();
    await page.locator('[data-verdict="cancelled"]').waitFor();
  });

  test('what does not compile shows what the compiler said', async () => {
    const { server, browser, browser: { page } } = the;
    await page.goto(`${server.url}/`);
    await page.locator('.cm-content').waitFor();
    await page.getByLabel('Language').selectOption('c');
    await browser.write('int main(void) { retrun 0; }\n');
    await page.getByRole('button', { name: 'Run', exact: true }).click();
    await page.locator('[data-verdict="compile_error"]').waitFor();
    await page.locator('[data-log="Errors of compile"]').getByText('retrun').first().waitFor();
    await page.getByLabel('Language').selectOption('python');
  });

  test('an interactive program has a terminal: it is typed to, and what its compiler says stands straight', async () => {
    const { server, browser, browser: { page } } = the;
    await page.goto(`${server.url}/`);
    await page.locator('.cm-content').waitFor();
    await browser.write('import os\nname = input("name? ")\nprint("hello", name, os.isatty(1))\ninput()\nprint("bye")\n');
    await page.getByText('Arguments, limits, terminal').click();
    await page.getByRole('checkbox', { name: /Interactive/ }).check();
    await page.getByRole('button', { name: 'Run', exact: true }).click();
    const terminal = page.locator('[data-terminal="Program"]');
    await terminal.locator('.xterm-rows').getByText('name?').waitFor();
    await page.keyboard.type('Ada\n');
    await terminal.locator('.xterm-rows').getByText('hello Ada True').waitFor();
    // On the job's page nobody is pushed out: the terminal there is refused in words while this one is open.
    const id = await page.locator('[data-job]').getAttribute('data-job');
    const other = await page.context().newPage();
    await other.goto(`${server.url}/jobs/${id}`);
    await other.getByRole('button', { name: 'Type to the program' }).click();
    await other.locator('[data-terminal="Program"]').getByText('the connection ended').waitFor();
    await other.close();
    await page.keyboard.type('\n');
    await page.locator('[data-verdict="ok"]').waitFor();
    await page.locator('[data-log="Output"]').getByText('bye').waitFor();
  });

  test('a refused request names every fault', async () => {
    const { server, browser, browser: { page } } = the;
    await page.goto(`${server.url}/`);
    await page.locator('.cm-content').waitFor();
    await page.getByText('Arguments, limits, terminal').click();
    await page.getByLabel('Memory, MiB').fill('999999');
    await page.getByRole('button', { name: 'Run', exact: true }).click();
    await page.getByRole('alert').getByText('/limits/memory_bytes').waitFor();
    await page.getByLabel('Memory, MiB').fill('');
  });
}
