// Output of a program as lines of styled text. What a terminal would do with colours, carriage returns and erasing within a line is done;
// every other control sequence is swallowed, and every control character that is left becomes visible. The result is data, never markup:
// who shows it makes text nodes of it. Memory is bounded by MAX_LINES, MAX_LINE_LENGTH and MAX_SPANS, whatever comes.

export const MAX_LINES = 5_000;
export const MAX_LINE_LENGTH = 4_096;
/** Styles in one line; what follows has the style of the last. Each is an element of the page where it is drawn. */
export const MAX_SPANS = 200;
const MAX_SEQUENCE_LENGTH = 4_096; // of a control sequence or string that does not end; then it is text again
const TAB = 8;

/** Red, green, blue: 0-255. */
export type Rgb = readonly [number, number, number];
/** 0-15: the palette. */
export type Colour = number | Rgb;

export interface Style {
  fg?: Colour;
  bg?: Colour;
  bold?: boolean;
  dim?: boolean;
  italic?: boolean;
  underline?: boolean;
  strike?: boolean;
  inverse?: boolean;
}

export interface Span {
  text: string;
  style: Style;
}

export interface Line {
  spans: Span[];
  length: number;
  /** Characters that did not fit. */
  cut: number;
  /** Changes with the line: what was drawn of it may be kept while this stays. */
  version: number;
}

const PLAIN: Style = Object.freeze({});
type Mode = 'text' | 'escape' | 'csi' | 'string' | 'string_escape' | 'skip_one';

