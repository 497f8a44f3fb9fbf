// Pick a language, write, run, see what happened.
import { lazy, Suspense } from 'preact/compat';
import type { JSX } from 'preact';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { act, contentText, createJob, json } from '../api/client';
import type { JobRequest, Language } from '../api/types';
import { Icon } from '../ui/icon';
import { Failure, Loading } from '../ui/states';
import { useCatalogue } from './catalogue';
import { type Draft, loadDraft, saveDraft, words } from './draft';
import { chosenLimits, LIMIT_FIELDS, shownLimit } from './limit_fields';
import { RunView } from './run_view';
import { FIRST_LANGUAGE, FIRST_STDIN, sampleOf } from './samples';
import { useRun } from './run';

const Editor = lazy(() => import('../editor/editor').then((module) => module.Editor));

const asText = (content: JobRequest['stdin']): string => contentText(content);

function draftOf(request: JobRequest, languages: Language[]): Partial<Draft> {
  const language = languages.find((one) => one.name === request.language || one.aliases.includes(request.language ?? ''));
  if (language === undefined) return {};
  const source = request.source ?? request.files?.[language.source_file];
  return { language: language.name, sources: { [language.name]: asText(source) }, stdin: asText(request.stdin), args: (request.args ?? []).join(' ') };
}

export function Playground({ from }: { from?: string | undefined }): JSX.Element {
  const { languages, system, error, retry } = useCatalogue();
  const [draft, setDraft] = useState<Partial<Draft>>(loadDraft);
  const [loaded, setLoaded] = useState(0);
  const [fromError, setFromError] = useState<unknown>();
  useEffect(() => {
    if (from === undefined || languages === undefined) return;
    json<JobRequest>(`/v1/jobs/${encodeURIComponent(from)}/request`).then((request) => {
      const other = draftOf(request, languages);
      setDraft((own) => ({ ...own, ...other, sources: { ...own.sources, ...other.sources } }));
      setLoaded((n) => n + 1);
    }, setFromError);
  }, [from, languages]);
  if (error !== undefined && languages === undefined) return <Failure error={error} retry={retry} />;
  if (languages === undefined) return <div class="card"><Loading what="languages" /></div>;
  if (languages.length === 0)
    return (
      <div class="notice">
        <strong>This server offers no language.</strong>
        <span>None of the languages that it has definitions of works on its machine. <a href="/system">System</a> shows what it found.</span>
      </div>
    );
  return (
    <>
      <h1 class="unseen">Playground</h1>
      {fromError !== undefined && <Failure error={fromError} />}
      <Bench loaded={loaded} languages={languages} draft={draft} setDraft={setDraft} defaults={system?.limits.default} ceiling={system?.limits.ceiling} />
    </>
  );
}

interface BenchProps {
  /** How often a program was put here from elsewhere. */
  loaded: number;
  languages: Language[];
  draft: Partial<Draft>;
  setDraft(change: (draft: Partial<Draft>) => Partial<Draft>): void;
  defaults: Record<string, number> | undefined;
  ceiling: Record<string, number> | undefined;
}

