// A terminal on a session. What the program sends can colour and move, but open no link, set no title and reach no clipboard.
import { FitAddon } from '@xterm/addon-fit';
import { Terminal as Xterm } from '@xterm/xterm';
import '@xterm/xterm/css/xterm.css';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import type { Ending } from '../api/channel';
import { signalName } from '../format';
import { documentWithoutInlineStyle, useForRows } from './csp_document';
import { Session } from './session';

const THEME = {
  background: '#10131c', foreground: '#e6e9f2', cursor: '#e6e9f2', selectionBackground: '#31406f',
  black: '#5d6578', red: '#ff8a80', green: '#7fd8a0', yellow: '#f0c674', blue: '#91a7ff', magenta: '#e29bdc', cyan: '#74d3de', white: '#d5daea',
};
const MAX_SCROLLBACK_LINES = 2_000;

export interface TerminalProps {
  /** Where to connect, once the size is known. */
  path(rows: number, cols: number): string;
  /** True: the other end is a terminal of its own. False: it is pipes, so typed lines are shown and sent here. */
  tty: boolean;
  name: string;
  onEnd?(ending: Ending): void;
}

export function endingText(ending: Ending): string {
  if ('exit_code' in ending) return `ended with exit code ${ending.exit_code}`;
  if ('signal' in ending) return `ended by ${signalName(ending.signal)}`;
  if ('error' in ending) return ending.error;
  return ending.closed === '' ? 'the connection ended' : ending.closed;
}

/** Pipes have no line discipline: echo, erase and end of input are done here. */
class LineInput {
  #line = '';
  constructor(readonly write: (text: string) => void, readonly send: (text: string) => void, readonly endInput: () => void) {}
  type(text: string): void {
    for (const character of text) {
      if (character === '\r' || character === '\n') {
        this.write('\r\n');
        this.send(`${this.#line}\n`);
        this.#line = '';
      } else if (character === '\x7f' || character === '\b') {
        if (this.#line === '') continue;
        this.#line = [...this.#line].slice(0, -1).join('');
        this.write('\b \b');
      } else if (character === '\x04') {
        if (this.#line !== '') this.send(this.#line);
        this.#line = '';
        this.endInput();
      } else if (character >= ' ') {
        this.#line += character;
        this.write(character);
      }
    }
  }
}

export function Terminal({ path, tty, name, onEnd }: TerminalProps): JSX.Element {
  const host = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const styleless = documentWithoutInlineStyle();
    const terminal = new Xterm({
      documentOverride: styleless,
      theme: THEME, fontSize: 13, convertEol: !tty, scrollback: MAX_SCROLLBACK_LINES, screenReaderMode: true,
      fontFamily: getComputedStyle(document.documentElement).getPropertyValue('--mono'),
      linkHandler: { activate: () => undefined, allowNonHttpProtocols: false },
    });
    const fit = new FitAddon();
    terminal.loadAddon(fit);
    terminal.open(host.current as HTMLDivElement);
    useForRows(terminal, styleless);
    terminal.textarea?.setAttribute('aria-label', name);
    fit.fit();
    const note = (text: string): void => terminal.write(`\r\n\x1b[2m— ${text.replace(/[^\x20-\x7e]/g, '?')}\x1b[0m\r\n`);
    const session = new Session(path(terminal.rows, terminal.cols), {
      onOpen: () => terminal.focus(),
      onOutput: (_stream, bytes) => terminal.write(bytes),
      onEnd: (ending) => {
        note(endingText(ending));
        terminal.options.disableStdin = true;
        onEnd?.(ending);
      },
    });
    const encoder = new TextEncoder();
    const lines = new LineInput((text) => terminal.write(text), (text) => session.send(encoder.encode(text)), () => {
      note('end of input');
      session.control({ stdin_eof: true });
    });
    terminal.onData((text) => (tty ? session.send(encoder.encode(text)) : lines.type(text)));
    terminal.onBinary((text) => tty && session.send(Uint8Array.from(text, (c) => c.charCodeAt(0))));
    terminal.onResize(({ rows, cols }) => tty && session.control({ resize: { rows, cols } }));
    const resized = new ResizeObserver(() => fit.fit());
    resized.observe(host.current as HTMLDivElement);
    return () => {
      resized.disconnect();
      session.close();
      terminal.dispose();
    };
  }, []);
  return <div class="terminal" ref={host} data-terminal={name} />;
}
