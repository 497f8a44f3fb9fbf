// What stands in the playground, kept in this browser so that a reload loses nothing. One source for each language.
import { keep, readKept } from '../api/kept';

const NAME = 'bailiff.draft';
const MAX_KEPT_CHARACTERS = 1_000_000;

export interface Draft {
  language: string;
  sources: Record<string, string>;
  stdin: string;
  args: string;
  limits: Record<string, string>;
}

export function loadDraft(): Partial<Draft> {
  try {
    const kept: unknown = JSON.parse(readKept('local', NAME) ?? '{}');
    return typeof kept === 'object' && kept !== null ? (kept as Partial<Draft>) : {};
  } catch {
    return {};
  }
}

export function saveDraft(draft: Draft): void {
  const text = JSON.stringify(draft);
  if (text.length > MAX_KEPT_CHARACTERS) return;
  keep('local', NAME, text);
}

/** Words as a shell takes them apart: white space separates, quotes and backslashes hold together. */
export function words(text: string): string[] {
  const found: string[] = [];
  for (const match of text.matchAll(/(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+/gs))
    found.push(match[0].replace(/\\(.)|"((?:[^"\\]|\\.)*)"|'([^']*)'/gs, (_all, escaped: string | undefined, double: string | undefined, single: string | undefined) =>
      escaped ?? single ?? (double ?? '').replace(/\\(["\\$`])/g, '$1')));
  return found;
}
