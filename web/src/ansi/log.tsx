// Shows a Screen. Everything that a program printed becomes text nodes and classes; nothing of it is ever read as markup.
import type { JSX } from 'preact';
import { memo } from 'preact/compat';
import { useEffect, useLayoutEffect, useReducer, useRef, useState } from 'preact/hooks';
import { count } from '../format';
import { css, legible, textOn } from './colour';
import { firstDrawn, type Line, Screen, type Span, type Style } from './screen';

const CHUNK_LINES = 100; // drawn together, and not again while they stay the same
const SHOWN_LINES = 2_000;
const SHOWN_SPANS = 20_000; // each may be an element; a page with many more of them answers no key and no click
const DRAW_MS = 60; // at most so often while output streams

/** Bytes in, changes told at a pace that a browser can draw. */
export class LogSource {
  screen = new Screen();
  bytes = 0;
  #decoder = new TextDecoder();
  #listeners = new Set<() => void>();
  #timer = 0;

  push(bytes: Uint8Array): void {
    this.bytes += bytes.length;
    this.screen.push(this.#decoder.decode(bytes, { stream: true }));
    this.#changed();
  }
  reset(): void {
    this.screen = new Screen();
    this.bytes = 0;
    this.#decoder = new TextDecoder();
    this.#changed();
  }
  /** Takes part of a stream that begins at `offset`: what is known already is left out, and a new beginning clears. */
  pushAt(offset: number, bytes: Uint8Array): void {
    if (offset === 0 && this.bytes > 0) this.reset();
    const known = this.bytes - offset;
    if (known < bytes.length) this.push(known > 0 ? bytes.subarray(known) : bytes);
  }
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
  #changed(): void {
    if (this.#timer !== 0) return;
    this.#timer = window.setTimeout(() => {
      this.#timer = 0;
      for (const listener of this.#listeners) listener();
    }, DRAW_MS);
  }
}

function classesOf(style: Style): string {
  const classes: string[] = [];
  const { bold, dim, italic, underline, strike, inverse, fg, bg } = style;
  const coloured = inverse === true || bg !== undefined;
  if (bold) classes.push('s-bold');
  if (dim && fg === undefined && !coloured) classes.push('s-dim');
  if (italic) classes.push('s-italic');
  if (underline) classes.push('s-underline');
  if (strike) classes.push('s-strike');
  if (inverse) classes.push('s-inverse');
  else if (typeof bg === 'number') classes.push('on-colour', `b${bg}`); // its colour of text may not be legible on it: ours is
  if (!coloured && typeof fg === 'number') classes.push(`f${fg}`);
  return classes.join(' ');
}

function SpanOf({ span }: { span: Span }): JSX.Element {
  const { style, text } = span;
  const name = classesOf(style);
  const colours: JSX.CSSProperties = {};
  if (style.inverse !== true && style.bg === undefined && typeof style.fg === 'object') colours.color = legible(style.fg);
  if (style.inverse !== true && typeof style.bg === 'object') {
    colours.backgroundColor = css(style.bg);
    colours.color = textOn(style.bg);
  }
  if (name === '' && Object.keys(colours).length === 0) return <>{text}</>;
  return <span class={name} style={colours}>{text}</span>;
}

function LineOf({ line }: { line: Line }): JSX.Element {
  return (
    <div class="line">
      {line.spans.map((span, i) => <SpanOf key={i} span={span} />)}
      {line.cut > 0 && <span class="cut"> … {count(line.cut, 'more character')} in this line</span>}
    </div>
  );
}

const Chunk = memo(
  function ChunkOf({ lines }: { lines: Line[]; stamp: string }): JSX.Element {
    return <div class="chunk">{lines.map((line, i) => <LineOf key={i} line={line} />)}</div>;
  },
  (before, after) => before.stamp === after.stamp,
);

/** Chunks begin at fixed places of the whole output, so that a chunk stays the same while lines are added and dropped. */
function chunksOf(screen: Screen, first: number): { key: number; lines: Line[]; stamp: string }[] {
  const chunks: { key: number; lines: Line[]; stamp: string }[] = [];
  const last = screen.lines[screen.lines.length - 1];
  const total = screen.lines.length - (last?.length === 0 && last.cut === 0 ? 1 : 0); // output ends with a newline: no empty line after it
  for (let at = first; at < total; ) {
    const number = Math.floor((screen.dropped + at) / CHUNK_LINES);
    const end = Math.min(total, (number + 1) * CHUNK_LINES - screen.dropped);
    const lines = screen.lines.slice(at, end);
    const stamp = `${at + screen.dropped}:${lines.length}:${lines.reduce((sum, line) => sum + line.version, 0)}`;
    chunks.push({ key: number, lines, stamp });
    at = end;
  }
  return chunks;
}

export interface LogProps {
  name: string;
  source: LogSource;
  live?: boolean;
  truncated?: boolean;
  onDownload?: (() => Promise<void>) | undefined;
}

export function Log({ name, source, live = false, truncated = false, onDownload }: LogProps): JSX.Element {
  const [, redraw] = useReducer((n: number) => n + 1, 0);
  const [wrap, setWrap] = useState(true);
  const box = useRef<HTMLDivElement>(null);
  const follow = useRef(true);
  useEffect(() => source.listen(() => redraw(undefined as never)), [source]);
  useLayoutEffect(() => {
    if (live && follow.current && box.current !== null) box.current.scrollTop = box.current.scrollHeight;
  });
  const onScroll = (): void => {
    const element = box.current;
    if (element !== null) follow.current = element.scrollHeight - element.scrollTop - element.clientHeight < 40;
  };
  const [refusal, setRefusal] = useState<unknown>();
  const save = (): void => {
    setRefusal(undefined);
    onDownload?.().catch(setRefusal);
  };
  const { screen } = source;
  const first = firstDrawn(screen.lines, SHOWN_LINES, SHOWN_SPANS);
  const hidden = screen.dropped + first;
  return (
    <div class={`log${wrap ? ' wrap' : ''}`} data-log={name} data-bytes={source.bytes}>
      <div class="log-head">
        <span>{name}{source.bytes > 0 && ` · ${source.bytes.toLocaleString('en')} bytes`}{truncated && ' · cut off at the output limit'}</span>
        <span class="row">
          <button type="button" class="plain" aria-pressed={wrap} onClick={() => setWrap(!wrap)}>Wrap lines</button>
          {onDownload !== undefined && <button type="button" class="plain" onClick={save}>Download</button>}
        </span>
      </div>
      {refusal !== undefined && <div class="cut" role="alert">It could not be downloaded: {refusal instanceof Error ? refusal.message : String(refusal)}</div>}
      <div class="lines" ref={box} onScroll={onScroll} tabIndex={0} role="group" aria-label={name}>
        {source.bytes === 0 && <span class="no-output">{live ? 'Nothing yet' : 'Nothing was printed'}</span>}
        {hidden > 0 && <div class="cut">{count(hidden, 'earlier line')} not shown{onDownload !== undefined && '; download it to see all'}</div>}
        {chunksOf(screen, first).map((chunk) => <Chunk key={chunk.key} lines={chunk.lines} stamp={chunk.stamp} />)}
      </div>
    </div>
  );
}
