// The real bailiffd with the built pages, and Debian's Chromium looking at it. One of each for all tests: they run in order.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test as nodeTest } from 'node:test';

const require = createRequire(new URL('../../web/package.json', import.meta.url));
export const AXE = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const START_MS = 90_000;
const TEST_MS = 90_000;

/** Each has a deadline. BROWSER_ONLY=WORDS runs only those whose name has them. */
export function test(name, body, timeout = TEST_MS) {
  if (!name.includes(process.env.BROWSER_ONLY ?? '')) return;
  nodeTest(name, { timeout }, body);
}

export const CHROMIUM = '/usr/bin/chromium';
const CHROMIUM_FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];

const directory = mkdtempSync(join(tmpdir(), 'bailiff-browser-'));
chmodSync(directory, 0o755);

/** No server outlives the test, however that ends. bailiffd changes its user, which voids a death signal: a process of its own watches,
 *  whose input ends with ours. */
function endWithTest(server) {
  const watch = spawn('sh', ['-c', 'cat >/dev/null; kill -TERM "$1"', 'sh', String(server.pid)], { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
  watch.stdin.on('error', () => undefined);
  watch.unref();
  watch.stdin.unref?.();
  const end = () => server.kill('SIGTERM');
  process.on('exit', end);
  server.on('exit', () => {
    process.off('exit', end);
    watch.kill('SIGKILL');
  });
}
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => process.exit(1));

export class Server {
  /** Resolves once it listens; `port` 0 picks one. */
  static async start(port = 0) {
    const server = new Server();
    const program = process.env.BAILIFFD;
    const args = [
      '--listen', `127.0.0.1:${port}`, '--data', join(directory, 'data'), '--cgroup-parent', `bailiff-browser-${process.pid}`,
      '--languages', process.env.LANGUAGES, '--web', process.env.BUILT_WEB, '--slots', '2', '--drain-seconds', '3',
    ];
    server.process = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: process.env.PATH } });
    endWithTest(server.process);
    server.log = '';
    server.process.stderr.on('data', (text) => (server.log = (server.log + text).slice(-20_000)));
    server.ended = new Promise((resolve) => server.process.on('exit', resolve));
    server.url = await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`bailiffd does not listen\n${server.log}`)), START_MS);
      let text = '';
      server.process.stdout.on('data', (more) => {
        text += more;
        const found = /listening on (\S+)\n/.exec(text);
        if (found) resolve(clearTimeout(timer) ?? found[1]);
      });
      server.process.on('exit', (code) => reject(new Error(`bailiffd ended with ${code}\n${server.log}`)));
    });
    return server;
  }
  async stop() {
    this.process.kill('SIGTERM');
    const hurry = setTimeout(() => this.process.kill('SIGKILL'), 40_000);
    await this.ended;
    clearTimeout(hurry);
  }
  async call(path, body, method = body === undefined ? 'GET' : 'POST', headers = {}) {
    const init = { method, headers: { ...headers, ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) } };
    if (body !== undefined) init.body = JSON.stringify(body);
    return fetch(this.url + path, init);
  }
  /** The id of a new job. */
  async create(request) {
    const answer = await this.call('/v1/jobs', request);
    const job = await answer.json();
    assert.equal(answer.status, 202, JSON.stringify(job));
    return job.id;
  }
  async finished(id) {
    const job = await (await this.call(`/v1/jobs/${id}`, undefined, 'GET', { Prefer: 'wait=60' })).json();
    assert.equal(job.state, 'finished');
    return job;
  }
}

/** A window of its own, with what went wrong in it. */
export class Browser {
  static async start() {
    const { chromium } = require('playwright-core');
    const browser = new Browser();
    browser.context = await chromium.launchPersistentContext(mkdtempSync(join(directory, 'profile-')), {
      executablePath: CHROMIUM, args: CHROMIUM_FLAGS, headless: true, viewport: { width: 1280, height: 800 },
    });
    browser.context.setDefaultTimeout(20_000);
    browser.page = browser.context.pages()[0] ?? (await browser.context.newPage());
    browser.faults = [];
    browser.foreign = [];
    // Chromium's own editing puts a style attribute on what it inserts into the editor; the policy refuses it, and nothing is lost.
    await browser.page.addInitScript(() =>
      document.addEventListener('securitypolicyviolation', (event) => {
        const { violatedDirective, blockedURI, sourceFile, lineNumber, target } = event;
        if (violatedDirective === 'style-src-attr' && target?.className === 'host') return;
        console.error('policy:', violatedDirective, blockedURI, sourceFile, lineNumber, target?.outerHTML?.slice(0, 200));
      }, true));
    browser.page.on('pageerror', (error) => browser.faults.push(`exception: ${error.message}`));
    browser.page.on('dialog', (dialog) => {
      browser.faults.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    browser.page.on('console', (message) => {
      if (message.type() === 'error' && !/Failed to load resource|ERR_CONNECTION|net::|^Applying inline style violates/.test(message.text())) browser.faults.push(message.text());
    });
    browser.context.on('request', (request) => {
      if (!/^(blob|data|about):/.test(request.url()) && new URL(request.url()).hostname !== '127.0.0.1') browser.foreign.push(request.url());
    });
    return browser;
  }
  async stop() {
    await this.context.close();
  }
  /** Replaces what stands in the editor, by pasting. */
  async write(source) {
    const { page } = this;
    await page.locator('.cm-content').click();
    await page.keyboard.press('Control+A');
    await page.locator('.cm-content').evaluate((element, text) => {
      const data = new DataTransfer();
      data.setData('text/plain', text);
      element.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }));
    }, source);
  }
  /** Nothing failed, nothing was refused by the policy, nothing was asked from elsewhere since the last look. */
  expectClean() {
    const [faults, foreign] = [this.faults.splice(0), this.foreign.splice(0)];
    assert.deepEqual({ faults, foreign }, { faults: [], foreign: [] });
  }
}

process.on('exit', cleanUp);

export function cleanUp() {
  rmSync(directory, { recursive: true, force: true });
}
