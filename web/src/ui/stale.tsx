// Parts of the pages are loaded when they are needed. After an upgrade of the server the old parts are gone, and only loading the pages
// again helps: that is told, whatever part it was, instead of an empty page.
import { Component, type ComponentChildren, type JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { Failure } from './states';

let stale = false;

/** Vite tells of every part that could not be loaded. */
export function noticeStaleParts(): void {
  addEventListener('vite:preloadError', () => {
    stale = true;
    dispatchEvent(new Event('bailiff-stale'));
  });
}

export function StaleBanner(): JSX.Element {
  const [shown, setShown] = useState(stale);
  useEffect(() => {
    const show = (): void => setShown(true);
    addEventListener('bailiff-stale', show);
    return () => removeEventListener('bailiff-stale', show);
  }, []);
  return (
    <div role="status" aria-live="polite">
      {shown && (
        <div class="banner">
          A part of this page could not be loaded: the pages have changed, or the server cannot be reached.{' '}
          <button type="button" onClick={() => location.reload()}>Load again</button>
        </div>
      )}
    </div>
  );
}

/** What fails while it is drawn leaves navigation as it is. Give it a `key` for each page: another page is tried anew. */
export class Boundary extends Component<{ children: ComponentChildren }, { error: unknown }> {
  override state = { error: undefined };
  static override getDerivedStateFromError(error: unknown): { error: unknown } {
    return { error: error ?? new Error('unknown') };
  }
  override render(): ComponentChildren {
    if (this.state.error === undefined) return this.props.children;
    return <Failure error={this.state.error} retry={() => location.reload()} />;
  }
}