// eslint-disable-next-line no-control-regex
const SPECIAL = /[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g;

function visible(character: string): string {
  const code = character.charCodeAt(0);
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  if (code === 0x7f) return '\u2421';
  // Marks that turn the direction of what follows: shown by their number, so that no line reads as it is not.
  return `\u27e8U+${code.toString(16).toUpperCase().padStart(4, '0')}\u27e9`;
}

function paletteColour(index: number): Colour {
  if (index < 16) return index;
  if (index >= 232) {
    const grey = (index - 232) * 10 + 8;
    return [grey, grey, grey];
  }
  const part = (value: number): number => (value === 0 ? 0 : value * 40 + 55);
  const cube = index - 16;
  return [part(Math.floor(cube / 36)), part(Math.floor(cube / 6) % 6), part(cube % 6)];
}

/** 38;5;n and 38;2;r;g;b, with what of the numbers they used. */
function extendedColour(numbers: number[], at: number): { colour?: Colour; used: number } {
  const byte = (value: number | undefined): number => Math.min(255, Math.max(0, value ?? 0));
  if (numbers[at + 1] === 5) return { colour: paletteColour(byte(numbers[at + 2])), used: 2 };
  if (numbers[at + 1] === 2) {
    return { colour: [byte(numbers[at + 2]), byte(numbers[at + 3]), byte(numbers[at + 4])], used: 4 };
  }
  return { used: 0 };
}

export function restyled(style: Style, numbers: number[]): Style {
  let next: Style = { ...style };
  for (let i = 0; i < numbers.length; ++i) {
    const n = numbers[i] as number;
    if (n === 0) next = {};
    else if (n === 1) next.bold = true;
    else if (n === 2) next.dim = true;
    else if (n === 3) next.italic = true;
    else if (n === 4) next.underline = true;
    else if (n === 7) next.inverse = true;
    else if (n === 9) next.strike = true;
    else if (n === 22) delete next.bold, delete next.dim;
    else if (n === 23) delete next.italic;
    else if (n === 24) delete next.underline;
    else if (n === 27) delete next.inverse;
    else if (n === 29) delete next.strike;
    else if (n >= 30 && n <= 37) next.fg = n - 30;
    else if (n === 39) delete next.fg;
    else if (n >= 40 && n <= 47) next.bg = n - 40;
    else if (n === 49) delete next.bg;
    else if (n >= 90 && n <= 97) next.fg = n - 82;
    else if (n >= 100 && n <= 107) next.bg = n - 92;
    else if (n === 38 || n === 48) {
      const { colour, used } = extendedColour(numbers, i);
      if (colour !== undefined) next[n === 38 ? 'fg' : 'bg'] = colour;
      i += used;
    }
  }
  return next;
}

const sameColour = (a: Colour | undefined, b: Colour | undefined): boolean =>
  a === b || (typeof a === 'object' && typeof b === 'object' && a.every((part, i) => part === b[i]));

const sameStyle = (a: Style, b: Style): boolean =>
  a === b ||
  (sameColour(a.fg, b.fg) &&
    sameColour(a.bg, b.bg) &&
    a.bold === b.bold &&
    a.dim === b.dim &&
    a.italic === b.italic &&
    a.underline === b.underline &&
    a.strike === b.strike &&
    a.inverse === b.inverse);

function slice(spans: Span[], from: number, to: number): Span[] {
  const part: Span[] = [];
  let at = 0;
  for (const span of spans) {
    const text = span.text.slice(Math.max(0, from - at), Math.max(0, to - at));
    if (text !== '') part.push({ text, style: span.style });
    at += span.text.length;
  }
  return part;
}

/** Adds to the last span where it may: the same style, or no room for another. */
function extend(spans: Span[], text: string, style: Style): void {
  const last = spans[spans.length - 1];
  if (last !== undefined && (spans.length >= MAX_SPANS || sameStyle(last.style, style))) last.text += text;
  else spans.push({ text, style });
}

/** In order, with neighbours of one style as one. */
function joined(...parts: Span[][]): Span[] {
  const spans: Span[] = [];
  for (const part of parts) for (const { text, style } of part) if (text !== '') extend(spans, text, style);
  return spans;
}

/** Takes output as it comes. `lines` holds the last MAX_LINES; `dropped` counts those before them. */
export class Screen {
  lines: Line[] = [];
  dropped = 0;
  #style: Style = PLAIN;
  #column = 0;
  #mode: Mode = 'text';
  #sequence = '';

  push(text: string): void {
    if (text !== '' && this.lines.length === 0) this.#newLine();
    let at = 0;
    while (at < text.length) {
      if (this.#mode !== 'text') {
        this.#control(text.charAt(at));
        ++at;
        continue;
      }
      SPECIAL.lastIndex = at;
      const found = SPECIAL.exec(text);
      const end = found === null ? text.length : found.index;
      if (end > at) this.#write(text.slice(at, end));
      if (found !== null) this.#special(found[0]);
      at = end + (found === null ? 0 : 1);
    }
  }

  #special(character: string): void {
    if (character === '\n') this.#newLine();
    else if (character === '\r') this.#column = 0;
    else if (character === '\b') this.#column = Math.max(0, this.#column - 1);
    else if (character === '\t') this.#write(' '.repeat(TAB - (this.#column % TAB)));
    else if (character === '\x1b') this.#enter('escape');
    else if (character === '\x9b') this.#enter('csi');
    else if (character === '\x90' || character === '\x9d' || character === '\x9e' || character === '\x9f') this.#enter('string');
    else this.#write(visible(character));
  }

  #enter(mode: Mode): void {
    this.#mode = mode;
    this.#sequence = '';
  }

  /** One character within a control sequence. */
  #control(character: string): void {
    const code = character.charCodeAt(0);
    this.#sequence += character;
    if (this.#sequence.length > MAX_SEQUENCE_LENGTH) return this.#enter('text');
    if (character === '\x18' || character === '\x1a') return this.#enter('text');
    switch (this.#mode) {
      case 'escape':
        if (character === '[') return this.#enter('csi');
        if (']P^_X'.includes(character)) return this.#enter('string');
        if ('()*+-./#% '.includes(character)) return this.#enter('skip_one');
        return this.#enter('text');
      case 'csi':
        if (character === '\n') {
          this.#enter('text');
          return this.#newLine();
        }
        if (character === '\x1b') return this.#enter('escape');
        if (code >= 0x40 && code <= 0x7e) {
          this.#perform(character, this.#sequence.slice(0, -1));
          return this.#enter('text');
        }
        return;
      case 'string': // to BEL or ESC \: a title, a link, a clipboard write. None of it is shown or done.
        if (character === '\x07' || character === '\x9c') return this.#enter('text');
        if (character === '\n') {
          this.#enter('text');
          return this.#newLine();
        }
        if (character === '\x1b') this.#mode = 'string_escape';
        return;
      case 'string_escape':
        this.#mode = character === '\\' ? 'text' : 'string';
        return;
      default:
        return this.#enter('text');
    }
  }

  #perform(final: string, parameters: string): void {
    if (!/^[\d;:]*$/.test(parameters)) return;
    const numbers = parameters.split(/[;:]/).map((text) => Number.parseInt(text, 10) || 0);
    const count = Math.min(MAX_LINE_LENGTH, Math.max(1, numbers[0] ?? 1));
    if (final === 'm') this.#style = restyled(this.#style, numbers);
    else if (final === 'G') this.#column = count - 1;
    else if (final === 'C') this.#column = Math.min(MAX_LINE_LENGTH, this.#column + count);
    else if (final === 'D') this.#column = Math.max(0, this.#column - count);
    else if (final === 'K') this.#erase(numbers[0] ?? 0);
  }

  #erase(which: number): void {
    const line = this.#last();
    const blank = { text: ' '.repeat(Math.min(this.#column, line.length)), style: PLAIN };
    if (which === 0) line.spans = slice(line.spans, 0, this.#column);
    else if (which === 1) line.spans = joined([blank], slice(line.spans, this.#column, line.length));
    else if (which === 2) line.spans = [];
    line.length = line.spans.reduce((sum, span) => sum + span.text.length, 0);
    ++line.version;
  }

  #last(): Line {
    if (this.lines.length === 0) this.#newLine();
    return this.lines[this.lines.length - 1] as Line;
  }

  #newLine(): void {
    this.lines.push({ spans: [], length: 0, cut: 0, version: 0 });
    this.#column = 0;
    if (this.lines.length <= MAX_LINES + MAX_LINES / 10) return; // in batches: each removal moves every line
    const over = this.lines.length - MAX_LINES;
    this.lines.splice(0, over);
    this.dropped += over;
  }

  #write(text: string): void {
    const line = this.#last();
    ++line.version;
    const room = MAX_LINE_LENGTH - this.#column;
    if (text.length > room) {
      line.cut += text.length - Math.max(0, room);
      text = text.slice(0, Math.max(0, room));
    }
    if (text === '') return;
    if (this.#column > line.length) this.#append(line, ' '.repeat(this.#column - line.length), PLAIN);
    if (this.#column === line.length) {
      this.#append(line, text, this.#style);
    } else {
      const after = slice(line.spans, this.#column + text.length, line.length);
      line.spans = joined(slice(line.spans, 0, this.#column), [{ text, style: this.#style }], after);
      line.length = Math.max(line.length, this.#column + text.length);
    }
    this.#column += text.length;
  }

  #append(line: Line, text: string, style: Style): void {
    extend(line.spans, text, style);
    line.length += text.length;
  }
}

/** Where drawing begins: so many of the last lines as are within both bounds, and always the last. */
export function firstDrawn(lines: Line[], mostLines: number, mostSpans: number): number {
  let first = lines.length;
  for (let spans = 0; first > 0 && lines.length - first < mostLines; --first) {
    spans += Math.max(1, (lines[first - 1] as Line).spans.length);
    if (spans > mostSpans && first < lines.length) break;
  }
  return first;
}
