// What a program prints is shown and does nothing: no markup, no script, no title, no link, no flood that stops the page.
import assert from 'node:assert/strict';
import { test } from './fixture.mjs';

const PROGRAM = String.raw`import sys
print("<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"><svg onload=alert(1)>")
print("</pre></div><iframe src=https://example.com></iframe><a href='javascript:alert(1)'>link</a>")
print("\x1b]0;owned\x07\x1b]8;;javascript:alert(1)\x07text of a link\x1b]8;;\x07\x1b]52;c;b3duZWQ=\x07\x1bPq#0\x1b\\")
print("\x1b[2J\x1b[H\x1b[999;999H\x1b[?1049hafter clearing")
print("user \u202etxt.exe \u2066 \x00 \x07 \x1b[8mconcealed\x1b[0m")
print("\x1b[38;2;251;252;254mwhite on white\x1b[0m")
sys.stdout.flush()
sys.stdout.buffer.write(b"\xff\xfe broken \xc3( bytes\n")
sys.stdout.buffer.flush()
sys.stderr.write("\x1b[31mred</b>\x1b[0m\n")
print("x" * 3000000)
for i in range(60000): print("\x1b[3%dmline %d\x1b[0m" % (i % 8, i))
`;

export function hostileOutput(the) {
  for (const place of ['job page', 'playground']) {
    test(`hostile output, ${place}`, async () => {
      const { server, browser: { page }, browser } = the;
      let log;
      if (place === 'job page') {
        const id = await server.create({ language: 'python', source: PROGRAM });
        await server.finished(id);
        await page.goto(`${server.url}/jobs/${id}`);
        log = page.locator('[data-log="stdout"]');
      } else {
        await page.goto(`${server.url}/`);
        await browser.write(PROGRAM);
        await page.getByRole('button', { name: 'Run', exact: true }).click();
        log = page.locator('[data-log="Output"]');
      }
      await page.locator('[data-verdict="ok"]').waitFor();
      await log.getByText('line 59999', { exact: true }).waitFor();
      const job = await page.evaluate(async () => {
        const id = document.querySelector('[data-job]')?.getAttribute('data-job') ?? location.pathname.split('/')[2];
        return (await fetch(`/v1/jobs/${id}/steps/0/stdout`)).arrayBuffer().then((bytes) => bytes.byteLength);
      });
      assert.equal(Number(await log.getAttribute('data-bytes')), job, 'all of it was taken');
      assert.ok((await page.locator('.line').count()) < 6_000, 'only so many lines are drawn');
      assert.match(await log.locator('.lines > .cut').textContent(), /earlier lines not shown/);
      await page.getByRole('link', { name: 'System' }).click();
      await page.getByRole('heading', { name: 'System', exact: true }).waitFor(); // the page still answers
      assert.match(await page.title(), /^System/);
      browser.expectClean();
    });
  }

  test('hostile text is text, character by character', async () => {
    const { server, browser: { page }, browser } = the;
    const id = await server.create({ language: 'python', source: PROGRAM.replace(/^for .*$/m, '') });
    await server.finished(id);
    await page.goto(`${server.url}/jobs/${id}`);
    const log = page.locator('[data-log="stdout"] .lines');
    await log.getByText('broken').waitFor();
    const lines = (await log.locator('.line').allTextContents()).map((line) => line.slice(0, 200));
    assert.equal(lines[0], '<script>document.title=\'owned\'</script><img src=x onerror="document.title=\'owned\'"><svg onload=alert(1)>');
    assert.equal(lines[1], "</pre></div><iframe src=https://example.com></iframe><a href='javascript:alert(1)'>link</a>");
    assert.equal(lines[2], 'text of a link');
    assert.equal(lines[3], 'after clearing');
    assert.equal(lines[4], 'user \u27e8U+202E\u27e9txt.exe \u27e8U+2066\u27e9 \u2400 \u2407 concealed');
    assert.equal(lines[6], '\ufffd\ufffd broken \ufffd( bytes');
    assert.equal(lines[7], 'x'.repeat(200));
    assert.match(await log.locator('.cut').textContent(), /2,995,904 more characters/);
    assert.equal(await log.locator('script, img, svg, iframe, a').count(), 0);
    const contrast = await log.getByText('white on white').evaluate((span) => getComputedStyle(span).color);
    assert.notEqual(contrast, 'rgb(251, 252, 254)');
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true, 'nothing makes the page wider');
    browser.expectClean();
  });

  test('hostile names, labels and messages are text', async () => {
    const { server, browser: { page }, browser } = the;
    const evil = '<img src=x onerror="document.title=1">';
    const id = await server.create({ image: 'host', steps: [{ name: evil, command: ['sh', '-c', 'exit 1'] }], labels: { note: evil } });
    await server.finished(id);
    await page.goto(`${server.url}/jobs/${id}`);
    await page.getByRole('heading', { name: evil }).waitFor();
    assert.equal(await page.locator('main img').count(), 0);
    await page.goto(`${server.url}/jobs`);
    await page.getByText(`note:${evil}`).waitFor();
    assert.equal(await page.locator('main img').count(), 0);
    browser.expectClean();
  });
}
