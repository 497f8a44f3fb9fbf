// The frame around every page: navigation, theme, key, and whether the server is there.
import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { onReachability } from './api/client';
import { JobPage } from './pages/job';
import { JobsPage } from './pages/jobs';
import { Playground } from './pages/playground';
import { SystemPage } from './pages/system';
import { type Route, useRoute } from './route';
import { KeyButton } from './ui/key';
import { Boundary, StaleBanner } from './ui/stale';
import { Empty } from './ui/states';
import { ThemeButton } from './ui/theme';

const TITLES: Record<Route['page'], string> = { playground: 'Playground', jobs: 'Jobs', job: 'Job', system: 'System', nowhere: 'Nothing here' };

export function App(): JSX.Element {
  const route = useRoute();
  const main = useRef<HTMLElement>(null);
  const first = useRef(true);
  useEffect(() => {
    document.title = `${TITLES[route.page]} · Bailiff`;
    // Who uses a screen reader or the keyboard goes on where the new page begins.
    if (!first.current) main.current?.focus({ preventScroll: true });
    first.current = false;
  }, [route.page]);
  return (
    <div class="shell">
      <a class="skip" href="#main" onClick={(event) => (event.preventDefault(), main.current?.focus())}>
        Skip to the page
      </a>
      <header class="top">
        <a class="brand" href="/">
          <img src="/icon.svg" alt="" width="26" height="26" /> Bailiff
        </a>
        <nav class="nav" aria-label="Pages">
          <NavLink href="/" here={route.page === 'playground'}>Playground</NavLink>
          <NavLink href="/jobs" here={route.page === 'jobs' || route.page === 'job'}>Jobs</NavLink>
          <NavLink href="/system" here={route.page === 'system'}>System</NavLink>
        </nav>
        <div class="tools">
          <KeyButton />
          <ThemeButton />
        </div>
      </header>
      <OfflineBanner />
      <StaleBanner />
      <main id="main" ref={main} tabIndex={-1}>
        <Boundary key={`${route.page} ${route.page === 'job' ? route.id : ''}`}>
          <PageOf route={route} />
        </Boundary>
      </main>
    </div>
  );
}

function NavLink({ href, here, children }: { href: string; here: boolean; children: ComponentChildren }): JSX.Element {
  return (
    <a href={href} {...(here ? { 'aria-current': 'page' as const } : {})}>
      {children}
    </a>
  );
}

function PageOf({ route }: { route: Route }): JSX.Element {
  switch (route.page) {
    case 'playground':
      return <Playground key={route.from ?? ''} from={route.from} />;
    case 'jobs':
      return <JobsPage />;
    case 'job':
      return <JobPage key={route.id} id={route.id} />;
    case 'system':
      return <SystemPage />;
    default:
      return (
        <Empty page title="Nothing is at this address">
          <a class="button" href="/">Go to the playground</a>
        </Empty>
      );
  }
}

function OfflineBanner(): JSX.Element {
  const [offline, setOffline] = useState(false);
  useEffect(() => onReachability((state) => setOffline(state === 'offline')), []);
  return (
    <div role="status" aria-live="polite">
      {offline && <div class="banner">The server cannot be reached. What you see may be old; it is tried again by itself.</div>}
    </div>
  );
}
