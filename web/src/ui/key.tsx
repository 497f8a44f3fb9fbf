import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { apiKey, onKeyChange } from '../api/client';
import { Icon } from './icon';

/** Where a server asks for keys, this is where one is given. It stays in this tab. */
export function KeyButton(): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  const [key, setKey] = useState(apiKey.get());
  useEffect(() => onKeyChange(() => setKey(apiKey.get())), []);
  const save = (event: Event): void => {
    event.preventDefault();
    const field = (event.target as HTMLFormElement).elements.namedItem('key') as HTMLInputElement;
    apiKey.set(field.value.trim());
    dialog.current?.close();
  };
  const name = key === '' ? 'API key' : 'API key (set)';
  return (
    <>
      <button type="button" class="plain" aria-label={name} title={name} onClick={() => dialog.current?.showModal()}>
        <Icon name="key" />
        {key !== '' && <span class="small">set</span>}
      </button>
      <dialog ref={dialog} aria-labelledby="key-title">
        <form onSubmit={save}>
          <h2 id="key-title">API key</h2>
          <p class="small muted">Sent with every call of this tab and forgotten when the tab is closed. A server that listens on this machine only needs none.</p>
          <label class="stacked">
            Key
            <input name="key" type="password" autocomplete="off" spellcheck={false} defaultValue={key} />
          </label>
          <div class="row">
            <button type="submit" class="primary">Use this key</button>
            <button type="button" onClick={() => (apiKey.set(''), dialog.current?.close())}>Use none</button>
          </div>
        </form>
      </dialog>
    </>
  );
}

/** The number of times the key was changed: pages read again with a new one. */
export function useKeyChanges(): number {
  const [count, setCount] = useState(0);
  useEffect(() => onKeyChange(() => setCount((n) => n + 1)), []);
  return count;
}
