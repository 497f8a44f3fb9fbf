// API keys: the first one made in the browser, what is asked for then, a shell with a key, a key that is revoked.
import assert from 'node:assert/strict';
import { test } from './fixture.mjs';

export function keys(the) {
  test('the first key locks the server, and opens it to who has it', async () => {
    const { server, browser: { page }, browser } = the;
    await page.goto(`${server.url}/system`);
    const card = page.getByRole('region', { name: 'API keys' });
    await card.getByText('There are none').waitFor();
    await card.getByLabel('Name').fill('<b>root</b>');
    await card.getByRole('button', { name: 'Make a key' }).click();
    const text = await card.getByRole('status').locator('code').textContent();
    assert.match(text, /^bailiff_[0-9a-f]{16}_[0-9a-f]{64}$/);
    await card.getByRole('cell', { name: '<b>root</b>', exact: true }).waitFor();
    assert.equal((await server.call('/v1/jobs')).status, 401);
    const withKey = (path, body, method = body === undefined ? 'GET' : 'POST') => server.call(path, body, method, { Authorization: `Bearer ${text}` });

    // A shell: the key travels in the name of a protocol.
    const job = await (await withKey('/v1/jobs', { image: 'host', steps: [{ command: 'sleep 200' }], limits: { wall_time_ms: 300000 } })).json();
    await page.goto(`${server.url}/jobs/${job.id}`);
    await page.getByRole('button', { name: /Open a shell/ }).click();
    await page.locator('.xterm-rows').waitFor();
    await page.locator('.xterm-helper-textarea').focus();
    await page.keyboard.type('echo $((6*7))\n');
    await page.locator('.xterm-rows').getByText('42', { exact: true }).waitFor();
    await withKey(`/v1/jobs/${job.id}:cancel`, {});

    // A second one, taken back.
    await page.goto(`${server.url}/system`);
    await card.getByLabel('Name').fill('contest');
    await card.getByRole('button', { name: 'Make a key' }).click();
    await card.getByRole('button', { name: 'Revoke contest', exact: true }).click();
    await card.getByRole('button', { name: 'Revoke contest for good' }).click();
    await card.getByRole('cell', { name: 'revoked', exact: true }).waitFor();
    await card.getByRole('button', { name: 'Revoke <b>root</b>', exact: true }).click();
    await card.getByRole('button', { name: 'Revoke <b>root</b> for good' }).click();
    await card.getByRole('alert').getByText('the last key').waitFor();
    browser.expectClean();

    await page.getByRole('button', { name: 'API key (set)' }).click();
    await page.getByRole('button', { name: 'Use none' }).click();
    await page.goto(`${server.url}/jobs`);
    await page.getByText('This server asks for an API key').first().waitFor();
  });
}
