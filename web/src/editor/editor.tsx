// The code editor. It stands in a shadow root, where CodeMirror's styles are a constructed sheet: the Content-Security-Policy allows no
// inline style elements.
import { closeBrackets, closeBracketsKeymap } from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap, indentWithTab } from '@codemirror/commands';
import { bracketMatching, HighlightStyle, indentOnInput, indentUnit, syntaxHighlighting } from '@codemirror/language';
import { highlightSelectionMatches, searchKeymap } from '@codemirror/search';
import { Compartment, EditorState } from '@codemirror/state';
import { drawSelection, EditorView, highlightActiveLine, highlightActiveLineGutter, highlightSpecialChars, keymap, lineNumbers } from '@codemirror/view';
import { tags } from '@lezer/highlight';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { syntaxOf } from './modes';

const theme = EditorView.theme({
  '&': { height: '100%', fontSize: '13.5px', color: 'var(--text)', backgroundColor: 'var(--code-bg)' },
  '&.cm-focused': { outline: '2px solid var(--focus)', outlineOffset: '-2px' },
  '.cm-scroller': { fontFamily: 'var(--mono)', lineHeight: '1.5', overflow: 'auto' },
  '.cm-content': { caretColor: 'var(--text)' },
  '.cm-cursor': { borderLeftColor: 'var(--text)' },
  '.cm-gutters': { backgroundColor: 'var(--code-bg)', color: 'var(--k-comment)', borderRight: '1px solid var(--line)' },
  '.cm-activeLine, .cm-activeLineGutter': { backgroundColor: 'color-mix(in srgb, var(--accent) 7%, transparent)' },
  '&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground': { backgroundColor: 'var(--selection)' },
  '.cm-selectionMatch': { backgroundColor: 'color-mix(in srgb, var(--accent) 20%, transparent)' },
  '&.cm-focused .cm-matchingBracket': { backgroundColor: 'color-mix(in srgb, var(--good) 28%, transparent)' },
  '.cm-panels': { backgroundColor: 'var(--surface)', color: 'var(--text)', borderColor: 'var(--line)' },
  '.cm-panel input, .cm-panel button': { color: 'var(--text)', backgroundColor: 'var(--surface)', backgroundImage: 'none', border: '1px solid var(--line-strong)' },
});

const colours = HighlightStyle.define([
  { tag: [tags.keyword, tags.controlKeyword, tags.modifier], color: 'var(--k-keyword)' },
  { tag: [tags.string, tags.special(tags.string), tags.regexp, tags.character], color: 'var(--k-string)' },
  { tag: [tags.number, tags.bool, tags.atom, tags.null], color: 'var(--k-number)' },
  { tag: [tags.comment, tags.meta], color: 'var(--k-comment)', fontStyle: 'italic' },
  { tag: [tags.typeName, tags.className, tags.standard(tags.name)], color: 'var(--k-type)' },
  { tag: [tags.definition(tags.variableName), tags.function(tags.variableName)], color: 'var(--k-name)' },
]);

export interface EditorProps {
  language: string;
  /** What it begins with, and again whenever `revision` changes. In between the editor alone knows: what is typed is told by onChange, and
   *  never written back, for by then more may have been typed. */
  value: string;
  revision: string;
  name: string;
  onChange(value: string): void;
  onRun(): void;
}

export function Editor(props: EditorProps): JSX.Element {
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView>();
  const latest = useRef(props);
  latest.current = props;
  const syntax = useRef(new Compartment());

  useEffect(() => {
    const element = host.current as HTMLDivElement;
    const root = element.shadowRoot ?? element.attachShadow({ mode: 'open' });
    const box = document.createElement('div');
    box.style.height = '100%';
    root.replaceChildren(box);
    const run = { key: 'Mod-Enter', run: () => (latest.current.onRun(), true) };
    const editor = new EditorView({
      root,
      parent: box,
      state: EditorState.create({
        doc: latest.current.value,
        extensions: [
          keymap.of([run, indentWithTab, ...closeBracketsKeymap, ...defaultKeymap, ...searchKeymap, ...historyKeymap]),
          lineNumbers(), highlightActiveLineGutter(), highlightSpecialChars(), history(), drawSelection(), indentOnInput(), bracketMatching(),
          closeBrackets(), highlightActiveLine(), highlightSelectionMatches(), indentUnit.of('    '), EditorState.tabSize.of(4),
          syntaxHighlighting(colours), theme, syntax.current.of([]),
          EditorView.contentAttributes.of({ 'aria-label': latest.current.name, tabindex: '0', spellcheck: 'false', autocapitalize: 'off' }),
          EditorView.updateListener.of((update) => {
            if (update.docChanged) latest.current.onChange(update.state.doc.toString());
          }),
        ],
      }),
    });
    view.current = editor;
    return () => editor.destroy();
  }, []);

  useEffect(() => {
    const editor = view.current;
    const { value } = latest.current;
    if (editor === undefined || editor.state.doc.toString() === value) return;
    editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: value } });
  }, [props.revision]);

  useEffect(() => {
    let current = true;
    void syntaxOf(props.language).then((extension) => {
      if (current) view.current?.dispatch({ effects: syntax.current.reconfigure(extension) });
    }, () => undefined); // without its colours it is an editor still; a banner tells that a part is missing
    return () => {
      current = false;
    };
  }, [props.language]);

  return (
    <div class="editor">
      <div class="host" ref={host} />
    </div>
  );
}
