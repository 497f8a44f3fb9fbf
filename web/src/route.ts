// Addresses of the pages. bailiffd answers each of them with the same document.
import { useEffect, useState } from 'preact/hooks';

export type Route =
  | { page: 'playground'; from?: string }
  | { page: 'jobs' }
  | { page: 'job'; id: string }
  | { page: 'system' }
  | { page: 'nowhere' };

export function parseRoute(path: string, search = ''): Route {
  const parts = path.split('/').filter((part) => part !== '');
  if (parts.length === 0) {
    const from = new URLSearchParams(search).get('from');
    return from === null ? { page: 'playground' } : { page: 'playground', from };
  }
  if (parts.length === 1 && parts[0] === 'jobs') return { page: 'jobs' };
  if (parts.length === 2 && parts[0] === 'jobs' && parts[1] !== undefined) {
    try {
      return { page: 'job', id: decodeURIComponent(parts[1]) };
    } catch {
      return { page: 'nowhere' }; // a "%" with nothing sensible behind it
    }
  }
  if (parts.length === 1 && parts[0] === 'system') return { page: 'system' };
  return { page: 'nowhere' };
}

export function go(path: string, replace = false): void {
  if (replace) history.replaceState(null, '', path);
  else history.pushState(null, '', path);
  dispatchEvent(new PopStateEvent('popstate'));
  if (!replace) scrollTo(0, 0);
}

export function useRoute(): Route {
  const read = (): Route => parseRoute(location.pathname, location.search);
  const [route, setRoute] = useState(read);
  useEffect(() => {
    const update = (): void => setRoute(read());
    addEventListener('popstate', update);
    return () => removeEventListener('popstate', update);
  }, []);
  return route;
}

/** Clicks on links to pages of ours do not load the document again. */
export function followLinks(): void {
  document.addEventListener('click', (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest('a') : null;
    if (link === null || link.target !== '' || link.hasAttribute('download') || link.origin !== location.origin) return;
    if (parseRoute(link.pathname).page === 'nowhere') return;
    event.preventDefault();
    go(link.pathname + link.search);
  });
}
