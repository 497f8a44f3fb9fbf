// How bailiffd serves the built pages: types, caching, compression, policy, and nothing but the build.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import { test } from './fixture.mjs';

const MAX_BUNDLE_BYTES = 400_000;

/** As it is written: fetch would resolve ".." before it asks. */
function rawGet(url, path, headers = {}) {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    http.get({ hostname, port, path, headers }, (answer) => {
      const chunks = [];
      answer.on('data', (chunk) => chunks.push(chunk));
      answer.on('end', () => resolve({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(chunks) }));
    }).on('error', reject);
  });
}

function builtFiles(directory) {
  return readdirSync(directory).flatMap((name) => {
    const path = join(directory, name);
    return statSync(path).isDirectory() ? builtFiles(path) : [path];
  });
}

export function serving(the) {
  const built = process.env.BUILT_WEB;

  test('the document is the same for every page, with a strict policy', async () => {
    const documents = await Promise.all(['/', '/jobs', '/jobs/01abcdef', '/system'].map((path) => rawGet(the.server.url, path)));
    for (const { status, headers, body } of documents) {
      assert.equal(status, 200);
      assert.equal(headers['content-type'], 'text/html; charset=utf-8');
      assert.equal(headers['cache-control'], 'no-cache');
      assert.equal(headers['x-content-type-options'], 'nosniff');
      assert.equal(headers['x-frame-options'], 'DENY');
      const policy = headers['content-security-policy'];
      for (const part of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"])
        assert.ok(policy.split('; ').includes(part), `${part} in ${policy}`);
      assert.ok(!/unsafe|\*|https?:|data:/.test(policy), policy);
      assert.deepEqual(body, documents[0].body);
    }
    const again = await rawGet(the.server.url, '/', { 'If-None-Match': documents[0].headers.etag });
    assert.equal(again.status, 304);
    assert.equal(again.body.length, 0);
  });

  test('every built file is served with its type, compressed for who takes it, and kept for good', async () => {
    const names = readdirSync(join(built, 'assets')).filter((name) => !name.endsWith('.gz'));
    assert.ok(names.length > 10);
    for (const name of names) {
      const plain = await rawGet(the.server.url, `/assets/${name}`);
      assert.equal(plain.status, 200, name);
      assert.match(plain.headers['content-type'], name.endsWith('.js') ? /^text\/javascript/ : /^text\/css/);
      assert.equal(plain.headers['cache-control'], 'public, max-age=31536000, immutable');
      assert.deepEqual(plain.body, readFileSync(join(built, 'assets', name)));
      const packed = await rawGet(the.server.url, `/assets/${name}`, { 'Accept-Encoding': 'br, gzip;q=0.8' });
      assert.equal(packed.headers['content-encoding'], 'gzip');
      assert.equal(packed.headers.vary, 'Accept-Encoding');
      assert.notEqual(packed.headers.etag, plain.headers.etag);
      assert.deepEqual(packed.body, readFileSync(join(built, 'assets', `${name}.gz`)));
    }
    const refused = await rawGet(the.server.url, `/assets/${names[0]}`, { 'Accept-Encoding': 'gzip;q=0' });
    assert.equal(refused.headers['content-encoding'], undefined);
  });

  test('nothing but the build can be asked for', async () => {
    for (const path of ['/../etc/passwd', '/assets/../index.html', '/assets/..%2findex.html', '/assets/%2e%2e/%2e%2e/etc/passwd', '/assets/', '/assets/none.js',
      '/index.html.gz', '/assets', '/jobs/a/b', '/assets/..%5c..%5cetc%5cpasswd', '/.git/config']) {
      const { status, headers, body } = await rawGet(the.server.url, path);
      assert.ok(status === 404 || status === 400, `${path}: ${status}`);
      assert.equal(headers['content-type'], 'application/problem+json');
      assert.ok(!body.includes(built), path);
    }
  });

  test('all files together are within the bound, and name no other host', () => {
    const files = builtFiles(built);
    const compressed = files.filter((path) => path.endsWith('.gz') || !files.includes(`${path}.gz`)).reduce((sum, path) => sum + statSync(path).size, 0);
    assert.ok(compressed <= MAX_BUNDLE_BYTES, `${compressed} bytes`);
    assert.ok(compressed > 50_000, 'there is something in it');
    const document = readFileSync(join(built, 'index.html'), 'utf8');
    for (const [, address] of document.matchAll(/(?:src|href)="([^"]+)"/g)) assert.match(address, /^\/(?!\/)/);
    for (const path of files.filter((path) => path.endsWith('.css'))) assert.ok(!/url\((?!["']?#)/.test(readFileSync(path, 'utf8')), path);
  });
}
