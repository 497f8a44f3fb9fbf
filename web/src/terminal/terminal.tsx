// A terminal on a session whose other end is one too. What the program sends can colour and move, but open no link, set no title and reach no clipboard.
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
  name: string;
  /** What comes before the program begins is no terminal's output: lines of a compiler. */
  begins?: boolean;
  onEnd?(ending: Ending): void;
}

export function endingText(ending: Ending): string {
  if ('exit_code' in ending) return `ended with exit code ${ending.exit_code}`;
  if ('signal' in ending) return `ended by ${signalName(ending.signal)}`;
  if ('error' in ending) return ending.error;
  return ending.closed === '' ? 'the connection ended' : ending.closed;
}

export function Terminal({ path, name, begins = false, onEnd }: TerminalProps): JSX.Element {
  const host = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const styleless = documentWithoutInlineStyle();
    const terminal = new Xterm({
      documentOverride: styleless,
      theme: THEME, fontSize: 13, scrollback: MAX_SCROLLBACK_LINES, screenReaderMode: true, convertEol: begins,
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
      onOpen: () => resize(terminal),
      onBegin: () => {
        terminal.options.convertEol = false;
      },
      onOutput: (_stream, bytes) => terminal.write(bytes),
      onEnd: (ending) => {
        note(endingText(ending));
        terminal.options.disableStdin = true;
        onEnd?.(ending);
      },
    });
    const resize = ({ rows, cols }: { rows: number; cols: number }): void => session.control({ resize: { rows, cols } });
    const encoder = new TextEncoder();
    terminal.onData((text) => session.send(encoder.encode(text)));
    terminal.onBinary((text) => session.send(Uint8Array.from(text, (c) => c.charCodeAt(0))));
    terminal.onResize(resize);
    terminal.focus(); // at once: what is typed before it is connected is sent then
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
