import { describe, expect, it } from 'vitest';
import { firstDrawn, MAX_LINE_LENGTH, MAX_LINES, MAX_SPANS, Screen } from '../src/ansi/screen';

function shown(...pieces: string[]): string[] {
  const screen = new Screen();
  for (const piece of pieces) screen.push(piece);
  return screen.lines.map((line) => line.spans.map((span) => span.text).join(''));
}

describe('colours', () => {
  it('styles what stands between two sequences', () => {
    const screen = new Screen();
    screen.push('a\x1b[1;31mb\x1b[0mc');
    expect(screen.lines[0]?.spans).toEqual([
      { text: 'a', style: {} },
      { text: 'b', style: { bold: true, fg: 1 } },
      { text: 'c', style: {} },
    ]);
  });
  it('goes on where a sequence is cut at any place', () => {
    const whole = 'x\x1b[38;2;1;2;3;48;5;196my\x1b]0;title\x07z\x1b[0m\r\n\x1b[92mok';
    const reference = new Screen();
    reference.push(whole);
    for (let cut = 1; cut < whole.length; ++cut) {
      const screen = new Screen();
      screen.push(whole.slice(0, cut));
      screen.push(whole.slice(cut));
      expect(screen.lines.map((line) => line.spans)).toEqual(reference.lines.map((line) => line.spans));
    }
  });
  it('knows the 256 colours and true colour, within bounds', () => {
    const screen = new Screen();
    screen.push('\x1b[38;5;196ma\x1b[38;5;9mb\x1b[38;2;999;0;5mc\x1b[38;5;255md');
    expect(screen.lines[0]?.spans.map((span) => span.style.fg)).toEqual([[255, 0, 0], 9, [255, 0, 5], [238, 238, 238]]);
  });
  it('survives sequences without sense', () => {
    expect(shown('\x1b[38m\x1b[38;5m\x1b[;;;m\x1b[99999999999999999999mx\x1b[?25l\x1b[<1;2Hy')).toEqual(['xy']);
  });
});

describe('lines', () => {
  it('draws over after a carriage return, as progress bars do', () => {
    expect(shown('10%\r20%\r100%\n')).toEqual(['100%', '']);
    expect(shown('abcdef\rXY')).toEqual(['XYcdef']);
    expect(shown('abcdef\rXY\x1b[K')).toEqual(['XY']);
    expect(shown('abc\b\bX')).toEqual(['aXc']);
  });
  it('ends lines at CR LF and LF alike', () => {
    expect(shown('a\r\nb\nc')).toEqual(['a', 'b', 'c']);
  });
  it('keeps the last lines only and tells how many went', () => {
    const screen = new Screen();
    for (let i = 0; i < 30; ++i) screen.push('line\n'.repeat(1000));
    expect(screen.lines.length).toBeLessThanOrEqual(MAX_LINES * 1.1);
    expect(screen.dropped + screen.lines.length).toBe(30_001);
  });
});

