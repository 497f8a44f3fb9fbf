// What changes rarely and many pages need: languages, and the server's own description.
import { useEffect, useState } from 'preact/hooks';
import { json } from '../api/client';
import type { Language, Page, System } from '../api/types';
import { useKeyChanges } from '../ui/key';

export interface Catalogue {
  languages: Language[] | undefined;
  system: System | undefined;
  error: unknown;
  retry(): void;
}

export async function allLanguages(): Promise<Language[]> {
  const items: Language[] = [];
  let path = '/v1/languages';
  for (;;) {
    const page = await json<Page<Language>>(path);
    items.push(...page.items);
    if (page.next_cursor === null || page.next_cursor === undefined) return items;
    path = `/v1/languages?cursor=${encodeURIComponent(page.next_cursor)}`;
  }
}

export function useCatalogue(): Catalogue {
  const [languages, setLanguages] = useState<Language[]>();
  const [system, setSystem] = useState<System>();
  const [error, setError] = useState<unknown>();
  const [round, setRound] = useState(0);
  const key = useKeyChanges();
  useEffect(() => {
    let current = true;
    let timer = 0;
    const fail = (problem: unknown): void => {
      if (!current) return;
      setError(problem);
      timer = window.setTimeout(() => setRound((n) => n + 1), 5_000);
    };
    Promise.all([allLanguages(), json<System>('/v1/system')]).then(([found, about]) => {
      if (!current) return;
      setLanguages(found);
      setSystem(about);
      setError(undefined);
    }, fail);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [round, key]);
  return { languages, system, error, retry: () => setRound((n) => n + 1) };
}