function Bench({ loaded, languages, draft, setDraft, defaults, ceiling }: BenchProps): JSX.Element {
  const fallback = languages.find((one) => one.name === FIRST_LANGUAGE) ?? (languages[0] as Language);
  const language = languages.find((one) => one.name === draft.language) ?? fallback;
  const source = draft.sources?.[language.name] ?? sampleOf(language);
  const stdin = draft.stdin ?? FIRST_STDIN;
  const args = draft.args ?? '';
  const limits = draft.limits ?? {};
  const [id, setId] = useState<string>();
  const [interactive, setInteractive] = useState(false);
  const [resets, setResets] = useState(0);
  const [starting, setStarting] = useState(false);
  const [error, setError] = useState<unknown>();
  const run = useRun(id);
  const result = useRef<HTMLDivElement>(null);
  const busy = starting || (id !== undefined && run.job?.state !== 'finished' && run.error === undefined);
  // Before the browser draws: who leaves the page at once loses nothing.
  useLayoutEffect(() => saveDraft({ language: language.name, sources: { ...draft.sources, [language.name]: source }, stdin, args, limits }), [language, source, stdin, args, limits]);
  const effective = useMemo(() => ({ ...defaults, ...language.limits, ...chosenLimits(limits) }), [defaults, language, limits]);

  const start = (): void => {
    if (busy) return;
    const request: JobRequest = { language: language.name, source, labels: { from: 'playground' } };
    if (interactive) {
      request.interactive = { tty: true };
    } else if (stdin !== '') {
      request.stdin = stdin;
    }
    if (args.trim() !== '') request.args = words(args);
    const chosen = chosenLimits(limits);
    if (Object.keys(chosen).length > 0) request.limits = chosen;
    setStarting(true);
    // On a phone it stands below all that was written.
    const { top } = result.current?.getBoundingClientRect() ?? { top: 0 };
    if (top > innerHeight / 2) result.current?.scrollIntoView({ behavior: matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth' });
    setError(undefined);
    setId(undefined);
    createJob(request).then((job) => setId(job.id), setError).finally(() => setStarting(false));
  };
  const edit = (value: string): void => setDraft((own) => ({ ...own, sources: { ...own.sources, [language.name]: value } }));
  const startOver = (): void => {
    change({ sources: { ...draft.sources, [language.name]: sampleOf(language) } });
    setResets((n) => n + 1);
  };
  const change = (part: Partial<Draft>): void => setDraft((own) => ({ ...own, ...part }));

  return (
    <div class="playground">
      <div class="column">
        <div class="row spread">
          <label>
            <span class="unseen">Language</span>
            <select value={language.name} onChange={(event) => change({ language: event.currentTarget.value })}>
              {languages.map((one) => <option key={one.name} value={one.name}>{one.title || one.name}</option>)}
            </select>
          </label>
          <span class="hint grow break">{language.version}</span>
          {draft.sources?.[language.name] !== undefined && source !== sampleOf(language) && (
            <button type="button" class="plain" onClick={startOver}>Start over</button>
          )}
          {busy && id !== undefined ? (
            <button type="button" class="danger" onClick={() => void act(id, 'cancel').catch(setError)}><Icon name="stop" /> Stop</button>
          ) : (
            <button type="button" class="primary" disabled={busy} onClick={start} aria-keyshortcuts="Control+Enter"><Icon name="play" /> Run</button>
          )}
        </div>
        <Suspense fallback={<div class="editor"><Loading what="the editor" /></div>}>
          <Editor name={`Source, ${language.title}`} language={language.name} value={source} revision={`${language.name} ${loaded} ${resets}`} onRun={start} onChange={edit} />
        </Suspense>
        <p class="hint"><kbd>Ctrl</kbd> <kbd>Enter</kbd> runs it. <kbd>Esc</kbd>, then <kbd>Tab</kbd> leaves the editor.</p>
        {!interactive && (
          <label class="stacked">
            Standard input
            <textarea rows={3} spellcheck={false} value={stdin} onInput={(event) => change({ stdin: event.currentTarget.value })} />
          </label>
        )}
        <details>
          <summary>Arguments, limits, terminal</summary>
          <div class="stack-tight fields">
            <label class="stacked">
              Arguments
              <input value={args} spellcheck={false} onInput={(event) => change({ args: event.currentTarget.value })} />
            </label>
            <div class="limits">
              {LIMIT_FIELDS.map((field) => (
                <label class="stacked" key={field.name}>
                  {field.label}
                  <input type="number" inputmode="decimal" min="0" step={field.step} max={shownLimit(field, ceiling) || undefined} value={limits[field.name] ?? ''}
                    placeholder={shownLimit(field, { ...defaults, ...language.limits })}
                    onInput={(event) => change({ limits: { ...limits, [field.name]: event.currentTarget.value } })} />
                </label>
              ))}
            </div>
            <label><input type="checkbox" checked={interactive} onChange={(event) => setInteractive(event.currentTarget.checked)} /> Interactive: type to it while it runs, in a terminal</label>
          </div>
        </details>
      </div>
      <div class="column result" ref={result}>
        {error !== undefined && <Failure error={error} />}
        <RunView run={run} id={id} starting={starting} interactive={interactive} limits={effective} />
      </div>
    </div>
  );
}