describe('hostile output', () => {
  it('is text, whatever it looks like', () => {
    const text = '<script>alert(1)</script><img src=x onerror=alert(1)>&lt;';
    expect(shown(text)).toEqual([text]);
  });
  it('does nothing with titles, links, clipboard and device strings', () => {
    expect(shown('a\x1b]0;evil\x07b\x1b]8;;javascript:alert(1)\x1b\\c\x1b]52;c;AAAA\x07d\x1bPq#0\x1b\\e\x1b_x\x1b\\f\x1b^x\x1b\\g')).toEqual(['abcdefg']);
  });
  it('cannot swallow what follows with a string that never ends', () => {
    expect(shown('\x1b]0;never ends\nnext line')).toEqual(['', 'next line']);
    expect(shown(`\x1b]0;${'x'.repeat(5_000)}end`)[0]).toMatch(/xend$/);
  });
  it('shows control characters and marks of direction instead of obeying them', () => {
    expect(shown('a\x00b\x07c\x7fd')).toEqual(['a\u2400b\u2407c\u2421d']);
    expect(shown('user\u202etxt.exe')).toEqual(['user\u27e8U+202E\u27e9txt.exe']);
    expect(shown('\u2066x\u2069')).toEqual(['\u27e8U+2066\u27e9x\u27e8U+2069\u27e9']);
  });
  it('cuts a line of megabytes and counts what it cut', () => {
    const screen = new Screen();
    const piece = 'x'.repeat(65_536);
    for (let i = 0; i < 64; ++i) screen.push(piece);
    const line = screen.lines[0];
    expect(screen.lines.length).toBe(1);
    expect(line?.length).toBe(MAX_LINE_LENGTH);
    expect(line?.cut).toBe(64 * 65_536 - MAX_LINE_LENGTH);
  });
  it('stays quick where colours and positions change with every character', () => {
    const screen = new Screen();
    const begun = performance.now();
    screen.push('\x1b[31mx\x1b[32m\x1b[999999C\x1b[1Gy\x1b[1K'.repeat(50_000));
    screen.push('\x1b[31mx\x1b[32my'.repeat(200_000));
    expect(performance.now() - begun).toBeLessThan(5_000);
    expect(screen.lines[0]?.length).toBeLessThanOrEqual(MAX_LINE_LENGTH);
  });
  it('draws over one place again and again with one span', () => {
    const screen = new Screen();
    screen.push('\x1b[31my\r'.repeat(50_000));
    expect(screen.lines[0]?.spans).toEqual([{ text: 'y', style: { fg: 1 } }]);
    screen.push('\x1b[0mlonger\r\x1b[31mab\x1b[31mcd');
    expect(screen.lines[0]?.spans).toEqual([
      { text: 'abcd', style: { fg: 1 } },
      { text: 'er', style: {} },
    ]);
  });
  it('compares colours by what they are', () => {
    const screen = new Screen();
    screen.push('\x1b[38;2;1;2;3mx\x1b[38;5;196;48;2;9;9;9my\x1b[38;5;196;48;2;9;9;9mz');
    expect(screen.lines[0]?.spans.map((span) => span.text)).toEqual(['x', 'yz']);
    const flood = new Screen();
    flood.push('\x1b[38;2;1;2;3mx'.repeat(4_000));
    expect(flood.lines[0]?.spans.length).toBe(1);
  });
  it('has only so many spans in a line, and all of its text', () => {
    const colourful = Array.from({ length: 4_000 }, (_unused, i) => `\x1b[38;2;${i % 256};${i >> 8};7mx`).join('');
    const screen = new Screen();
    screen.push(colourful);
    screen.push(`\r${colourful}`);
    screen.push(`\r${'\x1b[1C\x1b[32my\x1b[33m'.repeat(2_000)}\x1b[1K`);
    const line = screen.lines[0];
    expect(line?.spans.length).toBeLessThanOrEqual(MAX_SPANS);
    expect(line?.length).toBe(4_000);
    expect(line?.spans.reduce((sum, span) => sum + span.text.length, 0)).toBe(4_000);
  });
  it('is drawn within bounds of lines and of spans', () => {
    const plain = new Screen();
    plain.push('line\n'.repeat(3_000));
    expect(firstDrawn(plain.lines, 2_000, 20_000)).toBe(1_001);
    const colourful = new Screen();
    colourful.push(`${'\x1b[31mx\x1b[32my'.repeat(500)}\n`.repeat(1_000));
    const first = firstDrawn(colourful.lines, 2_000, 20_000);
    const spans = colourful.lines.slice(first).reduce((sum, line) => sum + Math.max(1, line.spans.length), 0);
    expect(spans).toBeLessThanOrEqual(20_000);
    expect(spans).toBeGreaterThan(19_000);
    expect(firstDrawn(colourful.lines.slice(0, 1), 2_000, 10)).toBe(0);
    expect(firstDrawn([], 2_000, 10)).toBe(0);
  });
});
